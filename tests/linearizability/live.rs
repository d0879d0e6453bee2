//! Three real nodes under a dozen clients while their leader is killed and stopped: what the clients were told must be
//! linearizable, and what they were told not to be applied must not be seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::client::Client;
use super::history::{History, Operation, Outcome, Record};
use super::nemesis::{Cluster, Fault, pause};
use super::register::Random;
use super::report;
use crate::node::eventually;

const CLIENTS: usize = 12;
const KEYS: usize = 6;

/// How long clients wait for an answer: some give up before a node does.
const PATIENCE: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(3_000)];

/// Answers without which a run says little. A slow machine gives several times as many.
const ENOUGH: usize = 100;

/// Time between two faults.
const QUIET: Duration = Duration::from_millis(1_500);

/// Set when it is dropped, so that nobody goes on after a panic.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(crate) fn is_answered(record: &Record) -> bool {
    matches!(record.outcome, Outcome::Done(_))
}

/// What a dozen clients did and were told while `nemesis` worked on the cluster, and how often each problem was reported.
fn record(
    cluster: &mut Cluster,
    keys: &[String],
    nemesis: impl FnOnce(&mut Cluster),
) -> (History, BTreeMap<String, u64>) {
    let (began, over) = (Instant::now(), AtomicBool::new(false));
    let addresses = Arc::clone(&cluster.addresses);
    let work = |n: usize| {
        let mut client = Client::new(n, &addresses, began, PATIENCE[n % PATIENCE.len()]);
        while !over.load(Ordering::Relaxed) {
            client.act(keys);
        }
        client
    };
    let mut clients: Vec<Client<'_>> = std::thread::scope(|scope| {
        let work = &work;
        let working: Vec<_> = (0..CLIENTS).map(|n| scope.spawn(move || work(n))).collect();
        let over = Over(&over);
        nemesis(cluster);
        drop(over);
        working.into_iter().map(|client| client.join().expect("clients do not panic")).collect()
    });
    let mut last = Client::new(CLIENTS, &addresses, began, PATIENCE[1]);
    for (key, node) in keys.iter().flat_map(|key| (0..3).map(move |node| (key, node))) {
        eventually("an answer of every node, once all is well again", || {
            last.record(node, key, Operation::Get);
            last.records.last().filter(|record| is_answered(record)).map(|_| ())
        });
    }
    clients.push(last);
    let mut problems = BTreeMap::new();
    for (problem, count) in clients.iter().flat_map(|client| &client.problems) {
        *problems.entry(problem.clone()).or_default() += count;
    }
    (History { records: clients.into_iter().flat_map(|client| client.records).collect() }, problems)
}

/// Runs clients while `nemesis` works on the cluster, and judges what they were told. Fewer than `enough` answers are a
/// failure.
fn run(cluster: &mut Cluster, name: &str, enough: usize, nemesis: impl FnOnce(&mut Cluster)) {
    let keys: Vec<String> = (0..KEYS).map(|n| format!("{name}-{n}")).collect();
    let (history, problems) = record(cluster, &keys, nemesis);
    println!("{name}: {}; {problems:?}", report::summary(&history));
    if let Ok(directory) = std::env::var("LINEARIZABILITY_DUMP") {
        dump(&history, &format!("{directory}/{name}.txt"));
    }
    if let Err(report) = report::check(&history) {
        panic!("{name}: {report}");
    }
    let answered = history.records.iter().filter(|record| is_answered(record)).count();
    assert!(answered >= enough, "{answered} answers are too few to mean anything");
}

fn dump(history: &History, path: &str) {
    let mut records: Vec<&Record> = history.records.iter().collect();
    records.sort_by_key(|record| record.invoked);
    let lines: String = records.iter().map(|record| format!("{} {record}\n", record.key)).collect();
    std::fs::write(path, lines).expect("it can be written");
}

/// Goal: linearizability, and "not applied" that is kept, while the leader is killed and comes back, and while it is
/// stopped for longer than an election takes and goes on in the belief that it leads.
#[test]
fn three_nodes_are_linearizable_while_their_leader_is_killed_and_stopped() {
    let mut cluster = Cluster::start();
    run(&mut cluster, "short", ENOUGH, |cluster| {
        pause(QUIET);
        cluster.suffer(Fault::KillLeader(Duration::from_millis(700)));
        pause(QUIET);
        cluster.suffer(Fault::StopLeader(Duration::from_millis(2_000)));
        pause(QUIET);
    });
}

/// Goal: the same under faults of every kind, for as long as `LINEARIZABILITY_SECONDS` says; by default not at all.
#[test]
fn three_nodes_are_linearizable_for_as_long_as_is_asked() {
    let setting = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let Some(seconds) = setting("LINEARIZABILITY_SECONDS") else { return };
    let seed = setting("LINEARIZABILITY_SEED").unwrap_or(0);
    let (end, mut random) = (Instant::now() + Duration::from_secs(seconds), Random::new(seed));
    let mut cluster = Cluster::start();
    for round in 0.. {
        if Instant::now() > end {
            break;
        }
        run(&mut cluster, &format!("round{round}"), 0, |cluster| {
            for _ in 0..4 {
                let fault = Fault::random(&mut random);
                println!("  {fault:?}");
                cluster.suffer(fault);
                pause(Duration::from_millis(random.below(1_500)));
            }
        });
    }
}
