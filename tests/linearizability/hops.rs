//! Clients that read at one node after the other while large batches are applied: what one node has shown no other takes back.
//!
//! A follower may apply an entry before its leader does, and a node shows a part of an entry while it applies the rest. Large
//! batches make both last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::client::{Addresses, Client};
use super::history::{Answer, History, Operation, Outcome};
use super::live::{Over, is_answered};
use super::nemesis::{Cluster, Fault, pause};
use super::register::Random;
use super::report;
use crate::node::http::Connection;

/// Clients that write batches, each over its own key.
const WRITERS: usize = 3;

/// Clients that write keys of their own, so that an entry has many transactions.
const BYSTANDERS: usize = 4;

/// Clients that read everywhere.
const HOPPERS: usize = 6;

/// Clients that look at keys until they have expired.
const LENDERS: usize = 2;

/// Keys of a batch beside the one that is looked at.
const WIDTH: usize = 200;

const NODES: usize = 3;

const PATIENCE: Duration = Duration::from_millis(3_000);

/// Hops after which a run has said enough, and without which it says little.
const MANY: usize = 2_000;
const ENOUGH: usize = 300;

/// How long a run may take to get many on a busy machine.
const LONGEST: Duration = Duration::from_secs(60);

struct Run<'a> {
    addresses: &'a Addresses,
    began: Instant,
    over: &'a AtomicBool,
    /// Reads at some node by those who read at all.
    hops: &'a AtomicUsize,
}

impl<'a> Run<'a> {
    fn client(&self, number: usize) -> Client<'a> {
        Client::new(number, self.addresses, self.began, PATIENCE)
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// Writes batches, each with the next value of the writer's key.
    fn write(&self, writer: usize) -> Vec<Client<'a>> {
        let mut client = self.client(writer);
        for n in 0.. {
            if !self.goes_on() {
                break;
            }
            client.batch((writer + n) % NODES, &key(writer), &n.to_string(), WIDTH);
        }
        vec![client]
    }

    fn stand_by(&self, number: usize) -> Vec<Client<'a>> {
        let mut client = self.client(number);
        while self.goes_on() {
            client.record(number % NODES, &format!("own-{number}"), Operation::Incr(1));
        }
        vec![client]
    }

    /// Reads the same key at one node and then at the others.
    fn hop(&self, number: usize) -> Vec<Client<'a>> {
        let mut random = Random::new(number as u64);
        // One connection to each node.
        let mut there: Vec<Client<'_>> = (0..NODES).map(|_| self.client(number)).collect();
        while self.goes_on() {
            let key = key(random.below(WRITERS as u64) as usize);
            let first = random.below(NODES as u64) as usize;
            let step = 1 + random.below(NODES as u64 - 1) as usize;
            for n in 0..NODES {
                let node = (first + n * step) % NODES;
                there[node].record(node, &key, Operation::Get);
                self.hops.fetch_add(1, Ordering::Relaxed);
            }
        }
        there
    }

    /// Writes keys that live for a short time, and looks at all nodes in turn until each is gone. Returns how many were
    /// seen to go.
    fn lend(&self, number: usize) -> usize {
        let connect = |node: usize| -> Option<Connection> {
            let address = self.addresses.lock().expect("nobody panics with it")[node]?;
            Connection::try_open_for(address, PATIENCE)
        };
        let mut seen = 0;
        for n in 0_usize.. {
            if !self.goes_on() {
                break;
            }
            let path = format!("/v1/kv/lent-{number}-{n}");
            let mut there: Vec<Option<Connection>> = (0..NODES).map(connect).collect();
            let lent = there[n % NODES]
                .as_mut()
                .and_then(|node| node.try_send("PUT", &format!("{path}?ttl_ms={}", 20 + n % 50), &[], b"v"));
            if !lent.is_some_and(|lent| matches!(lent.status, 200 | 201)) {
                // Nobody knows whether it will be there.
                continue;
            }
            let mut gone_at = None;
            for node in (n..).map(|node| node % NODES).take(40 * NODES) {
                let read = there[node].as_mut().and_then(|there| there.try_send("GET", &path, &[], b""));
                match read.map(|read| read.status) {
                    Some(404) if gone_at.is_some_and(|gone| gone != node) => {
                        seen += 1;
                        break;
                    }
                    Some(404) => gone_at = gone_at.or(Some(node)),
                    Some(200) => {
                        assert_eq!(gone_at, None, "{path} is there at node {node} after it was gone")
                    }
                    _ => there[node] = connect(node),
                }
            }
        }
        seen
    }
}

fn key(writer: usize) -> String {
    format!("hop-{writer}")
}

/// What clients did and were told while `nemesis` worked on the cluster, and how often a key was seen to expire.
fn record(cluster: &mut Cluster, nemesis: impl FnOnce(&mut Cluster)) -> (History, usize) {
    let (addresses, over) = (Arc::clone(&cluster.addresses), AtomicBool::new(false));
    let hops = AtomicUsize::new(0);
    let run = Run { addresses: &addresses, began: Instant::now(), over: &over, hops: &hops };
    let (clients, seen): (Vec<Vec<Client<'_>>>, usize) = std::thread::scope(|scope| {
        let run = &run;
        let mut working = Vec::new();
        working.extend((0..WRITERS).map(|n| scope.spawn(move || run.write(n))));
        let bystanders = WRITERS..WRITERS + BYSTANDERS;
        working.extend(bystanders.clone().map(|n| scope.spawn(move || run.stand_by(n))));
        let hoppers = bystanders.end..bystanders.end + HOPPERS;
        working.extend(hoppers.map(|n| scope.spawn(move || run.hop(n))));
        let lenders: Vec<_> = (0..LENDERS).map(|n| scope.spawn(move || run.lend(n))).collect();
        let over = Over(run.over);
        nemesis(cluster);
        while run.hops.load(Ordering::Relaxed) < MANY && run.began.elapsed() < LONGEST {
            pause(Duration::from_millis(50));
        }
        drop(over);
        let joined = working.into_iter().map(|client| client.join().expect("clients do not panic")).collect();
        let seen =
            lenders.into_iter().map(|lender| lender.join().expect("what has expired stays away")).sum();
        (joined, seen)
    });
    (History { records: clients.into_iter().flatten().flat_map(|client| client.records).collect() }, seen)
}

fn judge(name: &str, (history, expired): (History, usize)) {
    println!("{name}: {}; {expired} expired", report::summary(&history));
    if let Err(report) = report::check(&history) {
        panic!("{name}: {report}");
    }
    let is_hop = |record: &&super::history::Record| {
        record.operation == Operation::Get
            && matches!(record.outcome, Outcome::Done(Answer::Found { .. } | Answer::Absent))
    };
    let hops = history.records.iter().filter(is_hop).count();
    assert!(
        hops >= ENOUGH && expired > 0,
        "{hops} hops and {expired} expired keys are too few to mean anything"
    );
    assert!(history.records.iter().any(is_answered));
}

/// Goal: reads never go back in time from one node to the next, and a key that one node shows as expired is expired on all,
/// while followers are ahead of their leader and every node shows parts of entries. No fault is needed for that.
#[test]
fn reads_never_go_back_from_one_node_to_another() {
    let mut cluster = Cluster::start_with(&[]);
    let told = record(&mut cluster, |_| pause(Duration::from_secs(2)));
    judge("hops", told);
}

/// Goal: the same while the leader is killed and stopped.
#[test]
fn reads_never_go_back_from_one_node_to_another_while_leaders_change() {
    let mut cluster = Cluster::start_with(&[("http.request_timeout_ms", "1500")]);
    let told = record(&mut cluster, |cluster| {
        for away in [300, 900] {
            pause(Duration::from_millis(1_000));
            cluster.suffer(Fault::KillLeader(Duration::from_millis(away)));
            pause(Duration::from_millis(1_000));
            cluster.suffer(Fault::StopLeader(Duration::from_millis(away)));
        }
        pause(Duration::from_millis(1_000));
    });
    judge("hops with faults", told);
}
