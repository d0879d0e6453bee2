//! The raft floor against openraft's own suite, and a whole node on a manual clock.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use openraft::{EntryPayload, StorageError};
use tempfile::TempDir;
use tokio::time::Instant;

use super::log_store::LogStore;
use super::machine::Machine;
use super::options::Options;
use super::proposal::Pending;
use super::replica::{Applied, Replica};
use super::snapshot::Folder;
use super::snapshots::Snapshots;
use super::types::{Entry, GROUP, TypeConfig, from_wal, vote_from_wal};
use super::{Config, Consistency, Node, PeerConfig, SnapshotConfig, Yielding};
use crate::clock::{Clock, ManualClock, SystemClock};
use crate::disk::{Disk, Faulty, Real};
use crate::model::{
    Answer, Command, Condition, Expiry, Key, Outcome, Query, Settings, Timestamp, Transaction, Ttl,
};
use crate::store::Store;
use crate::wal::{self, Wal};

const CLUSTER: u128 = 7;

struct OnDisk;

impl StoreBuilder<TypeConfig, LogStore, Machine, TempDir> for OnDisk {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine), StorageError<TypeConfig>> {
        let directory = TempDir::new().expect("a temporary directory");
        let disk = Arc::new(Real);
        let identity = wal::Identity { cluster: CLUSTER, node: 1, incarnation: 1 };
        let config = wal::Config { segment_bytes: 64 << 10, ..wal::Config::default() };
        let wal =
            Wal::open(disk.clone(), &directory.path().join("wal"), identity, config).expect("a new log");
        let pending = Arc::new(Pending::default());
        let replica = Replica::new(
            Store::new(),
            Applied::default(),
            Arc::clone(&pending),
            wal.clone(),
            (crate::model::Level::LATEST, 4_096),
        );
        let folder = Folder::open(disk, &directory.path().join("snapshots")).expect("a new folder");
        let snapshots = Snapshots::new(folder, CLUSTER, 1 << 20, None).expect("no snapshot to read");
        let machine = Machine::new(Arc::new(replica), snapshots, Arc::new(Yielding));
        Ok((directory, LogStore::new(wal, pending), machine))
    }
}

/// Goal: what raft hears to be on disk, a vote or an entry, is there whatever becomes of the rest when the power fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_to_be_on_disk_survives_a_power_cut() {
    let disk = Faulty::new();
    let found = |disk: &Faulty| {
        let identity = wal::Identity { cluster: CLUSTER, node: 1, incarnation: 1 };
        Wal::open(Arc::new(disk.clone()), Path::new("wal"), identity, wal::Config::default()).expect("a log")
    };
    let mut log = LogStore::new(found(&disk), Arc::default());
    disk.slow_down(Duration::from_millis(100));
    for term in 1..4 {
        let vote = wal::Vote { term, node: 1, committed: true };
        log.save_vote(&vote_from_wal(vote)).await.expect("it is saved");
        let cuts = (0..8).map(|seed| disk.after_power_cut(seed));
        cuts.for_each(|cut| assert_eq!(found(&cut).state(GROUP).vote, Some(vote)));
        let id = wal::LogId { term, leader: 0, index: term };
        let entry = Entry { log_id: from_wal(id), payload: EntryPayload::Blank };
        let (told, on_disk) = TypeConfig::oneshot();
        log.append([entry], IOFlushed::signal(told)).await.expect("it is taken");
        on_disk.await.expect("an answer").expect("it is on disk");
        let cuts = (0..8).map(|seed| disk.after_power_cut(seed));
        cuts.for_each(|cut| assert_eq!(found(&cut).state(GROUP).last, Some(id)));
    }
}

/// openraft's storage suite on the real log store and state machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openrafts_suite_passes() {
    Suite::<TypeConfig, LogStore, Machine, OnDisk, TempDir>::test_all(OnDisk).await.expect("the suite");
}

fn options(directory: &TempDir, clock: Arc<dyn Clock>) -> Options {
    Options {
        data_dir: directory.path().to_owned(),
        raft: Config::default(),
        wal: wal::Config { segment_bytes: 1 << 20, ..wal::Config::default() },
        wal_keep_bytes: 256 << 20,
        snapshot: SnapshotConfig::default(),
        peer: PeerConfig::default(),
        seed: Settings::default(),
        restore_from: None,
        max_level: crate::model::Level::LATEST,
        state_hash_every: 4_096,
        clock,
        disk: Arc::new(Real),
        turns: Arc::new(Yielding),
    }
}

fn key(name: &'static str) -> Key {
    Key::new(name).expect("a short key")
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

async fn set(node: &Node, name: &'static str, value: &'static str, expiry: Expiry) -> Outcome {
    let command = Command::Set { key: key(name), value: value.into(), expiry, condition: Condition::Always };
    node.write(Transaction::single(command), soon()).await.expect("a write")[0]
}

async fn get(node: &Node, name: &'static str) -> Option<String> {
    let read = node.read(&Query::Get(key(name)), Consistency::Linearizable, soon()).await.expect("a read");
    let Answer::Value(found) = read.answer else { panic!("a value was asked for") };
    found.map(|found| String::from_utf8(found.value.to_vec()).expect("text"))
}

async fn ttl_ms(node: &Node, name: &'static str) -> Option<u64> {
    let read =
        node.read(&Query::Describe(key(name)), Consistency::Linearizable, soon()).await.expect("a read");
    let Answer::Item(item) = read.answer else { panic!("an item was asked for") };
    item.and_then(|item| item.deadline).map(|deadline| deadline.millis_since(read.now))
}

fn after(ms: u64) -> Expiry {
    Expiry::After(Ttl::from_millis(ms).expect("in range"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_is_there_after_a_restart_and_a_compaction() {
    let directory = TempDir::new().expect("a temporary directory");
    let node = Node::open(options(&directory, Arc::new(SystemClock))).await.expect("a new node");
    assert!(matches!(set(&node, "a", "1", Expiry::Never).await, Outcome::Written { created: true, .. }));
    for _ in 0..100 {
        set(&node, "a", "1", Expiry::Never).await;
    }
    let compaction = node.compact().await.expect("compaction");
    assert!(compaction.bytes_after < compaction.bytes_before, "{compaction:?}");
    set(&node, "b", "2", Expiry::Never).await;
    let revision = node.store_status().revision;
    node.close().await.expect("a clean stop");

    let node = Node::open(options(&directory, Arc::new(SystemClock))).await.expect("a known node");
    assert_eq!(get(&node, "a").await.as_deref(), Some("1"));
    assert_eq!(get(&node, "b").await.as_deref(), Some("2"));
    assert_eq!(node.store_status().revision, revision);
    node.close().await.expect("a clean stop");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_clock_stepped_by_an_hour_moves_no_ttl() {
    const NOW: u64 = 1_700_000_000_000;
    const HOUR_MS: u64 = 3_600_000;
    let directory = TempDir::new().expect("a temporary directory");
    let clock = Arc::new(ManualClock::new(Timestamp(NOW)));
    let node = Node::open(options(&directory, clock.clone())).await.expect("a new node");
    set(&node, "k", "v", after(60_000)).await;
    for wall in [NOW + HOUR_MS, NOW - HOUR_MS, NOW] {
        clock.set_wall(Timestamp(wall));
        assert_eq!(ttl_ms(&node, "k").await, Some(60_000), "after a step to {wall}");
        set(&node, "other", "v", Expiry::Never).await;
        assert_eq!(ttl_ms(&node, "k").await, Some(60_000), "after a write in the stepped time");
    }
    clock.advance(Duration::from_millis(59_000));
    assert!(ttl_ms(&node, "k").await.is_some_and(|left| (1..=1_030).contains(&left)), "a second is left");
    clock.advance(Duration::from_millis(1_100));
    assert_eq!(get(&node, "k").await, None, "the deadline has passed");
    node.close().await.expect("a clean stop");
}

/// Goal: with a wall clock that is behind, a node alone goes on from where it stopped, so that no countdown begins anew; and
/// with one that is right the note holds nothing back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_with_the_wall_clock_behind_sets_no_countdown_back() {
    const NOW: u64 = 1_700_000_000_000;
    const HOUR_MS: u64 = 3_600_000;
    let directory = TempDir::new().expect("a temporary directory");
    let clock = Arc::new(ManualClock::new(Timestamp(NOW)));
    let node = Node::open(options(&directory, clock.clone())).await.expect("a new node");
    set(&node, "k", "v", after(10 * HOUR_MS)).await;
    clock.advance(Duration::from_millis(2 * HOUR_MS));
    node.close().await.expect("a clean stop");
    let left = |at: u64| {
        let clock = Arc::new(ManualClock::new(Timestamp(at)));
        let options = options(&directory, clock);
        async move {
            let node = Node::open(options).await.expect("a known node");
            let left = ttl_ms(&node, "k").await.expect("it has a deadline");
            node.close().await.expect("a clean stop");
            left
        }
    };
    let allowed = |hours: u64| hours * HOUR_MS - 2_000..=hours * HOUR_MS + 2_000;
    for _ in 0..2 {
        let behind = left(NOW - HOUR_MS).await;
        assert!(allowed(8).contains(&behind), "two hours have passed, {behind} ms are left");
    }
    let right = left(NOW + 5 * HOUR_MS).await;
    assert!(allowed(5).contains(&right), "five hours have passed, {right} ms are left");
}

/// Goal: time is noted only while it matters: not while no key has a deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_is_noted_only_for_deadlines() {
    let directory = TempDir::new().expect("a temporary directory");
    let note = directory.path().join("time.json");
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000)));
    for (expiry, noted) in [(Expiry::Never, false), (after(3_600_000), true)] {
        let node = Node::open(options(&directory, clock.clone())).await.expect("a node");
        set(&node, "k", "v", expiry).await;
        clock.advance(Duration::from_secs(60));
        node.close().await.expect("a clean stop");
        assert_eq!(Real.exists(&note).expect("it can be looked for"), noted);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_store_writes_nothing_and_sweeps_what_is_due() {
    let directory = TempDir::new().expect("a temporary directory");
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000)));
    let node = Node::open(options(&directory, clock.clone())).await.expect("a new node");
    set(&node, "k", "v", after(1_000)).await;
    let before = node.status().last_log_index;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(node.status().last_log_index, before, "nothing is due");
    clock.advance(Duration::from_secs(2));
    let swept = async {
        while node.store_status().keys > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), swept).await.expect("the background sweep");
    assert_eq!(node.store_status().expirations, 1);
    node.close().await.expect("a clean stop");
}
