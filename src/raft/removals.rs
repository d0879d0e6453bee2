//! Why keys are gone: a bounded memory of recent removals, filled by apply.
//!
//! ```text
//! records   | .. | 41: hash, index, at, reason | 42 | 43 | ..    a ring of CAPACITY, the oldest is overwritten
//!                    ^
//! newest    hash of a key -> its latest record
//! ```
//!
//! It holds hashes of keys, not keys: 64 bits under a seed of this process, so that two keys are taken for each other
//! once in 2^64 pairs, and only in a remark on a key that is absent anyway. It is this node's own, is not in snapshots,
//! and grows again from the log that is replayed at a start. What it has forgotten is unknown, not denied.
//!
//! A FLUSHALL names no keys, as its work is bounded. Those that it removed are noted while the old keyspace is freed;
//! if a snapshot was under way, which then owns the old keyspace, they are not noted.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use parking_lot::Mutex;

use crate::model::{Key, Reason, Timestamp};
use crate::store::{Effects, Garbage};

/// Removals that are remembered: 32 bytes each, and as much again in the map.
const CAPACITY: usize = 65_536;

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
#[derive(Default)]
pub struct Removals {
    ring: Mutex<Ring>,
    hasher: RandomState,
}

#[derive(Default)]
struct Ring {
    records: Vec<(u64, Gone)>,
    /// Where the next record goes, once the ring is full.
    next: usize,
    newest: HashMap<u64, u32>,
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
        let mut ring = self.ring.lock();
        for removal in removals.filter(|removal| !removal.key.is_empty()) {
            let gone = Gone { reason: removal.reason, index: removal.position, at };
            ring.push(self.hasher.hash_one(removal.key), gone);
        }
    }

    /// Notes the keys of what a FLUSHALL at `index` gave up. Takes as long as there are keys: [`Removals::note`] does it
    /// only for small garbage.
    pub(super) fn note_cleared(&self, garbage: &Garbage, index: u64, at: Timestamp) {
        let mut ring = self.ring.lock();
        garbage.visit_keys(CAPACITY / 2, &mut |key| {
            ring.push(self.hasher.hash_one(key), Gone { reason: Reason::Cleared, index, at });
        });
    }

    /// Why a key went last, if it is remembered.
    pub fn find(&self, key: &Key) -> Option<Gone> {
        let hash = self.hasher.hash_one(key.as_bytes());
        let ring = self.ring.lock();
        let at = *ring.newest.get(&hash)?;
        ring.records.get(at as usize).map(|(_, gone)| *gone)
    }
}

impl Ring {
    fn push(&mut self, hash: u64, gone: Gone) {
        let newest = self.newest.get(&hash).and_then(|&at| self.records.get(at as usize));
        // What is noted late, off the apply thread, must not hide what happened since.
        if newest.is_some_and(|(_, newest)| newest.index > gone.index) {
            return;
        }
        if self.records.len() < CAPACITY {
            self.newest.insert(hash, self.records.len() as u32);
            self.records.push((hash, gone));
            return;
        }
        let at = self.next;
        self.next = (at + 1) % CAPACITY;
        let (forgotten, _) = std::mem::replace(&mut self.records[at], (hash, gone));
        if self.newest.get(&forgotten) == Some(&(at as u32)) {
            self.newest.remove(&forgotten);
        }
        self.newest.insert(hash, at as u32);
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
        removals.ring.lock().push(removals.hasher.hash_one(key(n).as_bytes()), gone);
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

    /// Goal: memory is bounded: the oldest removals are forgotten, and the map shrinks with them.
    #[test]
    fn the_oldest_is_forgotten() {
        let removals = Removals::default();
        let last = 3 * CAPACITY as u64;
        for n in 0..=last {
            // Every second time it is the same key.
            push(&removals, if n % 2 == 0 { n } else { 1 }, gone(Reason::Evicted, n));
        }
        let ring = removals.ring.lock();
        assert_eq!(ring.records.len(), CAPACITY);
        assert_eq!(ring.newest.len(), CAPACITY / 2 + 1);
        drop(ring);
        assert_eq!(removals.find(&key(0)), None);
        assert_eq!(removals.find(&key(last)), Some(gone(Reason::Evicted, last)));
        assert_eq!(removals.find(&key(1)), Some(gone(Reason::Evicted, last - 1)));
    }
}
