//! Disks whose syncs take long, in a cluster of three: they cost no term, and a leader whose disk stays slow hands over
//! where that helps.

#![cfg(test)]
#![allow(clippy::disallowed_methods, reason = "waits are bounded by the machine's clock")]

mod node;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use kvorum::clock::SystemClock;
use kvorum::disk::Faulty;
use kvorum::model::{Command, Condition, Expiry, Key, Level, Settings, Transaction};
use kvorum::raft::{Config, Node, Options, PeerConfig, SnapshotConfig, Yielding};
use kvorum::wal;
use tokio::time::{Instant, interval, timeout};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time between two writes.
const PACE: Duration = Duration::from_millis(20);

/// What a slow sync takes: not much more than the limit.
const SLOW: Duration = Duration::from_millis(150);

struct Cluster {
    nodes: Vec<Node>,
    disks: Vec<Faulty>,
    /// Writes that were not acknowledged.
    failed: AtomicU64,
}

impl Cluster {
    /// Three nodes; a leader with a slow disk hands over after so long, if ever.
    async fn start(hand_over_after: Option<Duration>) -> Cluster {
        let peers: Vec<_> = (0..3).map(|_| node::ports::free_port()).collect();
        let disks: Vec<_> = (0..3).map(|_| Faulty::new()).collect();
        let nodes = peers
            .iter()
            .zip(&disks)
            .map(|(peer, disk)| tokio::spawn(Node::open(options(disk, *peer, &peers, hand_over_after))));
        let nodes = timeout(PATIENCE, join_all(nodes)).await.expect("in time");
        let nodes = nodes.into_iter().map(|node| node.expect("no panic").expect("it starts")).collect();
        let cluster = Cluster { nodes, disks, failed: AtomicU64::new(0) };
        cluster.write_for(Duration::from_millis(500)).await;
        cluster
    }

    /// Who leads, in which term, if all agree on it.
    fn leads(&self) -> Option<(usize, u64)> {
        let term = self.nodes[0].status().term;
        let agree =
            self.nodes.iter().all(|node| node.status().term == term && node.status().leader.is_some());
        let leader = self.nodes.iter().position(|node| node.status().role == "leader")?;
        agree.then_some((leader, term))
    }

    /// Writes for so long, through all nodes in turn.
    async fn write_for(&self, time: Duration) {
        let end = Instant::now() + time;
        self.write_until(|_| (Instant::now() >= end).then_some(())).await;
    }

    /// Writes, through all nodes in turn, until `condition` gives something. What is written while leadership changes may
    /// have an unknown outcome.
    async fn write_until<T>(&self, condition: impl Fn(&Cluster) -> Option<T>) -> T {
        let (deadline, mut ticks) = (Instant::now() + PATIENCE, interval(PACE));
        for n in 0.. {
            if let Some(value) = condition(self) {
                return value;
            }
            assert!(Instant::now() < deadline, "not in time");
            ticks.tick().await;
            let key = Key::new(format!("key{n}")).expect("a short key");
            let command =
                Command::Set { key, value: "v".into(), expiry: Expiry::Never, condition: Condition::Always };
            let written = self.nodes[n % 3].write(Transaction::single(command), deadline).await;
            self.failed.fetch_add(u64::from(written.is_err()), Ordering::Relaxed);
        }
        unreachable!("it ends by its condition or its deadline")
    }

    async fn stop(self) {
        self.disks.iter().for_each(|disk| disk.slow_down(Duration::ZERO));
        join_all(self.nodes.into_iter().map(Node::close)).await;
    }
}

fn options(disk: &Faulty, peer: SocketAddr, peers: &[SocketAddr], after: Option<Duration>) -> Options {
    let seeds = peers.iter().map(SocketAddr::to_string).collect();
    Options {
        data_dir: "/data".into(),
        // A busy machine is not to be taken for a slow disk; a sync takes longer than this still.
        raft: Config { election_min_ms: 500, election_max_ms: 1_000, ..Config::default() },
        wal: wal::Config { segment_bytes: 1 << 20, ..wal::Config::default() },
        wal_keep_bytes: 1 << 30,
        snapshot: SnapshotConfig::default(),
        peer: PeerConfig { listen: Some(peer), seeds, hand_over_after: after, ..PeerConfig::default() },
        seed: Settings::default(),
        restore_from: None,
        max_level: Level::LATEST,
        state_hash_every: 4_096,
        clock: Arc::new(SystemClock),
        disk: Arc::new(disk.clone()),
        turns: Arc::new(Yielding),
    }
}

/// Goal: an fsync that takes 1.5 s changes no term, neither a follower's nor the leader's, and no write fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slow_disk_costs_no_term() {
    let cluster = Cluster::start(PeerConfig::default().hand_over_after).await;
    let before = cluster.write_until(Cluster::leads).await;
    for n in [(before.0 + 1) % 3, before.0] {
        cluster.disks[n].slow_down(Duration::from_millis(1_500));
        cluster.write_for(Duration::from_secs(8)).await;
        assert_eq!(cluster.leads(), Some(before), "the disk of node {n} is slow, node {} leads", before.0);
        cluster.disks[n].slow_down(Duration::ZERO);
    }
    assert_eq!(cluster.failed.load(Ordering::Relaxed), 0, "writes that failed");
    cluster.stop().await;
}

/// Goal: a leader whose disk stays slow hands over once, to a node whose disk is fast; and where all are slow, nobody does.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_with_a_slow_disk_hands_over_where_that_helps() {
    let after = Duration::from_secs(3);
    let cluster = Cluster::start(Some(after)).await;
    // Of so many syncs it takes several to make a disk slow: a busy machine may delay one or two.
    let synced = |node: &Node| node.status().wal.fsync_us.counts.iter().sum::<u64>() > 300;
    cluster.write_until(|cluster| cluster.nodes.iter().all(synced).then_some(())).await;
    let (leader, term) = cluster.write_until(Cluster::leads).await;
    // One of the others is slow too: it is not the one to lead.
    let fast = (leader + 2) % 3;
    cluster.disks[(leader + 1) % 3].slow_down(SLOW);
    cluster.write_for(after).await;
    assert_eq!(cluster.leads(), Some((leader, term)), "the leader's disk is fast");
    cluster.disks[leader].slow_down(SLOW);
    let now = cluster.write_until(|cluster| cluster.leads().filter(|(who, _)| *who != leader)).await;
    assert_eq!(now, (fast, term + 1), "one orderly change");
    cluster.disks[fast].slow_down(SLOW);
    cluster.write_for(4 * after).await;
    assert_eq!(cluster.leads(), Some(now), "a slow disk everywhere changes nothing");
    cluster.stop().await;
}
