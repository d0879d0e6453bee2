//! Goal: a scan over HTTP under writes returns every key that is there from its first page to its last exactly once,
//! whatever else is written, removed and expires meanwhile, and however long its pages are.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes, files and clocks")]

mod node;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use node::Node;
use node::http::Connection;
use serde_json::Value;

/// Keys that are there throughout.
const STEADY: usize = 250;

/// Keys that come and go.
const RESTLESS: u64 = 200;

/// Scans, each from a seed of its own.
const SCANS: u64 = 25;

/// A generator of numbers that a seed fixes (xorshift64*, Vigna 2016).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % bound
    }
}

/// Stops the writers when it goes.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes, removes and lets expire until told to stop, and counts what it did.
fn disturb(mut connection: Connection, seed: u64, stop: &AtomicBool, count: &AtomicU64) {
    let mut dice = Dice(seed);
    while !stop.load(Ordering::Relaxed) {
        let restless = format!("/v1/kv/restless:{}", dice.below(RESTLESS));
        let response = match dice.below(5) {
            0 => connection.send("DELETE", &restless, &[], b""),
            1 => connection.send("PUT", &format!("{restless}?ttl_ms={}", 1 + dice.below(20)), &[], b"short"),
            // A steady key that is overwritten is there all the time.
            2 => {
                let steady = format!("/v1/kv/steady:{}", dice.below(STEADY as u64));
                connection.send("PUT", &steady, &[], dice.below(1_000).to_string().as_bytes())
            }
            _ => connection.send("PUT", &restless, &[], &vec![b'v'; dice.below(200) as usize]),
        };
        assert!(matches!(response.status, 200 | 201 | 204 | 404), "{}", response.status);
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// How often each key came, in one scan with pages of random length.
fn scan(node: &Node, dice: &mut Dice) -> (BTreeMap<String, usize>, usize) {
    let (mut seen, mut pages, mut connection) = (BTreeMap::new(), 0, node.connect());
    let mut cursor = String::new();
    loop {
        let longest = if dice.below(2) == 0 { 5 } else { 100 };
        let limit = 1 + dice.below(longest);
        let path = format!("/v1/kv?limit={limit}{cursor}");
        let response = connection.send("GET", &path, &[], b"");
        assert_eq!(response.status, 200);
        let page: Value = serde_json::from_slice(&response.body).expect("a page");
        let items = page["items"].as_array().expect("items");
        assert!(items.len() as u64 <= limit);
        for item in items {
            *seen.entry(item["key"].as_str().expect("a key").to_owned()).or_default() += 1;
        }
        pages += 1;
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (seen, pages),
        }
    }
}

#[test]
fn a_scan_under_writes_returns_every_steady_key_exactly_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(directory.path());
    let mut connection = node.connect();
    for n in 0..STEADY {
        // Between the steady ones there are holes, which restless ones fill and leave.
        assert_eq!(connection.send("PUT", &format!("/v1/kv/steady:{n}"), &[], b"v").status, 201);
        let restless = format!("/v1/kv/restless:{}", n as u64 % RESTLESS);
        assert!(matches!(connection.send("PUT", &restless, &[], b"v").status, 200 | 201));
    }
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        // However the scans end, the writers end with them.
        let end = Stop(&stop);
        for seed in [1, 2, 3] {
            let (connection, stop, written) = (node.connect(), &stop, &written);
            scope.spawn(move || disturb(connection, seed, stop, written));
        }
        let (mut changed, mut seed) = (0, 0);
        // Each write waits for the disk, which may be slow.
        let much_is_written = || written.load(Ordering::Relaxed) > 4 * SCANS;
        while seed < SCANS || changed == 0 || !much_is_written() {
            seed += 1;
            assert!(seed < 100 * SCANS, "{written:?} writes under {seed} scans, {changed} of which met one");
            let (seen, pages) = scan(&node, &mut Dice(seed));
            let steady: Vec<_> = seen.iter().filter(|(key, _)| key.starts_with("steady:")).collect();
            assert_eq!(steady.len(), STEADY, "seed {seed}: a key was left out");
            assert!(
                steady.iter().all(|(_, count)| **count == 1),
                "seed {seed}: a key came twice: {steady:?}"
            );
            changed += u64::from(pages > 1 && seen.len() > STEADY);
        }
        drop(end);
    });
}

/// Goal: a store that is nearly empty is not listed in one empty page after another, and the keys that are left come once.
#[test]
fn a_store_of_which_most_is_deleted_takes_few_pages() {
    const KEYS: usize = 60_000;
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(directory.path());
    let mut connection = node.connect();
    let mut batch = |op: &str, keys: &mut dyn Iterator<Item = usize>| {
        let steps: Vec<Value> = keys
            .map(|n| match op {
                "set" => serde_json::json!({"op": op, "key": format!("k{n}"), "value": ""}),
                _ => serde_json::json!({"op": op, "key": format!("k{n}")}),
            })
            .collect();
        let body = serde_json::json!({ "steps": steps }).to_string();
        let headers = [("Content-Type", "application/json")];
        assert_eq!(connection.send("POST", "/v1/batch", &headers, body.as_bytes()).status, 200);
    };
    for first in (0..KEYS).step_by(10_000) {
        batch("set", &mut (first..first + 10_000));
    }
    // What stays is at the far end: everything before is holes, a hundredth is left.
    for first in (0..KEYS).step_by(10_000) {
        batch("delete", &mut (first..first + 10_000).filter(|n| *n < KEYS - KEYS / 100));
    }
    // In a build for tests on a busy machine a page may use its time up early: the best of a few counts.
    let listed = || {
        let (mut keys, mut pages, mut cursor) = (0, 0, String::new());
        loop {
            let page = node.get(&format!("/v1/kv?limit=1000{cursor}")).json();
            keys += page["items"].as_array().expect("items").len();
            pages += 1;
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(keys, KEYS / 100);
        pages
    };
    let pages = (0..10).map(|_| listed()).min();
    assert!(pages <= Some(3), "{pages:?} pages, where each hold of the lock by itself would be one: 6");
}
