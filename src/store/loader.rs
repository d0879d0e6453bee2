//! Makes a store out of a snapshot's records, and believes nothing that it can check.

use std::hint::black_box;

use super::cells::Address;
use super::cut::RecordRef;
use super::globals::Globals;
use super::hash::key_hash;
use super::keyspace::Keyspace;
use super::level::MAX_KEYS;
use super::record::Stamp;
use super::state::Store;
use super::warm::WINDOW;
use crate::model::Level;
use crate::model::limits::{MAX_DEADLINE_MS, MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// Most keys for which the index is prepared before any is seen.
const MAX_PREPARED_KEYS: u64 = 1 << 24;

/// Why records do not make a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The state is of a level that this binary does not know.
    #[error("level {0} is newer than this binary")]
    Level(Level),
    /// A record with a length, number or deadline that no entry can have.
    #[error("a record is out of bounds")]
    Record,
    /// Two records have the same slot.
    #[error("a slot is taken twice")]
    Slot,
    /// Two records have the same key.
    #[error("a key is there twice")]
    Key,
    /// Two records have the same place in the LRU order.
    #[error("two records share a place in the LRU order")]
    Recency,
    /// The number of keys differs from the one recorded.
    #[error("the number of keys is not the one recorded")]
    Count,
    /// The accounted bytes differ from those recorded.
    #[error("the accounted bytes are not those recorded")]
    Bytes,
    /// The state hash differs from the one recorded.
    #[error("the state hash is not the one recorded")]
    StateHash,
}

/// Collects records, in any order, into a store. They are checked when they come, or some records later, and
/// as a whole in [`Loader::finish`]; a loader that has returned an error is to be dropped.
pub struct Loader {
    globals: Globals,
    keyspace: Keyspace,
    order: Vec<(u64, Address)>,
    /// Records not yet in the index: entered a window at a time, so that their cache misses overlap.
    pending: Vec<(u64, Address)>,
}

impl Loader {
    /// A loader for the state that `globals` describe.
    pub fn new(globals: Globals) -> Loader {
        let keys = globals.keys.min(MAX_PREPARED_KEYS) as usize;
        Loader {
            globals,
            keyspace: Keyspace::new(globals.hash_seed, keys),
            order: Vec::with_capacity(keys),
            pending: Vec::with_capacity(WINDOW),
        }
    }

    /// Adds a record.
    pub fn push(&mut self, record: RecordRef<'_>) -> Result<(), Invalid> {
        validate(&self.globals, &record)?;
        let stamp = Stamp { version: record.version.0, recency: record.recency.0, deadline: record.deadline };
        let Keyspace { records, slots, index, deadlines, .. } = &mut self.keyspace;
        let address = records.create(record.slot, record.key, record.value, stamp);
        if !slots.take(record.slot, address) {
            return Err(Invalid::Slot);
        }
        record.deadline.into_iter().for_each(|deadline| deadlines.push(record.slot, deadline));
        self.pending.push((index.hash(record.key), address));
        self.keyspace.account(address, key_hash(record.key));
        self.order.push((record.recency.0, address));
        if self.pending.len() < WINDOW { Ok(()) } else { self.enter_pending() }
    }

    /// Checks the whole and makes the store.
    pub fn finish(mut self) -> Result<Store, Invalid> {
        if self.globals.level > Level::LATEST {
            return Err(Invalid::Level(self.globals.level));
        }
        self.enter_pending()?;
        self.link()?;
        self.keyspace.deadlines.restore_order();
        let expected = self.globals;
        let store = Store::restored(&expected, self.keyspace);
        if store.len() != expected.keys {
            return Err(Invalid::Count);
        }
        if store.bytes() != expected.bytes {
            return Err(Invalid::Bytes);
        }
        if store.state_hash() != expected.state_hash {
            return Err(Invalid::StateHash);
        }
        Ok(store)
    }

    fn enter_pending(&mut self) -> Result<(), Invalid> {
        let Keyspace { records, index, .. } = &mut self.keyspace;
        black_box(self.pending.iter().fold(0, |seen, &(hash, _)| seen ^ index.glance_at(hash)));
        for (hash, address) in self.pending.drain(..) {
            let key = records.at(address).key();
            if index.find(hash, |other| records.at(other).key() == key).is_some() {
                return Err(Invalid::Key);
            }
            index.insert(hash, address, |index, moved| index.hash(records.at(moved).key()));
        }
        Ok(())
    }

    /// Rebuilds the LRU lists. Recency is unique, so the order is the one that it was.
    fn link(&mut self) -> Result<(), Invalid> {
        self.order.sort_unstable_by_key(|&(recency, _)| recency);
        if self.order.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(Invalid::Recency);
        }
        for window in self.order.chunks(WINDOW) {
            self.keyspace.warm_for_link(window);
            let Keyspace { records, lasting, volatile, .. } = &mut self.keyspace;
            for &(_, address) in window {
                let list = if records.at(address).has_deadline() { &mut *volatile } else { &mut *lasting };
                list.push(records, address);
            }
        }
        Ok(())
    }
}

/// Whether each number of a record is one that an entry beside these globals can have.
pub(super) fn validate(globals: &Globals, record: &RecordRef<'_>) -> Result<(), Invalid> {
    let is_valid = (1..=MAX_KEY_BYTES).contains(&record.key.len())
        && record.value.len() as u64 <= MAX_VALUE_BYTES
        && (1..=globals.revision).contains(&record.version.0)
        && (1..=globals.recency).contains(&record.recency.0)
        && record.deadline.is_none_or(|deadline| (1..=MAX_DEADLINE_MS).contains(&deadline.0))
        && u64::from(record.slot.0) < MAX_KEYS;
    if is_valid { Ok(()) } else { Err(Invalid::Record) }
}
