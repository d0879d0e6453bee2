//! What was measured.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::mix::Operation;

/// Longest latency that is told apart; longer ones count as this.
const MAX_LATENCY: Duration = Duration::from_secs(3_600);

/// What differs by less is one value: a microsecond.
const RESOLUTION_NS: u64 = 1_000;

/// Decimal digits of a latency that are kept.
const DIGITS: u8 = 3;

/// Latencies of successes of one kind, in nanoseconds.
#[derive(Clone, Debug)]
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(super) fn new() -> Latencies {
        let longest = MAX_LATENCY.as_nanos() as u64;
        Latencies(
            Histogram::new_with_bounds(RESOLUTION_NS, longest, DIGITS).expect("the bounds are in order"),
        )
    }

    pub(super) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn add(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("all histograms have the same bounds");
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that `share` (0 to 1) of the requests did not pass.
    pub(super) fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(share))
    }

    pub(super) fn mean(&self) -> Duration {
        Duration::from_nanos(self.0.mean() as u64)
    }

    pub(super) fn max(&self) -> Duration {
        Duration::from_nanos(if self.count() == 0 { 0 } else { self.0.max() })
    }
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// As it should; `missed` if there was no such key.
    Success {
        /// Whether there was no such key.
        missed: bool,
    },
    /// With an error of this code.
    Error(String),
}

/// Counts and latencies of a part of the connections, or of all.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// By [`Operation::ALL`].
    latencies: [Latencies; Operation::ALL.len()],
    /// Requests that ended, by [`Operation::ALL`].
    requests: [u64; Operation::ALL.len()],
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) failed: u64,
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) unsent: u64,
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
    /// Attempts to connect that failed.
    pub(super) refused_connections: u64,
    /// Connections that were made in place of one that ended.
    pub(super) reconnections: u64,
}

impl Tally {
    pub(super) fn new() -> Tally {
        Tally {
            latencies: std::array::from_fn(|_| Latencies::new()),
            requests: [0; Operation::ALL.len()],
            errors: BTreeMap::new(),
            failed: 0,
            hits: 0,
            misses: 0,
            unsent: 0,
            sent_bytes: 0,
            received_bytes: 0,
            refused_connections: 0,
            reconnections: 0,
        }
    }

    /// Counts a request. Latencies are those of successes: an error says nothing about the time that work takes.
    pub(super) fn count(&mut self, operation: Operation, ending: Ending, latency: Duration) {
        self.requests[operation as usize] += 1;
        match ending {
            Ending::Success { missed } => {
                self.latencies[operation as usize].record(latency);
                if operation == Operation::Get {
                    *(if missed { &mut self.misses } else { &mut self.hits }) += 1;
                }
            }
            Ending::Error(code) => {
                self.failed += 1;
                *self.errors.entry(code).or_default() += 1;
            }
        }
    }

    /// Counts a request that was due and not sent before the end, which came after it had `waited`. That wait stands
    /// among the latencies: they would look better without it than they were.
    pub(super) fn count_unsent(&mut self, operation: Operation, waited: Duration) {
        self.unsent += 1;
        self.latencies[operation as usize].record(waited);
    }

    pub(super) fn add(&mut self, other: &Tally) {
        for (mine, theirs) in self.latencies.iter_mut().zip(&other.latencies) {
            mine.add(theirs);
        }
        for (mine, theirs) in self.requests.iter_mut().zip(&other.requests) {
            *mine += theirs;
        }
        for (code, count) in &other.errors {
            *self.errors.entry(code.clone()).or_default() += count;
        }
        self.failed += other.failed;
        self.hits += other.hits;
        self.misses += other.misses;
        self.unsent += other.unsent;
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        self.refused_connections += other.refused_connections;
        self.reconnections += other.reconnections;
    }

    /// Requests that ended.
    pub(super) fn requests(&self) -> u64 {
        self.requests.iter().sum()
    }

    /// Requests that ended as they should.
    pub(super) fn succeeded(&self) -> u64 {
        self.requests() - self.failed
    }

    /// Requests and latencies of one operation.
    pub(super) fn of(&self, operation: Operation) -> (u64, &Latencies) {
        (self.requests[operation as usize], &self.latencies[operation as usize])
    }

    /// Latencies of all operations.
    pub(super) fn total(&self) -> Latencies {
        let mut total = Latencies::new();
        self.latencies.iter().for_each(|latencies| total.add(latencies));
        total
    }
}

/// The longest time without any success on any connection.
#[derive(Debug, Default)]
pub(super) struct Gap {
    last_success_ns: AtomicU64,
    longest_ns: AtomicU64,
}

impl Gap {
    /// A success at `now`, since the start.
    pub(super) fn success(&self, now: Duration) {
        let now = now.as_nanos() as u64;
        let before = self.last_success_ns.fetch_max(now, Ordering::Relaxed);
        self.longest_ns.fetch_max(now.saturating_sub(before), Ordering::Relaxed);
    }

    /// Time from the last success until `now`.
    pub(super) fn since_success(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_nanos(self.last_success_ns.load(Ordering::Relaxed)))
    }

    /// The longest gap of a run that ended at `end`.
    pub(super) fn longest(&self, end: Duration) -> Duration {
        Duration::from_nanos(self.longest_ns.load(Ordering::Relaxed)).max(self.since_success(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Goal: percentiles are those of what was recorded, to three digits.
    #[test]
    fn percentiles() {
        let mut latencies = Latencies::new();
        assert_eq!((latencies.count(), latencies.quantile(0.99), latencies.max()), (0, ms(0), ms(0)));
        (1..=10_000).for_each(|n| latencies.record(Duration::from_micros(n)));
        for (share, us) in [(0.5, 5_000.0), (0.95, 9_500.0), (0.99, 9_900.0), (0.999, 9_990.0)] {
            let found = latencies.quantile(share).as_secs_f64() * 1e6;
            assert!((found / us - 1.0).abs() < 0.001, "{share}: {found} instead of {us}");
        }
        assert!((latencies.max().as_secs_f64() - 0.01).abs() < 1e-5);
        latencies.record(Duration::from_secs(86_400));
        assert!(latencies.max() >= MAX_LATENCY && latencies.max() < MAX_LATENCY * 2);
    }

    /// Goal: endings go where they belong, and parts add up.
    #[test]
    fn counting() {
        let (mut one, mut other) = (Tally::new(), Tally::new());
        one.count(Operation::Get, Ending::Success { missed: false }, ms(1));
        one.count(Operation::Get, Ending::Success { missed: true }, ms(2));
        one.count(Operation::Del, Ending::Success { missed: true }, ms(2));
        other.count(Operation::Set, Ending::Error("no-leader".to_owned()), ms(3));
        other.count_unsent(Operation::Set, ms(4));
        one.add(&other);
        assert_eq!((one.requests(), one.succeeded(), one.failed, one.unsent), (4, 3, 1, 1));
        assert_eq!((one.hits, one.misses), (1, 1), "only reads of values hit or miss");
        assert_eq!(one.errors, BTreeMap::from([("no-leader".to_owned(), 1)]));
        assert_eq!(one.of(Operation::Get).0, 2);
        assert_eq!(
            (one.of(Operation::Set).0, one.of(Operation::Set).1.count()),
            (1, 1),
            "the unsent one waited"
        );
        assert_eq!(one.total().count(), 4);
    }

    /// Goal: the gap is the longest, wherever in the run it lies, and successes out of order make none.
    #[test]
    fn gaps() {
        let gap = Gap::default();
        assert_eq!(gap.longest(ms(70)), ms(70), "no success at all");
        gap.success(ms(10));
        gap.success(ms(30));
        gap.success(ms(20));
        gap.success(ms(35));
        assert_eq!(gap.longest(ms(40)), ms(20), "between two successes");
        assert_eq!(gap.longest(ms(100)), ms(65), "at the end");
    }
}
