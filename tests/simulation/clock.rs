//! The clocks of a machine in the simulation: they run with simulated time, and its wall clock is as wrong as it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use kvorum::clock::Clock;
use kvorum::model::Timestamp;
use tokio::time::{Duration, Instant};

/// Right wall time when a simulation begins.
pub(crate) const BEGIN_MS: u64 = 1_800_000_000_000;

/// The clocks of one machine. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct SimClock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    begin: Instant,
    /// How far the wall clock is ahead of the right time.
    wrong_ms: AtomicI64,
    /// How long the machine had been up when the simulation began.
    up: Duration,
    /// What simulated time was last, for threads outside the runtime.
    last_ns: AtomicU64,
}

impl SimClock {
    pub(crate) fn new(begin: Instant, up: Duration) -> SimClock {
        SimClock(Arc::new(Inner { begin, wrong_ms: AtomicI64::new(0), up, last_ns: AtomicU64::new(0) }))
    }

    /// Sets how far the wall clock is ahead of the right time, in milliseconds.
    pub(crate) fn set_wrong(&self, ms: i64) {
        self.0.wrong_ms.store(ms, Ordering::SeqCst);
    }

    fn elapsed(&self) -> Duration {
        if tokio::runtime::Handle::try_current().is_err() {
            return Duration::from_nanos(self.0.last_ns.load(Ordering::SeqCst));
        }
        let elapsed = Instant::now().saturating_duration_since(self.0.begin);
        self.0.last_ns.store(elapsed.as_nanos() as u64, Ordering::SeqCst);
        elapsed
    }
}

impl Clock for SimClock {
    fn wall(&self) -> Timestamp {
        let right = BEGIN_MS + self.elapsed().as_millis() as u64;
        Timestamp(right.saturating_add_signed(self.0.wrong_ms.load(Ordering::SeqCst)))
    }

    fn boot(&self) -> Duration {
        self.0.up + self.elapsed()
    }
}
