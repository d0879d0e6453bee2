//! Cluster time: what the leader stamps entries with.
//!
//! It runs on the boot clock, so it never goes back, does not jump with the wall clock, and stands still for
//! nobody. Only a cold start believes the wall clock, and never below a time that the log has already seen.
//! From then on the course is slewed toward the wall clock by at most [`MAX_SLEW_PPM`]; it is never stepped.
//!
//! ```text
//! now = at + (boot - since) * (1 + slew)      at, since: where the course was last set
//! ```

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::model::Timestamp;

/// Most that cluster time deviates in rate from the boot clock, in parts per million.
pub(super) const MAX_SLEW_PPM: i64 = 500;

/// The slew aims to close the offset in about this long, if [`MAX_SLEW_PPM`] allows.
const SLEW_HORIZON: Duration = Duration::from_secs(10);

/// The leader's clock.
pub(super) struct ClusterTime {
    clock: Arc<dyn Clock>,
    course: Mutex<Course>,
}

struct Course {
    /// Cluster time when the course was set, in nanoseconds since the Unix epoch.
    at_ns: i128,
    /// Boot clock when the course was set.
    since: Duration,
    slew_ppm: i64,
}

impl Course {
    fn at(&self, boot: Duration) -> i128 {
        let elapsed = i128::try_from(boot.saturating_sub(self.since).as_nanos()).unwrap_or(i128::MAX);
        self.at_ns + elapsed + elapsed * i128::from(self.slew_ppm) / 1_000_000
    }
}

impl ClusterTime {
    /// A cold start: the wall clock's time, but not below `floor`, the last time in snapshot or log.
    pub(super) fn cold_start(clock: Arc<dyn Clock>, floor: Timestamp) -> ClusterTime {
        let at_ns = nanos(clock.wall().max(floor));
        let since = clock.boot();
        ClusterTime { clock, course: Mutex::new(Course { at_ns, since, slew_ppm: 0 }) }
    }

    /// Cluster time now. Never goes back.
    pub(super) fn now(&self) -> Timestamp {
        let course = self.course.lock();
        millis(course.at(self.clock.boot()))
    }

    /// Sets the course toward the wall clock. Called about once a second.
    pub(super) fn steer(&self) {
        let mut course = self.course.lock();
        // Read under the lock: whoever asked before must not get a later time than who asks after.
        let (boot, wall) = (self.clock.boot(), self.clock.wall());
        let now = course.at(boot);
        let ppm = (nanos(wall) - now) * 1_000_000 / SLEW_HORIZON.as_nanos() as i128;
        let limit = i128::from(MAX_SLEW_PPM);
        *course = Course { at_ns: now, since: boot, slew_ppm: ppm.clamp(-limit, limit) as i64 };
    }

    /// How far the wall clock is ahead of cluster time, in milliseconds.
    pub(super) fn offset_ms(&self) -> i64 {
        let ahead = i128::from(self.clock.wall().0) - i128::from(self.now().0);
        i64::try_from(ahead).unwrap_or(if ahead > 0 { i64::MAX } else { i64::MIN })
    }
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

    fn started() -> (Arc<ManualClock>, ClusterTime) {
        let clock = Arc::new(ManualClock::new(START));
        let time = ClusterTime::cold_start(clock.clone(), Timestamp(0));
        (clock, time)
    }

    #[test]
    fn a_stepped_wall_clock_moves_cluster_time_by_the_slew_only() {
        for wall in [START.0 - HOUR_MS, START.0 + HOUR_MS] {
            let (clock, time) = started();
            clock.set_wall(Timestamp(wall));
            for _ in 0..1_000 {
                time.steer();
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
            time.steer();
            clock.advance(Duration::from_secs(1));
        }
        assert!(time.offset_ms().abs() <= 1, "{} ms", time.offset_ms());
    }

    #[test]
    fn a_cold_start_never_begins_before_what_the_log_has_seen() {
        let clock = Arc::new(ManualClock::new(START));
        let seen = Timestamp(START.0 + HOUR_MS);
        assert_eq!(ClusterTime::cold_start(clock, seen).now(), seen);
    }

    #[test]
    fn cluster_time_never_goes_back() {
        let (clock, time) = started();
        let mut last = time.now();
        for step in 0..2_000_u64 {
            clock.set_wall(Timestamp(START.0 + (step * 7_919) % HOUR_MS));
            time.steer();
            clock.advance(Duration::from_micros(step * 37 % 900));
            let now = time.now();
            assert!(now >= last);
            last = now;
        }
    }
}
