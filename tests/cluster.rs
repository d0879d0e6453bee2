//! Clusters of real nodes on loopback: formation, any node serves, failover, a node that was away.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes and clocks")]

mod node;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use node::{Node, PATIENCE};
use serde_json::Value;
use tempfile::TempDir;

/// Three nodes that know one another by their ports.
struct Cluster {
    directory: TempDir,
    ports: Vec<u16>,
}

impl Cluster {
    fn of(count: usize) -> Cluster {
        let listeners: Vec<_> =
            (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let ports =
            listeners.iter().map(|listener| listener.local_addr().expect("an address").port()).collect();
        Cluster { directory: tempfile::tempdir().expect("a directory"), ports }
    }

    fn path(&self, n: usize) -> PathBuf {
        self.directory.path().join(n.to_string())
    }

    /// Starts node `n`, which is there when this returns but may still wait for others.
    fn begin(&self, n: usize) -> std::thread::JoinHandle<Node> {
        let seeds: Vec<_> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let (path, listen, seeds) = (self.path(n), seeds[n].clone(), seeds.join(","));
        std::thread::spawn(move || start(&path, &listen, &seeds))
    }

    fn start(&self) -> Vec<Node> {
        let starting: Vec<_> = (0..self.ports.len()).map(|n| self.begin(n)).collect();
        starting.into_iter().map(|node| node.join().expect("it starts")).collect()
    }
}

fn start(path: &Path, listen: &str, seeds: &str) -> Node {
    std::fs::create_dir_all(path).expect("a directory");
    Node::start_with(path, &[("peer.listen", listen), ("cluster.seeds", seeds)])
}

fn stats(node: &Node) -> Value {
    node.get("/v1/stats").json()
}

/// Waits until something holds.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn leader_of(nodes: &[Node]) -> usize {
    eventually("a leader", || nodes.iter().position(|node| stats(node)["role"] == "leader"))
}

/// Goal: in whatever order three seeds start they form one cluster, and any of them takes any request.
#[test]
fn three_seeds_form_one_cluster_and_any_node_serves() {
    let cluster = Cluster::of(3);
    let nodes = cluster.start();
    let leader = leader_of(&nodes);
    for (n, node) in nodes.iter().enumerate() {
        assert_eq!(
            node.put(&format!("/v1/kv/k{n}"), b"v").status,
            201,
            "written on node {n}, {leader} leads"
        );
        for (m, other) in nodes.iter().enumerate() {
            assert_eq!(other.get(&format!("/v1/kv/k{n}")).status, 200, "written on {n}, read on {m}");
        }
    }
    let clusters: Vec<_> = nodes.iter().map(|node| stats(node)["cluster"].clone()).collect();
    assert!(clusters.iter().all(|id| *id == clusters[0] && id.is_string()), "{clusters:?}");
}

/// Goal: when the leader is killed the others go on, nothing acknowledged is lost, and it comes back as a follower.
#[test]
fn a_killed_leader_is_replaced_and_comes_back() {
    let cluster = Cluster::of(3);
    let mut nodes = cluster.start();
    let leader = leader_of(&nodes);
    for n in 0..100 {
        assert_eq!(nodes[n % 3].put(&format!("/v1/kv/before{n}"), b"v").status, 201);
    }
    nodes.remove(leader).kill();
    let killed = Instant::now();
    assert_eq!(nodes[0].put("/v1/kv/after", b"v").status, 201, "it waits for the election");
    let gap = killed.elapsed();
    assert!(gap < Duration::from_secs(4), "writes were away for {gap:?}");
    for n in 0..100 {
        assert_eq!(nodes[n % 2].get(&format!("/v1/kv/before{n}")).status, 200, "before{n} was acknowledged");
    }
    let back = cluster.begin(leader).join().expect("it starts");
    assert_eq!(
        eventually("the value", || Some(back.get("/v1/kv/after")).filter(|r| r.status == 200)).body,
        b"v"
    );
}
