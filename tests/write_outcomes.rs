//! What a caller is told of a write whose deadline passes.
//!
//! Goal: "not applied" is said only of what was never proposed. Method: a disk whose syncs can be held back, so that
//! entries stay proposed and unanswered for as long as the test wants; the window of entries in flight is then full and
//! further writes stay in the queue.

#![cfg(test)]
#![allow(clippy::disallowed_methods, reason = "waits are bounded by the machine's clock")]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kvorum::clock::SystemClock;
use kvorum::disk::{Disk, Faulty, File, Lock, LockError, Space};
use kvorum::model::{Answer, Command, Condition, Expiry, Key, Query, Settings, Transaction};
use kvorum::raft::{Config, Consistency, Node, Options, PeerConfig, SnapshotConfig, WriteError, Yielding};
use kvorum::wal;
use parking_lot::{Condvar, Mutex};
use tokio::time::Instant;

/// Holds syncs back while it is closed.
#[derive(Debug, Default)]
struct Gate {
    closed: Mutex<bool>,
    moved: Condvar,
}

impl Gate {
    fn set(&self, closed: bool) {
        *self.closed.lock() = closed;
        self.moved.notify_all();
    }

    fn pass(&self) {
        let mut closed = self.closed.lock();
        self.moved.wait_while(&mut closed, |closed| *closed);
    }
}

#[derive(Debug, Clone)]
struct GatedDisk(Faulty, Arc<Gate>);

#[derive(Debug)]
struct GatedFile(Arc<dyn File>, Arc<Gate>);

impl GatedDisk {
    fn gated(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(GatedFile(file, Arc::clone(&self.1)))
    }
}

impl Disk for GatedDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.0.create(path).map(|file| self.gated(file))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.0.open(path).map(|file| self.gated(file))
    }
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.0.open_read(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        self.0.read_dir(path)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.exists(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.remove_dir_all(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.sync_dir(path)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        self.0.space(path)
    }
    fn lock(&self, path: &Path) -> Result<Lock, LockError> {
        self.0.lock(path)
    }
}

impl File for GatedFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
    fn allocate(&self, length: u64) -> io::Result<()> {
        self.0.allocate(length)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.1.pass();
        self.0.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.1.pass();
        self.0.sync_all()
    }
}

fn options(disk: &GatedDisk) -> Options {
    Options {
        data_dir: "/data".into(),
        raft: Config::default(),
        wal: wal::Config { segment_bytes: 64 << 10, ..wal::Config::default() },
        wal_keep_bytes: 0,
        snapshot: SnapshotConfig::default(),
        peer: PeerConfig::default(),
        seed: Settings::default(),
        restore_from: None,
        max_level: kvorum::model::Level::LATEST,
        state_hash_every: 4_096,
        clock: Arc::new(SystemClock),
        disk: Arc::new(disk.clone()),
        turns: Arc::new(Yielding),
    }
}

fn key(n: usize) -> Key {
    Key::new(format!("key{n}")).expect("a short key")
}

fn set(n: usize) -> Transaction {
    let command =
        Command::Set { key: key(n), value: "v".into(), expiry: Expiry::Never, condition: Condition::Always };
    Transaction::single(command)
}

async fn is_there(node: &Node, n: usize) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    let read = node.read(&Query::Get(key(n)), Consistency::Linearizable, deadline).await.expect("a read");
    matches!(read.answer, Answer::Value(Some(_)))
}

/// Writes beyond the window are certainly not applied, those within may be, and each caller is told which.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_was_never_proposed_is_reported_as_not_applied() {
    let disk = GatedDisk(Faulty::new(), Arc::default());
    let node = Node::open(options(&disk)).await.expect("a new node");
    disk.1.set(true);
    let mut results = Vec::new();
    for n in 0..20 {
        // One after the other, so that each travels in an entry of its own.
        let deadline = Instant::now() + Duration::from_millis(50);
        results.push(node.write(set(n), deadline).await.expect_err("no sync, no answer"));
    }
    disk.1.set(false);
    let last = Instant::now() + Duration::from_secs(10);
    node.write(set(99), last).await.expect("the log goes on");
    let mut unknown = 0;
    for (n, error) in results.into_iter().enumerate() {
        match error {
            WriteError::UnknownOutcome => unknown += 1,
            WriteError::Overloaded => {
                assert!(!is_there(&node, n).await, "write {n} was said not to be applied")
            }
            other => panic!("write {n}: {other}"),
        }
    }
    assert!((1..20).contains(&unknown), "some were proposed and some were not: {unknown}");
    node.close().await.expect("a clean stop");
}
