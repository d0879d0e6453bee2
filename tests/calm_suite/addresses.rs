//! Members at new addresses, and one whose directory was emptied.

use std::time::{Duration, Instant};

use super::figures::{State, pause};
use super::group::Group;
use super::truth::{Says, state_of};
use crate::cluster_suite::harness::Cluster;
use crate::node::ports::free_port;

/// How soon a member at a new address has the newest entry.
const FOLLOWED: Duration = Duration::from_secs(2);

/// How soon members that are all at new addresses find one another.
const FOUND: Duration = Duration::from_secs(20);

/// Time for which a member must be silent before a newcomer takes its place: longer than the state before is watched.
const REPLACE_AFTER: Duration = Duration::from_secs(14);

#[test]
fn new_addresses_and_an_emptied_seed_disturb_nobody() {
    let mut group =
        Group::at(Cluster::of(3, 3).with("cluster.replace_after_s", &REPLACE_AFTER.as_secs().to_string()));
    group.start_all(0..3);
    let whole = group.whole("whole cluster of three");

    let (_, followers) = group.roles();
    let moved = followers[0];
    group.stop(moved);
    group.places.peers[moved] = free_port();
    group.write();
    group.wait_until_quiet();
    let mark = group.mark();
    group.start(moved);
    let ready = Instant::now();
    let newest = group.write() + "?consistency=stale";
    let has_it = |group: &Group| group.member(moved).get(&newest).is_some_and(|read| read.status == 200);
    while !has_it(&group) && ready.elapsed() < FOLLOWED {
        pause(Duration::from_millis(20));
    }
    let followed = has_it(&group);
    let name = "member at a new address";
    group.report.check(followed, || format!("{name}: it does not have the newest entry after {FOLLOWED:?}"));
    // That it was away, that it moved, that it is back.
    group.endures(&whole, &mark, &State { name, lines: 3, ..State::default() });
    let mark = group.mark();
    group.is_mended(moved, &mark, 3);

    is_emptied(&mut group, &whole);

    (0..3).for_each(|n| group.stop(n));
    group.places.peers.iter_mut().for_each(|peer| *peer = free_port());
    (0..3).for_each(|n| group.start(n));
    let mark = group.mark();
    let name = "all members at new addresses";
    let state = State { name, within: FOUND, lines: usize::MAX, ..State::default() };
    group.endures(&whole, &mark, &state);
    group.finish();
}

/// A seed whose directory is empty waits until the one that it was has been silent for long enough, then takes its place.
fn is_emptied(group: &mut Group, whole: &super::figures::Whole) {
    let (leader, followers) = group.roles();
    let (emptied, other) = (followers[0], followers[1]);
    let old = group.id(emptied);
    group.kill(emptied);
    group.empty(emptied);
    let mark = group.mark();
    group.start(emptied);
    let truth = |group: &Group| {
        let states = [(leader, "ok"), (other, "ok"), (emptied, "silent")];
        [leader, other]
            .iter()
            .try_for_each(|n| group.says(*n, Says { ready: true, leader: Some(leader), states: &states }))
    };
    // That one went, that it cannot be reached under its old id, and that another one was admitted.
    let state =
        State { name: "emptied seed, before it replaces", truth: &truth, lines: 3, ..State::default() };
    group.endures(whole, &mark, &state);
    let mark = group.mark();
    group.is_well();
    group.learn_ids();
    let told = group.member(leader).cluster().expect("an answer");
    group.report.check(state_of(&told, old) == "no member", || format!("{old} is a member still"));
    group.endures(
        whole,
        &mark,
        &State { name: "emptied seed, after it has replaced", lines: 3, ..State::default() },
    );
    group.is_mended(emptied, &mark, 3);
}
