//! How long this node's disk takes to sync, and for how long it has been slow while the node led.
//!
//! What counts is the upper bound of the bucket into which 99 of 100 syncs of the last seconds fall.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use crate::wal::Histogram;

/// Above this a disk is slow, in microseconds. A bound of the buckets.
const SLOW_US: u64 = 100_000;

/// Up to this it is fast. A bound of the buckets.
pub(super) const FAST_US: u64 = 50_000;

/// How many seconds count.
const WINDOW: usize = 30;

/// What a sync took that is above all bounds.
const BEYOND_US: u64 = u64::MAX;

type Counts = [u64; 17];

/// The syncs of the last seconds.
#[derive(Default)]
pub(super) struct Syncs(Mutex<Last>);

#[derive(Default)]
struct Last {
    /// All that there were, a second ago.
    known: Option<Counts>,
    /// Of each second.
    seconds: VecDeque<Counts>,
    p99_us: Option<u64>,
    /// Since when the disk is slow in a term that this node leads.
    slow: Option<(u64, Instant)>,
}

impl Syncs {
    /// Takes note of what the log has counted so far, once a second. `leads`: the term, if this node does.
    pub(super) fn note(&self, histogram: &Histogram, leads: Option<u64>) {
        let mut last = self.0.lock();
        let known = last.known.replace(histogram.counts).unwrap_or_default();
        let mut second = histogram.counts;
        second.iter_mut().zip(known).for_each(|(now, before)| *now = now.saturating_sub(before));
        last.seconds.push_back(second);
        if last.seconds.len() > WINDOW {
            last.seconds.pop_front();
        }
        last.p99_us = p99(&last.seconds, histogram.bounds);
        last.slow = match leads.filter(|_| last.p99_us.is_some_and(|p99| p99 > SLOW_US)) {
            Some(term) => last.slow.filter(|(since, _)| *since == term).or(Some((term, Instant::now()))),
            None => None,
        };
    }

    /// What 99 of 100 syncs took at most, in microseconds; `None`: there were none.
    pub(super) fn p99_us(&self) -> Option<u64> {
        self.0.lock().p99_us
    }

    /// Whether this node leads and its disk has been slow for so long.
    pub(super) fn are_slow_for(&self, time: Duration) -> bool {
        self.0.lock().slow.is_some_and(|(_, since)| since.elapsed() >= time)
    }

    /// Begins to count anew for how long the disk is slow.
    pub(super) fn forgive(&self) {
        self.0.lock().slow = None;
    }
}

/// The bound of the bucket in which 99 of 100 values lie.
fn p99(seconds: &VecDeque<Counts>, bounds: &[u64; 16]) -> Option<u64> {
    let mut sums = Counts::default();
    for second in seconds {
        sums.iter_mut().zip(second).for_each(|(sum, count)| *sum += count);
    }
    let all: u64 = sums.iter().sum();
    let wanted = all - all / 100;
    let mut below = 0;
    let bounds = bounds.iter().copied().chain([BEYOND_US]);
    let mut reached = sums.iter().zip(bounds).filter_map(|(count, bound)| {
        below += count;
        (below >= wanted).then_some(bound)
    });
    if all == 0 { None } else { reached.next() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::FSYNC_BOUNDS_US;

    /// Syncs that took so many microseconds, on top of others.
    fn add(histogram: &mut Histogram, count: u64, us: u64) {
        let bucket = FSYNC_BOUNDS_US.partition_point(|bound| *bound < us);
        histogram.counts[bucket] += count;
    }

    fn none() -> Histogram {
        Histogram { bounds: &FSYNC_BOUNDS_US, counts: [0; 17], sum: 0 }
    }

    /// Goal: the figure is that of the last seconds, and one slow sync of a hundred does not count.
    #[test]
    fn the_figure_is_of_the_last_seconds() {
        let (syncs, mut histogram) = (Syncs::default(), none());
        syncs.note(&histogram, None);
        assert_eq!(syncs.p99_us(), None);
        add(&mut histogram, 99, 900);
        add(&mut histogram, 1, 1_500_000);
        syncs.note(&histogram, None);
        assert_eq!(syncs.p99_us(), Some(1_000));
        add(&mut histogram, 1, 1_500_000);
        syncs.note(&histogram, None);
        assert_eq!(syncs.p99_us(), Some(2_000_000));
        add(&mut histogram, 1, 6_000_000);
        syncs.note(&histogram, None);
        assert_eq!(syncs.p99_us(), Some(2_000_000));
        for _ in 0..WINDOW {
            syncs.note(&histogram, None);
        }
        assert_eq!(syncs.p99_us(), None, "what is long past does not count");
        add(&mut histogram, 1, 6_000_000);
        syncs.note(&histogram, None);
        assert_eq!(syncs.p99_us(), Some(BEYOND_US));
    }

    /// Goal: only a leader is slow for long, each term begins anew, and so does it after a pause or a try.
    #[tokio::test(start_paused = true)]
    async fn slowness_counts_within_one_term() {
        const AFTER: Duration = Duration::from_secs(60);
        let (syncs, mut histogram) = (Syncs::default(), none());
        let seconds = async |count: u64, leads: Option<u64>, us: u64, histogram: &mut Histogram| {
            for _ in 0..count {
                tokio::time::sleep(Duration::from_secs(1)).await;
                add(histogram, 3, us);
                syncs.note(histogram, leads);
            }
        };
        seconds(100, None, 150_000, &mut histogram).await;
        assert!(!syncs.are_slow_for(Duration::ZERO), "it does not lead");
        seconds(60, Some(1), 150_000, &mut histogram).await;
        assert!(!syncs.are_slow_for(AFTER));
        seconds(60, Some(2), 150_000, &mut histogram).await;
        assert!(!syncs.are_slow_for(AFTER), "another term");
        seconds(1, Some(2), 150_000, &mut histogram).await;
        assert!(syncs.are_slow_for(AFTER));
        syncs.forgive();
        seconds(60, Some(2), 150_000, &mut histogram).await;
        assert!(!syncs.are_slow_for(AFTER), "a try was made");
        seconds(WINDOW as u64, Some(2), 60_000, &mut histogram).await;
        assert!(!syncs.are_slow_for(Duration::ZERO), "it is slow no more");
    }
}
