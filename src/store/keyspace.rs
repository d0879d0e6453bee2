//! Entries and everything that is kept about them: one keyspace, which FLUSHALL replaces as a whole.
//!
//! Each method here changes records, slots, index, lists, deadlines, totals and sums together; nothing
//! outside changes any of them alone.

use bytes::Bytes;

use super::cells::Address;
use super::deadlines::Deadlines;
use super::hash::{content_hash, key_hash, order_hash};
use super::index::Index;
use super::level::cost;
use super::order::List;
use super::record::{Record, Records, Stamp};
use super::slots::Slots;

/// Accounted bytes and keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) bytes: u64,
    pub(super) keys: u64,
}

impl Totals {
    pub(super) fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.keys += 1;
    }

    pub(super) fn subtract(&mut self, bytes: u64) {
        self.bytes -= bytes;
        self.keys -= 1;
    }
}

/// Entries with their order and totals.
pub(super) struct Keyspace {
    pub(super) records: Records,
    pub(super) slots: Slots,
    pub(super) index: Index,
    pub(super) deadlines: Deadlines,
    /// Entries without a deadline.
    pub(super) lasting: List,
    /// Entries with a deadline.
    pub(super) volatile: List,
    pub(super) totals: Totals,
    pub(super) volatile_totals: Totals,
    pub(super) contents: u64,
    pub(super) order: u64,
}

/// A record's part of the state hash, without its place.
fn content_of(key_hash: u64, record: &Record<'_>) -> u64 {
    content_hash(key_hash, record.value_hash(), record.version(), record.deadline())
}

/// What a record counts toward `max_bytes`.
pub(super) fn cost_of(record: &Record<'_>) -> u64 {
    cost(record.key().len(), record.value().len())
}

impl Keyspace {
    /// An empty keyspace whose index is prepared for `keys` keys.
    pub(super) fn new(seed: u128, keys: usize) -> Keyspace {
        Keyspace {
            records: Records::new(),
            slots: Slots::new(),
            index: Index::new(seed, keys),
            deadlines: Deadlines::new(),
            lasting: List::default(),
            volatile: List::default(),
            totals: Totals::default(),
            volatile_totals: Totals::default(),
            contents: 0,
            order: 0,
        }
    }

    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<Address> {
        self.index.find(hash, |address| self.records.at(address).key() == key)
    }

    /// Adds a key that is not there yet.
    pub(super) fn insert(&mut self, hash: u64, key: &[u8], value: &[u8], stamp: Stamp) {
        let slot = self.slots.take_lowest();
        let address = self.records.create(slot, key, value, stamp);
        self.slots.set(slot, address);
        let records = &self.records;
        self.index.insert(hash, address, |index, moved| index.hash(records.at(moved).key()));
        self.deadlines.set(slot, stamp.deadline);
        self.attach(address, key_hash(key));
    }

    /// Gives an entry another value and stamp. Returns a shared value that was given up.
    pub(super) fn rewrite(
        &mut self,
        at: Address,
        hash: u64,
        key: &[u8],
        value: &[u8],
        stamp: Stamp,
    ) -> Option<Bytes> {
        let key_hash = key_hash(key);
        self.detach(at, key_hash);
        let (now_at, given_up) = self.records.rewrite(at, key, value, stamp);
        self.relocate(at, now_at, hash, stamp);
        self.attach(now_at, key_hash);
        given_up
    }

    /// Gives an entry another stamp.
    pub(super) fn restamp(&mut self, at: Address, hash: u64, stamp: Stamp) {
        let key_hash = key_hash(self.records.at(at).key());
        self.detach(at, key_hash);
        let now_at = self.records.restamp(at, stamp);
        self.relocate(at, now_at, hash, stamp);
        self.attach(now_at, key_hash);
    }

    /// Makes an entry the most recent one.
    pub(super) fn touch(&mut self, at: Address, recency: u64) {
        let record = self.records.at(at);
        let (slot, old, has_deadline) = (record.slot(), record.recency(), record.has_deadline());
        self.order = self.order.wrapping_sub(order_hash(slot, old)).wrapping_add(order_hash(slot, recency));
        self.records.set_recency(at, recency);
        let list = if has_deadline { &mut self.volatile } else { &mut self.lasting };
        list.unlink(&mut self.records, at);
        list.push(&mut self.records, at);
    }

    /// Takes an entry out. Returns its shared value, if it had one.
    pub(super) fn remove(&mut self, at: Address, hash: u64) -> Option<Bytes> {
        self.detach(at, key_hash(self.records.at(at).key()));
        let records = &self.records;
        self.index.remove(hash, at, |index, moved| index.hash(records.at(moved).key()));
        let slot = self.records.at(at).slot();
        self.deadlines.set(slot, None);
        self.slots.release(slot);
        self.records.remove(at)
    }

    /// Tells slots, index and deadlines what a rewritten entry has now.
    fn relocate(&mut self, old: Address, new: Address, hash: u64, stamp: Stamp) {
        let slot = self.records.at(new).slot();
        if old != new {
            self.index.replace(hash, old, new);
            self.slots.set(slot, new);
        }
        self.deadlines.set(slot, stamp.deadline);
    }

    /// Adds an entry to sums, totals and its list.
    fn attach(&mut self, at: Address, key_hash: u64) {
        let has_deadline = self.account(at, key_hash);
        let list = if has_deadline { &mut self.volatile } else { &mut self.lasting };
        list.push(&mut self.records, at);
    }

    /// Adds an entry to sums and totals. Returns whether it has a deadline.
    pub(super) fn account(&mut self, at: Address, key_hash: u64) -> bool {
        let record = self.records.at(at);
        let cost = cost_of(&record);
        self.contents = self.contents.wrapping_add(content_of(key_hash, &record));
        self.order = self.order.wrapping_add(order_hash(record.slot(), record.recency()));
        self.totals.add(cost);
        if record.has_deadline() {
            self.volatile_totals.add(cost);
        }
        record.has_deadline()
    }

    /// Takes an entry out of sums, totals and its list.
    fn detach(&mut self, at: Address, key_hash: u64) {
        let record = self.records.at(at);
        let cost = cost_of(&record);
        self.contents = self.contents.wrapping_sub(content_of(key_hash, &record));
        self.order = self.order.wrapping_sub(order_hash(record.slot(), record.recency()));
        self.totals.subtract(cost);
        let list = if record.has_deadline() {
            self.volatile_totals.subtract(cost);
            &mut self.volatile
        } else {
            &mut self.lasting
        };
        list.unlink(&mut self.records, at);
    }
}
