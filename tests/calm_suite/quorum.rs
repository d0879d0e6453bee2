//! A cluster that has lost its majority.

use std::time::Duration;

use super::figures::State;
use super::group::Group;
use super::truth::Says;
use crate::cluster_suite::harness::Cluster;

/// A node says so late that nobody leads it: readiness outlives an election.
const LEADERLESS: Duration = Duration::from_secs(12);

#[test]
fn the_last_of_three_members_is_calm_and_says_that_nobody_leads() {
    let places = Cluster::of(3, 3).with("http.request_timeout_ms", "1000");
    let mut group = Group::at(places);
    group.start_all(0..3);
    let whole = group.whole("whole cluster of three");
    for leads in [false, true] {
        let (leader, followers) = group.roles();
        let left = if leads { leader } else { followers[0] };
        let away: Vec<_> = (0..3).filter(|n| *n != left).collect();
        let mark = group.mark();
        away.iter().for_each(|n| group.kill(*n));
        let truth = |group: &Group| {
            group.says(
                left,
                Says { ready: false, leader: None, states: &[(away[0], "!ok"), (away[1], "!ok")] },
            )
        };
        let name = if leads { "no quorum: the leader is left" } else { "no quorum: a follower is left" };
        // One for each that went, and one that nobody leads.
        let state = State { name, truth: &truth, within: LEADERLESS, lines: 3, refusing: Some(left) };
        group.endures(&whole, &mark, &state);
        let mark = group.mark();
        away.iter().for_each(|n| group.start(*n));
        group.is_well();
        group.is_mended(away[0], &mark, 4);
    }
    group.finish();
}
