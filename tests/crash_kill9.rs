//! kill -9 of a real node under load: what was acknowledged is there after a restart, round after round.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes, files and clocks")]

mod node;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use node::http::Connection;
use node::{Node, PATIENCE};

const ROUNDS: u64 = 6;
const CLIENTS: u64 = 8;

/// Small, so that a round rolls segments, takes snapshots and purges.
const SETTINGS: [(&str, &str); 4] = [
    ("wal.segment_bytes", "64KiB"),
    ("wal.keep_bytes", "64KiB"),
    ("snapshot.every_entries", "300"),
    ("wal.cache_bytes", "16KiB"),
];

/// What one client knows: keys with the value that was acknowledged (`None`: the removal was), and its counter.
#[derive(Default)]
struct Known {
    keys: BTreeMap<String, Option<Vec<u8>>>,
    counter: u64,
    sent: u64,
}

/// Goal: no acknowledged write or removal is lost, none that was never sent appears.
#[test]
fn acknowledged_writes_survive_kill_9() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut clients: Vec<Known> = (0..CLIENTS).map(|_| Known::default()).collect();
    let mut total = 0;
    for round in 0..ROUNDS {
        let node = Node::start_with(directory.path(), &SETTINGS);
        check(node.address(), &clients);
        let acknowledged = Arc::new(AtomicU64::new(0));
        // Another number in every round, so that the blow falls elsewhere.
        let enough = 400 + 137 * round;
        let (sender, done) = mpsc::channel();
        let working: Vec<JoinHandle<Known>> = std::mem::take(&mut clients)
            .into_iter()
            .zip(0..)
            .map(|(known, client)| {
                let (address, count, sender) = (node.address(), Arc::clone(&acknowledged), sender.clone());
                std::thread::spawn(move || work(address, client, round, known, &count, enough, &sender))
            })
            .collect();
        done.recv_timeout(PATIENCE).expect("enough writes are acknowledged");
        node.kill();
        clients = working.into_iter().map(|client| client.join().expect("a client does not panic")).collect();
        total += acknowledged.load(Ordering::Relaxed);
    }
    let node = Node::start_with(directory.path(), &SETTINGS);
    check(node.address(), &clients);
    assert!(total >= ROUNDS * 400, "{total} acknowledged writes are too few to mean anything");
    let stats = node.get("/v1/stats").json();
    assert!(stats["raft"]["snapshot_index"].as_u64() > Some(0), "no snapshot was taken: {stats}");
    assert!(snapshots(directory.path()) > 0);
}

/// Writes until the connection breaks.
fn work(
    address: SocketAddr,
    client: u64,
    round: u64,
    mut known: Known,
    acknowledged: &AtomicU64,
    enough: u64,
    done: &mpsc::Sender<()>,
) -> Known {
    let mut connection = Connection::open(address);
    for number in 0.. {
        let key = format!("c{client}-r{round}-{number}");
        let value = format!("{key}:").repeat(1 + (number % 20) as usize).into_bytes();
        let steps = [
            ("PUT", key.clone(), value.clone()),
            ("PUT", format!("counter-{client}"), (known.counter + 1).to_string().into_bytes()),
            ("DELETE", if number % 3 == 0 { key } else { format!("absent-{client}") }, Vec::new()),
        ];
        for (method, key, value) in steps {
            if key.starts_with("counter") {
                known.sent = known.counter + 1;
            }
            // Between sending and the answer nothing is known of the key.
            known.keys.remove(&key);
            let answer = connection.try_send(method, &format!("/v1/kv/{key}"), &[], &value);
            let Some(answer) = answer else { return known };
            match answer.status {
                200 | 201 if key.starts_with("counter") => known.counter += 1,
                200 | 201 => drop(known.keys.insert(key, Some(value))),
                204 | 404 => drop(known.keys.insert(key, None)),
                _ => panic!("{answer:?}"),
            }
            if acknowledged.fetch_add(1, Ordering::Relaxed) + 1 == enough {
                done.send(()).expect("the test waits");
            }
        }
    }
    known
}

fn check(address: SocketAddr, clients: &[Known]) {
    let mut connection = Connection::open(address);
    for (client, known) in clients.iter().enumerate() {
        for (key, value) in &known.keys {
            let found = connection.send("GET", &format!("/v1/kv/{key}"), &[], b"");
            match value {
                Some(value) => {
                    assert!(found.status == 200 && found.body == *value, "{key} is lost: {found:?}")
                }
                None => assert_eq!(found.status, 404, "{key} is back"),
            }
        }
        if known.sent > 0 {
            let found = connection.send("GET", &format!("/v1/kv/counter-{client}"), &[], b"");
            let counter = if found.status == 404 { 0 } else { found.json().as_u64().expect("a number") };
            assert!((known.counter..=known.sent).contains(&counter), "{counter}, not {}..", known.counter);
        }
    }
}

fn snapshots(directory: &Path) -> usize {
    std::fs::read_dir(directory.join("snapshots")).map_or(0, Iterator::count)
}
