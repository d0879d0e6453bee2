//! Making room: which entry goes, and whether there is any.
//!
//! Order of victims: first what has expired, by (deadline, slot); then by policy: `lru` the entry with the smallest
//! recency (the older of the two lists' tails), `volatile-lru` the same among those with a deadline, `volatile-ttl` by
//! (deadline, slot). Keys that the transaction's commands may write are never victims.
//!
//! Whether room can be made is known before the first victim falls (except what expired under `noeviction`): a write
//! that is refused evicts nothing.

use super::cells::Address;
use super::effects::Effects;
use super::keyset::KeySet;
use super::keyspace::{Keyspace, Totals, cost_of};
use super::record::Record;
use super::state::{Limits, Store};
use crate::model::{Eviction, Reason, Slot, Transaction};

/// Bytes and keys that must go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) bytes: u64,
    pub(super) keys: u64,
}

impl Need {
    /// By how much `totals` exceed `limits`.
    pub(super) fn over(totals: Totals, limits: Limits) -> Need {
        Need {
            bytes: totals.bytes.saturating_sub(limits.max_bytes),
            keys: totals.keys.saturating_sub(limits.max_keys),
        }
    }

    pub(super) fn is_some(self) -> bool {
        self.bytes > 0 || self.keys > 0
    }

    fn less(self, freed: u64) -> Need {
        Need { bytes: self.bytes.saturating_sub(freed), keys: self.keys.saturating_sub(1) }
    }
}

/// Keeps the keys of the running transaction from being victims, and knows how much could go without them.
/// Armed by the first need of room within a transaction, disarmed at its end.
#[derive(Default)]
pub(super) struct Guard {
    is_armed: bool,
    pub(super) keys: KeySet,
    /// Everything that may go, and the part of it that has a deadline.
    open: Totals,
    open_volatile: Totals,
    /// Protected entries taken out of the order of deadlines while the search passes them.
    aside: Vec<Slot>,
}

impl Guard {
    fn arm(
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

    fn protects(&self, transaction: Option<&Transaction>, record: &Record<'_>) -> bool {
        transaction.is_some_and(|transaction| self.keys.find(transaction, record.key()).is_some())
    }
}

impl Store {
    /// Removes entries until `need` is met. `false`, with nothing evicted, if it cannot be met.
    pub(super) fn make_room(
        &mut self,
        need: Need,
        transaction: &Transaction,
        policy: Eviction,
        effects: &mut Effects,
    ) -> bool {
        if !self.guard.is_armed {
            let now = self.now;
            self.guard.arm(&mut self.keyspace, transaction, |record| record.is_expired(now));
        }
        let open = match policy {
            Eviction::Lru => self.guard.open,
            Eviction::VolatileLru | Eviction::VolatileTtl | Eviction::NoEviction => self.guard.open_volatile,
        };
        if need.bytes > open.bytes || need.keys > open.keys {
            return false;
        }
        let left = self.free_up(need, Some(transaction), policy, usize::MAX, effects);
        assert!(!left.is_some() || policy == Eviction::NoEviction, "what may go was counted before");
        !left.is_some()
    }

    /// Removes at most `steps` entries towards `need`. Returns what is left of it. The guard is armed.
    pub(super) fn free_up(
        &mut self,
        mut need: Need,
        transaction: Option<&Transaction>,
        policy: Eviction,
        steps: usize,
        effects: &mut Effects,
    ) -> Need {
        for _ in 0..steps {
            if !need.is_some() {
                break;
            }
            // Expired entries go first: they are absent already, so nobody loses anything.
            let (victim, reason) = match self.first_expired() {
                Some(expired) => (expired, Reason::Expired),
                None => match self.victim(transaction, policy) {
                    Some(victim) => (victim, Reason::Evicted),
                    None => break,
                },
            };
            need = need.less(cost_of(&self.keyspace.records.at(victim)));
            self.release(victim, reason, effects);
        }
        need
    }

    fn victim(&mut self, transaction: Option<&Transaction>, policy: Eviction) -> Option<Address> {
        let Store { keyspace, guard, .. } = self;
        let is_protected = |record: &Record<'_>| guard.protects(transaction, record);
        match policy {
            Eviction::NoEviction => None,
            Eviction::VolatileLru => keyspace.oldest_volatile(is_protected),
            Eviction::Lru => {
                let lasting = keyspace.oldest_lasting(is_protected);
                let volatile = keyspace.oldest_volatile(is_protected);
                keyspace.older(lasting, volatile)
            }
            Eviction::VolatileTtl => self.first_to_expire(transaction),
        }
    }

    fn first_to_expire(&mut self, transaction: Option<&Transaction>) -> Option<Address> {
        let Store { keyspace, guard, .. } = self;
        loop {
            let (_, slot) = keyspace.deadlines.first()?;
            let address = keyspace.slots.get(slot).expect("a deadline belongs to an entry");
            if !guard.protects(transaction, &keyspace.records.at(address)) {
                return Some(address);
            }
            keyspace.deadlines.set(slot, None);
            guard.aside.push(slot);
        }
    }
}

impl Keyspace {
    fn oldest_lasting(&mut self, is_protected: impl Fn(&Record<'_>) -> bool) -> Option<Address> {
        while let Some(address) = self.lasting.cursor().some() {
            if !is_protected(&self.records.at(address)) {
                return Some(address);
            }
            self.lasting.skip(&self.records);
        }
        None
    }

    fn oldest_volatile(&mut self, is_protected: impl Fn(&Record<'_>) -> bool) -> Option<Address> {
        while let Some(address) = self.volatile.cursor().some() {
            if !is_protected(&self.records.at(address)) {
                return Some(address);
            }
            self.volatile.skip(&self.records);
        }
        None
    }

    /// The one with the smaller recency: together the two lists are one LRU order.
    fn older(&self, one: Option<Address>, other: Option<Address>) -> Option<Address> {
        let recency = |&address: &Address| self.records.at(address).recency();
        [one, other].into_iter().flatten().min_by_key(recency)
    }
}
