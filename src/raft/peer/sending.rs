//! A snapshot on its way to a member that has not the log for what it lacks.

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use tokio::time::sleep;

use super::error::CallError;
use super::network::Peer;
use super::{convert, wire};
use crate::raft::snapshot::Sending;
use crate::raft::types::Vote;

/// Bytes of a snapshot that travel in one message.
const PIECE_BYTES: usize = 1 << 20;

/// A member that was heard in this time can be sent a snapshot.
const HEARD: Duration = Duration::from_secs(2);

/// How often it is looked whether a member is heard that is to get a snapshot.
const LISTENING: Duration = Duration::from_millis(200);

impl Peer {
    /// Returns once a member is there to take the snapshot that ends at `index`, and the last one that failed was long enough
    /// ago.
    ///
    /// # Errors
    /// There is a newer one, which may fit where the one before did not: it is to be sent instead.
    pub(super) async fn can_take_a_snapshot(&self, index: u64) -> Result<(), CallError> {
        let attempts = self.attempts();
        loop {
            let is_heard = self.roster.last_answer(self.id).is_some_and(|at| at.elapsed() <= HEARD);
            if is_heard && attempts.is_ready() {
                return Ok(());
            }
            if is_heard && self.snapshots.index() > Some(index) {
                attempts.may_begin();
                return Err(CallError::Unsent("there is a newer snapshot".into()));
            }
            sleep(LISTENING).await;
        }
    }

    pub(super) async fn send_snapshot(
        &self,
        vote: &Vote,
        sending: Sending,
        patience: Duration,
    ) -> Result<wire::Installed, CallError> {
        let (way, bytes) = (self.way()?, sending.bytes());
        if self.attempts().reason().is_none() {
            tracing::info!(to = self.id, bytes, "sending a snapshot");
        }
        // Where reading fails the stream ends early, and the receiver does not take what is too short.
        let pieces = Peer::pieces(vote, sending).take_while(|piece| {
            if let Err(error) = piece {
                tracing::warn!(%error, "a snapshot that is being sent cannot be read");
            }
            std::future::ready(piece.is_ok())
        });
        let installing = way.link().install(&way.envelope, pieces.filter_map(|piece| async { piece.ok() }));
        let installed = tokio::time::timeout(patience, installing).await;
        installed.unwrap_or_else(|_| Err(CallError::Lost("too late".into())))
    }

    /// The pieces of a snapshot, read as they are asked for.
    fn pieces(
        vote: &Vote,
        sending: Sending,
    ) -> impl Stream<Item = Result<wire::Piece, String>> + Send + 'static + use<> {
        let head = wire::Piece {
            vote: Some(convert::vote(vote)),
            length: sending.bytes(),
            bytes: Default::default(),
        };
        let pieces = stream::unfold(Some(sending), |sending| async move {
            let mut sending = sending?;
            let read = tokio::task::spawn_blocking(move || (sending.next(PIECE_BYTES), sending)).await;
            match read {
                Ok((Ok(bytes), _)) if bytes.is_empty() => None,
                Ok((Ok(bytes), sending)) => {
                    Some((Ok(wire::Piece { vote: None, length: 0, bytes: bytes.into() }), Some(sending)))
                }
                Ok((Err(error), _)) => Some((Err(error.to_string()), None)),
                Err(panic) => Some((Err(panic.to_string()), None)),
            }
        });
        stream::once(std::future::ready(Ok(head))).chain(pieces)
    }
}
