//! The handle on a running node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::affairs::HANDING_OVER;
use super::barrier::Barrier;
use super::batcher::Batcher;
use super::cluster_time::ClusterTime;
use super::forward::Forwarder;
use super::health::Health;
use super::identity::Directory;
use super::leader::{Leader, Route};
use super::machine::Machine;
use super::maintenance::Maintenance;
use super::members::Members;
use super::peer::{Ask, Notes};
use super::replica::Replica;
use super::snapshots::Snapshots;
use super::time_note::TimeNote;
use super::touches::Touches;
use super::types::{GROUP, TypeConfig};
use super::{
    AdminError, Backup, Compaction, Failure, Gone, ReadError, Reply, Status, StoreStatus, Taken, WriteError,
};
use crate::disk::Lock;
use crate::model::{Answer, Key, NodeId, Outcome, Query, Settings, Timestamp, Touch, Transaction};
use crate::shutdown::Tasks;
use crate::wal::{self, Wal};

/// How long the node's own tasks are waited for when it stops.
const CLOSING_TASKS: Duration = Duration::from_secs(10);

/// How long a backup waits for what was acknowledged before it.
const LOOKING_BACK: Duration = Duration::from_secs(2);

/// How long a leader is asked to move the store's time on.
const TICKING: Duration = Duration::from_secs(1);

/// A node whose store is behind what it knows to be committed by no more entries than this is close to it.
const CLOSE_ENTRIES: u64 = 1_000;

/// How sure a read is to see the latest acknowledged write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Certain.
    #[default]
    Linearizable,
    /// Certain as long as clocks run at about the same rate.
    Lease,
    /// What this node has, with its own idea of the time.
    Stale,
}

/// An answer and the cluster time to count remaining times to live from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The answer.
    pub answer: Answer,
    /// Cluster time of the answer; not before any deadline that it treats as passed.
    pub now: Timestamp,
}

/// A node of a cluster. Cheap to clone; clones are the same node.
#[derive(Clone)]
pub struct Node(pub(super) Arc<Parts>);

pub(super) struct Parts {
    pub(super) identity: wal::Identity,
    pub(super) raft: openraft::Raft<TypeConfig, Machine>,
    pub(super) replica: Arc<Replica>,
    pub(super) batcher: Arc<Batcher>,
    pub(super) touches: Arc<Touches>,
    pub(super) time: Arc<ClusterTime>,
    pub(super) time_note: Arc<TimeNote>,
    pub(super) maintenance: Arc<Maintenance>,
    pub(super) members: Arc<Members>,
    pub(super) snapshots: Snapshots,
    pub(super) health: Arc<Health>,
    pub(super) wal: Wal,
    pub(super) directory: Directory,
    pub(super) lock: Mutex<Option<Lock>>,
    /// Set first of all when the node stops: looked at by every read.
    pub(super) closing: Arc<AtomicBool>,
    pub(super) barrier: Arc<Barrier>,
    pub(super) leader: Arc<Leader>,
    pub(super) forwarder: Arc<Forwarder>,
    pub(super) tasks: Tasks,
    /// Where raft lives; callers may live on another runtime.
    pub(super) runtime: Handle,
}

impl Node {
    pub(super) fn new(parts: Parts) -> Node {
        Node(Arc::new(parts))
    }

    /// Writes. The outcomes are those of the commands, in order.
    ///
    /// # Errors
    /// After any but [`WriteError::UnknownOutcome`] nothing was applied.
    pub async fn write(
        &self,
        transaction: Transaction,
        deadline: Instant,
    ) -> Result<Vec<Outcome>, WriteError> {
        self.transact(transaction, Vec::new(), deadline).await.map(|reply| reply.outcomes)
    }

    /// Writes, and reads in between: a read `(n, query)` is answered before command number `n`, after the last if `n`
    /// is their number. The reads are sorted by `n`.
    ///
    /// # Errors
    /// As [`Node::write`].
    pub async fn transact(
        &self,
        transaction: Transaction,
        reads: Vec<(usize, Query)>,
        deadline: Instant,
    ) -> Result<Reply, WriteError> {
        let reply = self.propose(transaction, reads, deadline).await?;
        reply.answers.iter().for_each(|answer| self.note_read(answer));
        Ok(reply)
    }

    /// Proposes here if this node leads, else through the leader; waits for one if there is none. Only what was certainly
    /// not proposed is tried again.
    async fn propose(
        &self,
        transaction: Transaction,
        reads: Vec<(usize, Query)>,
        deadline: Instant,
    ) -> Result<Reply, WriteError> {
        let Parts { batcher, leader, forwarder, .. } = &*self.0;
        if self.0.replica.diverged.load(Ordering::Relaxed) {
            return Err(WriteError::Unavailable);
        }
        if leader.is_alone() {
            return batcher.write(transaction, reads, deadline).await;
        }
        loop {
            if self.0.closing.load(Ordering::Relaxed) || self.0.health.failure().is_some() {
                return Err(WriteError::Unavailable);
            }
            let route = leader.find(deadline).await.ok_or(WriteError::NoLeader)?;
            let (transaction, reads) = (transaction.clone(), reads.clone());
            let result = match route {
                Route::Here(_) => batcher.write(transaction, reads, deadline).await,
                Route::There(id, way) => {
                    let written = forwarder.write((id, *way), transaction, reads, deadline).await;
                    // A leader that is about to stop takes no more; another will.
                    let is_passing = matches!(written, Err(WriteError::Unavailable));
                    if is_passing { Err(WriteError::NoLeader) } else { written }
                }
            };
            match result {
                Err(WriteError::NoLeader) => leader.changed(deadline).await.ok_or(WriteError::NoLeader)?,
                other => return other,
            }
        }
    }

    /// Answers a query with the asked consistency.
    ///
    /// # Errors
    /// [`ReadError::Timeout`] if the deadline passed first, [`ReadError::NoLeader`] if nobody led until then;
    /// [`ReadError::Unavailable`] while stopping.
    pub async fn read(
        &self,
        query: &Query,
        consistency: Consistency,
        deadline: Instant,
    ) -> Result<Read, ReadError> {
        if self.0.closing.load(Ordering::Relaxed) || self.0.replica.diverged.load(Ordering::Relaxed) {
            return Err(ReadError::Unavailable);
        }
        let stamp = self.barrier(consistency, deadline).await?;
        let read = self.look_settled(query, consistency, stamp, deadline).await?;
        let read = self.fill(query, consistency, stamp, deadline, read).await?;
        self.note_read(&read.answer);
        Ok(read)
    }

    /// Reads the store once it has no deadline in the answer that has passed on the leader's clock alone.
    pub(super) async fn look_settled(
        &self,
        query: &Query,
        consistency: Consistency,
        stamp: Option<Timestamp>,
        deadline: Instant,
    ) -> Result<Read, ReadError> {
        let mut read = self.look(query, consistency, stamp);
        // Again if need be: what is written meanwhile may have a deadline that passes at once.
        while consistency != Consistency::Stale
            && let Some(passed) = passed_deadline(&read.answer, read.now)
        {
            self.reach(passed, deadline).await?;
            read = self.look(query, consistency, stamp);
        }
        Ok(read)
    }

    /// Returns when this node's store holds what a read with that consistency must see. The time is the leader's, where it
    /// said it.
    ///
    /// # Errors
    /// As [`Node::read`].
    pub async fn barrier(
        &self,
        consistency: Consistency,
        deadline: Instant,
    ) -> Result<Option<Timestamp>, ReadError> {
        if consistency == Consistency::Stale {
            return Ok(None);
        }
        self.0.barrier.passed(consistency == Consistency::Lease, deadline).await
    }

    /// The replicated settings as this node has them.
    pub fn settings(&self) -> Settings {
        self.0.replica.store.read().settings()
    }

    /// Reads the store as it is. `now` of the result may be ahead of the store's: see [`Node::read`]. `stamp` is the
    /// leader's time at the barrier, this node's own where it needs none. No clock is read for an answer without deadlines.
    fn look(&self, query: &Query, consistency: Consistency, stamp: Option<Timestamp>) -> Read {
        let store = self.0.replica.store.read();
        let state_now = store.now();
        let presence_at = match consistency {
            Consistency::Linearizable | Consistency::Lease => state_now,
            Consistency::Stale => state_now.max(self.0.time.now()),
        };
        let answer = store.read(presence_at, query);
        drop(store);
        let now = match (consistency, has_deadline(&answer)) {
            (_, false) => state_now,
            (Consistency::Stale, true) => state_now.max(self.0.time.now()),
            (Consistency::Linearizable | Consistency::Lease, true) => {
                state_now.max(stamp.unwrap_or_else(|| self.0.time.now()))
            }
        };
        Read { answer, now }
    }

    /// A deadline has passed on the leader's clock but not yet in the store. Waits until it has: one entry serves all
    /// who wait, and once the key was seen absent it stays absent.
    async fn reach(&self, passed: Timestamp, deadline: Instant) -> Result<(), ReadError> {
        match self.0.leader.route() {
            Some(Route::Here(_)) | None => self.0.batcher.tick(),
            Some(Route::There(_, way)) => {
                let notes = Notes { touches: Vec::new(), tick: true };
                // If it does not arrive, the leader finds out by itself a little later.
                let _ = way.call(Ask::Notes(notes), TICKING).await;
            }
        }
        let reached = self.0.replica.wait_until(|replica| replica.now() >= passed);
        timeout_at(deadline, reached).await.map_err(|_| ReadError::Timeout)
    }

    fn note_read(&self, answer: &Answer) {
        match answer {
            Answer::Value(Some(found)) => {
                self.0.touches.note(Touch { slot: found.slot, version: found.version });
            }
            Answer::Many(answers) => answers.iter().for_each(|answer| self.note_read(answer)),
            Answer::Value(None) | Answer::Item(_) | Answer::Page(_) => {}
        }
    }

    /// Why a key that is absent went last, if this node remembers.
    pub fn gone(&self, key: &Key) -> Option<Gone> {
        self.0.replica.removals.find(key)
    }

    /// Takes a snapshot and purges the log to it, now.
    ///
    /// # Errors
    /// [`AdminError::Busy`] if a snapshot is being taken already.
    pub async fn compact(&self) -> Result<Compaction, AdminError> {
        self.administer(|maintenance| async move { maintenance.compact().await }).await
    }

    /// Takes a snapshot now and leaves the log as it is.
    ///
    /// # Errors
    /// [`AdminError::Busy`] if one is being taken already.
    pub async fn snapshot(&self) -> Result<Taken, AdminError> {
        self.administer(|maintenance| async move { maintenance.snapshot().await }).await
    }

    /// Takes a snapshot to be read, while writes go on. Waits if one is being taken already. It holds all that was
    /// acknowledged before, unless no leader tells in time how much that is: a backup of what this node has is better than
    /// none then.
    ///
    /// # Errors
    /// [`AdminError::Busy`] if as many as may be are being read already.
    pub async fn backup(&self) -> Result<Backup, AdminError> {
        let in_time = Instant::now() + LOOKING_BACK;
        if let Err(error) = self.barrier(Consistency::Linearizable, in_time).await {
            tracing::warn!(%error, "a backup is taken of what this node has, which may not be the latest");
        }
        self.administer(|maintenance| async move { maintenance.backup().await }).await
    }

    /// Does it in a task of its own: a caller that goes away must not leave half of it.
    async fn administer<T, F>(&self, work: impl FnOnce(Arc<Maintenance>) -> F) -> Result<T, AdminError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, AdminError>> + Send + 'static,
    {
        let task = self.0.runtime.spawn(work(Arc::clone(&self.0.maintenance)));
        task.await.unwrap_or_else(|error| Err(AdminError::Failed(error.to_string())))
    }

    /// The node's place in the cluster and in the log.
    pub fn status(&self) -> Status {
        let metrics = self.0.raft.metrics().borrow_watched().clone();
        let index = |id: Option<super::types::LogId>| id.map_or(0, |id| id.index);
        let state = self.0.wal.state(GROUP);
        let heard = self.0.leader.heard();
        Status {
            node: NodeId(self.0.identity.node),
            cluster: self.0.identity.cluster,
            role: match metrics.state {
                // A leader that no quorum follows can only hope.
                openraft::ServerState::Leader if heard.is_none() => "candidate",
                openraft::ServerState::Leader => "leader",
                openraft::ServerState::Follower => "follower",
                openraft::ServerState::Candidate => "candidate",
                _ => "learner",
            },
            term: metrics.current_term,
            leader: heard.map(NodeId),
            last_log_index: state.last.map_or(0, |id| id.index),
            commit_index: index(metrics.local_committed),
            applied_index: self.0.replica.applied_index(),
            snapshot_index: index(metrics.snapshot),
            purged_index: state.purged.map_or(0, |id| id.index),
            level: self.0.replica.store.read().level(),
            max_level: self.0.leader.roster.max_level(),
            clock_offset_ms: self.0.time.offset_ms(),
            ready: self.0.maintenance.has_leader(heard.is_some())
                && self.0.replica.applied_index() + CLOSE_ENTRIES >= self.0.members.ledger.committed()
                && !self.0.replica.diverged.load(Ordering::Relaxed)
                && !self.0.closing.load(Ordering::Relaxed)
                && self.0.health.failure().is_none(),
            is_out_of_disk: self.0.batcher.is_out_of_disk(),
            wal: self.0.wal.stats(),
        }
    }

    /// The store's replicated figures.
    pub fn store_status(&self) -> StoreStatus {
        let store = self.0.replica.store.read();
        let settings = store.settings();
        let counters = store.counters();
        StoreStatus {
            is_initialized: store.is_initialized(),
            keys: store.len(),
            bytes: store.bytes(),
            max_bytes: settings.max_bytes,
            max_keys: settings.max_keys,
            eviction: settings.eviction,
            max_value_bytes: settings.max_value_bytes,
            voters: settings.voters,
            revision: store.revision(),
            evictions: counters.evictions,
            expirations: counters.expirations,
        }
    }

    /// Resolves when the node cannot go on: the raft core is dead or the log poisoned.
    pub async fn failed(&self) -> Failure {
        self.0.health.failed().await
    }

    /// Hands leadership to another voter before this node stops, if there is one that can lead in time.
    async fn hand_over(&self) {
        // One that is the only voter has nobody to hand over to.
        if self.0.members.leader.batcher.term().is_none() || self.0.leader.is_alone() {
            return;
        }
        let deadline = Instant::now() + HANDING_OVER;
        match timeout_at(deadline, self.0.members.hand_over(None, deadline)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::info!(%error, "leadership is not handed over"),
            Err(_) => tracing::info!("leadership is not handed over in time"),
        }
    }

    /// Stops: takes no more, lets go of raft, flushes and closes the log, and unlocks the directory.
    ///
    /// # Errors
    /// [`Failure::Log`] if the log did not close cleanly: what was not synced before may be lost.
    pub async fn close(self) -> Result<(), Failure> {
        let parts = &self.0;
        self.hand_over().await;
        parts.closing.store(true, Ordering::Relaxed);
        parts.batcher.close();
        parts.forwarder.close();
        parts.wal.give_up_waiting();
        parts.snapshots.close().await;
        parts.tasks.stop(Instant::now() + CLOSING_TASKS).await;
        if let Err(error) = parts.raft.shutdown().await {
            tracing::warn!(%error, "the raft core did not stop cleanly");
        }
        parts.replica.pending.abandon();
        let (wal, time_note) = (parts.wal.clone(), Arc::clone(&parts.time_note));
        let closed = tokio::task::spawn_blocking(move || {
            time_note.write(Duration::from_millis(1));
            wal.close()
        });
        let closed = closed.await;
        let closed = closed.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        if closed.is_ok()
            && let Err(error) = parts.directory.mark_stopped()
        {
            tracing::warn!(%error, "the mark of a running node could not be removed");
        }
        drop(parts.lock.lock().take());
        closed.map_err(Failure::Log)
    }
}

/// Whether a deadline in the answer has passed at `now`, and which is the last such.
fn passed_deadline(answer: &Answer, now: Timestamp) -> Option<Timestamp> {
    let mut last = None;
    each_deadline(answer, &mut |deadline| {
        if deadline <= now {
            last = last.max(Some(deadline));
        }
    });
    last
}

fn has_deadline(answer: &Answer) -> bool {
    let mut any = false;
    each_deadline(answer, &mut |_| any = true);
    any
}

fn each_deadline(answer: &Answer, visit: &mut dyn FnMut(Timestamp)) {
    match answer {
        Answer::Value(found) => found.iter().filter_map(|found| found.deadline).for_each(visit),
        Answer::Item(item) => item.iter().filter_map(|item| item.deadline).for_each(visit),
        Answer::Page(page) => page.items.iter().filter_map(|item| item.deadline).for_each(visit),
        Answer::Many(answers) => answers.iter().for_each(|answer| each_deadline(answer, visit)),
    }
}

#[cfg(test)]
mod tests;
