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
//! A FLUSHALL names no keys, as its work is bounded. Those that it removed are noted while the old keyspace is freed;
//! if a snapshot was under way, which then owns the old keyspace, they are not noted.

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
    table: Mutex<Vec<[Option<Record>; WAYS]>>,
    hasher: RandomState,
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
    /// Notes what one entry removed. Costs nothing where it removed nothing.
    pub fn note(&self, effects: &Effects, at: Timestamp) {
        let removals = effects.removals();
        if removals.len() == 0 {
            return;
        }
        let index = effects.position();
        for garbage in effects.garbage.iter().filter(|garbage| garbage.is_small()) {
            self.note_cleared(garbage, index, at);
        }
        let mut table = self.table.lock();
        for removal in removals.filter(|removal| !removal.key.is_empty()) {
            let gone = Gone { reason: removal.reason, index: removal.position, at };
            put(&mut table, self.hasher.hash_one(removal.key), gone);
        }
    }

    /// Notes the keys of what a FLUSHALL at `index` gave up. Takes as long as there are keys: [`Removals::note`] does it
    /// only for small garbage.
    pub(super) fn note_cleared(&self, garbage: &Garbage, index: u64, at: Timestamp) {
        let mut table = self.table.lock();
        garbage.visit_keys(CAPACITY / 2, &mut |key| {
            put(&mut table, self.hasher.hash_one(key), Gone { reason: Reason::Cleared, index, at });
        });
    }

    /// Why a key went last, if it is remembered.
    pub fn find(&self, key: &Key) -> Option<Gone> {
        let hash = self.hasher.hash_one(key.as_bytes());
        let table = self.table.lock();
        let records = table.get(set_of(hash))?;
        records.iter().flatten().find(|record| record.hash == hash).map(|record| record.gone)
    }
}

fn set_of(hash: u64) -> usize {
    hash as usize & (SETS - 1)
}

/// Notes a removal. What is noted late, off the apply thread, must not hide what happened since.
fn put(table: &mut Vec<[Option<Record>; WAYS]>, hash: u64, gone: Gone) {
    if table.is_empty() {
        // Most nodes remove nothing for long: the memory is taken when it is first needed.
        table.resize(SETS, [None; WAYS]);
    }
    let Some(set) = table.get_mut(set_of(hash)) else { return };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(reason: Reason, index: u64) -> Gone {
        Gone { reason, index, at: Timestamp(index * 10) }
    }

    fn key(n: u64) -> Key {
        Key::new(n.to_string()).expect("a key")
    }

    fn push(removals: &Removals, n: u64, gone: Gone) {
        put(&mut removals.table.lock(), removals.hasher.hash_one(key(n).as_bytes()), gone);
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
        assert_eq!(removals.table.lock().len(), SETS);
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
}
