//! Goal: a node that is left alone can be made a cluster of its own, loudly, and the others join it anew.

use std::fs;

use super::harness::{Cluster, cluster, leader_of, serves, settled};
use crate::node::{eventually, program};

#[test]
fn one_node_that_is_left_becomes_a_cluster_that_others_join() {
    let places = Cluster::of(3, 3);
    let mut nodes = places.start_all();
    settled(&nodes[0], 3, 3);
    let old = cluster(&nodes[0])["cluster"].clone();
    for n in 0..50 {
        assert_eq!(nodes[n % 3].put(&format!("/v1/kv/k{n}"), b"v").status, 201);
    }
    let before = nodes[0].get("/v1/kv/k7").header("etag").map(str::to_owned);
    let left = (leader_of(&nodes) + 1) % 3;
    let survivor = nodes.remove(left);
    // The quorum that acknowledged may have been without it.
    eventually("it has all of it", || {
        (survivor.get("/v1/kv/k49?consistency=stale").status == 200).then_some(())
    });
    nodes.drain(..).for_each(crate::node::Node::kill);
    survivor.get("/v1/kv/k7").problem(503, "no-leader");
    survivor.terminate();
    let path = places.path(left).display().to_string();
    let asked = program(&["recover", "--data-dir", &path]).output().expect("it runs");
    assert_eq!(asked.status.code(), Some(2), "it asks first: {asked:?}");
    let done = program(&["recover", "--data-dir", &path, "--yes"]).output().expect("it runs");
    assert!(done.status.success(), "{done:?}");
    let survivor = places.start(left);
    assert_ne!(cluster(&survivor)["cluster"], old, "nobody of the old cluster passes for one of the new");
    for n in 0..50 {
        assert_eq!(survivor.get(&format!("/v1/kv/k{n}")).status, 200, "k{n} was on this node too");
    }
    assert_ne!(survivor.get("/v1/kv/k7").header("etag").map(str::to_owned), before, "no old version matches");
    let aside = fs::read_dir(places.path(left)).expect("a directory");
    let names: Vec<_> =
        aside.map(|entry| entry.expect("an entry").file_name().into_string().unwrap()).collect();
    assert!(names.iter().any(|name| name.starts_with("lost-")), "nothing is deleted: {names:?}");
    let mut nodes = vec![survivor];
    for n in (0..3).filter(|n| *n != left) {
        fs::remove_dir_all(places.path(n)).expect("it can be emptied");
        nodes.push(places.start(n));
    }
    settled(&nodes[0], 3, 3);
    serves(&nodes, "after");
}
