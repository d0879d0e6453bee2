//! openraft's way to other members.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, stream};
use openraft::base::BoxFuture;
use openraft::error::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use openraft::{AnyError, OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use tokio::time::Instant;

use super::envelope::Refusal;
use super::error::CallError;
use super::roster::{Roster, Way};
use super::window::Window;
use super::wire::{self, Ask, Say};
use super::{commits, convert};
use crate::model::Timestamp;
use crate::raft::cluster_time::{Clocks, ClusterTime};
use crate::raft::ledger::Ledger;
use crate::raft::snapshot::Sending;
use crate::raft::snapshots::{SnapshotFile, Snapshots};
use crate::raft::types::{Member, TypeConfig, Vote};

/// Bytes of entries that may be under way to a follower.
const UNACKNOWLEDGED_BYTES: u32 = 32 << 20;

/// Bytes of a snapshot that travel in one message.
const PIECE_BYTES: usize = 1 << 20;

/// How long an unreachable member is left alone, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// Makes connections to members.
pub(crate) struct Peers {
    pub(crate) roster: Roster,
    pub(crate) time: Arc<ClusterTime>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) snapshots: Snapshots,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Entries,
    Heartbeats,
}

/// A connection to one member.
pub(crate) struct Peer {
    id: u64,
    purpose: Purpose,
    way: Option<Way>,
    roster: Roster,
    time: Arc<ClusterTime>,
    ledger: Arc<Ledger>,
    snapshots: Snapshots,
}

impl Peers {
    fn peer(&self, id: u64, member: &Member, purpose: Purpose) -> Peer {
        let (way, time) = (self.roster.way_to(id, member), Arc::clone(&self.time));
        let (ledger, snapshots) = (Arc::clone(&self.ledger), self.snapshots.clone());
        Peer { id, purpose, way, roster: self.roster.clone(), time, ledger, snapshots }
    }
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, id: u64, member: &Member) -> Peer {
        self.peer(id, member, Purpose::Entries)
    }

    async fn new_heartbeat_client(&mut self, id: u64, member: &Member) -> Peer {
        self.peer(id, member, Purpose::Heartbeats)
    }
}

/// What a member says of its clocks.
pub(crate) fn clocks(said: wire::Clocks) -> Clocks {
    Clocks { estimate: said.estimate_ms.map(Timestamp), wall: Timestamp(said.wall_ms) }
}

/// What this node says of its clocks.
pub(crate) fn said(clocks: Clocks) -> wire::Clocks {
    wire::Clocks { estimate_ms: clocks.estimate.map(|at| at.0), wall_ms: clocks.wall.0 }
}

/// Sees that a member still has what it acknowledged. openraft would take one that has not for one that lags.
struct Judge {
    roster: Roster,
    id: u64,
    /// Of the requests that are answered: a stream lives no longer than the lead that opened it.
    term: AtomicU64,
}

impl Judge {
    fn acknowledged(&self, index: u64) {
        self.roster.acknowledged(self.id, self.term.load(Ordering::Relaxed), index);
    }

    /// The member does not have the entry at `index`.
    fn check(&self, index: u64) -> Result<(), RPCError<TypeConfig>> {
        match self.roster.lacks(self.id, self.term.load(Ordering::Relaxed), index) {
            None => Ok(()),
            Some(acknowledged) => {
                tracing::error!(
                    member = self.id,
                    acknowledged,
                    "a member has lost entries that it had acknowledged: its data directory was rolled back. It is refused: \
                     empty its directory, then it joins as a new member"
                );
                Err(failed(CallError::Refused(Refusal::RolledBack)))
            }
        }
    }
}

impl Peer {
    fn judge(&self, term: u64) -> Judge {
        Judge { roster: self.roster.clone(), id: self.id, term: AtomicU64::new(term) }
    }

    fn way(&self) -> Result<&Way, Unreachable<TypeConfig>> {
        let unknown =
            || Unreachable::new(&AnyError::error(format!("no address is known of member {}", self.id)));
        self.way.as_ref().ok_or_else(unknown)
    }

    async fn ask(&self, ask: Ask, patience: Duration) -> Result<Say, RPCError<TypeConfig>> {
        self.way()?.call(ask, patience).await.map_err(failed)
    }

    async fn ballot(
        &self,
        ask: Ask,
        option: &RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(ask, option.hard_ttl()).await? {
            Say::Verdict(verdict) => {
                self.time.heard(self.id, clocks(verdict.clocks));
                Ok(convert::vote_response(verdict))
            }
            _ => Err(nonsense()),
        }
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

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotFile;

    /// A heartbeat.
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let stamp_ms = self.time.stamp().map(|at| at.0);
        let append = convert::append(&request, stamp_ms, &self.ledger);
        let (term, known) =
            (request.vote.leader_id.term, request.prev_log_id.as_ref().map_or(0, |id| id.index));
        let sent = Instant::now();
        let Say::Appended(appended) = self.ask(Ask::Append(append), option.hard_ttl()).await? else {
            return Err(nonsense());
        };
        self.roster.answered(self.id, appended.report.clone().unwrap_or_default());
        if let Some(said) = appended.clocks {
            self.time.heard(self.id, clocks(said));
        }
        Ok(match convert::append_result(&appended) {
            Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
            // A heartbeat names the last entry that the member has acknowledged.
            Err(StreamAppendError::Conflict(_)) => {
                self.judge(term).check(known)?;
                AppendEntriesResponse::Conflict
            }
            Ok(matching) if appended.partial => AppendEntriesResponse::PartialSuccess(matching),
            Ok(_) => {
                self.roster.follows(self.id, term, sent);
                AppendEntriesResponse::Success
            }
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<
            BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>,
            RPCError<TypeConfig>,
        >,
    >
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        if self.purpose == Purpose::Heartbeats {
            return stream_append_sequential(self, input, option);
        }
        Box::pin(async move {
            let way = self.way()?;
            if self.roster.rolled_back(self.id).is_some() {
                return Err(failed(CallError::Refused(Refusal::RolledBack)));
            }
            let (window, time) = (Window::new(UNACKNOWLEDGED_BYTES), Arc::clone(&self.time));
            let (sent, peer) = (window.clone(), Arc::new(self.judge(0)));
            let (judge, ledger) = (Arc::clone(&peer), Arc::clone(&self.ledger));
            let appends = commits::with_entries(input, Arc::clone(way.link().commit_wanted()));
            let appends = appends.then(move |request| {
                judge.term.store(request.vote.leader_id.term, Ordering::Relaxed);
                let append = convert::append(&request, time.stamp().map(|at| at.0), &ledger);
                let sent = sent.clone();
                async move {
                    sent.send(prost::Message::encoded_len(&append)).await;
                    append
                }
            });
            let answers = way.link().append(&way.envelope, appends).await.map_err(failed)?;
            let results = answers.map(move |answer| {
                window.answered();
                let appended = answer.map_err(|status| failed(CallError::Lost(status.message().into())))?;
                let result = convert::append_result(&appended);
                match &result {
                    Ok(matching) => peer.acknowledged(matching.as_ref().map_or(0, |id| id.index)),
                    Err(StreamAppendError::Conflict(conflict)) => peer.check(conflict.index)?,
                    Err(StreamAppendError::HigherVote(_)) => {}
                }
                Ok(result)
            });
            Ok(results.boxed())
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ballot(Ask::Vote(convert::ballot(&request)), &option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ballot(Ask::PreVote(convert::ballot(&request)), &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let way = self.way()?;
        let unreadable = |error: String| {
            StreamingError::Network(NetworkError::new(&AnyError::error(format!(
                "reading a snapshot: {error}"
            ))))
        };
        let sending = self.snapshots.send(&snapshot.snapshot).await.map_err(unreadable)?;
        let bytes = sending.bytes();
        tracing::info!(to = self.id, bytes, "sending a snapshot");
        // Where reading fails the stream ends early, and the receiver does not take what is too short.
        let pieces = Peer::pieces(&vote, sending).take_while(|piece| {
            if let Err(error) = piece {
                tracing::warn!(%error, "a snapshot that is being sent cannot be read");
            }
            std::future::ready(piece.is_ok())
        });
        let installing = way.link().install(&way.envelope, pieces.filter_map(|piece| async { piece.ok() }));
        let installed = tokio::select! {
            installed = tokio::time::timeout(option.hard_ttl(), installing) => installed,
            closed = cancel => return Err(StreamingError::Closed(closed)),
        };
        let installed = installed.map_err(|_| failed(CallError::Lost("too late".into())));
        let installed = installed.and_then(|installed| installed.map_err(failed))?;
        tracing::info!(to = self.id, bytes, "a snapshot was installed");
        Ok(SnapshotResponse::new(convert::from_vote(installed.vote)))
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(Ask::Transfer(convert::transfer(&request)), option.hard_ttl()).await? {
            Say::Transferred(answer) => Ok(convert::transfer_response(answer, &request)),
            _ => Err(nonsense()),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        let (first, most) = BACKOFF;
        Some(Backoff::new(std::iter::successors(Some(first), move |last| Some((*last * 2).min(most)))))
    }
}

/// Where nothing can be sent raft is to wait before it tries again.
fn failed(error: CallError) -> RPCError<TypeConfig> {
    match error {
        CallError::Unsent(_) | CallError::Refused(_) => RPCError::Unreachable(Unreachable::new(&error)),
        CallError::Lost(_) => RPCError::Network(NetworkError::new(&error)),
    }
}

fn nonsense() -> RPCError<TypeConfig> {
    failed(CallError::Lost("the answer is to another question".into()))
}
