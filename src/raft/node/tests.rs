//! Goal: a node whose raft core, state machine or log entry is beyond use does not live on: it is not ready, refuses or
//! answers whoever writes, and says why, so that the process can end with its status.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::clock::SystemClock;
use crate::disk::Faulty;
use crate::model::{Command, Condition, Expiry, Key, Settings};
use crate::raft::proposal::Proposal;
use crate::raft::{Config, OpenError, Options, PeerConfig, SnapshotConfig, Yielding};

const PATIENCE: Duration = Duration::from_secs(60);

fn options(disk: &Faulty) -> Options {
    Options {
        data_dir: "/data".into(),
        raft: Config::default(),
        wal: wal::Config { segment_bytes: 64 << 10, ..wal::Config::default() },
        wal_keep_bytes: 0,
        snapshot: SnapshotConfig::default(),
        peer: PeerConfig::default(),
        seed: Settings::default(),
        restore_from: None,
        max_level: crate::model::Level::LATEST,
        state_hash_every: 4_096,
        clock: Arc::new(SystemClock),
        disk: Arc::new(disk.clone()),
        turns: Arc::new(Yielding),
    }
}

async fn node(disk: &Faulty) -> Node {
    let node = Node::open(options(disk)).await.expect("a new node");
    assert!(node.status().ready);
    node.write(set(), Instant::now() + PATIENCE).await.expect("a write");
    node
}

fn set() -> Transaction {
    let key = Key::new("k").expect("a short key");
    let (value, expiry, condition) = (Bytes::from_static(b"v"), Expiry::Never, Condition::Always);
    Transaction::single(Command::Set { key, value, expiry, condition })
}

/// Waits for the node to notice, and checks that nothing of it pretends to be well.
async fn failure_of(node: &Node) -> Failure {
    let writing = tokio::spawn({
        let node = node.clone();
        async move { node.write(set(), Instant::now() + PATIENCE).await }
    });
    let failure = tokio::time::timeout(PATIENCE, node.failed()).await.expect("the failure is noticed");
    assert!(!node.status().ready);
    let caught = writing.await.expect("the write is answered");
    assert!(matches!(caught, Err(WriteError::Unavailable | WriteError::UnknownOutcome)), "{caught:?}");
    let later = node.write(set(), Instant::now() + PATIENCE).await;
    assert_eq!(later, Err(WriteError::Unavailable), "after that nothing is taken");
    let read = Query::Get(Key::new("k").expect("a short key"));
    let answer = node.read(&read, Consistency::Stale, Instant::now() + PATIENCE).await;
    assert!(answer.is_ok(), "what is there may still be looked at while the process ends: {answer:?}");
    failure
}

async fn ends(node: Node) {
    // What it says of the log does not matter here; that it ends does.
    let _ = tokio::time::timeout(PATIENCE, node.close()).await.expect("the node can be closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_core_that_panics_is_noticed() {
    let node = node(&Faulty::new()).await;
    let raft = node.0.raft.clone();
    let asked = raft.with_raft_state(|_| -> () { panic!("as the test wants it") }).await;
    assert!(asked.is_err(), "the core is gone");
    assert!(matches!(failure_of(&node).await, Failure::Core(_)));
    ends(node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_core_that_stops_is_noticed() {
    let node = node(&Faulty::new()).await;
    node.0.raft.shutdown().await.expect("the core can be stopped");
    assert!(matches!(failure_of(&node).await, Failure::Core(_)));
    ends(node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_machine_that_panics_is_noticed() {
    let node = node(&Faulty::new()).await;
    let raft = node.0.raft.clone();
    let asked =
        raft.with_state_machine::<_, ()>(|_| Box::pin(async { panic!("as the test wants it") })).await;
    assert!(asked.is_err(), "the state machine is gone");
    // Nobody writes, and the core does not look after it.
    let noticed = tokio::time::timeout(PATIENCE, node.failed()).await;
    assert!(noticed.is_ok_and(|failure| failure.to_string().contains("the state machine is gone")));
    assert!(matches!(failure_of(&node).await, Failure::Core(_)));
    ends(node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_cannot_be_read_stops_the_node_with_its_reason_at_every_start() {
    for (bytes, newer) in [(&b"\x01junk"[..], false), (b"\x7f", true)] {
        let disk = Faulty::new();
        let node = node(&disk).await;
        let applied = node.status().applied_index;
        let entry = Proposal::replicated(Bytes::from_static(bytes));
        assert!(node.0.raft.client_write_ff(entry, None).await.is_ok(), "the log takes any bytes");
        let reason = match failure_of(&node).await {
            Failure::LevelTooHigh(what) if newer => what,
            Failure::Core(what) if !newer => what,
            other => panic!("{other}"),
        };
        assert!(reason.contains(&format!("log entry {}", applied + 1)), "{reason}");
        assert_eq!(node.status().applied_index, applied, "it is not skipped");
        ends(node).await;
        let again = tokio::time::timeout(PATIENCE, Node::open(options(&disk))).await.expect("the start ends");
        match again.err().expect("the log is as it was") {
            OpenError::LevelTooHigh(what) if newer => assert_eq!(what, reason),
            OpenError::Core(what) if !newer => assert_eq!(what, reason),
            other => panic!("{other}"),
        }
    }
}
