//! The processor of a machine, as far as it is slow: apply rests after each transaction, in simulated time.
//!
//! While it rests others run, and see what a reader on another thread of a real node may see: a part of an entry, and
//! followers that are ahead of their leader.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use kvorum::raft::{Rest, Turns};
use parking_lot::Mutex;

use crate::random::Random;

/// The processor of one machine.
pub(crate) struct Processor {
    /// Longest rest, in microseconds; 0: it never rests.
    most_us: AtomicU64,
    random: Mutex<Random>,
}

impl Processor {
    pub(crate) fn new(random: Random) -> Processor {
        Processor { most_us: AtomicU64::new(0), random: Mutex::new(random) }
    }

    /// From now on a rest is up to so long, in microseconds.
    pub(crate) fn set_rest(&self, most_us: u64) {
        self.most_us.store(most_us, Ordering::SeqCst);
    }
}

impl Turns for Processor {
    fn rest(&self, _commands: usize) -> Option<Rest> {
        let most_us = self.most_us.load(Ordering::SeqCst);
        let rest = || tokio::time::sleep(self.random.lock().micros(0, most_us)).boxed();
        (most_us > 0).then(rest)
    }
}
