//! Keeps a snapshot from taking a whole core: on a machine with two, the other threads would wait for theirs.

use std::thread;
use std::time::Duration;

use crate::clock::Stopwatch;

/// Work of this length is followed by a rest.
const SLICE: Duration = Duration::from_micros(100);

/// A rest is so many times as long as the work before it.
const RESTS: u32 = 2;

/// No rest is longer, however long a disk took to sync.
const MAX_REST: Duration = Duration::from_millis(50);

/// How much of its time a thread works. Waiting, for a lock or at rest, does not count as work.
#[derive(Debug)]
pub(super) struct Pace {
    slice: Duration,
    worked: Duration,
}

impl Pace {
    /// Never rests.
    pub(super) fn full() -> Pace {
        Pace { slice: Duration::MAX, worked: Duration::ZERO }
    }

    /// Works a third of the time, beside a running store.
    pub(super) fn gentle() -> Pace {
        Pace { slice: SLICE, worked: Duration::ZERO }
    }

    /// Counts what `work` takes.
    pub(super) fn work<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let time = Stopwatch::start();
        let done = work();
        self.worked += time.elapsed();
        done
    }

    /// Rests if it is time. Must not be called with a lock held.
    pub(super) fn rest(&mut self) {
        if self.worked >= self.slice {
            // Nobody unparks this thread; if somebody did, the rest would be shorter.
            thread::park_timeout((self.worked * RESTS).min(MAX_REST));
            self.worked = Duration::ZERO;
        }
    }
}
