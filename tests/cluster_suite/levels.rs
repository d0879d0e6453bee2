//! Goal: nothing of a newer level is written before every member understands it, and a rollback works until then.

use rustix::process::Signal;
use serde_json::json;

use super::harness::{Cluster, cluster, id, leader_of, serves, settled};
use crate::node::{Node, eventually};

const OLD: [(&str, &str); 1] = [("cluster.max_level", "1")];

fn start_old(places: &Cluster, count: usize) -> Vec<Node> {
    let starting: Vec<_> = (0..count).map(|n| places.try_begin(n, &OLD)).collect();
    starting.into_iter().map(|node| node.join().expect("no panic").expect("it starts")).collect()
}

fn raise(node: &Node) -> std::process::Output {
    node.client(&["cluster", "level", "raise", "2"])
}

#[test]
fn a_new_cluster_begins_at_the_highest_level_of_all_founders() {
    let places = Cluster::of(3, 3);
    let nodes = places.start_all();
    settled(&nodes[0], 3, 3);
    eventually("it is at level 2", || (cluster(&nodes[0])["level"] == 2).then_some(()));
    let places = Cluster::of(3, 3);
    let starting = [places.try_begin(0, &[]), places.try_begin(1, &OLD), places.try_begin(2, &[])];
    let nodes = starting.map(|node| node.join().expect("no panic").expect("it starts"));
    settled(&nodes[0], 3, 3);
    serves(&nodes, "k");
    assert!(nodes.iter().all(|node| cluster(node)["level"] == 1), "one of them knows no other");
}

/// A rolling upgrade: back and forth until the level is raised, and no way back afterwards.
#[test]
fn the_level_is_raised_when_every_member_understands_it() {
    let places = Cluster::of(3, 3);
    let mut nodes = start_old(&places, 3);
    settled(&nodes[0], 3, 3);
    serves(&nodes, "old");
    let wants_more = json!({ "voters": 3 }).to_string();
    let headers = [("Content-Type", "application/json")];
    let setting = |node: &Node| node.send("PUT", "/v1/cluster/settings", &headers, wants_more.as_bytes());
    setting(&nodes[0]).problem(409, "conflict");
    // Two are upgraded, and one of them is rolled back again: nothing of a newer level was written.
    for n in [0, 1] {
        nodes.remove(n).terminate();
        nodes.insert(n, places.start(n));
    }
    settled(&nodes[0], 3, 3);
    serves(&nodes, "mixed");
    let refused = raise(&nodes[0]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains(&format!("member {}", id(&nodes[2]))), "who is in the way is named: {said}");
    nodes.remove(1).terminate();
    nodes.insert(1, places.try_begin(1, &OLD).join().expect("no panic").expect("a rollback works"));
    for n in [1, 2] {
        nodes.remove(n).terminate();
        nodes.insert(n, places.start(n));
    }
    settled(&nodes[0], 3, 3);
    // What a member said before it was rolled back does not count, nor what it said before it was upgraded.
    nodes.remove(2).terminate();
    nodes.insert(2, places.try_begin(2, &OLD).join().expect("no panic").expect("a rollback works"));
    let refused = raise(&nodes[0]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    nodes.remove(2).terminate();
    nodes.insert(2, places.start(2));
    let raised = raise(&nodes[(leader_of(&nodes) + 1) % 3]);
    assert!(raised.status.success(), "{raised:?}");
    assert_eq!(setting(&nodes[0]).status, 200);
    serves(&nodes, "new");
    nodes.remove(2).terminate();
    let ended = match places.try_begin(2, &OLD).join().expect("no panic") {
        Ok(node) => node.ended(),
        Err(ended) => ended,
    };
    assert_eq!(ended.status, Some(77), "an older version ends by itself: {}", ended.said);
    nodes.push(places.start(2));
    settled(&nodes[0], 3, 3);
}

/// Goal: a member counts as what it is, not as what it said a moment ago: it may be about to come back in another version.
#[test]
fn the_level_is_not_raised_on_what_a_member_said_before() {
    let places = Cluster::of(3, 3);
    let mut nodes = start_old(&places, 3);
    for n in 0..3 {
        nodes.remove(n).terminate();
        nodes.insert(n, places.start(n));
    }
    eventually("all are known to understand it", || {
        let cluster = cluster(&nodes[0]);
        let members = cluster["members"].as_array().expect("a list");
        members.iter().all(|member| member["max_level"] == 2 && member["state"] == "ok").then_some(())
    });
    let leader = leader_of(&nodes);
    nodes[(leader + 1) % 3].signal(Signal::STOP);
    let refused = raise(&nodes[leader]);
    nodes[(leader + 1) % 3].signal(Signal::CONT);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("does not answer"), "{refused:?}");
    eventually("it is raised once all answer", || {
        raise(&nodes[leader_of(&nodes)]).status.success().then_some(())
    });
}

/// A node that does not understand the level in force is not admitted.
#[test]
fn a_node_of_an_older_version_is_not_admitted() {
    let places = Cluster::of(2, 1);
    let first = places.start(0);
    let waiting = places.try_begin(1, &OLD);
    std::thread::park_timeout(std::time::Duration::from_secs(2));
    assert!(!waiting.is_finished());
    assert_eq!(cluster(&first)["members"].as_array().map(Vec::len), Some(1));
}
