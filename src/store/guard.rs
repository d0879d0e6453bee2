//! Which entries are safe from eviction while a transaction runs: those of its own keys.

use super::keyset::KeySet;
use super::keyspace::{Keyspace, Totals, cost_of};
use super::record::Record;
use crate::model::{Eviction, Slot, Transaction};

/// Keeps the keys of the running transaction from being victims, and knows how much could go without them.
/// Armed by the first need of room within a transaction, disarmed at its end.
#[derive(Default)]
pub(super) struct Guard {
    is_armed: bool,
    keys: KeySet,
    /// Everything that may go, and the part of it that has a deadline.
    open: Totals,
    open_volatile: Totals,
    /// Protected entries taken out of the order of deadlines while the search passes them.
    aside: Vec<Slot>,
    /// Entries looked at as victims so far, for the tests of bounded work.
    considered: u64,
}

impl Guard {
    pub(super) fn is_armed(&self) -> bool {
        self.is_armed
    }

    /// Entries looked at as victims since the store was made.
    pub(super) fn considered(&self) -> u64 {
        self.considered
    }

    /// What may go under `policy`, what has expired included.
    pub(super) fn open(&self, policy: Eviction) -> Totals {
        match policy {
            Eviction::Lru => self.open,
            Eviction::VolatileLru | Eviction::VolatileTtl | Eviction::NoEviction => self.open_volatile,
        }
    }

    /// A protected entry was taken out of the order of deadlines.
    pub(super) fn set_aside(&mut self, slot: Slot) {
        self.aside.push(slot);
    }

    /// Protects the keys of `transaction`.
    pub(super) fn arm(
        &mut self,
        keyspace: &mut Keyspace,
        transaction: &Transaction,
        is_expired: impl Fn(&Record<'_>) -> bool,
    ) {
        self.keys.collect(transaction, keyspace.index.hasher());
        self.arm_with_keys(keyspace);
        for key in self.keys.keys(transaction) {
            let Some(address) = keyspace.find(keyspace.index.hash(key), key) else { continue };
            let record = keyspace.records.at(address);
            // What has expired is absent to its own transaction too, so it may go.
            if is_expired(&record) {
                continue;
            }
            self.open.subtract(cost_of(&record));
            if record.has_deadline() {
                self.open_volatile.subtract(cost_of(&record));
            }
        }
    }

    /// Arms without a transaction: nothing is protected.
    pub(super) fn arm_for_nothing(&mut self, keyspace: &mut Keyspace) {
        self.keys.clear();
        self.arm_with_keys(keyspace);
    }

    fn arm_with_keys(&mut self, keyspace: &mut Keyspace) {
        self.is_armed = true;
        self.open = keyspace.totals;
        self.open_volatile = keyspace.volatile_totals;
        keyspace.lasting.rewind();
        keyspace.volatile.rewind();
    }

    /// Ends the protection. What was set aside goes back into the order of deadlines, unless a command has
    /// rewritten or removed it meanwhile.
    pub(super) fn disarm(&mut self, keyspace: &mut Keyspace) {
        self.is_armed = false;
        for slot in self.aside.drain(..) {
            let deadline =
                keyspace.slots.get(slot).and_then(|address| keyspace.records.at(address).deadline());
            if deadline.is_some() && !keyspace.deadlines.contains(slot) {
                keyspace.deadlines.set(slot, deadline);
            }
        }
    }

    /// An entry that was not protected is gone.
    pub(super) fn release(&mut self, record: &Record<'_>) {
        if self.is_armed {
            self.open.subtract(cost_of(record));
            if record.has_deadline() {
                self.open_volatile.subtract(cost_of(record));
            }
        }
    }

    /// The keyspace was replaced by an empty one.
    pub(super) fn forget(&mut self) {
        self.open = Totals::default();
        self.open_volatile = Totals::default();
    }

    /// Whether an entry is protected; `transaction` is the one that armed.
    pub(super) fn protects(&mut self, transaction: Option<&Transaction>, record: &Record<'_>) -> bool {
        self.considered += 1;
        transaction.is_some_and(|transaction| self.keys.find(transaction, record.key()).is_some())
    }
}
