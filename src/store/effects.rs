//! What the store tells of its changes.

use bytes::Bytes;

use super::cut::Side;
use super::keyspace::Keyspace;
use crate::model::{Answer, FailedCheck, Outcome, Reason, Version};

/// Values of at least this many bytes are handed out as garbage instead of being freed under the lock.
const GARBAGE_BYTES: usize = 64 << 10;

/// Memory for removals that is kept for the next use.
const KEPT_BYTES: usize = 1 << 20;

/// Keyspaces up to these sizes are freed at once.
const SMALL_KEYS: u64 = 1_024;
const SMALL_BYTES: u64 = 1 << 20;

/// How many changes of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Values written and deadlines set.
    pub written: u64,
    /// Keys deleted by command.
    pub deleted: u64,
    /// Keys removed because their deadline passed.
    pub expired: u64,
    /// Keys removed to make room.
    pub evicted: u64,
    /// Keys removed by FLUSHALL.
    pub cleared: u64,
}

/// A key that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal<'a> {
    /// The key. Empty for the one removal that stands for all keys of a FLUSHALL.
    pub key: &'a [u8],
    /// The version that it had; for FLUSHALL the revision of the store after it.
    pub version: Version,
    /// Why.
    pub reason: Reason,
    /// Index of the log entry.
    pub position: u64,
}

/// A removal whose key lies in the arena and begins where the one before ends.
struct Entry {
    key_end: usize,
    version: Version,
    reason: Reason,
    position: u64,
}

/// Memory to be dropped away from the apply thread.
pub struct Garbage(Held);

enum Held {
    Keyspace(Box<Keyspace>),
    Value(#[expect(dead_code, reason = "held only to be dropped elsewhere")] Bytes),
    Side(#[expect(dead_code, reason = "held only to be dropped elsewhere")] Side),
}

impl Garbage {
    /// Whether dropping it takes about as long as handing it to another thread.
    pub fn is_small(&self) -> bool {
        match &self.0 {
            Held::Keyspace(keyspace) => is_small(keyspace),
            Held::Value(_) | Held::Side(_) => false,
        }
    }

    /// Shows the keys of what a FLUSHALL gave up: of those with and of those without a deadline the `most` recent each,
    /// the least recent of these first.
    pub fn visit_keys(&self, most: usize, visit: &mut dyn FnMut(&[u8])) {
        let Held::Keyspace(keyspace) = &self.0 else { return };
        for list in [&keyspace.volatile, &keyspace.lasting] {
            list.visit_recent(&keyspace.records, most, &mut |record| visit(record.key()));
        }
    }
}

fn is_small(keyspace: &Keyspace) -> bool {
    keyspace.totals.keys <= SMALL_KEYS && keyspace.totals.bytes <= SMALL_BYTES
}

/// Receives what comes of applying entries. Made once and used again: [`Effects::clear`] keeps the memory.
#[derive(Default)]
pub struct Effects {
    /// Outcomes of commands, in order, while [`Effects::begin`] said that they are wanted.
    pub outcomes: Vec<Outcome>,
    /// Answers to the reads handed to `transact`, in order.
    pub answers: Vec<Answer>,
    /// The first check of the last transaction that did not hold.
    pub failed_check: Option<FailedCheck>,
    /// Counts of changes.
    pub changes: Changes,
    /// What to drop off this thread.
    pub garbage: Vec<Garbage>,
    wants_outcomes: bool,
    position: u64,
    removals: Vec<Entry>,
    arena: Vec<u8>,
}

impl Effects {
    /// Nothing yet; outcomes are not wanted.
    pub fn new() -> Effects {
        Effects::default()
    }

    /// What follows comes from the log entry at `position`. Outcomes are kept only if `wants_outcomes`.
    pub fn begin(&mut self, position: u64, wants_outcomes: bool) {
        self.position = position;
        self.wants_outcomes = wants_outcomes;
    }

    /// The log entry that this is about.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Forgets everything but the position and keeps the memory. Garbage left in here is dropped here.
    pub fn clear(&mut self) {
        self.outcomes.clear();
        self.answers.clear();
        self.failed_check = None;
        self.changes = Changes::default();
        self.garbage.clear();
        self.removals.clear();
        self.arena.clear();
        self.arena.shrink_to(KEPT_BYTES);
        self.removals.shrink_to(KEPT_BYTES / size_of::<Entry>());
    }

    /// Keys that are gone, in the order of removal.
    pub fn removals(&self) -> impl ExactSizeIterator<Item = Removal<'_>> {
        self.removals_after(0)
    }

    /// The same without the first `count`.
    pub fn removals_after(&self, count: usize) -> impl ExactSizeIterator<Item = Removal<'_>> {
        let before = count.checked_sub(1).and_then(|last| self.removals.get(last));
        let mut start = before.map_or(0, |entry| entry.key_end);
        self.removals.get(count..).unwrap_or_default().iter().map(move |entry| {
            let key = &self.arena[std::mem::replace(&mut start, entry.key_end)..entry.key_end];
            Removal { key, version: entry.version, reason: entry.reason, position: entry.position }
        })
    }

    pub(super) fn push_outcome(&mut self, outcome: Outcome) {
        if self.wants_outcomes {
            self.outcomes.push(outcome);
        }
    }

    pub(super) fn push_removal(&mut self, key: &[u8], version: Version, reason: Reason) {
        match reason {
            Reason::Deleted => self.changes.deleted += 1,
            Reason::Expired => self.changes.expired += 1,
            Reason::Evicted => self.changes.evicted += 1,
            Reason::Cleared => {}
        }
        self.arena.extend_from_slice(key);
        let key_end = self.arena.len();
        self.removals.push(Entry { key_end, version, reason, position: self.position });
    }

    pub(super) fn discard_value(&mut self, value: Option<Bytes>) {
        let large = value.filter(|value| value.len() >= GARBAGE_BYTES);
        self.garbage.extend(large.map(|value| Garbage(Held::Value(value))));
    }

    /// What a FLUSHALL gave up: its keys can still be told, so it is never dropped here.
    pub(super) fn discard_cleared(&mut self, keyspace: Box<Keyspace>) {
        self.garbage.push(Garbage(Held::Keyspace(keyspace)));
    }

    pub(super) fn discard_keyspace(&mut self, keyspace: Box<Keyspace>) {
        if !is_small(&keyspace) {
            self.garbage.push(Garbage(Held::Keyspace(keyspace)));
        }
    }

    pub(super) fn discard_side(&mut self, side: Side) {
        self.garbage.push(Garbage(Held::Side(side)));
    }
}
