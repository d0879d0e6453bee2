//! Goal: whatever way of the network is cut, nothing old is read, nothing acknowledged is lost, terms do not climb, and
//! whoever has a quorum serves.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::harness::{Cluster, leader_of, one_history, serves, settled, term};
use super::load::{Load, Told, nothing_is_lost};
use super::network::Network;
use crate::node::http::{Connection, Response};
use crate::node::{Node, PATIENCE, eventually};

/// The longest election timeout, which is also a leader's lease: long enough that a busy machine elects nobody by chance.
const LEASE: Duration = Duration::from_millis(2_000);

/// How long a cut lasts under which terms must not climb: several times the longest election timeout.
const CUT: Duration = Duration::from_secs(10);

/// Requests answered while a way is cut, without which little was seen.
const ENOUGH: u64 = 50;

/// Terms that an election may take: two nodes may stand at the same moment, and once more.
const TRIES: u64 = 3;

fn places() -> Cluster {
    Cluster::of(3, 3)
        .with("raft.heartbeat_ms", "100")
        .with("raft.election_min_ms", "1000")
        .with("raft.election_max_ms", &LEASE.as_millis().to_string())
        .with("cluster.state_hash_every", "10")
        .with("http.request_timeout_ms", "700")
}

/// The leader and its followers.
fn roles(nodes: &[Node]) -> (usize, usize, usize) {
    let leader = leader_of(nodes);
    (leader, (leader + 1) % 3, (leader + 2) % 3)
}

/// What is read there, once there is an answer: requests are given up soon here, and a disk may be busy.
fn answer(node: &Node, path: &str) -> Response {
    eventually("an answer", || Some(node.get(path)).filter(|read| read.status != 503))
}

/// The ways between this node and the others, in both directions.
fn around(node: usize) -> Vec<(usize, usize)> {
    (0..3).filter(|other| *other != node).flat_map(|other| [(node, other), (other, node)]).collect()
}

/// What was asked of a leader that has no quorum any more.
#[derive(Default)]
struct Asked {
    requests: usize,
    /// Keys whose write was refused as not applied.
    refused: Vec<String>,
}

impl Asked {
    /// Asks for a read by every right that is not `stale`, and for a write. None may be granted from `lease_over` on; what rests on
    /// a quorum's word not even before.
    fn once(&mut self, connection: &mut Connection, lease_over: Instant) {
        let begun = Instant::now();
        let lease = read(connection, "?consistency=lease");
        assert!(lease.status == 503 || begun < lease_over, "the lease is over: {lease:?}");
        let linear = read(connection, "");
        assert!(matches!(linear.status, 503 | 504), "no quorum said that it leads: {linear:?}");
        let key = format!("refused-{}", self.requests);
        let written = connection.send("PUT", &format!("/v1/kv/{key}"), &[], b"v");
        assert!(matches!(written.status, 503 | 504), "no quorum has it: {written:?}");
        if written.json()["applied"] == "no" {
            self.refused.push(key);
        }
        self.requests += 1;
    }
}

fn read(connection: &mut Connection, query: &str) -> Response {
    connection.send("GET", &format!("/v1/kv/k{query}"), &[], b"")
}

/// A leader that reaches nobody: by the end of its lease it answers nothing but `stale` reads, the others go on, and when
/// it is back there is one history.
#[test]
fn a_leader_that_is_cut_off_answers_nothing_and_the_others_go_on() {
    let places = places();
    let network = Network::between(&places);
    let nodes = network.start_all(&places);
    settled(&nodes[0], 3, 3);
    let (leader, a, b) = roles(&nodes);
    eventually("it is written", || (nodes[leader].put("/v1/kv/k", b"old").status < 300).then_some(()));
    assert_eq!(answer(&nodes[leader], "/v1/kv/k?consistency=lease").body, b"old");
    let before = term(&nodes[leader]);
    let load = Load::on(&nodes.iter().collect::<Vec<_>>());
    load.goes_on(ENOUGH);
    network.cut(&around(leader));
    let lease_over = Instant::now() + LEASE;
    load.turn_to(&[&nodes[a], &nodes[b]]);
    let (mut asked, mut connection) = (Asked::default(), nodes[leader].connect());
    let deadline = Instant::now() + PATIENCE;
    // One of the others leads, has taken a write, and the lease is over: until then and once after.
    while nodes[a].put("/v1/kv/k", b"new").status != 200 || Instant::now() < lease_over {
        asked.once(&mut connection, lease_over);
        assert!(Instant::now() < deadline, "nobody else leads");
    }
    asked.once(&mut connection, lease_over);
    let elected = term(&nodes[a]);
    assert!(elected > before && elected <= before + TRIES, "from {before} to {elected}");
    load.goes_on(ENOUGH);
    assert_eq!(
        nodes[leader].get("/v1/kv/k?consistency=stale").body,
        b"old",
        "what it has it may tell as stale"
    );
    network.heal();
    settled(&nodes[a], 3, 3);
    load.turn_to(&nodes.iter().collect::<Vec<_>>());
    load.goes_on(ENOUGH);
    let told = load.stop();
    nodes.iter().for_each(|node| nothing_is_lost(node, &told));
    one_history(&nodes);
    assert!(term(&nodes[leader]) <= before + TRIES, "its return elects nobody");
    for node in &nodes {
        assert_eq!(answer(node, "/v1/kv/k").body, b"new");
        let applied = asked.refused.iter().find(|key| answer(node, &format!("/v1/kv/{key}")).status != 404);
        assert_eq!(applied, None, "it was refused as not applied");
    }
}

/// Once all ways are there again everybody comes into the term of the others, and nobody into a later one.
fn heals_in_term(nodes: &[Node], expected: u64, what: &str) {
    eventually("all nodes are in one term", || {
        let terms: Vec<_> = nodes.iter().map(term).collect();
        assert!(terms.iter().all(|term| *term <= expected), "{what}: {terms:?} after {expected}");
        terms.iter().all(|term| *term == expected).then_some(())
    });
    settled(&nodes[0], 3, 3);
    assert!(nodes.iter().all(|node| term(node) == expected), "{what}: healing elects nobody");
}

/// Checks that no write failed meanwhile, and none is lost.
fn check_service(node: &Node, told: &Told, what: &str) {
    assert_eq!(told.failed, Vec::<String>::new(), "{what}: of {} writes", told.acknowledged.len());
    nothing_is_lost(node, told);
}

/// Cuts ways for a while, in which these nodes serve without a failed write and all of `nodes` stay in their term.
fn keeps_its_term(network: &Network, nodes: &[Node], cut: &[(usize, usize)], serving: &[usize], what: &str) {
    let before = eventually("all are in one term", || {
        let terms: BTreeSet<_> = nodes.iter().map(term).collect();
        terms.first().copied().filter(|_| terms.len() == 1)
    });
    let load = Load::on(&serving.iter().map(|n| &nodes[*n]).collect::<Vec<_>>());
    network.cut(cut);
    let end = Instant::now() + CUT;
    eventually("the cut has lasted", || {
        let terms: Vec<_> = nodes.iter().map(term).collect();
        assert!(terms.iter().all(|term| *term == before), "{what}: from {before} to {terms:?}");
        (Instant::now() > end).then_some(())
    });
    load.goes_on(ENOUGH);
    network.heal();
    heals_in_term(nodes, before, what);
    let told = load.stop();
    check_service(&nodes[0], &told, what);
}

/// A follower that hears nobody, or is heard by nobody, or both of one node: it is a nuisance to nobody.
#[test]
fn a_follower_with_half_a_network_elects_nobody() {
    let places = places();
    let network = Network::between(&places);
    let nodes = network.start_all(&places);
    settled(&nodes[0], 3, 3);
    let (leader, follower, other) = roles(&nodes);
    let pair = [leader, other];
    let deaf = [(leader, follower), (other, follower)];
    keeps_its_term(&network, &nodes, &deaf, &pair, "a follower that hears nobody and is heard");
    let mute = [(follower, leader), (follower, other)];
    keeps_its_term(&network, &nodes, &mute, &pair, "a follower that hears and is not heard");
    keeps_its_term(
        &network,
        &nodes,
        &[(leader, follower)],
        &pair,
        "a follower that does not hear the leader",
    );
    keeps_its_term(
        &network,
        &nodes,
        &[(follower, leader)],
        &pair,
        "a follower that the leader does not hear",
    );
    serves(&nodes, "after");
    one_history(&nodes);
}

/// Two nodes that do not reach each other, while both reach the third: two serve, or all three.
#[test]
fn a_pair_that_is_cut_apart_stops_nobody_else() {
    let places = places();
    let network = Network::between(&places);
    let nodes = network.start_all(&places);
    settled(&nodes[0], 3, 3);
    let (leader, follower, other) = roles(&nodes);
    let apart = |a, b| [(a, b), (b, a)];
    let what = "the leader and a follower apart";
    keeps_its_term(&network, &nodes, &apart(leader, follower), &[leader, other], what);
    let what = "the followers apart";
    keeps_its_term(&network, &nodes, &apart(follower, other), &[0, 1, 2], what);
    serves(&nodes, "after");
    one_history(&nodes);
}

/// Cuts ways to or from the leader, so that another one is needed: there is one, and then terms rest.
fn elects_once(
    network: &Network,
    nodes: &[Node],
    cut_off: impl Fn(usize, usize) -> (usize, usize),
    what: &str,
) {
    let (leader, a, b) = roles(nodes);
    let before = term(&nodes[leader]);
    network.cut(&[cut_off(leader, a), cut_off(leader, b)]);
    eventually("another one leads", || (nodes[a].put("/v1/kv/k", b"v").status < 300).then_some(()));
    let elected = term(&nodes[a]);
    assert!(elected > before && elected <= before + TRIES, "{what}: from {before} to {elected}");
    let load = Load::on(&[&nodes[a], &nodes[b]]);
    let end = Instant::now() + CUT;
    eventually("the cut has lasted", || {
        let terms = BTreeSet::from([term(&nodes[a]), term(&nodes[b])]);
        assert_eq!(terms, BTreeSet::from([elected]), "{what}: after the election");
        assert!(term(&nodes[leader]) <= elected, "{what}: it does not win alone");
        (Instant::now() > end).then_some(())
    });
    load.goes_on(ENOUGH);
    network.heal();
    heals_in_term(nodes, elected, what);
    let told = load.stop();
    check_service(&nodes[0], &told, what);
}

/// A leader that sends and hears nothing back, or hears and cannot send, is replaced in one election.
#[test]
fn a_leader_with_half_a_network_is_replaced_once() {
    let places = places();
    let network = Network::between(&places);
    let nodes = network.start_all(&places);
    settled(&nodes[0], 3, 3);
    elects_once(&network, &nodes, |leader, other| (leader, other), "a leader that nobody hears");
    elects_once(&network, &nodes, |leader, other| (other, leader), "a leader that hears nobody");
    serves(&nodes, "after");
    one_history(&nodes);
}
