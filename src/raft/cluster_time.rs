//! Cluster time: what the leader stamps entries with, and what everybody else takes it to be.
//!
//! It runs on the boot clock, so it never goes back, does not jump with a wall clock, and stands still for
//! nobody. The leader's stamps travel with what it sends; a follower keeps as estimate the stamp that was the least
//! delayed of the last ten seconds, and a new leader continues from its estimate. Only if nobody whom it hears has one
//! does it believe wall clocks: the lower median of them, and never below a time that the log or the node's own note
//! (`time_note`) has already seen. From then
//! on the course is slewed toward the lower median wall clock of the voters by at most [`MAX_SLEW_PPM`]; it is never
//! stepped.
//!
//! ```text
//! leading     now = at + (boot - since) * (1 + slew)      at, since: where the course was last set
//! following   now = boot + offset                         offset: the largest (stamp - boot) of the last 10 s
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::model::Timestamp;

/// Most that cluster time deviates in rate from the boot clock, in parts per million.
pub(super) const MAX_SLEW_PPM: i64 = 500;

/// The slew aims to close the offset in about this long, if [`MAX_SLEW_PPM`] allows.
const SLEW_HORIZON: Duration = Duration::from_secs(10);

/// How long the least delayed stamp counts when later ones have come, and what others said of their clocks at all.
const MEMORY: Duration = Duration::from_secs(10);

/// What a member says of its clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clocks {
    /// Cluster time as it estimates it, if it ever heard of it.
    pub(super) estimate: Option<Timestamp>,
    /// Its wall clock.
    pub(super) wall: Timestamp,
}

/// This node's idea of cluster time.
pub(super) struct ClusterTime {
    clock: Arc<dyn Clock>,
    /// Cluster time as an earlier process on this directory has noted it.
    noted: Timestamp,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// While this node leads.
    course: Option<Course>,
    /// What leaders said: offsets falling, times rising, so that the first is the largest.
    stamps: VecDeque<Offset>,
    /// What others said of their clocks last.
    others: BTreeMap<u64, Other>,
}

/// A clock as its distance from this machine's boot clock.
#[derive(Clone, Copy)]
struct Offset {
    ns: i128,
    /// Boot clock when it was heard.
    heard: Duration,
}

struct Other {
    estimate: Option<i128>,
    wall: i128,
    heard: Duration,
}

#[derive(Clone, Copy)]
struct Course {
    /// Cluster time when the course was set, in nanoseconds since the Unix epoch.
    at_ns: i128,
    /// Boot clock when the course was set.
    since: Duration,
    slew_ppm: i64,
}

impl Course {
    fn at(&self, boot: Duration) -> i128 {
        let elapsed = signed(boot.saturating_sub(self.since));
        self.at_ns + elapsed + elapsed * i128::from(self.slew_ppm) / 1_000_000
    }
}

impl State {
    fn estimate_ns(&self, boot: Duration) -> Option<i128> {
        match &self.course {
            Some(course) => Some(course.at(boot)),
            None => self.stamps.front().map(|offset| signed(boot) + offset.ns),
        }
    }

    fn note_stamp(&mut self, ns: i128, heard: Duration) {
        while self.stamps.back().is_some_and(|last| last.ns <= ns) {
            self.stamps.pop_back();
        }
        self.stamps.push_back(Offset { ns, heard });
        while self.stamps.len() > 1 && self.stamps.front().is_some_and(|first| first.heard + MEMORY < heard) {
            self.stamps.pop_front();
        }
    }
}

impl ClusterTime {
    /// Nothing is known yet but that time had reached `noted` once.
    pub(super) fn new(clock: Arc<dyn Clock>, noted: Timestamp) -> ClusterTime {
        ClusterTime { clock, noted, state: Mutex::default() }
    }

    /// Cluster time now, if this node has an idea of it. While it leads it never goes back.
    pub(super) fn estimate(&self) -> Option<Timestamp> {
        let state = self.state.lock();
        state.estimate_ns(self.clock.boot()).map(millis)
    }

    /// As [`ClusterTime::estimate`]; 0 where there is none, which is before everything.
    pub(super) fn now(&self) -> Timestamp {
        self.estimate().unwrap_or(Timestamp(0))
    }

    /// What goes along with what the leader sends; `None` while this node does not lead.
    pub(super) fn stamp(&self) -> Option<Timestamp> {
        let state = self.state.lock();
        state.course.map(|course| millis(course.at(self.clock.boot())))
    }

    /// What this node says of its clocks.
    pub(super) fn clocks(&self) -> Clocks {
        Clocks { estimate: self.estimate(), wall: self.clock.wall() }
    }

    /// A leader that this node accepts said that it is `stamp`.
    pub(super) fn heard_leader(&self, stamp: Timestamp) {
        let mut state = self.state.lock();
        let boot = self.clock.boot();
        state.note_stamp(nanos(stamp) - signed(boot), boot);
    }

    /// Another member said this of its clocks.
    pub(super) fn heard(&self, node: u64, clocks: Clocks) {
        let mut state = self.state.lock();
        let boot = self.clock.boot();
        let offset = |at: Timestamp| nanos(at) - signed(boot);
        let other = Other { estimate: clocks.estimate.map(offset), wall: offset(clocks.wall), heard: boot };
        state.others.insert(node, other);
    }

    /// This node leads from now on. `floor` is the last time in snapshot and log.
    pub(super) fn lead(&self, floor: Timestamp) {
        let mut state = self.state.lock();
        let boot = self.clock.boot();
        let fresh = |other: &&Other| other.heard + MEMORY >= boot;
        let estimate = state.estimate_ns(boot).or_else(|| {
            let told = state.others.values().filter(fresh).filter_map(|other| other.estimate).max();
            told.map(|offset| signed(boot) + offset)
        });
        let at_ns = estimate.unwrap_or_else(|| {
            let others = state.others.values().filter(fresh).map(|other| other.wall);
            let own = nanos(self.clock.wall()) - signed(boot);
            (signed(boot) + lower_median(others.chain([own]).collect())).max(nanos(self.noted))
        });
        state.course = Some(Course { at_ns: at_ns.max(nanos(floor)), since: boot, slew_ppm: 0 });
    }

    /// This node does not lead any more. What it was going by stays its estimate.
    pub(super) fn follow(&self) {
        let mut state = self.state.lock();
        let boot = self.clock.boot();
        if let Some(course) = state.course.take() {
            state.note_stamp(course.at(boot) - signed(boot), boot);
        }
    }

    /// Sets the leader's course toward the wall clocks of `voters`. Called about once a second.
    pub(super) fn steer(&self, own: u64, voters: &BTreeSet<u64>) {
        let mut state = self.state.lock();
        // Read under the lock: whoever asked before must not get a later time than who asks after.
        let (boot, wall) = (self.clock.boot(), self.clock.wall());
        let Some(course) = state.course else { return };
        let others = state
            .others
            .iter()
            .filter(|(node, other)| **node != own && voters.contains(node) && other.heard + MEMORY >= boot);
        let mut walls: Vec<i128> = others.map(|(_, other)| other.wall).collect();
        if voters.contains(&own) || walls.is_empty() {
            walls.push(nanos(wall) - signed(boot));
        }
        let now = course.at(boot);
        let goal = signed(boot) + lower_median(walls);
        let ppm = (goal - now) * 1_000_000 / SLEW_HORIZON.as_nanos() as i128;
        let limit = i128::from(MAX_SLEW_PPM);
        let slew_ppm = ppm.clamp(-limit, limit) as i64;
        state.course = Some(Course { at_ns: now, since: boot, slew_ppm });
    }

    /// Wall clock minus cluster time in milliseconds: positive while the wall clock is ahead. 0 if there is no idea of cluster
    /// time.
    pub(super) fn offset_ms(&self) -> i64 {
        let Some(now) = self.estimate() else { return 0 };
        let ahead = i128::from(self.clock.wall().0) - i128::from(now.0);
        i64::try_from(ahead).unwrap_or(if ahead > 0 { i64::MAX } else { i64::MIN })
    }
}

fn lower_median(mut offsets: Vec<i128>) -> i128 {
    offsets.sort_unstable();
    offsets.get(offsets.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}

fn signed(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

fn nanos(at: Timestamp) -> i128 {
    i128::from(at.0) * 1_000_000
}

fn millis(nanos: i128) -> Timestamp {
    Timestamp(u64::try_from(nanos / 1_000_000).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const START: Timestamp = Timestamp(1_700_000_000_000);
    const HOUR_MS: u64 = 3_600_000;

    const OWN: u64 = 1;

    fn started() -> (Arc<ManualClock>, ClusterTime) {
        let (clock, time) = new();
        time.lead(Timestamp(0));
        (clock, time)
    }

    fn new() -> (Arc<ManualClock>, ClusterTime) {
        let clock = Arc::new(ManualClock::new(START));
        let time = ClusterTime::new(clock.clone(), Timestamp(0));
        (clock, time)
    }

    fn steer(time: &ClusterTime) {
        time.steer(OWN, &BTreeSet::from([OWN]));
    }

    fn said(estimate: Option<u64>, wall: u64) -> Clocks {
        Clocks { estimate: estimate.map(Timestamp), wall: Timestamp(wall) }
    }

    #[test]
    fn a_stepped_wall_clock_moves_cluster_time_by_the_slew_only() {
        for wall in [START.0 - HOUR_MS, START.0 + HOUR_MS] {
            let (clock, time) = started();
            clock.set_wall(Timestamp(wall));
            for _ in 0..1_000 {
                steer(&time);
                clock.advance(Duration::from_secs(1));
            }
            let error_ms = time.now().0.abs_diff(START.0 + 1_000_000);
            assert!((1..=500).contains(&error_ms), "1,000 s at 500 ppm are half a second: {error_ms} ms");
        }
    }

    #[test]
    fn a_small_offset_is_closed_without_overshooting() {
        let (clock, time) = started();
        clock.set_wall(Timestamp(START.0 + 100));
        for _ in 0..600 {
            steer(&time);
            clock.advance(Duration::from_secs(1));
        }
        assert!(time.offset_ms().abs() <= 1, "{} ms", time.offset_ms());
    }

    #[test]
    fn a_cold_start_never_begins_before_what_the_log_has_seen() {
        let clock = Arc::new(ManualClock::new(START));
        let seen = Timestamp(START.0 + HOUR_MS);
        let time = ClusterTime::new(clock, Timestamp(0));
        time.lead(seen);
        assert_eq!(time.now(), seen);
    }

    /// Goal: a note bounds what a cold start believes of wall clocks from below, and nothing else: neither an estimate nor a
    /// wall clock that is ahead of it.
    #[test]
    fn a_cold_start_never_begins_before_what_was_noted() {
        let noted = Timestamp(START.0 - HOUR_MS);
        let at = |wall: u64, told: Option<u64>| {
            let time = ClusterTime::new(Arc::new(ManualClock::new(Timestamp(wall))), noted);
            time.heard(2, said(told, wall));
            time.lead(Timestamp(0));
            time.now()
        };
        assert_eq!(at(noted.0 - HOUR_MS, None), noted, "the wall clock is behind");
        assert_eq!(at(START.0, None), START, "the wall clock is right");
        let told = noted.0 - 5;
        assert_eq!(at(START.0, Some(told)), Timestamp(told), "another member knows better");
    }

    /// Goal: the sign is that of the wall clock's lead.
    #[test]
    fn the_offset_is_positive_while_the_wall_clock_is_ahead() {
        let (clock, time) = started();
        clock.set_wall(Timestamp(START.0 + HOUR_MS));
        assert_eq!(time.offset_ms(), HOUR_MS as i64);
        clock.set_wall(Timestamp(START.0 - HOUR_MS));
        assert_eq!(time.offset_ms(), -(HOUR_MS as i64));
    }

    #[test]
    fn cluster_time_never_goes_back() {
        let (clock, time) = started();
        let mut last = time.now();
        for step in 0..2_000_u64 {
            clock.set_wall(Timestamp(START.0 + (step * 7_919) % HOUR_MS));
            steer(&time);
            clock.advance(Duration::from_micros(step * 37 % 900));
            let now = time.now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn a_follower_goes_by_the_least_delayed_stamp_of_the_last_ten_seconds() {
        let (clock, time) = new();
        assert_eq!(time.estimate(), None);
        let leader = |elapsed_ms: u64| 5_000_000 + elapsed_ms;
        time.heard_leader(Timestamp(leader(0) - 3));
        clock.advance(Duration::from_secs(1));
        time.heard_leader(Timestamp(leader(1_000) - 90));
        assert_eq!(time.now(), Timestamp(leader(1_000) - 3), "a late message does not move the estimate");
        time.heard_leader(Timestamp(leader(1_000) - 1));
        assert_eq!(time.now(), Timestamp(leader(1_000) - 1));
        for second in 2..=12 {
            clock.advance(Duration::from_secs(1));
            time.heard_leader(Timestamp(leader(second * 1_000) - 5));
        }
        assert_eq!(time.now(), Timestamp(leader(12_000) - 5), "what is older than ten seconds is forgotten");
        clock.advance(Duration::from_secs(60));
        assert_eq!(time.now(), Timestamp(leader(72_000) - 5), "without a leader time goes on");
    }

    #[test]
    fn a_new_leader_continues_from_its_estimate_and_not_from_its_wall_clock() {
        let (clock, time) = new();
        time.heard_leader(Timestamp(START.0 - HOUR_MS));
        clock.advance(Duration::from_secs(2));
        time.lead(Timestamp(0));
        assert_eq!(time.stamp(), Some(Timestamp(START.0 - HOUR_MS + 2_000)));
        time.follow();
        assert_eq!(time.stamp(), None);
        clock.advance(Duration::from_secs(1));
        assert_eq!(time.now(), Timestamp(START.0 - HOUR_MS + 3_000), "a former leader goes by its course");
    }

    #[test]
    fn a_leader_without_an_estimate_takes_the_largest_that_others_have() {
        let (_, time) = new();
        time.heard(2, said(Some(1_000_000), START.0 + HOUR_MS));
        time.heard(3, said(Some(1_000_007), START.0 - HOUR_MS));
        time.lead(Timestamp(0));
        assert_eq!(time.now(), Timestamp(1_000_007));
    }

    #[test]
    fn a_cold_start_of_all_believes_the_lower_median_of_the_wall_clocks() {
        for (others, median) in [
            (vec![START.0 + HOUR_MS, START.0 - HOUR_MS], START.0),
            (vec![START.0 + HOUR_MS, START.0 + 2 * HOUR_MS], START.0 + HOUR_MS),
            (vec![START.0 + HOUR_MS], START.0),
        ] {
            let (_, time) = new();
            for (n, wall) in others.into_iter().enumerate() {
                time.heard(2 + n as u64, said(None, wall));
            }
            time.lead(Timestamp(0));
            assert_eq!(time.now(), Timestamp(median));
        }
    }

    #[test]
    fn the_leader_is_steered_to_the_median_wall_clock_of_the_voters() {
        let (clock, time) = started();
        let voters = BTreeSet::from([OWN, 2, 3]);
        for second in 0..600_u64 {
            for (node, ahead_ms) in [(2, 100), (3, 130), (9, HOUR_MS)] {
                time.heard(node, said(None, START.0 + second * 1_000 + ahead_ms));
            }
            time.steer(OWN, &voters);
            clock.advance(Duration::from_secs(1));
        }
        let ahead = time.now().0 as i64 - (START.0 + 600_000) as i64;
        assert!((95..=105).contains(&ahead), "the median is 100 ms ahead, a learner does not count: {ahead}");
    }
}
