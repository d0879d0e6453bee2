//! The handle on a running node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::batcher::Batcher;
use super::cluster_time::ClusterTime;
use super::health::Health;
use super::identity::Directory;
use super::machine::Machine;
use super::maintenance::Maintenance;
use super::replica::Replica;
use super::snapshots::Snapshots;
use super::touches::Touches;
use super::types::{GROUP, TypeConfig};
use super::{
    AdminError, Backup, Compaction, Failure, Gone, ReadError, Reply, Status, StoreStatus, Taken, WriteError,
};
use crate::disk::Lock;
use crate::model::{Answer, Key, NodeId, Outcome, Query, Timestamp, Touch, Transaction};
use crate::shutdown::Tasks;
use crate::wal::{self, Wal};

/// How long the node's own tasks are waited for when it stops.
const CLOSING_TASKS: Duration = Duration::from_secs(10);

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
pub struct Node(Arc<Parts>);

pub(super) struct Parts {
    pub(super) identity: wal::Identity,
    pub(super) raft: openraft::Raft<TypeConfig, Machine>,
    pub(super) replica: Arc<Replica>,
    pub(super) batcher: Arc<Batcher>,
    pub(super) touches: Arc<Touches>,
    pub(super) time: Arc<ClusterTime>,
    pub(super) maintenance: Arc<Maintenance>,
    pub(super) snapshots: Snapshots,
    pub(super) health: Arc<Health>,
    pub(super) wal: Wal,
    pub(super) directory: Directory,
    pub(super) lock: Mutex<Option<Lock>>,
    /// Set first of all when the node stops: looked at by every read.
    pub(super) closing: AtomicBool,
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
        let reply = self.0.batcher.write(transaction, reads, deadline).await?;
        reply.answers.iter().for_each(|answer| self.note_read(answer));
        Ok(reply)
    }

    /// Answers a query with the asked consistency.
    ///
    /// The sole voter of a cluster needs no barrier: what it acknowledged it has applied.
    ///
    /// # Errors
    /// [`ReadError::Timeout`] if the deadline passed first; [`ReadError::Unavailable`] while stopping.
    pub async fn read(
        &self,
        query: &Query,
        consistency: Consistency,
        deadline: Instant,
    ) -> Result<Read, ReadError> {
        if self.0.closing.load(Ordering::Relaxed) {
            return Err(ReadError::Unavailable);
        }
        let mut read = self.look(query, consistency);
        // Again if need be: what is written meanwhile may have a deadline that passes at once.
        while consistency != Consistency::Stale
            && let Some(passed) = passed_deadline(&read.answer, read.now)
        {
            self.reach(passed, deadline).await?;
            read = self.look(query, consistency);
        }
        self.note_read(&read.answer);
        Ok(read)
    }

    /// Reads the store as it is. `now` of the result may be ahead of the store's: see [`Node::read`].
    fn look(&self, query: &Query, consistency: Consistency) -> Read {
        let store = self.0.replica.store.read();
        let state_now = store.now();
        let presence_at = match consistency {
            Consistency::Linearizable | Consistency::Lease => state_now,
            Consistency::Stale => state_now.max(self.0.time.now()),
        };
        let answer = store.read(presence_at, query);
        drop(store);
        let now = if has_deadline(&answer) { state_now.max(self.0.time.now()) } else { state_now };
        Read { answer, now }
    }

    /// A deadline has passed on the leader's clock but not yet in the store. Waits until it has: one entry serves all
    /// who wait, and once the key was seen absent it stays absent.
    async fn reach(&self, passed: Timestamp, deadline: Instant) -> Result<(), ReadError> {
        self.0.batcher.tick();
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

    /// Takes a snapshot to be read, while writes go on. Waits if one is being taken already.
    ///
    /// # Errors
    /// [`AdminError::Busy`] if as many as may be are being read already.
    pub async fn backup(&self) -> Result<Backup, AdminError> {
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
        Status {
            node: NodeId(self.0.identity.node),
            cluster: self.0.identity.cluster,
            role: match metrics.state {
                openraft::ServerState::Leader => "leader",
                openraft::ServerState::Follower => "follower",
                openraft::ServerState::Candidate => "candidate",
                _ => "learner",
            },
            term: metrics.current_term,
            leader: metrics.current_leader.map(NodeId),
            last_log_index: state.last.map_or(0, |id| id.index),
            commit_index: index(metrics.local_committed),
            applied_index: self.0.replica.applied_index(),
            snapshot_index: index(metrics.snapshot),
            purged_index: state.purged.map_or(0, |id| id.index),
            level: self.0.replica.store.read().level(),
            clock_offset_ms: self.0.time.offset_ms(),
            ready: metrics.current_leader.is_some()
                && !self.0.closing.load(Ordering::Relaxed)
                && self.0.health.failure().is_none(),
            wal: self.0.wal.stats(),
        }
    }

    /// The store's replicated figures.
    pub fn store_status(&self) -> StoreStatus {
        let store = self.0.replica.store.read();
        let settings = store.settings();
        let counters = store.counters();
        StoreStatus {
            keys: store.len(),
            bytes: store.bytes(),
            max_bytes: settings.max_bytes,
            max_keys: settings.max_keys,
            eviction: settings.eviction,
            max_value_bytes: settings.max_value_bytes,
            revision: store.revision(),
            evictions: counters.evictions,
            expirations: counters.expirations,
        }
    }

    /// Resolves when the node cannot go on: the raft core is dead or the log poisoned.
    pub async fn failed(&self) -> Failure {
        self.0.health.failed().await
    }

    /// Stops: takes no more, lets go of raft, flushes and closes the log, and unlocks the directory.
    ///
    /// # Errors
    /// [`Failure::Log`] if the log did not close cleanly: what was not synced before may be lost.
    pub async fn close(self) -> Result<(), Failure> {
        let parts = &self.0;
        parts.closing.store(true, Ordering::Relaxed);
        parts.batcher.close();
        parts.wal.give_up_waiting();
        parts.snapshots.close().await;
        parts.tasks.stop(Instant::now() + CLOSING_TASKS).await;
        if let Err(error) = parts.raft.shutdown().await {
            tracing::warn!(%error, "the raft core did not stop cleanly");
        }
        parts.replica.pending.abandon();
        let wal = parts.wal.clone();
        let closed = tokio::task::spawn_blocking(move || wal.close()).await;
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
