//! Goal: the cluster goes on without its leader; nothing acknowledged is lost and no time to live moves.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::harness::{Cluster, cluster, keys, leader_of, one_history, settled};
use super::load::{Load, nothing_is_lost};
use crate::node::{Node, eventually};

#[test]
fn a_killed_leader_is_replaced_and_comes_back() {
    let places = Cluster::of(3, 3);
    let mut nodes = places.start_all();
    let load = Load::on(&nodes.iter().collect::<Vec<_>>());
    load.goes_on(50);
    for _ in 0..3 {
        let leader = leader_of(&nodes);
        let others: Vec<_> =
            nodes.iter().enumerate().filter(|(n, _)| *n != leader).map(|(_, node)| node).collect();
        load.turn_to(&others);
        nodes.remove(leader).kill();
        load.goes_on(50);
        nodes.insert(leader, places.start(leader));
        settled(&nodes[0], 3, 3);
        load.turn_to(&nodes.iter().collect::<Vec<_>>());
        load.goes_on(50);
    }
    let told = load.stop();
    assert!(told.longest < Duration::from_secs(5), "a write took {:?}", told.longest);
    nodes.iter().for_each(|node| nothing_is_lost(node, &told));
}

/// All nodes are stopped and started one after the other, while clients write and try once more.
#[test]
fn a_rolling_restart_fails_no_request() {
    let places = Cluster::of(3, 3).with("shutdown.drain_ms", "300");
    let mut nodes = places.start_all();
    settled(&nodes[0], 3, 3);
    let load = Load::on(&nodes.iter().collect::<Vec<_>>());
    load.goes_on(50);
    for n in 0..3 {
        let others: Vec<_> =
            nodes.iter().enumerate().filter(|(m, _)| *m != n).map(|(_, node)| node).collect();
        load.turn_to(&others);
        let ended = nodes.remove(n).terminate();
        assert_eq!(ended.status, Some(0), "{}", ended.said);
        load.goes_on(20);
        nodes.insert(n, places.start(n));
        settled(&nodes[0], 3, 3);
        load.turn_to(&nodes.iter().collect::<Vec<_>>());
        load.goes_on(20);
    }
    let told = load.stop();
    assert_eq!(told.failed, Vec::<String>::new(), "of {}", told.acknowledged.len());
    nodes.iter().for_each(|node| nothing_is_lost(node, &told));
}

/// A node that stands still for a while is a follower like any other afterwards, and what it led is led by another.
#[test]
fn a_paused_leader_answers_nothing_old_and_rejoins() {
    let places = Cluster::of(3, 3);
    let nodes = places.start_all();
    settled(&nodes[0], 3, 3);
    let leader = leader_of(&nodes);
    assert_eq!(nodes[leader].put("/v1/kv/k", b"old").status, 201);
    nodes[leader].signal(Signal::STOP);
    let (a, b) = ((leader + 1) % 3, (leader + 2) % 3);
    eventually("the others go on", || {
        // What was handed to the leader that stands still has an unknown outcome, and nobody but the client may repeat it.
        let written = nodes[a].put("/v1/kv/k", b"new");
        assert!(matches!(written.status, 200 | 504), "{written:?}");
        (written.status == 200).then_some(())
    });
    nodes[leader].signal(Signal::CONT);
    for _ in 0..20 {
        let read = nodes[leader].get("/v1/kv/k");
        assert!(read.status == 503 || read.body == b"new", "{read:?}");
    }
    settled(&nodes[b], 3, 3);
    assert_eq!(nodes[leader].get("/v1/kv/k").body, b"new");
}

/// Who was used longest ago goes first, although the leader that heard of it is dead.
#[test]
fn the_order_of_eviction_goes_on_through_failover() {
    let places = Cluster::of(3, 3).with("store.max_keys", "40").with("cluster.state_hash_every", "10");
    let mut nodes = places.start_all();
    settled(&nodes[0], 3, 3);
    for n in 0..40 {
        assert_eq!(nodes[n % 3].put(&format!("/v1/kv/old{n:02}"), b"v").status, 201);
    }
    let before = cluster(&nodes[0])["last_log_index"].as_u64();
    // More than once: reads are noted as far as there is room, and a log that stands still makes none.
    for n in (0..3).flat_map(|_| 0..10) {
        assert_eq!(nodes[n % 3].get(&format!("/v1/kv/old{n:02}")).status, 200);
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let reads_travel = |node: &Node| cluster(node)["applied_index"].as_u64() > before;
    eventually("the reads are in the log of all", || nodes.iter().all(reads_travel).then_some(()));
    // Those of another node may travel in another entry: the order is known once a second has passed without any.
    let mut quiet = (Instant::now(), cluster(&nodes[0])["last_log_index"].clone());
    eventually("no more reads travel", || {
        let last = cluster(&nodes[0])["last_log_index"].clone();
        if last != quiet.1 {
            quiet = (Instant::now(), last);
        }
        (quiet.0.elapsed() > Duration::from_millis(2_500)).then_some(())
    });
    one_history(&nodes);
    let leader = leader_of(&nodes);
    nodes.remove(leader).kill();
    leader_of(&nodes);
    for n in 0..30 {
        let new = format!("new{n:02}");
        assert!(matches!(nodes[n % 2].put(&format!("/v1/kv/{new}"), b"v").status, 200 | 201));
        let left = eventually("it is there", || Some(keys(&nodes[n % 2])).filter(|left| left.contains(&new)));
        let first = left.iter().find(|key| key.starts_with("old") && key.as_str() >= "old10");
        let expected = (n < 29).then(|| format!("old{:02}", n + 11));
        assert_eq!(first, expected.as_ref(), "after {} new keys: {left:?}", n + 1);
        assert_eq!(left.len(), 40, "{left:?}");
    }
    let place = places.place_of_missing(&nodes);
    nodes.push(places.start(place));
    settled(&nodes[0], 3, 3);
    one_history(&nodes);
    let left = keys(&nodes[2]);
    assert!((0..10).all(|n| left.contains(&format!("old{n:02}"))), "what was read stays: {left:?}");
}

fn ttl(node: &Node, key: &str) -> Option<u64> {
    node.get(&format!("/v1/kv/{key}/ttl")).json()["ttl_ms"].as_u64()
}

/// The wall clocks are an hour apart and jump; times to live go on as real time does, through a change of leader.
#[test]
fn times_to_live_go_on_through_failover_with_wall_clocks_an_hour_apart() {
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    if !std::path::Path::new(library).exists() {
        eprintln!("SKIPPED: libfaketime is not installed (Debian package faketime), so no clock can be set");
        assert!(std::env::var_os("CI").is_none(), "CI installs it");
        return;
    }
    let places = Cluster::of(3, 3);
    let clocks: Vec<_> = (0..3).map(|n| places.directory_of(&format!("clock{n}"))).collect();
    let set = |n: usize, offset: &str| std::fs::write(&clocks[n], offset).expect("a clock can be set");
    ["-3600s", "+0s", "+3600s"].into_iter().enumerate().for_each(|(n, offset)| set(n, offset));
    let start = |n: usize| {
        places.try_begin_with(
            n,
            &[
                ("LD_PRELOAD", library),
                ("FAKETIME_TIMESTAMP_FILE", &clocks[n].display().to_string()),
                ("FAKETIME_NO_CACHE", "1"),
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ],
        )
    };
    let starting = [0, 1, 2].map(start);
    let mut nodes: Vec<_> =
        starting.into_iter().map(|node| node.join().expect("no panic").expect("it starts")).collect();
    settled(&nodes[0], 3, 3);
    let before_write = Instant::now();
    assert_eq!(nodes[0].put("/v1/kv/k?ttl_ms=60000", b"v").status, 201);
    let after_write = Instant::now();
    assert_eq!(nodes[0].put("/v1/kv/short?ttl_ms=1000", b"v").status, 201);
    // Whenever in its request a write or a read took effect, what is left may be off by no more than the promised 50 ms.
    let check = |node: &Node, when: &str| {
        let most = 60_050 - after_write.elapsed().as_millis() as u64;
        let left = ttl(node, "k").expect("it has not expired");
        let least = 59_950 - before_write.elapsed().as_millis() as u64;
        assert!((least..=most).contains(&left), "{when}: {left} ms left, expected {least} to {most}");
    };
    check(&nodes[1], "at first");
    for n in 0..3 {
        set(n, ["+7200s", "-7200s", "+60s"][n]);
    }
    check(&nodes[2], "after the clocks jumped");
    eventually("the short one expires", || (nodes[0].get("/v1/kv/short").status == 404).then_some(()));
    for round in 0..2 {
        let leader = leader_of(&nodes);
        nodes.remove(leader).kill();
        check(&nodes[0], "after a failover");
        assert_eq!(nodes[1].get("/v1/kv/short").status, 404, "nothing that expired comes back");
        let place = places.place_of_missing(&nodes);
        nodes.push(start(place).join().expect("no panic").expect("it starts"));
        settled(&nodes[0], 3, 3);
        check(&nodes[2], &format!("after the return of a node, round {round}"));
    }
    assert_eq!(cluster(&nodes[0])["state_hash_mismatches"], 0);
}
