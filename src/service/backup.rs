//! A backup on its way out, in pieces.
//!
//! ```text
//! file --read off the runtime--> task --channel of one piece--> front-end --> client
//! ```
//!
//! A slow client holds three pieces at most (in the task, in the channel, in the front-end) and no lock. One that takes
//! no piece for [`STALLED`] is given up, and one that goes away ends the task with its next piece: either way the file
//! and the place among the backups are let go.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::raft::{self, Taken};

/// Length of a piece.
const PIECE_BYTES: usize = 128 << 10;

/// How long a client may take no piece.
const STALLED: Duration = Duration::from_secs(60);

/// A backup that is being read.
#[derive(Debug)]
pub struct Backup {
    taken: Taken,
    left: u64,
    pieces: mpsc::Receiver<Bytes>,
}

impl Backup {
    /// Begins to hand out a backup. On a runtime only.
    pub(super) fn begin(backup: raft::Backup) -> Backup {
        let taken = *backup.taken();
        let (sender, pieces) = mpsc::channel(1);
        // It needs nobody to end it: it ends with the backup, with its reader, or with the reader's patience.
        tokio::spawn(hand_out(backup, sender));
        Backup { taken, left: taken.bytes, pieces }
    }

    /// What it is a backup of.
    pub fn taken(&self) -> &Taken {
        &self.taken
    }

    /// The next piece; `None` after the last one.
    ///
    /// # Errors
    /// The rest cannot be read: what came so far is worth nothing.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.left == 0 {
            return None;
        }
        let Some(piece) = self.pieces.recv().await else {
            self.left = 0;
            return Some(Err(io::Error::other("the backup broke off")));
        };
        self.left -= piece.len() as u64;
        Some(Ok(piece))
    }
}

/// Reads pieces and hands them over, until one is not taken.
async fn hand_out(mut backup: raft::Backup, sender: mpsc::Sender<Bytes>) {
    loop {
        let read = tokio::task::spawn_blocking(move || backup.next(PIECE_BYTES).map(|piece| (backup, piece)));
        let piece = match read.await {
            Ok(Ok((back, piece))) => {
                backup = back;
                Bytes::from(piece)
            }
            Ok(Err(error)) => return tracing::error!(%error, "a backup could not be read to its end"),
            // The runtime is ending.
            Err(_) => return,
        };
        if piece.is_empty() {
            return;
        }
        match sender.send_timeout(piece, STALLED).await {
            Ok(()) => {}
            Err(mpsc::error::SendTimeoutError::Closed(_)) => return,
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
                return tracing::warn!("a backup was given up: its reader took nothing for {STALLED:?}");
            }
        }
    }
}
