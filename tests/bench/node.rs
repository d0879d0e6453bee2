//! Durable SETs and snapshots through raft, in process: `cargo bench --bench node -- [directory]`.
//!
//! Method: a real node (WAL with fdatasync, openraft, batcher, store) in a fresh directory; T tasks, each writing one
//! key after the other and waiting for each answer, for a fixed time; keys of 16 bytes out of a million, values of 64.
//! Prints acknowledged writes a second, percentiles, entries per fdatasync; then p99 of writes with and without a
//! snapshot of a million keys being taken, and how long a restart from that snapshot takes.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench measures time and prints figures"
)]

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kvorum::clock::SystemClock;
use kvorum::disk::Real;
use kvorum::model::{Command, Condition, Expiry, Key, Mode, Principal, Settings, Transaction};
use kvorum::raft::{Config, Node, Options, PeerConfig, SnapshotConfig, Yielding};
use kvorum::wal;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: u64 = 1_000_000;
const PER_ROUND: Duration = Duration::from_secs(3);

fn options(directory: &Path) -> Options {
    Options {
        data_dir: directory.to_owned(),
        raft: Config::default(),
        wal: wal::Config::default(),
        wal_keep_bytes: 256 << 20,
        snapshot: SnapshotConfig::default(),
        peer: PeerConfig::default(),
        seed: Settings::default(),
        restore_from: None,
        max_level: kvorum::model::Level::LATEST,
        state_hash_every: 4_096,
        clock: Arc::new(SystemClock),
        disk: Arc::new(Real),
        turns: Arc::new(Yielding),
    }
}

fn set(n: u64) -> Command {
    Command::Set {
        key: Key::new(format!("key:{n:012}")).expect("16 bytes"),
        value: value(n),
        expiry: Expiry::Never,
        condition: Condition::Always,
    }
}

/// 64 bytes that do not compress.
fn value(n: u64) -> Bytes {
    static NOISE: LazyLock<Bytes> = LazyLock::new(|| {
        let mut noise = vec![0; 64 << 10];
        getrandom::fill(&mut noise).expect("the system has randomness");
        Bytes::from(noise)
    });
    let start = (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 49) as usize;
    NOISE.slice(start..start + 64)
}

/// What one round of writing measured.
struct Round {
    writes_per_s: f64,
    latencies_us: Vec<u32>,
}

impl Round {
    fn percentile(&self, share: f64) -> u32 {
        let at = (self.latencies_us.len() as f64 * share) as usize;
        self.latencies_us[at.min(self.latencies_us.len() - 1)]
    }
}

/// `tasks` writers until `enough` says so.
async fn write_until(node: &Node, tasks: u64, enough: Arc<AtomicBool>) -> Round {
    let started = Instant::now();
    let next = Arc::new(AtomicU64::new(1));
    let writers: Vec<_> = (0..tasks)
        .map(|_| {
            let (node, next, enough) = (node.clone(), Arc::clone(&next), Arc::clone(&enough));
            tokio::spawn(async move {
                let mut latencies_us = Vec::new();
                while !enough.load(Ordering::Relaxed) {
                    // A multiplicative hash spreads the keys.
                    let n = next.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15) % KEYS;
                    let before = Instant::now();
                    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
                    node.write(Transaction::single(set(n)), deadline).await.expect("an acknowledged write");
                    latencies_us.push(before.elapsed().as_micros() as u32);
                }
                latencies_us
            })
        })
        .collect();
    let mut latencies_us = Vec::new();
    for writer in writers {
        latencies_us.extend(writer.await.expect("a writer"));
    }
    let writes_per_s = latencies_us.len() as f64 / started.elapsed().as_secs_f64();
    latencies_us.sort_unstable();
    Round { writes_per_s, latencies_us }
}

async fn write_for(node: &Node, tasks: u64, time: Duration) -> Round {
    let enough = Arc::new(AtomicBool::new(false));
    let timer = Arc::clone(&enough);
    tokio::spawn(async move {
        tokio::time::sleep(time).await;
        timer.store(true, Ordering::Relaxed);
    });
    write_until(node, tasks, enough).await
}

async fn fill(node: &Node) {
    for first in (0..KEYS).step_by(1_000) {
        let transaction = Transaction {
            mode: Mode::Each,
            principal: Principal::Anonymous,
            checks: Vec::new(),
            commands: (first..first + 1_000).map(set).collect(),
        };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        node.write(transaction, deadline).await.expect("an acknowledged write");
    }
}

async fn throughput(node: &Node) {
    println!("| tasks | durable SET/s | p50 us | p99 us | p99.9 us | entries per fsync | writes per fsync |");
    println!("|---|---|---|---|---|---|---|");
    for tasks in [1, 16, 64, 256, 1_024] {
        let before = node.status();
        let round = write_for(node, tasks, PER_ROUND).await;
        let after = node.status();
        let syncs = (after.wal.fsync_us.count() - before.wal.fsync_us.count()).max(1) as f64;
        let entries = (after.last_log_index - before.last_log_index) as f64;
        println!(
            "| {tasks} | {:.0} | {} | {} | {} | {:.1} | {:.1} |",
            round.writes_per_s,
            round.percentile(0.5),
            round.percentile(0.99),
            round.percentile(0.999),
            entries / syncs,
            round.latencies_us.len() as f64 / syncs,
        );
    }
}

async fn during_a_snapshot(node: &Node) {
    fill(node).await;
    println!("\n| 64 writers, 1 M keys | SET/s | p50 us | p99 us | p99.9 us |");
    println!("|---|---|---|---|---|");
    for round in 1..=3 {
        let without = write_for(node, 64, PER_ROUND).await;
        let enough = Arc::new(AtomicBool::new(false));
        let (done, compacting) = (Arc::clone(&enough), node.clone());
        let compaction = tokio::spawn(async move {
            let result = compacting.compact().await;
            done.store(true, Ordering::Relaxed);
            result
        });
        let with = write_until(node, 64, enough).await;
        let compaction = compaction.await.expect("the task").expect("a compaction");
        for (name, measured) in [("without a snapshot", &without), ("while one is taken", &with)] {
            println!(
                "| {name}, round {round} | {:.0} | {} | {} | {} |",
                measured.writes_per_s,
                measured.percentile(0.5),
                measured.percentile(0.99),
                measured.percentile(0.999)
            );
        }
        println!(
            "p99 ratio {:.2}; snapshot of {} bytes in {:.2} s",
            f64::from(with.percentile(0.99)) / f64::from(without.percentile(0.99)),
            compaction.snapshot_bytes,
            compaction.duration.as_secs_f64()
        );
    }
}

fn main() {
    let parent =
        std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_else(|| ".".into());
    let directory = tempfile::tempdir_in(parent).expect("a directory to work in");
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("a runtime")
    };
    let first = runtime();
    first.block_on(async {
        let node = Node::open(options(directory.path())).await.expect("a new node");
        throughput(&node).await;
        during_a_snapshot(&node).await;
        node.compact().await.expect("a compaction");
        node.close().await.expect("a clean stop");
    });
    drop(first);
    let started = Instant::now();
    runtime().block_on(async {
        let node = Node::open(options(directory.path())).await.expect("the node again");
        let keys = node.store_status().keys;
        println!("\nrestart with {keys} keys in a snapshot: {:.3} s", started.elapsed().as_secs_f64());
        node.close().await.expect("a clean stop");
    });
}
