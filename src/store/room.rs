//! Making room: which entry goes, and whether there is any.
//!
//! Order of victims: first what has expired, by (deadline, slot); then by policy: `lru` the entry with the
//! smallest recency (the older of the two lists' tails), `volatile-lru` the same among those with a deadline,
//! `volatile-ttl` by (deadline, slot). Keys that the transaction's commands may write are never victims.
//!
//! Whether room can be made is known before the first victim falls (except what expired under `noeviction`):
//! a write that is refused evicts nothing.

use super::cells::Address;
use super::effects::Effects;
use super::keyspace::{Keyspace, cost_of};
use super::limits::Need;
use super::record::Record;
use super::state::Store;
use crate::model::{Eviction, Reason, Transaction};

impl Store {
    /// How many entries were looked at as victims since the store was made: the work of evictions, for tests.
    pub fn victims_considered(&self) -> u64 {
        self.guard.considered()
    }

    /// Removes entries until `need` is met. `false`, with nothing evicted, if it cannot be met.
    pub(super) fn make_room(
        &mut self,
        need: Need,
        transaction: &Transaction,
        policy: Eviction,
        effects: &mut Effects,
    ) -> bool {
        if !self.guard.is_armed() {
            let now = self.now;
            self.guard.arm(&mut self.keyspace, transaction, |record| record.is_expired(now));
        }
        let open = self.guard.open(policy);
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
        let mut is_protected = |record: &Record<'_>| guard.protects(transaction, record);
        match policy {
            Eviction::NoEviction => None,
            Eviction::VolatileLru => keyspace.oldest_volatile(&mut is_protected),
            Eviction::Lru => {
                let lasting = keyspace.oldest_lasting(&mut is_protected);
                let volatile = keyspace.oldest_volatile(&mut is_protected);
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
            guard.set_aside(slot);
        }
    }
}

impl Keyspace {
    fn oldest_lasting(&mut self, mut is_protected: impl FnMut(&Record<'_>) -> bool) -> Option<Address> {
        while let Some(address) = self.lasting.cursor().some() {
            if !is_protected(&self.records.at(address)) {
                return Some(address);
            }
            self.lasting.skip(&self.records);
        }
        None
    }

    fn oldest_volatile(&mut self, mut is_protected: impl FnMut(&Record<'_>) -> bool) -> Option<Address> {
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
