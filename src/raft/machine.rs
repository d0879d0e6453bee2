//! The state machine: applies entries to the store, in order, and answers those who wait for them.
//!
//! Invariants: `applied` is held for the whole of an entry, so whoever holds it sees the store between two
//! entries; the order of locks is `applied`, then `store`. The store's lock is let go between the transactions
//! of an entry if somebody waits for it. Apply cannot fail but for an entry that this version cannot read: then
//! the node stops, it never skips.

use std::io;
use std::mem::take;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use parking_lot::{Mutex, RwLock, RwLockWriteGuard};
use tokio::sync::Notify;

use super::proposal::{Batch, Caller, Pending, Proposal, Reply};
use super::snapshots::{SnapshotFile, Snapshots};
use super::types::{GROUP, LogId, Member, SnapshotMeta, StoredMembership, TypeConfig};
use crate::model::{LogEntry, Timestamp, codec};
use crate::store::{Effects, Store};
use crate::wal::Wal;

/// Entries with more commands than this let other tasks of the runtime run before the next one.
const YIELD_COMMANDS: usize = 256;

/// Where the store stands in the log.
#[derive(Clone, Debug, Default)]
pub(super) struct Applied {
    pub(super) last: Option<LogId>,
    pub(super) membership: StoredMembership,
}

/// The store and its place in the log, shared by apply, reads and snapshots.
pub(super) struct Replica {
    pub(super) store: RwLock<Store>,
    pub(super) applied: Mutex<Applied>,
    pub(super) pending: Arc<Pending>,
    wal: Wal,
    /// Index of the last applied entry, to be read without a lock.
    applied_index: AtomicU64,
    /// The store's time, to be read without a lock.
    now_ms: AtomicU64,
    /// Rung after each entry.
    progress: Notify,
}

impl Replica {
    pub(super) fn new(store: Store, applied: Applied, pending: Arc<Pending>, wal: Wal) -> Replica {
        let applied_index = AtomicU64::new(applied.last.as_ref().map_or(0, |id| id.index));
        let now_ms = AtomicU64::new(store.now().0);
        let (store, applied) = (RwLock::new(store), Mutex::new(applied));
        Replica { store, applied, pending, wal, applied_index, now_ms, progress: Notify::new() }
    }

    /// Index of the last applied entry.
    pub(super) fn applied_index(&self) -> u64 {
        self.applied_index.load(Ordering::Acquire)
    }

    /// The store's time: that of the last applied entry.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp(self.now_ms.load(Ordering::Acquire))
    }

    /// Returns once `reached` holds; it is looked at after every applied entry.
    pub(super) async fn wait_until(&self, reached: impl Fn(&Replica) -> bool) {
        loop {
            let progress = self.progress.notified();
            if reached(self) {
                return;
            }
            progress.await;
        }
    }

    /// Applies one log entry and answers its callers. Returns how many commands it had.
    fn apply(&self, id: &LogId, proposal: &Proposal, effects: &mut Effects) -> io::Result<usize> {
        let entry = codec::decode(proposal.bytes())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("log entry {id}: {error}")))?;
        let batch = self.pending.applied(id.index);
        let mut applied = self.applied.lock();
        effects.begin(id.index, batch.is_some());
        let replies = self.apply_transactions(&entry, batch.as_ref(), effects);
        applied.last = Some(*id);
        self.publish(id.index);
        drop(applied);
        if let Some(batch) = batch {
            answer(batch, replies);
        }
        Ok(entry.transactions.iter().map(|t| t.commands.len()).sum())
    }

    fn apply_transactions(&self, entry: &LogEntry, batch: Option<&Batch>, effects: &mut Effects) -> Vec<Reply> {
        let callers = batch.map_or(&[][..], |batch| &batch.callers);
        assert!(batch.is_none() || callers.len() == entry.transactions.len(), "a caller for each transaction");
        let mut replies = Vec::with_capacity(callers.len());
        let mut store = self.store.write();
        store.open_entry(entry.at, &entry.touches, effects);
        for (n, transaction) in entry.transactions.iter().enumerate() {
            let reads = callers.get(n).map_or(&[][..], |caller| &caller.reads);
            store.transact(transaction, reads, effects);
            if batch.is_some() {
                let (outcomes, answers) = (take(&mut effects.outcomes), take(&mut effects.answers));
                replies.push(Reply { outcomes, answers });
            }
            RwLockWriteGuard::bump(&mut store);
        }
        self.now_ms.store(store.now().0, Ordering::Release);
        replies
    }

    /// Takes note of an entry that does not concern the store.
    fn apply_other(&self, id: &LogId, membership: Option<StoredMembership>) {
        let mut applied = self.applied.lock();
        applied.last = Some(*id);
        if let Some(membership) = membership {
            applied.membership = membership;
        }
        self.publish(id.index);
    }

    fn publish(&self, index: u64) {
        self.applied_index.store(index, Ordering::Release);
        self.wal.note_applied(GROUP, index);
        self.progress.notify_waiters();
    }

    /// Replaces everything by a snapshot's content. The old store is returned, to be dropped where it hurts nobody.
    pub(super) fn install(&self, store: Store, last: Option<LogId>, membership: StoredMembership) -> Store {
        let mut applied = self.applied.lock();
        let mut current = self.store.write();
        self.now_ms.store(store.now().0, Ordering::Release);
        let old = std::mem::replace(&mut *current, store);
        drop(current);
        *applied = Applied { last, membership };
        self.publish(last.map_or(0, |id| id.index));
        old
    }
}

/// Sends each caller its reply.
fn answer(mut batch: Batch, replies: Vec<Reply>) {
    for (Caller { sender, .. }, reply) in batch.callers.drain(..).zip(replies) {
        // A caller that went away wants no answer.
        let _ = sender.send(Ok(reply));
    }
}

/// openraft's view of the replica.
pub(super) struct Machine {
    replica: Arc<Replica>,
    snapshots: Arc<Snapshots>,
    effects: Effects,
}

impl Machine {
    pub(super) fn new(replica: Arc<Replica>, snapshots: Arc<Snapshots>) -> Machine {
        Machine { replica, snapshots, effects: Effects::default() }
    }

    fn apply_one(&mut self, id: &LogId, payload: &EntryPayload<Proposal, u64, Member>) -> io::Result<usize> {
        match payload {
            EntryPayload::Blank => self.replica.apply_other(id, None),
            EntryPayload::Membership(membership) => {
                let membership = StoredMembership::new(Some(*id), membership.clone());
                self.replica.apply_other(id, Some(membership));
            }
            EntryPayload::Normal(proposal) => {
                let commands = self.replica.apply(id, proposal, &mut self.effects)?;
                drop_garbage(&mut self.effects);
                return Ok(commands);
            }
        }
        Ok(0)
    }
}

/// What a FLUSHALL left behind may be millions of entries: their memory is freed on a thread of its own.
fn drop_garbage(effects: &mut Effects) {
    let garbage = take(&mut effects.garbage);
    if !garbage.is_empty() {
        tokio::task::spawn_blocking(move || drop(garbage));
    }
    effects.clear();
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let applied = self.replica.applied.lock();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let commands = self.apply_one(&entry.log_id, &entry.payload)?;
            if let Some(responder) = responder {
                responder.send(());
            }
            if commands > YIELD_COMMANDS {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { replica: Arc::clone(&self.replica), snapshots: Arc::clone(&self.snapshots) }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, file: SnapshotFile) -> io::Result<()> {
        self.snapshots.install(&self.replica, meta, file).await
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotFile>>> {
        Ok(self.snapshots.current())
    }
}

/// Gives openraft the snapshot that was taken for it; takes one if there is none.
pub(super) struct Builder {
    replica: Arc<Replica>,
    snapshots: Arc<Snapshots>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(
        &mut self,
    ) -> io::Result<openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotFile>> {
        self.snapshots.adopt_or_take(&self.replica).await
    }
}

/// The bytes of the membership as a snapshot's header keeps them.
pub(super) fn membership_bytes(membership: &StoredMembership) -> Bytes {
    super::payload::encode_membership(membership.membership())
}
