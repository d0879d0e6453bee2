//! A whole node, crashed at operations of its disk while it writes, compacts and starts.
//!
//! Goal: the prefix law. One writer has one write in flight, so after a crash the store must hold exactly the writes
//! that were acknowledged, and at most the one that was not. Method: the node runs on the faulty disk, the power is cut
//! at one operation of the workload, and a second node opens what is left: unsynced sectors and names forgotten at
//! random. The crash points are spread over the whole run and move with the seed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kvorum::clock::SystemClock;
use kvorum::disk::{Fault, Faulty, Operation};
use kvorum::model::{Answer, Command, Condition, Expiry, Key, Query, Settings, Transaction};
use kvorum::raft::{
    AdminError, Config, Consistency, Node, OpenError, Options, PeerConfig, SnapshotConfig, Yielding,
};
use kvorum::wal;
use tokio::time::Instant;

const KEYS: u64 = 5;
const WRITES: u64 = 60;
const COMPACT_EVERY: u64 = 20;

/// Values by key number.
type Contents = BTreeMap<u64, u64>;

fn options(disk: &Faulty) -> Options {
    Options {
        data_dir: "/data".into(),
        raft: Config { heartbeat_ms: 10, election_min_ms: 50, election_max_ms: 100 },
        wal: wal::Config { segment_bytes: 4 << 10, cache_bytes: 4 << 10, ..wal::Config::default() },
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

fn key(n: u64) -> Key {
    Key::new(format!("key{n}")).expect("a short key")
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// The contents after the first `count` writes.
fn after(count: u64) -> Contents {
    (1..=count).map(|n| (n % KEYS, n)).collect()
}

async fn contents(node: &Node) -> Contents {
    let mut contents = Contents::new();
    for n in 0..KEYS {
        let read = node.read(&Query::Get(key(n)), Consistency::Linearizable, soon()).await.expect("a read");
        let Answer::Value(found) = read.answer else { panic!("a value was asked for") };
        if let Some(found) = found {
            let text = String::from_utf8(found.value.to_vec()).expect("digits");
            contents.insert(n, text.trim_end_matches('.').parse().expect("a number"));
        }
    }
    contents
}

/// Writes from `from` on, compacting now and then, until all is written or the disk is off. Returns how many writes
/// are acknowledged in all.
async fn write(node: &Node, from: u64) -> u64 {
    for n in from + 1..=WRITES {
        let command = Command::Set {
            key: key(n % KEYS),
            // Long enough that segments roll.
            value: format!("{n:.<300}").into(),
            expiry: Expiry::Never,
            condition: Condition::Always,
        };
        if node.write(Transaction::single(command), soon()).await.is_err() {
            return n - 1;
        }
        if n % COMPACT_EVERY == 0 && node.compact().await.is_err() {
            return n;
        }
    }
    WRITES
}

/// Runs the workload until the power goes at `cut_off_at`. Returns how many writes were acknowledged.
async fn run(disk: &Faulty, cut_off_at: Option<u64>, from: u64) -> u64 {
    if let Some(operation) = cut_off_at {
        disk.cut_off_at(operation);
    }
    match Node::open(options(disk)).await {
        Ok(node) => {
            let acknowledged = write(&node, from).await;
            // It fails where the disk is off.
            let _ = node.close().await;
            acknowledged
        }
        Err(error) => {
            assert!(disk.is_off(), "a node that starts on a healthy disk: {error}");
            from
        }
    }
}

/// Opens what a crash left and holds it against the prefix law. Returns how many writes are there.
async fn recovered(disk: &Faulty, acknowledged: u64, what: &str) -> u64 {
    let node = match Node::open(options(disk)).await {
        Ok(node) => node,
        Err(error) => panic!("{what}: refused: {error}\n{:?}", disk.trace()),
    };
    let found = contents(&node).await;
    let kept = (acknowledged..=acknowledged + 1).find(|count| after(*count) == found);
    let kept = kept.unwrap_or_else(|| panic!("{what}: {acknowledged} acknowledged, found {found:?}"));
    node.close().await.expect("a clean stop");
    kept
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// How many disk operations a run without a crash takes.
fn operations() -> u64 {
    let disk = Faulty::new();
    assert_eq!(runtime().block_on(run(&disk, None, 0)), WRITES);
    disk.operations()
}

/// Crashes at points spread over writing, snapshots and purging keep all that was acknowledged.
#[test]
fn a_crash_at_any_operation_keeps_what_was_acknowledged() {
    let operations = operations();
    let step = (operations / 150).max(1) as usize;
    for (seed, cut_off_at) in (0..operations).step_by(step).enumerate() {
        let seed = seed as u64;
        runtime().block_on(async {
            let disk = Faulty::new();
            let acknowledged = run(&disk, Some(cut_off_at + seed % step as u64), 0).await;
            let left = disk.after_power_cut(seed);
            recovered(&left, acknowledged, &format!("cut at {cut_off_at}, seed {seed}")).await;
        });
    }
}

/// A crash during the recovery from a crash, and one of the writes that follow, lose nothing either.
#[test]
fn a_crash_while_recovering_keeps_what_was_acknowledged() {
    let operations = operations();
    for seed in 0..50 {
        runtime().block_on(async {
            let disk = Faulty::new();
            let acknowledged = run(&disk, Some(operations * (seed + 3) / 55), 0).await;
            let first = disk.after_power_cut(seed);
            let _ = run(&first, Some(seed % 12), acknowledged).await;
            let second = first.after_power_cut(seed + 1_000);
            let what = format!("seed {seed}");
            let kept = recovered(&second, acknowledged, &what).await;
            let third = second.after_kill();
            let more = run(&third, Some(third.operations() + 40 + seed), kept).await;
            recovered(&third.after_power_cut(seed + 2_000), more.max(kept), &what).await;
        });
    }
}

/// A damaged newest snapshot is stood in for by the older one and the log behind it.
#[test]
fn an_older_snapshot_stands_in_for_a_damaged_one() {
    let disk = Faulty::new();
    let mut options = options(&disk);
    options.wal_keep_bytes = 1 << 30;
    options.snapshot = SnapshotConfig { every_entries: 20, ..SnapshotConfig::default() };
    let snapshots = Path::new("/data/snapshots");
    runtime().block_on(async {
        let node = Node::open(options).await.expect("a new node");
        let whole = |name: &String| name.ends_with(".snap");
        let taken = || {
            let names = kvorum::disk::Disk::read_dir(&disk, snapshots).unwrap_or_default();
            names.iter().filter(|name| whole(name)).count()
        };
        let deadline = soon();
        let mut written = 0;
        while taken() < 2 {
            assert!(Instant::now() < deadline, "two snapshots by policy");
            written += 1;
            let command = Command::Set {
                key: key(written % KEYS),
                value: written.to_string().into(),
                expiry: Expiry::Never,
                condition: Condition::Always,
            };
            node.write(Transaction::single(command), soon()).await.expect("a write");
        }
        node.close().await.expect("a clean stop");
        let left = disk.after_kill();
        let mut names = kvorum::disk::Disk::read_dir(&left, snapshots).expect("names");
        names.retain(whole);
        let newest = snapshots.join(names.pop().expect("two"));
        let mut bytes = left.content(&newest).expect("the newest snapshot");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        left.put(&newest, &bytes);
        let node = Node::open(self::options(&left)).await.expect("the older one stands in");
        assert_eq!(contents(&node).await, after(written));
        node.close().await.expect("a clean stop");
    });
}

/// Without space for the next segment writes are refused before raft, reads go on, and writes resume with the space.
#[test]
fn a_full_disk_refuses_writes_and_loses_nothing() {
    let disk = Faulty::new();
    let written = runtime().block_on(async {
        let node = Node::open(options(&disk)).await.expect("a new node");
        assert_eq!(write(&node, WRITES - 5).await, WRITES);
        let before = contents(&node).await;
        disk.set_capacity(Some(1));
        let deadline = soon();
        let set = |n: u64| {
            let (key, value) = (key(KEYS + n), format!("{n:.<300}").into());
            Transaction::single(Command::Set {
                key,
                value,
                expiry: Expiry::Never,
                condition: Condition::Always,
            })
        };
        let mut n = 0;
        let refused = loop {
            assert!(Instant::now() < deadline, "writes are refused in the end");
            n += 1;
            if let Err(error) = node.write(set(n), soon()).await {
                break error;
            }
        };
        assert_eq!(refused, kvorum::raft::WriteError::OutOfDisk);
        assert_eq!(contents(&node).await, before, "reads go on");
        disk.set_capacity(None);
        while node.write(set(n), soon()).await.is_err() {
            assert!(Instant::now() < deadline, "writes resume");
            tokio::task::yield_now().await;
        }
        node.close().await.expect("a clean stop");
        n
    });
    let left = disk.after_power_cut(1);
    runtime().block_on(async {
        let node = Node::open(options(&left)).await.expect("the node again");
        assert_eq!(node.store_status().keys, KEYS + written);
        node.close().await.expect("a clean stop");
    });
}

/// A node that is killed while its disk is full starts again on the full disk, with all that was acknowledged.
#[test]
fn a_node_killed_on_a_full_disk_starts_again_on_it() {
    let disk = Faulty::new();
    let left = runtime().block_on(async {
        let node = Node::open(options(&disk)).await.expect("a new node");
        assert_eq!(write(&node, 0).await, WRITES);
        disk.set_capacity(Some(1));
        disk.after_kill()
    });
    left.set_capacity(Some(1));
    runtime().block_on(async {
        let node = Node::open(options(&left)).await.expect("the node again, without a byte of space");
        assert_eq!(contents(&node).await, after(WRITES));
        left.set_capacity(None);
        let deadline = soon();
        while node.write(Transaction::single(Command::Clear), soon()).await.is_err() {
            assert!(Instant::now() < deadline, "writes are taken once there is space");
            tokio::task::yield_now().await;
        }
        assert_eq!(node.store_status().keys, 0);
        node.close().await.expect("a clean stop");
    });
}

/// A directory whose log is missing, or which belongs to another node, is refused with the reason.
#[test]
fn a_directory_that_is_not_whole_is_refused() {
    let disk = Faulty::new();
    runtime().block_on(run(&disk, None, WRITES));
    let other = Faulty::new();
    runtime().block_on(run(&other, None, WRITES));
    let mixed = disk.after_kill();
    let foreign = other.content(Path::new("/data/node.json")).expect("its identity");
    mixed.put(Path::new("/data/node.json"), &foreign);
    let error = runtime().block_on(Node::open(options(&mixed))).err().expect("a refusal");
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    let headless = disk.after_kill();
    kvorum::disk::Disk::remove(&headless, Path::new("/data/node.json")).expect("removed");
    let error = runtime().block_on(Node::open(options(&headless))).err().expect("a refusal");
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
}

/// What a start on a directory that was tampered with is refused with.
fn refusal(disk: &Faulty) -> OpenError {
    runtime().block_on(Node::open(options(disk))).err().expect("a refusal")
}

fn names(disk: &Faulty, directory: &str) -> Vec<String> {
    kvorum::disk::Disk::read_dir(disk, Path::new(directory)).expect("a directory")
}

/// A log without its segments is not begun anew under the old identity: what was acknowledged would be gone unseen.
#[test]
fn a_log_without_segments_is_refused() {
    let disk = Faulty::new();
    runtime().block_on(run(&disk, None, 0));
    let left = disk.after_kill();
    for name in names(&left, "/data/wal") {
        kvorum::disk::Disk::remove(&left, &Path::new("/data/wal").join(name)).expect("removed");
    }
    left.put(Path::new("/data/wal/lost+found"), b"");
    let error = refusal(&left);
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
}

/// After a compaction the older snapshot has no log behind it: damage to the newest is refused naming its file.
#[test]
fn a_damaged_snapshot_that_nothing_stands_in_for_is_named() {
    let disk = Faulty::new();
    runtime().block_on(run(&disk, None, 0));
    let left = disk.after_kill();
    let mut newest = names(&left, "/data/snapshots");
    newest.retain(|name| name.ends_with(".snap"));
    let newest = newest.pop().expect("a snapshot");
    let path = Path::new("/data/snapshots").join(&newest);
    let mut bytes = left.content(&path).expect("its content");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    left.put(&path, &bytes);
    let error = refusal(&left);
    assert!(matches!(&error, OpenError::Damaged { file, .. } if file.ends_with(&newest)), "{error}");
}

/// A mark of a newer format is told from a damaged one.
#[test]
fn a_mark_of_a_newer_version_is_refused_as_such() {
    let disk = Faulty::new();
    runtime().block_on(run(&disk, None, WRITES));
    let left = disk.after_kill();
    left.put(Path::new("/data/node.json"), br#"{"format": 2, "something": "else"}"#);
    let error = refusal(&left);
    assert!(matches!(error, OpenError::LevelTooHigh(_)), "{error}");
}

/// On a full disk a compaction still takes its snapshot (if that fits) and lets segments go, and writes resume.
#[test]
fn a_compaction_on_a_full_disk_makes_room() {
    let disk = Faulty::new();
    runtime().block_on(async {
        let mut options = options(&disk);
        options.wal.segment_bytes = 8 << 10;
        let node = Node::open(options).await.expect("a new node");
        let set = |n: u64| {
            let value = format!("{n:.<300}").into();
            let command = Command::Set {
                key: key(n % KEYS),
                value,
                expiry: Expiry::Never,
                condition: Condition::Always,
            };
            Transaction::single(command)
        };
        let space = kvorum::disk::Disk::space(&disk, Path::new("/data")).expect("its space");
        disk.set_capacity(Some(space.size_bytes - space.free_bytes + (96 << 10)));
        // The node itself cannot make room as long as it cannot take a snapshot.
        let no_snapshot = Fault {
            operation: Operation::Create,
            name: "unfinished".to_owned(),
            skip: 0,
            times: u64::MAX,
            errno: 28,
        };
        disk.inject(no_snapshot);
        let deadline = soon();
        let mut n = 0;
        while node.write(set(n), soon()).await.is_ok() {
            assert!(Instant::now() < deadline, "the disk fills up");
            n += 1;
        }
        disk.clear_faults();
        // The node may have begun one by itself.
        while let Err(error) = node.compact().await {
            assert!(matches!(error, AdminError::Busy) && Instant::now() < deadline, "a compaction: {error}");
            tokio::task::yield_now().await;
        }
        while node.write(set(n), soon()).await.is_err() {
            assert!(Instant::now() < deadline, "writes resume");
            tokio::task::yield_now().await;
        }
        node.close().await.expect("a clean stop");
    });
}
