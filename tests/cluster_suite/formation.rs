//! Goal: seeds form exactly one cluster, whatever the order of their starts, and others join it.

use std::time::Duration;

use super::harness::{Cluster, cluster, leader_of, serves, settled};
use super::load::{Load, nothing_is_lost};
use crate::node::{Node, eventually};

fn one_cluster(nodes: &[Node]) {
    let ids: Vec<_> = nodes.iter().map(|node| cluster(node)["cluster"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0] && id.is_string()), "{ids:?}");
}

#[test]
fn three_seeds_form_one_cluster_and_any_node_serves() {
    let places = Cluster::of(3, 3);
    let nodes = places.start_all();
    one_cluster(&nodes);
    leader_of(&nodes);
    serves(&nodes, "k");
    settled(&nodes[0], 3, 3);
}

/// Each order in which three seeds can start, one after the other.
#[test]
fn every_starting_order_leads_to_one_cluster() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let places = Cluster::of(3, 3);
        let starting = order.map(|n| {
            let node = places.begin(n);
            // Long enough that each asks the others before the next is there.
            std::thread::park_timeout(Duration::from_millis(150));
            node
        });
        let nodes = starting.map(|node| node.join().expect("it starts"));
        one_cluster(&nodes);
        settled(&nodes[0], 3, 3);
    }
}

/// A start that is killed while the others are waited for, and begun again, changes nothing.
#[test]
fn a_seed_that_is_killed_while_the_cluster_forms_is_waited_for() {
    let places = Cluster::of(3, 3);
    for n in [0, 1, 2, 0, 1] {
        let path = places.path(n);
        std::fs::create_dir_all(&path).expect("a directory");
        let seeds: Vec<_> = places.peers.iter().map(ToString::to_string).collect();
        let mut child = crate::node::program(&["serve", "--listen", "127.0.0.1:0", "--set", "ops.listen="])
            .arg("--data-dir")
            .arg(&path)
            .args(["--set", &format!("peer.listen={}", places.peers[n])])
            .args(["--set", &format!("cluster.seeds={}", seeds.join(","))])
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("the program runs");
        std::thread::park_timeout(Duration::from_millis(400));
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }
    let nodes = places.start_all();
    one_cluster(&nodes);
    serves(&nodes, "k");
}

/// More nodes than seeds: the others join, and as many vote as make an odd number.
#[test]
fn nodes_that_are_no_seeds_join_and_voters_stay_odd() {
    let places = Cluster::of(4, 3);
    let nodes = places.start_all();
    one_cluster(&nodes);
    settled(&nodes[0], 3, 4);
    serves(&nodes, "k");
}

/// One node grows to three and to five while clients write, and shrinks to three again.
#[test]
fn a_cluster_grows_and_shrinks_under_load_without_a_failed_write() {
    let places = Cluster::of(5, 1);
    let mut nodes = vec![places.start(0)];
    let load = Load::on(&[&nodes[0]]);
    load.goes_on(50);
    for n in [1, 2] {
        nodes.push(places.start(n));
    }
    settled(&nodes[0], 3, 3);
    load.turn_to(&nodes.iter().collect::<Vec<_>>());
    load.goes_on(50);
    for n in [3, 4] {
        nodes.push(places.start(n));
    }
    settled(&nodes[0], 5, 5);
    load.turn_to(&nodes.iter().collect::<Vec<_>>());
    load.goes_on(50);
    load.turn_to(&nodes[..3].iter().collect::<Vec<_>>());
    for node in nodes.split_off(3) {
        let left = node.client(&["cluster", "leave"]);
        assert!(left.status.success(), "{left:?}");
        assert_eq!(node.ended().status, Some(80), "it ends as one that has left");
        load.goes_on(20);
    }
    settled(&nodes[0], 3, 3);
    load.goes_on(50);
    let told = load.stop();
    assert_eq!(told.failed, Vec::<String>::new(), "of {} writes", told.acknowledged.len());
    assert!(told.acknowledged.len() > 200, "{}", told.acknowledged.len());
    nodes.iter().for_each(|node| nothing_is_lost(node, &told));
}

/// A follower that was away for longer than the log reaches gets a snapshot, while writes go on.
#[test]
fn a_follower_that_was_away_for_long_catches_up_by_a_snapshot() {
    let places = Cluster::of(3, 3).with("wal.keep_bytes", "0");
    let mut nodes = places.start_all();
    let leader = leader_of(&nodes);
    let away = (leader + 1) % 3;
    let gone = nodes.remove(away);
    gone.kill();
    let leader = leader_of(&nodes);
    let load = Load::on(&nodes.iter().collect::<Vec<_>>());
    load.goes_on(300);
    // Whoever leads meanwhile.
    for node in nodes.iter().flat_map(|node| [node; 2]) {
        let compacted = node.client(&["compact"]);
        assert!(compacted.status.success(), "{compacted:?}");
    }
    let mut back = places.start(away);
    back.wait_for("a snapshot was installed");
    load.goes_on(100);
    let told = load.stop();
    assert_eq!(told.failed, Vec::<String>::new());
    settled(&back, 3, 3);
    nothing_is_lost(&back, &told);
    eventually("all is applied", || {
        let of = |node: &Node| node.get("/v1/cluster").json()["applied_index"].clone();
        (of(&back) == of(&nodes[leader])).then_some(())
    });
}

/// An address at which a node waits that no seed leads to a cluster is admitted by hand.
#[test]
fn a_node_that_waits_is_added_by_hand() {
    let places = Cluster::of(2, 1);
    let first = places.start(0);
    // Its only seed is itself under another name: it waits.
    let waiting = places.try_begin(1, &[("cluster.seeds", "127.0.0.1:1")]);
    let address = places.peers[1].to_string();
    eventually("it can be added", || {
        first.client(&["cluster", "add", &address]).status.success().then_some(())
    });
    let second = waiting.join().expect("no panic").expect("it starts");
    settled(&second, 1, 2);
    serves(&[first, second], "k");
}
