//! The store and its place in the log: applies entries in order and answers those who wait for them.
//!
//! ```text
//!  begun = N --> [store: transaction, removals noted] ... rest ... [store: transaction, ...] --> applied = N --> callers
//! ```
//!
//! Invariants: `between` is held for the whole of an entry, so whoever holds it sees the store between two entries; the
//! order of locks is `between`, `applied`, `store`. The store's lock is let go between the transactions of an entry, so
//! readers may see a part of it. `begun` names the entry before the store changes and the store's lock orders the two:
//! whoever sees any of its effects finds it in `begun`. Why a key is gone is noted under the store's lock, so whoever sees
//! it gone can ask. Apply cannot fail but for an entry that this version cannot read: then the node stops, it never skips.

use std::io;
use std::mem::take;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock, RwLockWriteGuard};
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;

use super::Failure;
use super::checkpoints::Checkpoints;
use super::proposal::{Batch, Caller, Pending, Proposal, Reply};
use super::removals::{Noted, Removals};
use super::turns::{Rest, Turns};
use super::types::{GROUP, LogId, StoredMembership};
use crate::model::codec::{self, DecodeError};
use crate::model::{Command, Level, LogEntry, Timestamp};
use crate::store::{Effects, Store};
use crate::wal::Wal;

/// Where the store stands in the log.
#[derive(Clone, Debug, Default)]
pub(super) struct Applied {
    pub(super) last: Option<LogId>,
    pub(super) membership: StoredMembership,
}

impl Applied {
    /// No entry is applied twice. (That none is left out is seen to where the log is read.)
    fn expect_later(&self, id: &LogId) {
        assert!(self.last.is_none_or(|last| last.index < id.index), "entries are applied in their order");
    }
}

/// The store and its place in the log, shared by apply, reads and snapshots.
pub(super) struct Replica {
    pub(super) store: RwLock<Store>,
    pub(super) applied: Mutex<Applied>,
    pub(super) pending: Arc<Pending>,
    pub(super) removals: Arc<Removals>,
    /// Why nothing more can be applied, if so.
    pub(super) refusal: OnceLock<Failure>,
    /// Cancelled once the state machine is gone: nothing more is applied then.
    pub(super) gone: CancellationToken,
    wal: Wal,
    /// Held while an entry is applied.
    between: Arc<tokio::sync::Mutex<()>>,
    /// Index of the last entry of which the store may show anything.
    begun_index: AtomicU64,
    /// Index of the last applied entry, to be read without a lock.
    applied_index: AtomicU64,
    /// Its term.
    applied_term: AtomicU64,
    /// The store's time, to be read without a lock.
    now_ms: AtomicU64,
    /// The store's level, to be read without a lock.
    level: Arc<AtomicU16>,
    /// The highest level that this node understands.
    max_level: Level,
    /// Hashes of the state at some entries.
    pub(super) checkpoints: Checkpoints,
    /// Its state is not that of the other members: nothing may be read from it.
    pub(super) diverged: AtomicBool,
    /// Rung after each entry.
    progress: Notify,
}

impl Replica {
    /// `max_level`: the highest that this node understands; `hash_every`: after how many entries the state's hash is noted.
    pub(super) fn new(
        store: Store,
        applied: Applied,
        pending: Arc<Pending>,
        wal: Wal,
        (max_level, hash_every): (Level, u64),
    ) -> Replica {
        let last_index = applied.last.as_ref().map_or(0, |id| id.index);
        let (begun_index, applied_index) = (AtomicU64::new(last_index), AtomicU64::new(last_index));
        let applied_term = AtomicU64::new(applied.last.as_ref().map_or(0, |id| id.leader_id.term));
        let now_ms = AtomicU64::new(store.now().0);
        let level = Arc::new(AtomicU16::new(store.level().0));
        let (store, applied) = (RwLock::new(store), Mutex::new(applied));
        let (refusal, gone, progress) = (OnceLock::new(), CancellationToken::new(), Notify::new());
        Replica {
            store,
            applied,
            pending,
            removals: Arc::default(),
            refusal,
            gone,
            wal,
            between: Arc::default(),
            begun_index,
            applied_index,
            applied_term,
            now_ms,
            level,
            max_level,
            checkpoints: Checkpoints::new(hash_every),
            diverged: AtomicBool::new(false),
            progress,
        }
    }

    /// Index of the last applied entry.
    pub(super) fn applied_index(&self) -> u64 {
        self.applied_index.load(Ordering::Acquire)
    }

    /// Index of the last entry of which a reader here may have seen anything: at least [`Replica::applied_index`].
    pub(super) fn begun_index(&self) -> u64 {
        self.begun_index.load(Ordering::Acquire)
    }

    /// Keeps entries from being applied while it is held: the store then stands between two entries. `None` if it does not,
    /// because one was broken off: nothing more is applied then.
    pub(super) async fn between_entries(&self) -> Option<OwnedMutexGuard<()>> {
        let between = Arc::clone(&self.between).lock_owned().await;
        (self.begun_index() == self.applied_index()).then_some(between)
    }

    /// Term of the last applied entry.
    pub(super) fn applied_term(&self) -> u64 {
        self.applied_term.load(Ordering::Acquire)
    }

    /// The store's time: that of the last applied entry.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp(self.now_ms.load(Ordering::Acquire))
    }

    /// The level in force.
    pub(super) fn level(&self) -> Level {
        Level(self.level.load(Ordering::Acquire))
    }

    /// The level in force, to be read by others.
    pub(super) fn level_cell(&self) -> Arc<AtomicU16> {
        Arc::clone(&self.level)
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

    /// Applies one log entry and answers its callers. Rests when `turns` says so, and has done `commands` since it last did.
    pub(super) async fn apply(
        &self,
        id: &LogId,
        proposal: &Proposal,
        effects: &mut Effects,
        (turns, commands): (&dyn Turns, &mut usize),
    ) -> io::Result<()> {
        let entry = decode(proposal, self.max_level).map_err(|error| self.refuse(id, &error))?;
        let batch = self.pending.applied(id.index);
        let callers = batch.as_ref().map_or(&[][..], |batch| &batch.callers);
        assert!(
            batch.is_none() || callers.len() == entry.transactions.len(),
            "a caller for each transaction"
        );
        let _between = self.between.lock().await;
        self.begin(id);
        effects.begin(id.index, batch.is_some());
        let mut progress = Progress::default();
        while let Some(rest) = self.go_on(&entry, batch.as_ref(), &mut progress, effects, (turns, commands)) {
            rest.await;
        }
        self.applied.lock().last = Some(*id);
        self.publish(id);
        if let Some(batch) = batch {
            answer(batch, progress.replies);
        }
        Ok(())
    }

    /// From now on readers may see something of the entry.
    fn begin(&self, id: &LogId) {
        self.applied.lock().expect_later(id);
        self.begun_index.store(id.index, Ordering::Release);
    }

    /// An entry that cannot be read must not be skipped: the node stops, and says why.
    fn refuse(&self, id: &LogId, error: &DecodeError) -> io::Error {
        let what = format!("log entry {}: {error}", id.index);
        let failure = match error {
            DecodeError::Unknown { .. } => Failure::LevelTooHigh(what.clone()),
            DecodeError::Malformed { .. } => Failure::Core(what.clone()),
        };
        // The first reason stands.
        let _ = self.refusal.set(failure);
        io::Error::new(io::ErrorKind::InvalidData, what)
    }

    /// Carries out transactions of an entry until there is something to wait for. `None`: that was all.
    fn go_on(
        &self,
        entry: &LogEntry,
        batch: Option<&Batch>,
        progress: &mut Progress,
        effects: &mut Effects,
        (turns, commands): (&dyn Turns, &mut usize),
    ) -> Option<Rest> {
        let mut store = self.store.write();
        if !std::mem::replace(&mut progress.is_open, true) {
            store.open_entry(entry.at, &entry.touches, effects);
        }
        while let Some(transaction) = entry.transactions.get(progress.done) {
            if progress.done >= progress.warm {
                progress.warm = progress.done + store.warm(&entry.transactions[progress.done..]);
            }
            let caller = batch.and_then(|batch| batch.callers.get(progress.done));
            store.transact(transaction, caller.map_or(&[][..], |caller| &caller.reads), effects);
            if batch.is_some() {
                progress.replies.push(Reply {
                    outcomes: take(&mut effects.outcomes),
                    answers: take(&mut effects.answers),
                    failed_check: take(&mut effects.failed_check),
                    now: store.now(),
                });
            }
            progress.done += 1;
            self.removals.note(effects, &mut progress.noted, store.now());
            *commands += transaction.commands.len();
            if let Some(rest) = turns.rest(*commands) {
                *commands = 0;
                return Some(rest);
            }
            RwLockWriteGuard::bump(&mut store);
        }
        self.removals.note(effects, &mut progress.noted, store.now());
        self.checkpoints.note(effects.position(), || store.state_hash());
        self.note(&store);
        None
    }

    /// Takes note of an entry that does not concern the store.
    pub(super) fn apply_other(&self, id: &LogId, membership: Option<StoredMembership>) {
        self.begin(id);
        let mut applied = self.applied.lock();
        self.checkpoints.note(id.index, || self.store.read().state_hash());
        applied.last = Some(*id);
        if let Some(membership) = membership {
            applied.membership = membership;
        }
        self.publish(id);
    }

    fn note(&self, store: &Store) {
        self.now_ms.store(store.now().0, Ordering::Release);
        self.level.store(store.level().0, Ordering::Release);
    }

    fn publish(&self, id: &LogId) {
        self.applied_term.store(id.leader_id.term, Ordering::Release);
        self.applied_index.store(id.index, Ordering::Release);
        self.wal.note_applied(GROUP, id.index);
        self.progress.notify_waiters();
    }

    /// Replaces everything by a snapshot's content. The old store is returned, to be dropped where it hurts nobody.
    pub(super) fn install(&self, store: Store, last: Option<LogId>, membership: StoredMembership) -> Store {
        let mut applied = self.applied.lock();
        if let Some(last) = &last {
            self.begun_index.store(last.index, Ordering::Release);
        }
        let mut current = self.store.write();
        self.note(&store);
        let old = std::mem::replace(&mut *current, store);
        drop(current);
        *applied = Applied { last, membership };
        if let Some(last) = last {
            self.publish(&last);
        }
        old
    }
}

/// How far an entry was carried out.
#[derive(Default)]
struct Progress {
    is_open: bool,
    /// Transactions that were carried out.
    done: usize,
    /// Transactions that were looked ahead at.
    warm: usize,
    /// One for each of those that were carried out, if somebody waits.
    replies: Vec<Reply>,
    noted: Noted,
}

/// The entry, if this version can apply it.
fn decode(proposal: &Proposal, max_level: Level) -> Result<LogEntry, DecodeError> {
    let entry = codec::decode(proposal.bytes())?;
    let commands = entry.transactions.iter().flat_map(|transaction| &transaction.commands);
    let raised = commands.filter_map(|command| match command {
        Command::Raise(level) => Some(*level),
        _ => None,
    });
    match raised.chain([entry.level]).find(|level| *level > max_level) {
        Some(level) => Err(DecodeError::Unknown { what: "level", code: u64::from(level.0) }),
        None => Ok(entry),
    }
}

/// Sends each caller its reply.
fn answer(mut batch: Batch, replies: Vec<Reply>) {
    for (Caller { sender, budget, .. }, reply) in batch.callers.drain(..).zip(replies) {
        budget.came_through();
        // A caller that went away wants no answer.
        let _ = sender.send(Ok(reply));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use futures_util::FutureExt;

    use super::*;
    use crate::disk::Faulty;
    use crate::model::{Condition, Expiry, Key, Query, Reason, Transaction};
    use crate::raft::types::from_wal;
    use crate::wal;

    /// Rests after each transaction, for ever.
    struct Resting;

    impl Turns for Resting {
        fn rest(&self, _commands: usize) -> Option<Rest> {
            Some(std::future::pending().boxed())
        }
    }

    fn replica() -> Replica {
        let identity = wal::Identity { cluster: 7, node: 1, incarnation: 1 };
        let disk = Arc::new(Faulty::new());
        let wal = Wal::open(disk, Path::new("wal"), identity, wal::Config::default()).expect("a new log");
        Replica::new(Store::new(), Applied::default(), Arc::default(), wal, (Level::LATEST, 4_096))
    }

    fn key(name: &'static str) -> Key {
        Key::new(name).expect("a short key")
    }

    fn entry(index: u64, commands: Vec<Command>) -> (LogId, Proposal) {
        let transactions = commands.into_iter().map(Transaction::single).collect();
        let entry = LogEntry { level: Level::FIRST, at: Timestamp(index), touches: Vec::new(), transactions };
        let id = from_wal(wal::LogId { term: 1, leader: 0, index });
        (id, Proposal::replicated(codec::encode(&entry)))
    }

    /// Goal: whoever sees something of an entry finds it begun, and finds why a key is gone; and nobody takes a part of an
    /// entry for the whole, even when it is broken off.
    #[tokio::test]
    async fn a_part_of_an_entry_is_seen_with_its_index_and_its_reasons() {
        let (replica, mut effects) = (replica(), Effects::new());
        let set = |name| Command::Set {
            key: key(name),
            value: "v".into(),
            expiry: Expiry::Never,
            condition: Condition::Always,
        };
        let delete = |name| Command::Delete { key: key(name), condition: Condition::Always };
        let (id, proposal) = entry(1, vec![set("a"), set("b")]);
        let yielding = &super::super::Yielding;
        replica.apply(&id, &proposal, &mut effects, (yielding, &mut 0)).await.expect("it can be read");
        effects.clear();
        assert_eq!((replica.begun_index(), replica.applied_index()), (1, 1));
        assert!(replica.between_entries().await.is_some());

        let (id, proposal) = entry(2, vec![delete("a"), delete("b")]);
        let mut commands = 0;
        let mut applying = replica.apply(&id, &proposal, &mut effects, (&Resting, &mut commands)).boxed();
        assert!(applying.as_mut().now_or_never().is_none(), "it rests after the first transaction");
        assert_eq!((replica.begun_index(), replica.applied_index()), (2, 1));
        let present = |name| {
            let store = replica.store.read();
            store.read(store.now(), &Query::Get(key(name))) != crate::model::Answer::Value(None)
        };
        assert!(!present("a") && present("b"));
        let gone = replica.removals.find(&key("a")).expect("it is known as soon as it is seen");
        assert_eq!((gone.reason, gone.index), (Reason::Deleted, 2));
        assert!(replica.between_entries().now_or_never().is_none(), "the store is within an entry");
        drop(applying);
        assert!(replica.between_entries().await.is_none(), "what is there is no state between two entries");
    }
}
