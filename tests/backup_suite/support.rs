//! What the tests of backups share: nodes on disks in memory, and ways to look at backups and at what came of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kvorum::clock::{Clock, ManualClock};
use kvorum::disk::{Disk, Faulty};
use kvorum::model::{
    Answer, Command, Condition, Expiry, Key, Outcome, Query, Settings, Timestamp, Transaction, Ttl, Version,
};
use kvorum::raft::snapshot::{Folder, Loaded};
use kvorum::raft::{
    Backup, Config, Consistency, Lifetimes, Node, OpenError, Options, PeerConfig, Restore, Restored,
    SnapshotConfig, Yielding, restore,
};
use kvorum::wal;
use tokio::time::Instant;

pub(crate) use crate::contents::{Entry, contents};

/// What a restore adds to every version.
pub(crate) const REVISIONS: u64 = 1 << 32;

/// When the tests begin.
pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// Where backups are put.
pub(crate) const FILE: &str = "/backups/the.snap";

pub(crate) fn data_dir() -> &'static Path {
    Path::new("/data")
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(NOW))
}

pub(crate) fn log() -> wal::Config {
    wal::Config { segment_bytes: 16 << 10, cache_bytes: 4 << 10, ..wal::Config::default() }
}

pub(crate) fn options(disk: &Faulty, clock: &Arc<ManualClock>) -> Options {
    Options {
        data_dir: data_dir().to_owned(),
        raft: Config { heartbeat_ms: 10, election_min_ms: 50, election_max_ms: 100 },
        wal: log(),
        wal_keep_bytes: 1 << 30,
        snapshot: SnapshotConfig::default(),
        peer: PeerConfig::default(),
        seed: Settings::default(),
        restore_from: None,
        max_level: kvorum::model::Level::LATEST,
        state_hash_every: 4_096,
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        disk: Arc::new(disk.clone()),
        turns: Arc::new(Yielding),
    }
}

pub(crate) async fn open(disk: &Faulty, clock: &Arc<ManualClock>) -> Node {
    Node::open(options(disk, clock)).await.expect("the node opens")
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

pub(crate) fn key(name: &str) -> Key {
    Key::new(name.to_owned()).expect("a short key")
}

pub(crate) fn set(name: &str, value: impl Into<bytes::Bytes>) -> Command {
    Command::Set { key: key(name), value: value.into(), expiry: Expiry::Never, condition: Condition::Always }
}

pub(crate) fn set_for(name: &str, ttl_ms: u64) -> Command {
    let expiry = Expiry::After(Ttl::from_millis(ttl_ms).expect("in range"));
    Command::Set { key: key(name), value: "v".into(), expiry, condition: Condition::Always }
}

pub(crate) async fn write(node: &Node, command: Command) -> Outcome {
    node.write(Transaction::single(command), soon()).await.expect("a write")[0]
}

/// The version of a key, if it is there.
pub(crate) async fn version(node: &Node, name: &str) -> Option<Version> {
    let read = node.read(&Query::Get(key(name)), Consistency::Linearizable, soon()).await.expect("a read");
    let Answer::Value(found) = read.answer else { panic!("a value was asked for") };
    found.map(|found| found.version)
}

/// The milliseconds that a key has left, if it is there and has a deadline.
pub(crate) async fn left_ms(node: &Node, name: &str) -> Option<u64> {
    let read =
        node.read(&Query::Describe(key(name)), Consistency::Linearizable, soon()).await.expect("a read");
    let Answer::Item(item) = read.answer else { panic!("an item was asked for") };
    item.and_then(|item| item.deadline).map(|deadline| deadline.millis_since(read.now))
}

/// All bytes of a backup.
pub(crate) fn bytes_of(mut backup: Backup) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let piece = backup.next(1_000).expect("a piece");
        if piece.is_empty() {
            assert_eq!(bytes.len() as u64, backup.taken().bytes);
            return bytes;
        }
        bytes.extend(piece);
    }
}

/// A disk with this backup on it and nothing else.
pub(crate) fn disk_with(backup: &[u8]) -> Faulty {
    let disk = Faulty::new();
    let parent = Path::new(FILE).parent().expect("a directory");
    disk.create_dir_all(parent).expect("a directory");
    let file = disk.create(Path::new(FILE)).expect("a file");
    file.write_at(0, backup).expect("the content");
    file.sync_all().expect("synced");
    disk.sync_dir(parent).expect("synced");
    disk
}

pub(crate) fn what(lifetimes: Lifetimes) -> Restore {
    Restore { file: PathBuf::from(FILE), lifetimes }
}

/// Restores the backup on a disk into the data directory on it.
pub(crate) fn restore_on(
    disk: &Faulty,
    clock: &ManualClock,
    lifetimes: Lifetimes,
) -> Result<Restored, OpenError> {
    restore(Arc::new(disk.clone()), data_dir(), log(), clock, &what(lifetimes), &mut |_, _| {})
}

/// What a file that is a snapshot of this cluster holds.
pub(crate) fn load(bytes: &[u8], cluster: u128) -> Loaded {
    let disk = Faulty::new();
    let folder = Folder::open(Arc::new(disk.clone()), Path::new("/looked-at")).expect("a folder");
    let mut receiving = folder.receive(bytes.len() as u64).expect("room");
    receiving.write(bytes).expect("written");
    let found = folder.accept(receiving, cluster).expect("a whole snapshot of this cluster");
    folder.load(&found, cluster).expect("it loads")
}

/// The newest snapshot in a data directory.
pub(crate) fn newest(disk: &Faulty, cluster: u128) -> Loaded {
    let folder = Folder::open(Arc::new(disk.clone()), &data_dir().join("snapshots")).expect("a folder");
    folder.load_newest(cluster).expect("valid").expect("there is one")
}
