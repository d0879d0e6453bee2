//! Goal: one full disk, whatever else fails, costs writes at most: the others elect, reads go on everywhere, writes are refused as
//! not applied where they would find no quorum, and are taken again soon after there is space.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::harness::{Cluster, cluster, id, leader_of, settled};
use crate::node::http::Connection;
use crate::node::{Node, eventually};

/// The size of the small file system. It holds a log of some seconds.
const DISK_BYTES: u64 = 192 << 20;

/// A small file system of its own for one node, gone with this.
struct Small(PathBuf);

impl Small {
    fn mount(path: PathBuf) -> Option<Small> {
        fs::create_dir_all(&path).expect("a directory");
        let options = format!("size={DISK_BYTES}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Small(path));
        }
        assert!(std::env::var_os("CI").is_none(), "a small tmpfs cannot be mounted here");
        eprintln!("SKIPPED: this machine does not let the test mount a small tmpfs");
        None
    }

    /// Somebody else takes all the space that is left.
    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("fill")).expect("a file");
        for size in [1 << 20, 4_096, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    fn clear(&self) {
        fs::remove_file(self.0.join("fill")).expect("what filled it");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// A value that no compression makes smaller.
fn value(n: u64) -> Vec<u8> {
    let mut state = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(8_000).collect()
}

/// Writes to both nodes while `work` is done.
fn loaded(nodes: [&Node; 2], work: impl FnOnce()) {
    let addresses = nodes.map(Node::address);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in 0..4_u64 {
            let stop = &stop;
            scope.spawn(move || {
                let mut n = client;
                while !stop.load(Ordering::Relaxed) {
                    let path = format!("/v1/kv/k{}", n % 300);
                    let client = Connection::try_open(addresses[(n % 2) as usize]);
                    // Whatever the answer is: the load is what matters.
                    let _ = client.and_then(|mut client| client.try_send("PUT", &path, &[], &value(n)));
                    n += 4;
                }
            });
        }
        work();
        stop.store(true, Ordering::Relaxed);
    });
}

fn for_a_while(seconds: u64) {
    std::thread::park_timeout(Duration::from_secs(seconds));
}

/// The node at `n`, taken out of `nodes`.
fn take(nodes: &mut Vec<Node>, places: &Cluster, n: usize) -> Node {
    let at = nodes.iter().position(|node| node.directory() == places.path(n)).expect("it runs");
    nodes.remove(at)
}

fn state_of(node: &Node, member: u64) -> String {
    let members = cluster(node)["members"].as_array().cloned().unwrap_or_default();
    let found = members.iter().find(|found| found["node"] == member);
    found.map(|found| found["state"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
}

/// The leader dies while the disk of one follower is full; with `restarted` that one was started on the full disk.
fn leader_dies_beside_a_full_disk(restarted: bool) {
    let places = Cluster::of(3, 3).with("wal.segment_bytes", "4MiB");
    let Some(small) = Small::mount(places.path(2)) else { return };
    let mut nodes = places.start_all();
    settled(&nodes[0], 3, 3);
    if nodes[leader_of(&nodes)].directory() == places.path(2) {
        let done = nodes[0].client(&["cluster", "transfer"]);
        assert!(done.status.success(), "{done:?}");
    }
    let leads = || nodes.iter().position(|node| node.get("/v1/stats").json()["role"] == "leader");
    let leader = eventually("another one leads", || {
        leads().filter(|leader| nodes[*leader].directory() != places.path(2))
    });
    let dying = nodes.remove(leader);
    let mut full = take(&mut nodes, &places, 2);
    let left = nodes.remove(0);
    let full_id = id(&full);
    loaded([&dying, &left], || for_a_while(2));
    if restarted {
        assert_eq!(full.terminate().status, Some(0));
        loaded([&dying, &left], || for_a_while(1));
        small.fill();
        full = places.start(2);
    } else {
        small.fill();
    }
    loaded([&dying, &left], || for_a_while(4));
    dying.kill();
    eventually("the two that are left elect", || {
        (left.get("/v1/stats").json()["role"] == "leader").then_some(())
    });
    for node in [&left, &full] {
        eventually("reads go on at both", || (node.get("/v1/kv/k1").status == 200).then_some(()));
    }
    let refused = eventually("writes are refused", || {
        let put = left.put("/v1/kv/refused", b"1");
        (put.status == 507).then_some(put)
    });
    assert_eq!(refused.problem(507, "out-of-disk")["applied"], "no");
    assert_eq!(state_of(&left, full_id), "full", "the leader says whose disk it is");
    assert_eq!(full.get("/readyz").json()["disk"], "full");
    assert_eq!(left.get("/readyz").json()["disk"], "ok");
    small.clear();
    eventually("writes are taken again", || (left.put("/v1/kv/taken", b"1").status < 300).then_some(()));
    eventually("the disk is well again", || (full.get("/readyz").json()["disk"] == "ok").then_some(()));
    assert_eq!(full.get("/v1/kv/taken").status, 200);
}

#[test]
fn a_leader_dies_while_a_followers_disk_is_full() {
    leader_dies_beside_a_full_disk(false);
}

#[test]
fn a_leader_dies_after_a_follower_was_started_on_a_full_disk() {
    leader_dies_beside_a_full_disk(true);
}
