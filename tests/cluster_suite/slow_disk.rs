//! Goal: a disk whose syncs take 1.5 s changes no term, and where it is not the leader's it slows nobody.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::harness::{Cluster, cluster, leader_of, one_history, settled, term};
use super::load::{Load, nothing_is_lost};
use super::shim::{self, SlowDisk};
use crate::node::http::Connection;
use crate::node::{Node, eventually};

/// How long a sync takes: several times longer than an election timeout.
const SYNC: Duration = Duration::from_millis(1_500);

/// How long the disk is slow, at least.
const SLOW: Duration = Duration::from_secs(8);

/// Slow syncs that must have been seen.
const SLOW_SYNCS: u64 = 4;

/// Nine of ten requests take less than this. Those that wait for a slow sync take longer mostly.
const PROMPT: Duration = Duration::from_millis(500);

/// Requests of each node, without which little was seen.
const ENOUGH: usize = 30;

struct Slow {
    places: Cluster,
    disks: Vec<SlowDisk>,
    nodes: Vec<Node>,
}

/// Three nodes, each with a disk that can be made slow.
fn start() -> Slow {
    let places = Cluster::of(3, 3)
        .with("raft.election_min_ms", "500")
        .with("raft.election_max_ms", "1000")
        .with("log.level", "info,openraft::core=info")
        .with("cluster.state_hash_every", "10");
    let disks: Vec<_> = (0..3).map(|n| SlowDisk::at(places.directory_of(&format!("disk{n}")))).collect();
    let starting: Vec<_> =
        (0..3).map(|n| places.try_begin_with(n, &shim::variables(Some(&disks[n]), &[]))).collect();
    let nodes: Vec<_> =
        starting.into_iter().map(|node| node.join().expect("no panic").expect("it starts")).collect();
    settled(&nodes[0], 3, 3);
    Slow { places, disks, nodes }
}

/// How long requests took.
#[derive(Default)]
struct Times {
    reads: Vec<Duration>,
    writes: Vec<Duration>,
}

/// Reads and writes on a node until it is told to stop.
fn work(mut node: Connection, name: usize, stop: &AtomicBool) -> Times {
    let mut times = Times::default();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let path = format!("/v1/kv/work-{name}-{n}");
        let begun = Instant::now();
        let written = node.send("PUT", &path, &[], b"v");
        assert_eq!(written.status, 201, "{written:?}");
        times.writes.push(begun.elapsed());
        let begun = Instant::now();
        let read = node.send("GET", &path, &[], b"");
        assert_eq!(read.status, 200, "{read:?}");
        times.reads.push(begun.elapsed());
    }
    times
}

/// Checks that nine of ten requests were answered promptly.
fn are_prompt(mut times: Vec<Duration>, what: &str) {
    times.sort_unstable();
    let most = times.get(times.len() * 9 / 10).copied();
    let is_prompt = times.len() >= ENOUGH && most.is_some_and(|most| most < PROMPT);
    assert!(is_prompt, "{what}: nine of ten of {} took up to {most:?}: {times:?}", times.len());
}

/// Waits until the disk of `nodes[slow]` has been slow for long enough; `check` must hold all the time.
fn endure(disk: &SlowDisk, check: impl Fn()) {
    let (end, before) = (Instant::now() + SLOW, disk.slow_syncs());
    disk.take(SYNC);
    eventually("its syncs were slow", || {
        check();
        (Instant::now() > end && disk.slow_syncs() >= before + SLOW_SYNCS).then_some(())
    });
    disk.take(Duration::ZERO);
}

#[test]
fn a_slow_disk_of_a_follower_changes_no_term_and_slows_nobody() {
    let Slow { places: _places, disks, nodes } = start();
    let follower = (leader_of(&nodes) + 1) % 3;
    let before = term(&nodes[follower]);
    let stop = AtomicBool::new(false);
    let times = std::thread::scope(|scope| {
        let stop = &stop;
        let connections = nodes.iter().map(Node::connect).enumerate();
        let working = connections.map(|(n, node)| (n, scope.spawn(move || work(node, n, stop))));
        let working: Vec<_> = working.collect();
        let endured = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            endure(&disks[follower], || {
                let terms: Vec<_> = nodes.iter().map(term).collect();
                assert!(terms.iter().all(|term| *term == before), "from {before} to {terms:?}");
            });
        }));
        stop.store(true, Ordering::Relaxed);
        let answered = working.into_iter().map(|(n, times)| (n, times.join().expect("all is answered")));
        let times: Vec<_> = answered.collect();
        endured.map(|()| times).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    for (n, Times { reads, writes }) in times {
        are_prompt(reads, &format!("reads at node {n}, where {follower} is slow"));
        are_prompt(writes, &format!("writes at node {n}, where {follower} is slow"));
    }
    settled(&nodes[0], 3, 3);
    one_history(&nodes);
}

/// How often the nodes have stood for election, or asked whether they may, because they heard no leader.
fn stood(nodes: &mut [Node]) -> usize {
    nodes.iter_mut().map(|node| node.said().matches("trigger pre-vote").count()).sum()
}

/// The leader may hand over to one whose disk is better, which takes one term; but nobody stands because he is not heard.
#[test]
fn a_slow_disk_of_the_leader_makes_nobody_stand() {
    let Slow { places: _places, disks, mut nodes } = start();
    let leader = leader_of(&nodes);
    let before = term(&nodes[leader]);
    let load = Load::on(&nodes.iter().collect::<Vec<_>>());
    load.goes_on(ENOUGH as u64);
    let (written, stood_before) = (load.written(), stood(&mut nodes));
    assert!(stood_before > 0, "the first leader stood, and said so");
    endure(&disks[leader], || {
        let terms: Vec<_> = nodes.iter().map(term).collect();
        assert!(terms.iter().all(|term| *term <= before + 1), "from {before} to {terms:?}");
    });
    assert!(load.written() >= written + ENOUGH as u64, "writes went on meanwhile");
    if term(&nodes[leader]) > before {
        assert_eq!(stood(&mut nodes), stood_before, "there is another term, and nobody handed over");
    }
    load.goes_on(ENOUGH as u64);
    settled(&nodes[0], 3, 3);
    let told = load.stop();
    assert_eq!(told.failed, Vec::<String>::new(), "of {} writes", told.acknowledged.len());
    nodes.iter().for_each(|node| nothing_is_lost(node, &told));
    one_history(&nodes);
}

/// Goal: a write that a leader took to its grave is not sent to the next one behind the client's back. Whether it was applied
/// is unknown, and it was at most once.
#[test]
fn a_write_that_is_lost_with_its_leader_is_not_sent_again() {
    let Slow { places: _places, disks, mut nodes } = start();
    let leader = leader_of(&nodes);
    let mut follower = nodes[(leader + 1) % 3].connect();
    let last = |node: &Node| cluster(node)["last_log_index"].as_u64().expect("an index");
    let before = last(&nodes[leader]);
    // So slow that nothing is committed for a while.
    disks.iter().for_each(|disk| disk.take(4 * SYNC));
    let json = [("Content-Type", "application/json")];
    let counting = std::thread::spawn(move || follower.send("POST", "/v1/kv/n/incr", &json, br#"{"by": 1}"#));
    eventually("the leader has it", || (last(&nodes[leader]) > before).then_some(()));
    nodes.remove(leader).kill();
    disks.iter().for_each(|disk| disk.take(Duration::ZERO));
    let told = counting.join().expect("an answer");
    assert_eq!(told.status, 504, "{told:?}");
    let found = eventually("another one leads", || {
        let found = nodes[0].get("/v1/kv/n");
        (found.status < 500).then_some(found)
    });
    assert!(found.status == 404 || found.body == b"1", "{found:?}");
}
