//! openraft's way to other members.
//!
//! A failure that comes at once must not be answered by a try at once. openraft's own back-off is inside the stream of
//! requests, which is not asked for anything while no connection is made; so each way waits here, in [`Attempts`], and
//! openraft's is zero. The wait is a part of the stream of answers, which openraft drops when it wants nothing more.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
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
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use tokio::time::Instant;

use super::attempts::{Attempts, Purpose};
use super::envelope::Refusal;
use super::error::CallError;
use super::roster::{Roster, Way};
use super::window::Window;
use super::wire::{self, Ask, Say};
use super::{commits, convert};
use crate::model::Timestamp;
use crate::raft::cluster_time::{Clocks, ClusterTime};
use crate::raft::ledger::Ledger;
use crate::raft::snapshots::{SnapshotFile, Snapshots};
use crate::raft::types::{Member, TypeConfig, Vote};

/// Bytes of entries that may be under way to a follower.
const UNACKNOWLEDGED_BYTES: u32 = 32 << 20;

/// Makes connections to members.
pub(crate) struct Peers {
    pub(crate) roster: Roster,
    pub(crate) time: Arc<ClusterTime>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) snapshots: Snapshots,
}

/// A connection to one member.
pub(crate) struct Peer {
    pub(super) id: u64,
    purpose: Purpose,
    pub(super) roster: Roster,
    time: Arc<ClusterTime>,
    ledger: Arc<Ledger>,
    pub(super) snapshots: Snapshots,
}

impl Peers {
    fn peer(&self, id: u64, member: &Member, purpose: Purpose) -> Peer {
        // The way is looked up at each try: the member may get another address while this node leads.
        self.roster.note_member(id, member);
        let (roster, time, snapshots) = (self.roster.clone(), Arc::clone(&self.time), self.snapshots.clone());
        Peer { id, purpose, roster, time, ledger: Arc::clone(&self.ledger), snapshots }
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

    async fn new_snapshot_client(&mut self, id: u64, member: &Member) -> Peer {
        self.peer(id, member, Purpose::Snapshots)
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
    fn check(&self, index: u64) -> Result<(), CallError> {
        let is_known = self.roster.rolled_back(self.id).is_some();
        match self.roster.lacks(self.id, self.term.load(Ordering::Relaxed), index) {
            None => Ok(()),
            Some(acknowledged) => {
                if !is_known {
                    tracing::error!(
                        member = self.id,
                        acknowledged,
                        "a member has lost entries that it had acknowledged: its data directory was rolled back. It is \
                         refused: empty its directory, then it joins as a new member"
                    );
                }
                Err(CallError::Refused(Refusal::RolledBack))
            }
        }
    }
}

impl Peer {
    fn judge(&self, term: u64) -> Judge {
        Judge { roster: self.roster.clone(), id: self.id, term: AtomicU64::new(term) }
    }

    pub(super) fn way(&self) -> Result<Way, CallError> {
        self.roster.way(self.id).ok_or_else(|| CallError::Unsent("no address is known".into()))
    }

    pub(super) fn attempts(&self) -> Arc<Attempts> {
        self.roster.attempts(self.id, self.purpose)
    }

    async fn ask(&self, ask: Ask, patience: Duration) -> Result<Say, CallError> {
        self.way()?.call(ask, patience).await
    }

    /// Sends a heartbeat, unless the one before failed just now.
    async fn beat(&self, ask: Ask, patience: Duration) -> Result<Say, CallError> {
        let attempts = self.attempts();
        if !attempts.is_ready() {
            return Err(CallError::Unsent("it could not be reached a moment ago".into()));
        }
        let mut beat = Beat { attempts, is_answered: false };
        let said = self.ask(ask, patience).await;
        beat.is_answered = !matches!(said, Err(CallError::Lost(_)));
        match &said {
            Ok(_) => beat.attempts.succeeded(),
            Err(CallError::Lost(_)) => {}
            Err(error) => beat.attempts.failed(error),
        }
        said
    }

    async fn ballot(
        &self,
        ask: Ask,
        option: &RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        // Only the reason counts: elections have a pace of their own.
        let attempts = self.roster.attempts(self.id, Purpose::Votes);
        match self.ask(ask, option.hard_ttl()).await.inspect_err(|e| attempts.failed(e)).map_err(failed)? {
            Say::Verdict(verdict) => {
                attempts.succeeded();
                self.time.heard(self.id, clocks(verdict.clocks));
                self.roster.note_disk(self.id, verdict.out_of_disk);
                Ok(convert::vote_response(verdict))
            }
            _ => Err(nonsense()),
        }
    }

    /// Opens a stream of entries. An end that openraft did not ask for counts as a failed try.
    async fn open<S>(&self, input: S, attempts: &Arc<Attempts>) -> Result<Results, CallError>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let way = self.way()?;
        if self.roster.rolled_back(self.id).is_some() {
            return Err(CallError::Refused(Refusal::RolledBack));
        }
        let progress = Arc::new(Progress::default());
        let (sending, ending) = (Arc::clone(&progress), Arc::clone(&progress));
        let input = input.chain(stream::poll_fn(move |_| {
            ending.has_ended.store(true, Ordering::Relaxed);
            Poll::Ready(None)
        }));
        let (window, time) = (Window::new(UNACKNOWLEDGED_BYTES), Arc::clone(&self.time));
        let (sent, peer) = (window.clone(), Arc::new(self.judge(0)));
        let (judge, ledger) = (Arc::clone(&peer), Arc::clone(&self.ledger));
        let appends = commits::with_entries(input, Arc::clone(way.link().commit_wanted()));
        let appends = appends.then(move |request| {
            judge.term.store(request.vote.leader_id.term, Ordering::Relaxed);
            sending.unanswered.fetch_add(1, Ordering::Relaxed);
            let append = convert::append(&request, time.stamp().map(|at| at.0), &ledger);
            let sent = sent.clone();
            async move {
                sent.send(prost::Message::encoded_len(&append)).await;
                append
            }
        });
        let answers = way.link().append(&way.envelope, appends).await?;
        let (answered, failing, ended) = (Arc::clone(&progress), Arc::clone(attempts), Arc::clone(attempts));
        let results = answers.map(move |answer| {
            window.answered();
            let result = answer.map_err(|status| CallError::of(&status)).and_then(|appended| {
                let result = convert::append_result(&appended);
                match &result {
                    Ok(matching) => peer.acknowledged(matching.as_ref().map_or(0, |id| id.index)),
                    Err(StreamAppendError::Conflict(conflict)) => peer.check(conflict.index)?,
                    Err(StreamAppendError::HigherVote(_)) => {}
                }
                Ok(result)
            });
            match &result {
                Ok(_) if answered.is_first() => failing.succeeded(),
                Ok(_) => {}
                Err(error) => failing.failed(error),
            }
            answered.unanswered.fetch_sub(1, Ordering::Relaxed);
            result.map_err(failed)
        });
        let end = stream::poll_fn(move |_| {
            if !progress.is_complete() {
                ended.failed(&CallError::Lost("the member ended the stream of entries".into()));
            }
            Poll::Ready(None)
        });
        Ok(results.chain(end).boxed())
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
        let quorum_lost = self.roster.quorum_lost();
        let append = wire::Append { quorum_lost, ..convert::append(&request, stamp_ms, &self.ledger) };
        let (term, known) =
            (request.vote.leader_id.term, request.prev_log_id.as_ref().map_or(0, |id| id.index));
        let sent = Instant::now();
        let said = self.beat(Ask::Append(append), option.hard_ttl()).await.map_err(failed)?;
        let Say::Appended(appended) = said else { return Err(nonsense()) };
        self.roster.answered(self.id, appended.report.clone().unwrap_or_default());
        if let Some(said) = appended.clocks {
            self.time.heard(self.id, clocks(said));
        }
        Ok(match convert::append_result(&appended) {
            Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
            // A heartbeat names the last entry that the member has acknowledged.
            Err(StreamAppendError::Conflict(_)) => {
                self.judge(term).check(known).map_err(failed)?;
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
        let peer: &'s Peer = self;
        Box::pin(async move {
            let results = async move {
                let attempts = peer.attempts();
                attempts.ready().await;
                peer.open(input, &attempts).await.unwrap_or_else(|error| {
                    attempts.failed(&error);
                    stream::iter([Err(failed(error))]).boxed()
                })
            };
            Ok(stream::once(results).flatten().boxed())
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
        tokio::pin!(cancel);
        let index = snapshot.meta.last_log_id.as_ref().map_or(0, |id| id.index);
        tokio::select! {
            ready = self.can_take_a_snapshot(index) => ready.map_err(failed)?,
            closed = &mut cancel => return Err(StreamingError::Closed(closed)),
        }
        let opened = self.snapshots.send(&snapshot.snapshot).await;
        let bytes = snapshot.snapshot.bytes;
        let installed = match opened {
            Err(error) => Err(CallError::Unsent(format!("it cannot be read: {error}"))),
            Ok(sending) => tokio::select! {
                installed = self.send_snapshot(&vote, sending, option.hard_ttl()) => installed,
                closed = &mut cancel => return Err(StreamingError::Closed(closed)),
            },
        };
        match installed {
            Ok(installed) => {
                self.attempts().succeeded();
                tracing::info!(to = self.id, bytes, "a snapshot was installed");
                Ok(SnapshotResponse::new(convert::from_vote(installed.vote)))
            }
            Err(error) => {
                // Once: `notices` remind of it.
                if self.attempts().reason().is_none() {
                    tracing::warn!(to = self.id, bytes, %error, "a snapshot was not installed");
                }
                self.attempts().failed(&error);
                Err(failed(error).into())
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let transfer = Ask::Transfer(convert::transfer(&request));
        match self.ask(transfer, option.hard_ttl()).await.map_err(failed)? {
            Say::Transferred(answer) => Ok(convert::transfer_response(answer, &request)),
            _ => Err(nonsense()),
        }
    }

    /// None: every way waits by itself.
    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(Duration::ZERO)))
    }
}

/// The answers to a stream of entries, as openraft takes them.
type Results = BoxStream<'static, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>;

/// A heartbeat under way. openraft drops it when no answer comes in time.
struct Beat {
    attempts: Arc<Attempts>,
    is_answered: bool,
}

impl Drop for Beat {
    fn drop(&mut self) {
        if !self.is_answered {
            self.attempts.unanswered(&CallError::Lost("too late".into()));
        }
    }
}

/// How far a stream of entries has come.
#[derive(Default)]
struct Progress {
    /// openraft has nothing more to send on it.
    has_ended: AtomicBool,
    /// Requests that were sent and not answered.
    unanswered: AtomicU64,
    has_begun: AtomicBool,
}

impl Progress {
    /// Whether no answer came before this one.
    fn is_first(&self) -> bool {
        !self.has_begun.load(Ordering::Relaxed) && !self.has_begun.swap(true, Ordering::Relaxed)
    }

    /// Whether all that was to be sent was answered.
    fn is_complete(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed) && self.unanswered.load(Ordering::Relaxed) == 0
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
