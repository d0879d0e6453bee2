//! What the tests of snapshots share: stores to take snapshots of, and ways to compare them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use kvorum::disk::{Disk, Faulty};
use kvorum::model::{
    Command, Condition, Expiry, Key, Recency, Settings, Slot, Timestamp, Touch, Transaction, Ttl, Version,
};
use kvorum::raft::snapshot::{Built, Error, Folder, Meta, Progress, build};
use kvorum::store::{Effects, Globals, Store};
use kvorum::wal::LogId;
use parking_lot::RwLock;

/// The cluster of all snapshots here.
pub(crate) const CLUSTER: u128 = 0x0011_2233_4455_6677_8899_AABB_CCDD_EEFF;

/// Room for displaced entries that no test fills by accident.
pub(crate) const BUDGET: usize = 64 << 20;

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

/// A store that was initialised.
pub(crate) fn new_store() -> Store {
    let mut store = Store::new();
    apply(&mut store, 1_000, Command::Initialize { hash_seed: 7, settings: Settings::default() });
    store
}

/// Applies one command at a time.
pub(crate) fn apply(store: &mut Store, at: u64, command: Command) {
    let mut effects = Effects::new();
    store.open_entry(Timestamp(at), &[], &mut effects);
    store.transact(&Transaction::single(command), &[], &mut effects);
}

/// Makes an entry the most recent one, if it is still the same.
pub(crate) fn touch(store: &mut Store, slot: Slot) {
    let Some(version) = store.entry(slot).map(|entry| entry.version) else { return };
    store.open_entry(store.now(), &[Touch { slot, version }], &mut Effects::new());
}

pub(crate) fn key(key: impl Into<Bytes>) -> Key {
    Key::new(key).unwrap()
}

pub(crate) fn set(name: impl Into<Bytes>, value: impl Into<Bytes>) -> Command {
    let (key, value) = (key(name), value.into());
    Command::Set { key, value, expiry: Expiry::Never, condition: Condition::Always }
}

pub(crate) fn set_for(name: impl Into<Bytes>, value: impl Into<Bytes>, ttl_ms: u64) -> Command {
    let (key, value, expiry) = (key(name), value.into(), Expiry::After(Ttl::from_millis(ttl_ms).unwrap()));
    Command::Set { key, value, expiry, condition: Condition::Always }
}

pub(crate) fn delete(name: impl Into<Bytes>) -> Command {
    Command::Delete { key: key(name), condition: Condition::Always }
}

/// Bytes that do not compress.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// A position in the log.
pub(crate) fn log_id(index: u64) -> LogId {
    LogId { term: 3, leader: 2, index }
}

/// A snapshot's meta at that position.
pub(crate) fn meta(index: u64) -> Meta {
    let membership = Bytes::from_static(b"one voter, no learners");
    Meta { cluster: CLUSTER, last_log: log_id(index), membership, membership_log: Some(log_id(1)) }
}

pub(crate) fn dir() -> &'static Path {
    Path::new("/data/snapshots")
}

pub(crate) fn open(disk: &Faulty) -> Folder {
    Folder::open(Arc::new(disk.clone()), dir()).unwrap()
}

/// Cuts the store and takes a snapshot of it.
pub(crate) fn take(store: &RwLock<Store>, folder: &Folder, index: u64) -> Result<Built, Error> {
    let globals = store.write().begin_cut(BUDGET).unwrap();
    build(store, globals, meta(index), folder, &Progress::default())
}

/// The name under which the snapshot at that position stands.
pub(crate) fn path_of(index: u64) -> PathBuf {
    dir().join(format!("{index:016x}-{:016x}-{:016x}.snap", 3, 2))
}

/// Loads the newest snapshot and compares it with what it should be.
#[track_caller]
pub(crate) fn assert_loads(folder: &Folder, index: u64, expected: &(Globals, Vec<Entry>)) {
    let loaded = folder.load_newest(CLUSTER).unwrap().expect("there is a snapshot");
    assert_eq!(loaded.meta, meta(index));
    assert_eq!(contents(&loaded.store).0, expected.0);
    assert!(contents(&loaded.store) == *expected, "the entries differ");
    assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
}

/// The names in the folder.
pub(crate) fn names(disk: &Faulty) -> Vec<String> {
    disk.read_dir(dir()).unwrap()
}
