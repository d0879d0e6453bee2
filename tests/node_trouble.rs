//! A whole node in trouble that it must live through: a disk without room for the next segment, in either durability
//! mode, and a wall clock that is far off.

#![cfg(test)]
#![allow(clippy::disallowed_methods, reason = "waits are bounded by the machine's clock")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kvorum::clock::{Clock, ManualClock};
use kvorum::disk::{Disk, Fault, Faulty, Operation};
use kvorum::model::{
    Answer, Command, Condition, Expiry, Key, Query, Settings, SettingsChange, Timestamp, Transaction, Ttl,
};
use kvorum::raft::{Config, Consistency, Node, Options, PeerConfig, SnapshotConfig, WriteError, Yielding};
use kvorum::wal;
use kvorum::wal::Durability;
use parking_lot::Mutex;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(60);
const SEGMENT_BYTES: u64 = 64 << 10;
const ENOSPC: i32 = 28;
const EMFILE: i32 = 24;
const START: Timestamp = Timestamp(1_700_000_000_000);

fn options(disk: &Faulty, clock: Arc<dyn Clock>, durability: Durability) -> Options {
    Options {
        data_dir: "/data".into(),
        raft: Config::default(),
        wal: wal::Config { segment_bytes: SEGMENT_BYTES, durability, ..wal::Config::default() },
        wal_keep_bytes: 0,
        snapshot: SnapshotConfig::default(),
        peer: PeerConfig::default(),
        seed: Settings::default(),
        restore_from: None,
        max_level: kvorum::model::Level::LATEST,
        state_hash_every: 4_096,
        clock,
        disk: Arc::new(disk.clone()),
        turns: Arc::new(Yielding),
    }
}

fn failing(operation: Operation, name: &str, errno: i32) -> Fault {
    Fault { operation, name: name.to_owned(), skip: 0, times: u64::MAX, errno }
}

fn key(name: &str) -> Key {
    Key::new(name.to_owned()).expect("a short key")
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

async fn set(node: &Node, name: &str, expiry: Expiry) -> Result<(), WriteError> {
    let value = vec![b'v'; 1_000].into();
    let command = Command::Set { key: key(name), value, expiry, condition: Condition::Always };
    node.write(Transaction::single(command), soon()).await.map(drop)
}

async fn is_there(node: &Node, name: &str) -> bool {
    let read = node.read(&Query::Get(key(name)), Consistency::Linearizable, soon()).await.expect("a read");
    matches!(read.answer, Answer::Value(Some(_)))
}

/// Waits for a condition that the node brings about by itself.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = soon();
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        ticks.tick().await;
    }
}

/// Goal: without room for the next segment, writes are refused as not applied before they reach the log, however many
/// come; what is left of the segment serves expiry; nothing acknowledged is lost; and when there is room again, writes go
/// on. All of it also where syncs come at intervals.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_for_a_segment_the_reserve_is_kept() {
    for durability in [Durability::Always, Durability::Interval] {
        let (disk, clock) = (Faulty::new(), Arc::new(ManualClock::new(START)));
        let node = Node::open(options(&disk, clock.clone(), durability)).await.expect("a new node");
        let ttl = Ttl::from_millis(1_000).expect("in range");
        set(&node, "brief", Expiry::After(ttl)).await.expect("there is room");
        let space = disk.space("/data".as_ref()).expect("the space");
        disk.set_capacity(Some(space.size_bytes - space.free_bytes + SEGMENT_BYTES + SEGMENT_BYTES / 2));
        // No snapshot can be taken, so nothing can be freed.
        disk.inject(failing(Operation::Create, "unfinished", ENOSPC));
        let mut written = 0;
        let refused = loop {
            match set(&node, &format!("k{written}"), Expiry::Never).await {
                Ok(()) => written += 1,
                Err(error) => break error,
            }
            assert!(written < 10_000, "the disk never fills up");
        };
        assert_eq!(refused, WriteError::OutOfDisk, "{durability:?}");
        let before = node.status();
        for _ in 0..1_000 {
            assert_eq!(set(&node, "refused", Expiry::Never).await, Err(WriteError::OutOfDisk));
        }
        let status = node.status();
        assert_eq!(status.last_log_index, before.last_log_index, "{durability:?}: refused before raft");
        assert!(status.ready, "{durability:?}: a full disk is no reason to be replaced");
        assert!(is_there(&node, "brief").await);
        clock.advance(Duration::from_secs(2));
        assert!(!is_there(&node, "brief").await, "{durability:?}: expiry has the reserve");
        eventually("the sweep", || node.store_status().expirations == 1).await;
        assert!(node.status().last_log_index > status.last_log_index, "{durability:?}: through the log");
        disk.clear_faults();
        disk.set_capacity(None);
        let deadline = soon();
        while set(&node, "again", Expiry::Never).await.is_err() {
            assert!(Instant::now() < deadline, "{durability:?}: there is room again");
            tokio::task::yield_now().await;
        }
        node.close().await.expect("a clean stop");
        let node = Node::open(options(&disk, clock, durability)).await.expect("a known node");
        for n in 0..written {
            assert!(is_there(&node, &format!("k{n}")).await, "{durability:?}: k{n} of {written} is lost");
        }
        assert!(!is_there(&node, "refused").await, "{durability:?}: what was refused was not applied");
        node.close().await.expect("a clean stop");
    }
}

/// Goal: where the disk is full of log that a snapshot makes unneeded, no write is refused: the log is made shorter in time. So it
/// is however often the disk fills up, and what was written is there after a power cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_disk_is_compacted_before_a_write_is_refused() {
    const CAPACITY: u64 = 16 * SEGMENT_BYTES;
    let (disk, clock) = (Faulty::new(), Arc::new(ManualClock::new(START)));
    disk.set_capacity(Some(CAPACITY));
    let open = |disk: &Faulty| {
        Node::open(Options { wal_keep_bytes: 1 << 30, ..options(disk, clock.clone(), Durability::Always) })
    };
    let node = open(&disk).await.expect("a new node");
    for n in 0..5_000 {
        let written = set(&node, &format!("k{}", n % 20), Expiry::Never).await;
        assert_eq!(written, Ok(()), "write {n}");
    }
    let appended = node.status().wal.appended_bytes;
    assert!(appended > 4 * CAPACITY, "{appended} bytes were written to a disk of {CAPACITY}");
    let left = disk.after_power_cut(7);
    node.close().await.expect("a clean stop");
    let node = open(&left).await.expect("the node again");
    for n in 0..20 {
        assert!(is_there(&node, &format!("k{n}")).await, "k{n}");
    }
    node.close().await.expect("a clean stop");
}

/// Goal: files that cannot be opened are no full disk: writes that need one are refused with another reason, as not applied,
/// and taken again when files can be opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lack_of_files_is_not_told_as_a_full_disk() {
    let (disk, clock) = (Faulty::new(), Arc::new(ManualClock::new(START)));
    let node = Node::open(options(&disk, clock, Durability::Always)).await.expect("a new node");
    disk.inject(failing(Operation::Create, ".seg", EMFILE));
    let mut written = 0;
    let refused = loop {
        match set(&node, &format!("k{written}"), Expiry::Never).await {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 1_000, "the log never needs a file");
    };
    assert_eq!(refused, WriteError::Overloaded);
    assert!(!node.status().is_out_of_disk && node.status().ready);
    disk.clear_faults();
    let deadline = soon();
    while set(&node, "again", Expiry::Never).await.is_err() {
        assert!(Instant::now() < deadline, "files can be opened again");
        tokio::task::yield_now().await;
    }
    node.close().await.expect("a clean stop");
}

/// Goal: a lowered limit is reached though nobody writes, and then nothing more is written to the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lowered_limit_is_reached_in_peace() {
    let (disk, clock) = (Faulty::new(), Arc::new(ManualClock::new(START)));
    let node = Node::open(options(&disk, clock, Durability::Always)).await.expect("a new node");
    let many = (0..2_000).map(|n| Command::Set {
        key: key(&format!("k{n}")),
        value: vec![b'v'; 10].into(),
        expiry: Expiry::Never,
        condition: Condition::Always,
    });
    let transaction = Transaction { commands: many.collect(), ..Transaction::single(Command::Clear) };
    node.write(transaction, soon()).await.expect("there is room");
    let change = SettingsChange { max_keys: Some(10), ..SettingsChange::default() };
    node.write(Transaction::single(Command::Configure(change)), soon()).await.expect("it is changed");
    eventually("the lowered limit", || node.store_status().keys <= 10).await;
    let before = node.status().last_log_index;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(node.status().last_log_index, before, "an idle store writes nothing");
    node.close().await.expect("a clean stop");
}

/// Goal: the first snapshot has the whole log to fall back on: nothing is purged while it is the only one, and damaged as it is
/// the node starts with everything. A second one lets the log go only up to the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_snapshot_falls_back_to_the_whole_log() {
    let (disk, clock) = (Faulty::new(), Arc::new(ManualClock::new(START)));
    let open = |disk: &Faulty| {
        let snapshot = SnapshotConfig { every_entries: 100, ..SnapshotConfig::default() };
        Node::open(Options { snapshot, ..options(disk, clock.clone(), Durability::Always) })
    };
    let node = open(&disk).await.expect("a new node");
    let write = async |from: u64, count: u64| {
        for n in from..from + count {
            set(&node, &format!("k{n}"), Expiry::Never).await.expect("there is room");
        }
    };
    write(0, 150).await;
    eventually("the first snapshot", || node.status().snapshot_index > 0).await;
    write(150, 20).await;
    let first = node.status().snapshot_index;
    assert_eq!(node.status().purged_index, 0, "one snapshot alone lets nothing go");
    let left = disk.after_kill();
    let damage = |disk: &Faulty, nth: usize| {
        let folder = std::path::Path::new("/data/snapshots");
        let mut names = disk.read_dir(folder).expect("a folder");
        names.retain(|name| name.ends_with(".snap"));
        let path = folder.join(&names[nth]);
        let mut bytes = disk.content(&path).expect("a snapshot");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        disk.put(&path, &bytes);
        path
    };
    damage(&left, 0);
    let again = open(&left).await.expect("the log serves alone");
    for n in 0..170 {
        assert!(is_there(&again, &format!("k{n}")).await, "k{n}");
    }
    again.close().await.expect("a clean stop");
    write(170, 150).await;
    eventually("the second snapshot", || node.status().snapshot_index > first).await;
    eventually("the purge", || node.status().purged_index > 0).await;
    assert!(node.status().purged_index <= first, "the older snapshot has its log");
    let left = disk.after_kill();
    damage(&left, 1);
    let again = open(&left).await.expect("the older snapshot and its log serve");
    for n in 0..320 {
        assert!(is_there(&again, &format!("k{n}")).await, "k{n}");
    }
    again.close().await.expect("a clean stop");
    let left = disk.after_kill();
    damage(&left, 0);
    let newest = damage(&left, 1);
    let refused = open(&left).await.err().expect("nothing stands in").to_string();
    assert!(refused.contains(newest.to_str().expect("a path")), "{refused}");
    assert!(refused.contains("joins as a new member"), "the way out is named: {refused}");
    node.close().await.expect("a clean stop");
}

/// Clocks that stand still, and count how often the wall is looked at: twice a second by the node's own task.
struct Watched {
    clock: ManualClock,
    looks: AtomicU64,
}

impl Clock for Watched {
    fn wall(&self) -> Timestamp {
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.clock.wall()
    }

    fn boot(&self) -> Duration {
        self.clock.boot()
    }
}

impl Watched {
    /// Waits until the node has looked at the clock in two further seconds: the first may have begun before.
    async fn two_seconds(&self) {
        let before = self.looks.load(Ordering::SeqCst);
        eventually("the node looks at the clock", || self.looks.load(Ordering::SeqCst) >= before + 4).await;
    }
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn warnings(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.0.lock()).into_owned();
        text.lines().filter(|line| line.contains("the wall clock is far")).map(str::to_owned).collect()
    }
}

/// Goal: a wall clock more than a second off is warned about, in both directions, once each time it goes astray, and one
/// that is nearly right is not.
#[tokio::test]
async fn a_wall_clock_far_off_is_warned_about_once() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let clock = Arc::new(Watched { clock: ManualClock::new(START), looks: AtomicU64::new(0) });
    let node = Node::open(options(&Faulty::new(), clock.clone(), Durability::Always)).await;
    let node = node.expect("a new node");
    for (step_ms, warnings) in [(990, 0), (1_010, 1), (-5_000, 1), (0, 1), (-1_010, 2)] {
        clock.clock.set_wall(Timestamp(START.0.saturating_add_signed(step_ms)));
        clock.two_seconds().await;
        let said = lines.warnings();
        assert_eq!(said.len(), warnings, "after a step to {step_ms} ms: {said:#?}");
        assert_eq!(node.status().clock_offset_ms, step_ms);
    }
    let said = lines.warnings();
    assert!(said.iter().all(|line| line.contains("WARN")), "{said:#?}");
    assert!(said[0].contains("offset_ms=1010") && said[1].contains("offset_ms=-1010"), "{said:#?}");
    node.close().await.expect("a clean stop");
}
