//! What a store holds, in a form that tests compare.

use kvorum::model::{Recency, Slot, Timestamp, Version};
use kvorum::store::{Globals, Store};

/// An entry as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) slot: Slot,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) version: Version,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) recency: Recency,
}

/// All entries of a store in the order of their slots, and what is beside them.
pub(crate) fn contents(store: &Store) -> (Globals, Vec<Entry>) {
    let slots = (0..store.end_slot().0).map(Slot);
    let entries = slots.filter_map(|slot| store.entry(slot)).map(|record| Entry {
        slot: record.slot,
        key: record.key.to_vec(),
        value: record.value.to_vec(),
        version: record.version,
        deadline: record.deadline,
        recency: record.recency,
    });
    (store.globals(), entries.collect())
}
