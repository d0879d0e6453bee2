//! Why keys are gone: a bounded memory of recent removals, filled by apply.
//!
//! ```text
//! table   SETS sets of WAYS records {tag, reason, index, at}; the hash of a key names its set and gives its tag
//! ```
//!
//! A removal takes the place of an older one of the same key, or else of the oldest in its set: one stretch of memory is
//! touched and nothing is allocated. So it is the oldest of a set that is forgotten, and not quite the oldest of all.
//!
//! It holds hashes of keys, not keys: 64 bits under a seed of this process, so that two keys are taken for each other
//! once in 2^64 pairs, and only in a remark on a key that is absent anyway. It is this node's own, is not in snapshots,
//! and grows again from the log that is replayed at a start. What it has forgotten is unknown, not denied.
//!
//! Apply notes removals under the store's lock: whoever reads that a key is absent can ask why, and is told of that removal
//! or a later one.
//!
//! A FLUSHALL names no keys, as its work is bounded. Those that it removed are noted while the old keyspace is freed; if a
//! snapshot was under way, which then owns the old keyspace, they are not noted, and of very many only the most recent are.
//! What is remembered from before such a FLUSHALL may be of a former life of its key. So it is not told until all keys of
//! the FLUSHALL are noted.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use parking_lot::Mutex;

use crate::model::{Key, Reason, Timestamp};
use crate::store::{Effects, Garbage};

/// Sets of records. A power of two.
const SETS: usize = 1 << 14;

/// Records in a set: 8 of 32 bytes lie in four lines of the cache.
const WAYS: usize = 8;

/// Removals that are remembered: 4 MiB of them.
const CAPACITY: usize = SETS * WAYS;

/// FLUSHALLs that are known to be noted in part, at most.
const DOUBTS: usize = 16;

/// Hashes that are noted at a time: apply waits for the table no longer than that takes.
const NOTED_AT_ONCE: usize = 256;

/// Why and when a key went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Why.
    pub reason: Reason,
    /// Index of the log entry that removed it.
    pub index: u64,
    /// Cluster time of that entry.
    pub at: Timestamp,
}

/// The recent removals.
pub struct Removals {
    table: Mutex<Table>,
    hasher: RandomState,
}

#[derive(Default)]
struct Table {
    sets: Vec<[Option<Record>; WAYS]>,
    /// How many keys of the FLUSHALL at that index are not noted yet.
    doubts: BTreeMap<u64, u64>,
    /// What is older is never told.
    floor: u64,
}

/// How much of what an entry did is noted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Noted {
    removals: usize,
    garbage: usize,
    cleared: u64,
}

#[derive(Clone, Copy)]
struct Record {
    hash: u64,
    gone: Gone,
}

impl Default for Removals {
    fn default() -> Removals {
        Removals { table: Mutex::default(), hasher: RandomState::new() }
    }
}

impl Removals {
    /// Notes what an entry removed beside what is `noted` of it. Costs nothing where it removed nothing.
    pub fn note(&self, effects: &Effects, noted: &mut Noted, at: Timestamp) {
        let removals = effects.removals_after(noted.removals);
        if removals.len() == 0 {
            return;
        }
        let index = effects.position();
        let cleared = effects.changes.cleared - noted.cleared;
        if cleared > 0 {
            self.table.lock().doubt(index, cleared);
        }
        for garbage in effects.garbage.iter().skip(noted.garbage).filter(|garbage| garbage.is_small()) {
            self.note_cleared(garbage, index, at);
        }
        let mut table = self.table.lock();
        noted.removals += removals.len();
        (noted.garbage, noted.cleared) = (effects.garbage.len(), effects.changes.cleared);
        for removal in removals.filter(|removal| !removal.key.is_empty()) {
            let gone = Gone { reason: removal.reason, index: removal.position, at };
            table.put(self.hasher.hash_one(removal.key), gone);
        }
    }

    /// Notes the keys of what a FLUSHALL at `index` gave up. Takes as long as there are keys: [`Removals::note`] does it
    /// only for small garbage.
    pub(super) fn note_cleared(&self, garbage: &Garbage, index: u64, at: Timestamp) {
        let mut hashes = Vec::new();
        garbage.visit_keys(CAPACITY / 2, &mut |key| hashes.push(self.hasher.hash_one(key)));
        for hashes in hashes.chunks(NOTED_AT_ONCE) {
            let mut table = self.table.lock();
            let gone = Gone { reason: Reason::Cleared, index, at };
            hashes.iter().for_each(|hash| table.put(*hash, gone));
            table.resolve(index, hashes.len() as u64);
        }
    }

    /// Why a key went last, if it is remembered.
    pub fn find(&self, key: &Key) -> Option<Gone> {
        let hash = self.hasher.hash_one(key.as_bytes());
        let table = self.table.lock();
        let records = table.sets.get(set_of(hash))?;
        let gone = records.iter().flatten().find(|record| record.hash == hash)?.gone;
        (gone.index >= table.certain_from()).then_some(gone)
    }
}

impl Table {
    /// A FLUSHALL at `index` removed so many keys, none of which is noted yet.
    fn doubt(&mut self, index: u64, keys: u64) {
        *self.doubts.entry(index).or_default() += keys;
        while self.doubts.len() > DOUBTS
            && let Some((index, _)) = self.doubts.pop_first()
        {
            self.floor = self.floor.max(index);
        }
    }

    /// So many keys of the FLUSHALL at `index` are noted.
    fn resolve(&mut self, index: u64, keys: u64) {
        if let Some(left) = self.doubts.get_mut(&index) {
            *left = left.saturating_sub(keys);
            if *left == 0 {
                self.doubts.remove(&index);
            }
        }
    }

    /// What is older than this may be of a former life of its key.
    fn certain_from(&self) -> u64 {
        self.doubts.last_key_value().map_or(self.floor, |(index, _)| self.floor.max(*index))
    }

    /// Notes a removal. What is noted late, off the apply thread, must not hide what happened since.
    fn put(&mut self, hash: u64, gone: Gone) {
        if self.sets.is_empty() {
            // Most nodes remove nothing for long: the memory is taken when it is first needed.
            self.sets.resize(SETS, [None; WAYS]);
        }
        let Some(set) = self.sets.get_mut(set_of(hash)) else { return };
        let of_key = set.iter().position(|record| record.is_some_and(|record| record.hash == hash));
        let is_older = |a: &Option<Record>, b: &Option<Record>| {
            a.map(|record| record.gone.index).cmp(&b.map(|record| record.gone.index))
        };
        let oldest = || set.iter().enumerate().min_by(|(_, a), (_, b)| is_older(a, b)).map(|(at, _)| at);
        let Some(at) = of_key.or_else(oldest) else { return };
        if let Some(place) = set.get_mut(at)
            && place.is_none_or(|record| record.gone.index <= gone.index)
        {
            *place = Some(Record { hash, gone });
        }
    }
}

fn set_of(hash: u64) -> usize {
    hash as usize & (SETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Command, Condition, Expiry, Transaction};
    use crate::store::Store;

    fn gone(reason: Reason, index: u64) -> Gone {
        Gone { reason, index, at: Timestamp(index * 10) }
    }

    fn key(n: u64) -> Key {
        Key::new(n.to_string()).expect("a key")
    }

    fn push(removals: &Removals, n: u64, gone: Gone) {
        let hash = removals.hasher.hash_one(key(n).as_bytes());
        removals.table.lock().put(hash, gone);
    }

    /// Goal: the latest reason of each key is told, and never that of another key.
    #[test]
    fn the_latest_reason_is_told() {
        let removals = Removals::default();
        assert_eq!(removals.find(&key(1)), None);
        push(&removals, 1, gone(Reason::Evicted, 5));
        push(&removals, 2, gone(Reason::Expired, 6));
        push(&removals, 1, gone(Reason::Deleted, 7));
        assert_eq!(removals.find(&key(1)), Some(gone(Reason::Deleted, 7)));
        assert_eq!(removals.find(&key(2)), Some(gone(Reason::Expired, 6)));
        push(&removals, 1, gone(Reason::Cleared, 6));
        assert_eq!(removals.find(&key(1)), Some(gone(Reason::Deleted, 7)), "noted late");
    }

    /// Goal: memory is bounded, recent removals are remembered, and old ones make room for them.
    #[test]
    fn old_removals_make_room_for_recent_ones() {
        assert_eq!(size_of::<[Option<Record>; WAYS]>() * SETS, 4 << 20);
        let removals = Removals::default();
        let last = 8 * CAPACITY as u64;
        for n in 0..=last {
            // Every second time it is the same key.
            push(&removals, if n % 2 == 0 { n } else { 1 }, gone(Reason::Evicted, n));
        }
        assert_eq!(removals.table.lock().sets.len(), SETS);
        assert_eq!(removals.find(&key(last)), Some(gone(Reason::Evicted, last)));
        assert_eq!(removals.find(&key(1)), Some(gone(Reason::Evicted, last - 1)));
        let remembered = |from: u64, to: u64| {
            let there = (from..to).filter(|n| n % 2 == 0 && removals.find(&key(*n)).is_some()).count();
            there as f64 / ((to - from) / 2) as f64
        };
        let recent = remembered(last - CAPACITY as u64, last);
        assert!(recent > 0.99, "of half as many as there is room for, {recent} are remembered");
        let old = remembered(0, CAPACITY as u64);
        assert!(old < 0.01, "of what was removed long ago, {old} are remembered");
    }

    /// Carries out one command as the entry at `index`, and notes what it removed.
    fn carry_out(removals: &Removals, store: &mut Store, index: u64, commands: Vec<Command>) -> Effects {
        let mut effects = Effects::new();
        effects.begin(index, false);
        store.open_entry(Timestamp(index), &[], &mut effects);
        let mut noted = Noted::default();
        for command in commands {
            store.transact(&Transaction::single(command), &[], &mut effects);
            removals.note(&effects, &mut noted, Timestamp(index));
        }
        effects
    }

    fn set(n: u64) -> Command {
        Command::Set { key: key(n), value: "v".into(), expiry: Expiry::Never, condition: Condition::Always }
    }

    /// Goal: every removal of an entry is noted once and under its own reason, however many transactions it has.
    #[test]
    fn what_each_transaction_of_an_entry_removes_is_noted() {
        let (removals, mut store) = (Removals::default(), Store::new());
        let delete = |n| Command::Delete { key: key(n), condition: Condition::Always };
        carry_out(&removals, &mut store, 5, (0..4).map(set).collect());
        carry_out(
            &removals,
            &mut store,
            6,
            vec![delete(0), Command::Clear, set(0), delete(0), set(1), set(2)],
        );
        let reason = |n| removals.find(&key(n)).map(|gone| (gone.reason, gone.index));
        assert_eq!(reason(0), Some((Reason::Deleted, 6)));
        assert_eq!(reason(3), Some((Reason::Cleared, 6)));
        assert_eq!(reason(4), None);
    }

    /// Goal: a key that a FLUSHALL removed is never said to be gone for what ended a former life of it.
    #[test]
    fn an_older_reason_is_not_told_until_all_keys_of_a_flushall_are_noted() {
        let (removals, mut store) = (Removals::default(), Store::new());
        push(&removals, 1, gone(Reason::Expired, 5));
        carry_out(&removals, &mut store, 6, (0..5_000).map(set).collect());
        assert_eq!(removals.find(&key(1)), Some(gone(Reason::Expired, 5)));
        let effects = carry_out(&removals, &mut store, 7, vec![Command::Clear]);
        assert!(effects.garbage.iter().all(|garbage| !garbage.is_small()), "it is noted later");
        assert_eq!(removals.find(&key(1)), None, "unknown, and not expired");
        push(&removals, 2, gone(Reason::Deleted, 8));
        assert_eq!(removals.find(&key(2)), Some(gone(Reason::Deleted, 8)), "what came later is certain");
        effects.garbage.iter().for_each(|garbage| removals.note_cleared(garbage, 7, Timestamp(70)));
        assert_eq!(removals.find(&key(1)), Some(gone(Reason::Cleared, 7)));
        push(&removals, 9_000, gone(Reason::Deleted, 3));
        assert_eq!(removals.find(&key(9_000)), Some(gone(Reason::Deleted, 3)), "no doubt is left");
    }
}
