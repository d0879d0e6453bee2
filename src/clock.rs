//! Time: the one place that asks the machine for it.
//!
//! Two clocks, never mixed: the *wall* clock, which administrators and NTP set to what they please, and the
//! *boot* clock (CLOCK_BOOTTIME), which only goes forward, at about a second a second, also while the
//! machine sleeps. Only a cold start believes the wall clock; everything after that counts on the boot clock.

#![expect(clippy::disallowed_methods, reason = "the one reader of clocks")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::model::Timestamp;

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Wall time: milliseconds since the Unix epoch. May jump either way.
    fn wall(&self) -> Timestamp;

    /// Time since the machine started, sleep included. Never goes back.
    fn boot(&self) -> Duration;
}

/// The machine's own clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    fn boot(&self) -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
    }
}

/// Clocks that stand still until they are told otherwise, for tests.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall_ms: AtomicU64,
    boot_ns: AtomicU64,
}

impl ManualClock {
    /// Clocks that show `wall` and no time since boot.
    pub fn new(wall: Timestamp) -> ManualClock {
        ManualClock { wall_ms: AtomicU64::new(wall.0), boot_ns: AtomicU64::new(0) }
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.boot_ns.fetch_add(nanos, Ordering::SeqCst);
        self.wall_ms.fetch_add(nanos / 1_000_000, Ordering::SeqCst);
    }

    /// Steps the wall clock, as an administrator would. No time passes.
    pub fn set_wall(&self, wall: Timestamp) {
        self.wall_ms.store(wall.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> Timestamp {
        Timestamp(self.wall_ms.load(Ordering::SeqCst))
    }

    fn boot(&self) -> Duration {
        Duration::from_nanos(self.boot_ns.load(Ordering::SeqCst))
    }
}

/// Measures how long something takes.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
