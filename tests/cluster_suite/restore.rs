//! Goal: a backup that the configuration of new nodes names becomes one cluster of all of them, and only where there would
//! be an empty one.

use std::path::PathBuf;

use super::harness::{Cluster, cluster, serves, settled};
use crate::node::{Node, eventually};

/// What a restore adds to every version.
const REVISIONS: u64 = 1 << 32;

/// A backup of 100 keys.
fn backup(places: &Cluster) -> PathBuf {
    let source = Node::start(&places.directory_of("source"));
    for n in 0..100 {
        assert_eq!(source.put(&format!("/v1/kv/k{n}"), format!("v{n}").as_bytes()).status, 201);
    }
    let file = places.directory_of("the.backup");
    let done = source.client(&["backup", &file.display().to_string()]);
    assert!(done.status.success(), "{done:?}");
    file
}

fn has_it_all(node: &Node) {
    eventually("the content is there", || (node.get("/v1/kv/k99").status == 200).then_some(()));
    for n in 0..100 {
        let read = node.get(&format!("/v1/kv/k{n}"));
        assert_eq!(read.body, format!("v{n}").as_bytes(), "k{n}");
        let version = read.header("kvorum-version").and_then(|version| version.parse::<u64>().ok());
        assert!(version > Some(REVISIONS), "no version of the old cluster matches: {version:?}");
    }
}

/// Checks that these are the voters of one cluster with what is in the backup, and that it goes on.
fn are_the_restored(nodes: &[Node]) {
    settled(&nodes[0], nodes.len(), nodes.len());
    let id = cluster(&nodes[0])["cluster"].clone();
    for node in nodes {
        assert_eq!(cluster(node)["cluster"], id, "one cluster");
        has_it_all(node);
    }
    serves(nodes, "new");
}

/// The place whose node creates the cluster: the first of the seeds by name.
fn creator(places: &Cluster) -> usize {
    (0..places.peers.len()).min_by_key(|n| places.peers[*n].to_string()).expect("there are places")
}

#[test]
fn three_seeds_begin_with_a_backup_and_only_the_creator_needs_it() {
    let places = Cluster::of(4, 3);
    let file = backup(&places);
    let first = (0..3).min_by_key(|n| places.peers[*n].to_string()).expect("there are seeds");
    let named = |n: usize| match n == first {
        true => file.display().to_string(),
        false => "/nowhere/to/be.found".to_owned(),
    };
    let start = |n: usize| places.try_begin(n, &[("cluster.restore_from", &named(n))]);
    let starting = [0, 1, 2].map(start);
    let mut nodes: Vec<_> =
        starting.into_iter().map(|node| node.join().expect("no panic").expect("it starts")).collect();
    are_the_restored(&nodes);
    let id = cluster(&nodes[0])["cluster"].clone();
    // What is in a cluster stays in it: nothing is restored again, by whom it may be.
    assert_eq!(nodes[0].send("DELETE", "/v1/kv/k0", &[], b"").status, 204);
    nodes.drain(..).for_each(Node::kill);
    let starting = [0, 1, 2].map(start);
    nodes = starting.into_iter().map(|node| node.join().expect("no panic").expect("it starts")).collect();
    settled(&nodes[0], 3, 3);
    nodes.push(start(3).join().expect("no panic").expect("a node that is no seed joins"));
    settled(&nodes[0], 3, 4);
    nodes.remove(first).kill();
    std::fs::remove_dir_all(places.path(first)).expect("it can be emptied");
    nodes.push(start(first).join().expect("no panic").expect("the emptied creator joins"));
    for node in &nodes {
        assert_eq!(cluster(node)["cluster"], id);
        // Who has just joined may have much to catch up with.
        eventually("it reads", || (node.get("/v1/kv/k0").status != 503).then_some(()));
        assert_eq!(node.get("/v1/kv/k0").status, 404, "a removed key does not come back");
        assert_eq!(node.get("/v1/kv/k1").body, b"v1");
    }
}

/// Goal: starts that are killed on the way change nothing, whoever it is.
#[test]
fn killed_starts_come_to_the_same_end() {
    let places = Cluster::of(3, 3);
    let file = backup(&places).display().to_string();
    let first = creator(&places);
    let setting = [("cluster.restore_from", file.as_str())];
    let others: Vec<_> = (0..3).filter(|n| *n != first).map(|n| places.try_begin(n, &setting)).collect();
    for millis in [100, 250, 300, 350, 400, 450] {
        let seeds: Vec<_> = places.peers.iter().map(ToString::to_string).collect();
        let mut child = crate::node::program(&["serve", "--listen", "127.0.0.1:0", "--set", "ops.listen="])
            .arg("--data-dir")
            .arg(places.path(first))
            .args(["--set", &format!("peer.listen={}", places.peers[first])])
            .args(["--set", &format!("cluster.seeds={}", seeds.join(","))])
            .args(["--set", &format!("cluster.restore_from={file}")])
            .args(["--set", "wal.segment_bytes=1MiB"])
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("the program runs");
        std::thread::park_timeout(std::time::Duration::from_millis(millis));
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }
    let mut nodes = vec![places.try_begin(first, &setting).join().expect("no panic").expect("it starts")];
    nodes.extend(others.into_iter().map(|node| node.join().expect("no panic").expect("it starts")));
    are_the_restored(&nodes);
}
