//! Goal: settings change on all members from one log entry on, and evictions and expiries are the same everywhere.

use serde_json::{Value, json};

use super::harness::{Cluster, cluster, keys, leader_of, one_history, settled};
use crate::node::{Node, eventually};

fn settings(node: &Node) -> Value {
    node.get("/v1/cluster/settings").json()
}

fn change(node: &Node, change: &Value) -> Value {
    let headers = [("Content-Type", "application/json")];
    let done = node.send("PUT", "/v1/cluster/settings", &headers, change.to_string().as_bytes());
    assert_eq!(done.status, 200, "{done:?}");
    done.json()
}

#[test]
fn settings_are_the_same_on_all_members() {
    let places = Cluster::of(3, 3);
    let nodes = places.start_all();
    let changed = change(&nodes[1], &json!({ "max_keys": 100, "eviction": "volatile-lru", "voters": 3 }));
    assert_eq!(changed["max_keys"], 100);
    for node in &nodes {
        assert_eq!(settings(node), changed);
    }
    let table =
        nodes[2].client(&["cluster", "settings", "--max-bytes", "1MiB", "--eviction", "lru", "--json"]);
    let table: Value = serde_json::from_slice(&table.stdout).expect("JSON");
    assert_eq!((&table["max_bytes"], &table["eviction"]), (&json!(1 << 20), &json!("lru")));
    let refused = nodes[0].client(&["cluster", "settings", "--voters", "4"]);
    assert_eq!(refused.status.code(), Some(5), "an even number: {refused:?}");
}

/// Evictions, expiries and their order: the same keys and the same hash of the state on every member, through a failover.
#[test]
fn members_evict_and_expire_the_same_keys() {
    let places = Cluster::of(3, 3).with("cluster.state_hash_every", "10").with("store.max_keys", "50");
    let mut nodes = places.start_all();
    for n in 0..120 {
        let path = format!("/v1/kv/k{n}{}", if n % 3 == 0 { "?ttl_ms=1500" } else { "" });
        assert!(nodes[n % 3].put(&path, b"v").status < 300);
        nodes[(n + 1) % 3].get(&format!("/v1/kv/k{}", n / 2));
    }
    let leader = leader_of(&nodes);
    nodes.remove(leader).kill();
    let back = places.begin(leader);
    for n in 120..200 {
        let mut written = nodes[n % 2].put(&format!("/v1/kv/k{n}"), b"v");
        if written.status == 504 {
            // It was on its way to the leader that was killed.
            written = nodes[n % 2].put(&format!("/v1/kv/k{n}"), b"v");
        }
        assert!(written.status < 300, "{written:?}");
    }
    nodes.insert(leader, back.join().expect("it starts"));
    settled(&nodes[0], 3, 3);
    one_history(&nodes);
    let left = keys(&nodes[0]).len();
    assert!(left <= 50, "{left} keys");
    eventually("the hashes were compared on all members", || {
        let told = cluster(&nodes[0]);
        let members = told["members"].as_array().expect("a list");
        members.iter().all(|member| member["agreed_index"].is_u64()).then_some(())
    });
}

/// The wanted number of voters is a setting: fewer vote, more vote, as it says.
#[test]
fn as_many_members_vote_as_are_wanted() {
    let places = Cluster::of(5, 5);
    let nodes = places.start_all();
    settled(&nodes[0], 5, 5);
    change(&nodes[0], &json!({ "voters": 3 }));
    settled(&nodes[0], 3, 5);
    change(&nodes[0], &json!({ "voters": 0 }));
    settled(&nodes[0], 5, 5);
}
