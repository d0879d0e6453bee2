//! Members that are dead, or stopped.

use super::figures::State;
use super::group::Group;
use super::truth::Says;
use crate::cluster_suite::harness::Cluster;

impl Group {
    /// Whether the nodes that run are ready, say that `leader` leads, and that these members are not there.
    fn misses(&self, leader: usize, missing: &[usize]) -> Result<(), String> {
        let here = self.running().into_iter().filter(|n| !missing.contains(n)).map(|n| (n, "ok"));
        let states: Vec<_> = here.chain(missing.iter().map(|n| (*n, "silent"))).collect();
        let says = Says { ready: true, leader: Some(leader), states: &states };
        self.running().into_iter().try_for_each(|n| self.says(n, says))
    }
}

#[test]
fn a_member_that_is_dead_or_stopped_disturbs_nobody() {
    let mut group = Group::at(Cluster::of(4, 3));
    group.start_all(0..3);
    let whole = group.whole("whole cluster of three");
    let (leader, followers) = group.roles();
    let away = followers[0];
    let misses = |group: &Group| group.misses(leader, &[away]);

    let mark = group.mark();
    group.kill(away);
    let dead = State { name: "follower dead", truth: &misses, ..State::default() };
    group.endures(&whole, &mark, &dead);
    let mark = group.mark();
    group.start(away);
    group.is_mended(away, &mark, 1);

    let mark = group.mark();
    group.freeze(away);
    let stopped = State { name: "follower stopped", truth: &misses, ..State::default() };
    group.endures(&whole, &mark, &stopped);
    let mark = group.mark();
    group.thaw(away);
    group.is_mended(away, &mark, 1);

    group.set(3, "cluster.role", "learner");
    group.start_all([3]);
    group.wait_until_quiet();
    let (leader, _) = group.roles();
    let mark = group.mark();
    group.kill(3);
    let misses = |group: &Group| group.misses(leader, &[3]);
    let gone = State { name: "learner gone", truth: &misses, ..State::default() };
    group.endures(&whole, &mark, &gone);
    let mark = group.mark();
    group.start(3);
    group.is_mended(3, &mark, 1);
    group.finish();
}

#[test]
fn two_of_five_members_that_are_dead_disturb_nobody() {
    let mut group = Group::at(Cluster::of(5, 5));
    group.start_all(0..5);
    let whole = group.whole("whole cluster of five");
    let (leader, followers) = group.roles();
    let away = [followers[0], followers[1]];
    let mark = group.mark();
    away.iter().for_each(|n| group.kill(*n));
    let misses = |group: &Group| group.misses(leader, &away);
    // A line of each.
    let dead = State { name: "two of five dead", truth: &misses, lines: 2, ..State::default() };
    group.endures(&whole, &mark, &dead);
    let mark = group.mark();
    away.iter().for_each(|n| group.start(*n));
    group.is_well();
    away.iter().for_each(|n| group.is_mended(*n, &mark, 2));
    group.finish();
}
