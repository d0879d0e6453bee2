//! Goal: what operators ask for is done by the leader, whichever node they ask, and refused with the reason if it would do
//! harm.

use super::harness::{Cluster, id, leader_of, members, removed, serves, settled};
use crate::node::{Node, eventually, program};

fn ids(nodes: &[Node]) -> Vec<u64> {
    nodes.iter().map(id).collect()
}

fn refused(node: &Node, arguments: &[&str], why: &str) {
    refused_with(node, arguments, why, "[conflict]");
}

fn refused_with(node: &Node, arguments: &[&str], why: &str, code: &str) {
    let done = node.client(arguments);
    assert_eq!(done.status.code(), Some(5), "{arguments:?}: {done:?}");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains(why) && said.contains(code), "{arguments:?}: {said}");
}

#[test]
fn leadership_goes_where_it_is_sent() {
    let places = Cluster::of(3, 3);
    let nodes = places.start_all();
    settled(&nodes[0], 3, 3);
    let ids = ids(&nodes);
    for asked in 0..3 {
        let leader = leader_of(&nodes);
        let to = (leader + 1) % 3;
        eventually("it is handed over", || {
            let done = nodes[asked].client(&["cluster", "transfer", &ids[to].to_string()]);
            let was_slow = String::from_utf8_lossy(&done.stderr).contains("was faster");
            assert!(done.status.success() || was_slow, "{done:?}");
            done.status.success().then_some(())
        });
        assert_eq!(leader_of(&nodes), to);
        serves(&nodes, "k");
    }
    let done = nodes[0].client(&["cluster", "transfer"]);
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn what_would_take_the_quorum_away_is_refused() {
    let places = Cluster::of(3, 3);
    let mut nodes = places.start_all();
    settled(&nodes[0], 3, 3);
    let leader = leader_of(&nodes);
    let follower = (leader + 1) % 3;
    let ids = ids(&nodes);
    refused(&nodes[0], &["cluster", "promote", &ids[1].to_string()], "voter already");
    let unknown = nodes[0].client(&["cluster", "remove", "999"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    // One voter is away: without another one the rest could not decide any more.
    let gone = nodes.remove(follower);
    gone.kill();
    let leader = leader_of(&nodes);
    let other = id(&nodes[1 - leader]);
    eventually("its silence is noted", || {
        members(&nodes[0]).iter().any(|(_, _, state)| state == "silent").then_some(())
    });
    refused(&nodes[0], &["cluster", "remove", &other.to_string()], "can be reached");
    // Who does not answer is no conflict, but a matter of time.
    for node in &nodes {
        let silent = ids[follower].to_string();
        refused_with(node, &["cluster", "transfer", &silent], "cannot be reached", "[unavailable]");
        refused_with(node, &["cluster", "add", "127.0.0.1:1"], "not reachable", "[unavailable]");
    }
    // The silent one may go.
    removed(&nodes[1], ids[follower]);
    settled(&nodes[0], 2, 2);
}

#[test]
fn the_last_voter_cannot_go() {
    let places = Cluster::of(1, 1);
    let node = places.start(0);
    refused(&node, &["cluster", "remove", "1"], "last voter");
    refused(&node, &["cluster", "leave"], "last voter");
    refused(&node, &["cluster", "transfer"], "no other voter");
    assert_eq!(node.put("/v1/kv/k", b"v").status, 201, "it goes on");
}

/// Nodes are let go one at a time, and the next one only when the one before is back.
#[test]
fn nodes_may_stop_one_after_the_other() {
    let places = Cluster::of(3, 3);
    let mut nodes = places.start_all();
    settled(&nodes[0], 3, 3);
    let leader = leader_of(&nodes);
    let (first, second) = (leader, (leader + 1) % 3);
    // The leader hands over before it goes.
    let path = places.path(first).display().to_string();
    let done = program(&["lifecycle", "pre-stop", "--wait-s", "20", "--data-dir", &path]).output();
    let done = done.expect("it runs");
    assert!(String::from_utf8_lossy(&done.stdout).contains("may stop"), "{done:?}");
    assert_ne!(leader_of(&nodes), first);
    // So long as the configuration says, in any of its forms.
    let waits = nodes[second].client(&["lifecycle", "pre-stop", "--set", "lifecycle.wait_s=1"]);
    assert!(String::from_utf8_lossy(&waits.stdout).contains("no permission after 1 s"), "{waits:?}");
    let stopped = nodes.remove(first);
    stopped.terminate();
    nodes.insert(first, places.start(first));
    settled(&nodes[0], 3, 3);
    let done = nodes[second].client(&["lifecycle", "pre-stop", "--wait-s", "20"]);
    assert!(String::from_utf8_lossy(&done.stdout).contains("may stop"), "{done:?}");
}

/// The table that a person reads, and the document for programs.
#[test]
fn the_state_of_the_cluster_is_told_by_every_node() {
    let places = Cluster::of(3, 3);
    let nodes = places.start_all();
    settled(&nodes[0], 3, 3);
    for node in &nodes {
        let text = eventually("the leader tells that all is well", || {
            let told = node.client(&["cluster", "status"]);
            assert!(told.status.success(), "{told:?}");
            let text = String::from_utf8_lossy(&told.stdout).into_owned();
            (text.matches("\tok\t").count() == 3).then_some(text)
        });
        assert_eq!(text.matches("\tleader\t").count(), 1, "{text}");
        assert!(text.contains("wanted voters") && text.contains("level"), "{text}");
    }
}
