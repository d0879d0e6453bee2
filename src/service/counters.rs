//! Counts of operations since the process started.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that every request bumps: plain atomics, no lock, no allocation.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) get: AtomicU64,
    pub(super) set: AtomicU64,
    pub(super) delete: AtomicU64,
    pub(super) ttl: AtomicU64,
    pub(super) incr: AtomicU64,
    pub(super) expire: AtomicU64,
    pub(super) scan: AtomicU64,
    pub(super) clear: AtomicU64,
    pub(super) batch: AtomicU64,
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
}

/// How many operations of each kind this process has been asked for, failures included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// Reads of values.
    pub get: u64,
    /// Writes of values.
    pub set: u64,
    /// Removals.
    pub delete: u64,
    /// Questions for deadlines.
    pub ttl: u64,
    /// Additions to numbers.
    pub incr: u64,
    /// Changes of deadlines.
    pub expire: u64,
    /// Pages of scans.
    pub scan: u64,
    /// Removals of everything.
    pub clear: u64,
    /// Batches; their steps do not count by themselves.
    pub batch: u64,
    /// Reads of values that found one, those in batches included.
    pub hits: u64,
    /// Reads of values that found none.
    pub misses: u64,
}

impl Operations {
    /// All operations together.
    pub fn total(&self) -> u64 {
        let Operations { get, set, delete, ttl, incr, expire, scan, clear, batch, hits: _, misses: _ } = self;
        get + set + delete + ttl + incr + expire + scan + clear + batch
    }

    /// Share of the reads that found a value, 0 if there were none.
    pub fn hit_ratio(&self) -> f64 {
        let reads = self.hits + self.misses;
        if reads == 0 { 0.0 } else { self.hits as f64 / reads as f64 }
    }
}

impl Counters {
    pub(super) fn bump(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a read of a value.
    pub(super) fn looked_up(&self, found: bool) {
        Counters::bump(if found { &self.hits } else { &self.misses });
    }

    pub(super) fn snapshot(&self) -> Operations {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Operations {
            get: read(&self.get),
            set: read(&self.set),
            delete: read(&self.delete),
            ttl: read(&self.ttl),
            incr: read(&self.incr),
            expire: read(&self.expire),
            scan: read(&self.scan),
            clear: read(&self.clear),
            batch: read(&self.batch),
            hits: read(&self.hits),
            misses: read(&self.misses),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hit_ratio_of_nothing_is_zero() {
        assert_eq!(Operations::default().hit_ratio(), 0.0);
        let operations = Operations { hits: 3, misses: 1, ..Operations::default() };
        assert_eq!(operations.hit_ratio(), 0.75);
    }
}
