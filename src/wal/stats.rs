//! Counters of the log, for `/v1/stats` and the metrics.

use std::time::Duration;

use super::config::Durability;

/// Upper bounds of the buckets for fsync times in microseconds: 1-2-5 from 50 us to 5 s.
pub const FSYNC_BOUNDS_US: [u64; 16] = [
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000,
    2_000_000, 5_000_000,
];

/// Upper bounds of the buckets for entries per batch.
pub const BATCH_BOUNDS: [u64; 16] = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384];

/// A distribution: how many values fell at or below each bound and above the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Histogram {
    /// The buckets' upper bounds.
    pub bounds: &'static [u64; 16],
    /// Values per bucket; the last one counts what is above all bounds.
    pub counts: [u64; 17],
    /// Sum of all values.
    pub sum: u64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [u64; 16]) -> Histogram {
        Histogram { bounds, counts: [0; 17], sum: 0 }
    }

    pub(super) fn record(&mut self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(value);
    }

    pub(super) fn record_micros(&mut self, time: Duration) {
        self.record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// First and last index of the entries of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The group.
    pub group: u16,
    /// Index of its first entry here.
    pub first_index: u64,
    /// Index of its last entry.
    pub last_index: u64,
}

/// The log's figures at one moment. Counters begin at 0 when the log is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of heads and records in all segments, preallocated room not counted.
    pub bytes: u64,
    /// Segment files in use, the spare not counted.
    pub segments: u64,
    /// The entries of each group that has any.
    pub spans: Vec<Span>,
    /// Payload bytes appended since the log was opened.
    pub appended_bytes: u64,
    /// Payload bytes held in memory.
    pub cached_bytes: u64,
    /// Times of `fdatasync` in microseconds; its count is that of the syncs.
    pub fsync_us: Histogram,
    /// Entries per batch, a batch being what one write and at most one sync served.
    pub batch_entries: Histogram,
    /// Truncations that removed something.
    pub truncations: u64,
    /// Torn ends found when the log was opened: 0 or 1.
    pub torn_ends: u64,
    /// When appends are answered.
    pub durability: Durability,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_at_or_below_their_bound() {
        let mut histogram = Histogram::new(&FSYNC_BOUNDS_US);
        [0, 50, 51, 5_000_000, 5_000_001].iter().for_each(|value| histogram.record(*value));
        assert_eq!((histogram.counts[0], histogram.counts[1]), (2, 1));
        assert_eq!((histogram.counts[15], histogram.counts[16]), (1, 1));
        assert_eq!((histogram.count(), histogram.sum), (5, 10_000_102));
    }
}
