//! What the node was like lately: samples of its figures, seen as series, and requests that took long.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::error::Error;
use super::stats::Stats;
use crate::clock::Clock;
use crate::history::{FIGURES, History, Kind, Sample, Slow};
use crate::model::Timestamp;

/// Most points of a series.
pub const MAX_POINTS: u64 = 2_000;

/// Points of a series whose step nobody asked for.
const POINTS: u64 = 360;

/// How far a series reaches back unless somebody says so, in milliseconds: an hour.
const SPAN_MS: u64 = 3_600_000;

/// The memory of a node, and how it is filled.
#[derive(Clone)]
pub struct Past {
    history: History,
    clock: Arc<dyn Clock>,
    slow: Duration,
}

impl Past {
    /// Remembers in `history`, by the wall clock of `clock`. Requests that take `slow` or longer are noted; none are if it
    /// is zero.
    pub fn new(history: History, clock: Arc<dyn Clock>, slow: Duration) -> Past {
        Past { history, clock, slow }
    }

    /// Notes the figures of now.
    pub fn sample(&self, stats: &Stats) {
        self.history.add_sample(sample(self.clock.wall(), stats));
    }

    /// A series of the figures since then, a point a step. A step that would give more than [`MAX_POINTS`] is made longer.
    pub(super) async fn series(
        &self,
        since: Option<Timestamp>,
        step_s: Option<u64>,
    ) -> Result<Series, Error> {
        let now = self.clock.wall();
        let since = since.unwrap_or(Timestamp(now.0.saturating_sub(SPAN_MS))).min(now);
        let span_ms = now.millis_since(since);
        let smallest_s = span_ms.div_ceil(MAX_POINTS * 1_000).max(1);
        let asked_s = step_s.unwrap_or_else(|| span_ms.div_ceil(POINTS * 1_000).max(10));
        let step_s = asked_s.max(smallest_s);
        let samples = self.history.samples(since).await.map_err(|_| NO_HISTORY)?;
        let points = points(&samples, since, now, step_s.saturating_mul(1_000));
        Ok(Series { since, step_s, points })
    }

    /// The newest requests that took long, newest first.
    pub(super) async fn slow(&self, most: usize) -> Result<Vec<Slow>, Error> {
        self.history.slow(most).await.map_err(|_| NO_HISTORY)
    }
}

/// There is no database, or it does not answer.
pub(super) const NO_HISTORY: Error = Error::Unavailable("the node's history cannot be read at the moment");

/// Figures over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Where it begins.
    pub since: Timestamp,
    /// Seconds from one point to the next.
    pub step_s: u64,
    /// Steps for which there is a sample, oldest first.
    pub points: Vec<Point>,
}

/// The figures of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When its last sample was taken.
    pub at: Timestamp,
    /// One for each of [`FIGURES`]: a gauge as it was last, a counter as its growth in a second, on the average since the
    /// point before.
    pub values: [f64; FIGURES.len()],
}

/// Reduces samples, oldest first, to a point for each step that has one. A sample before `since` only serves to count the
/// growth of the first point. A counter that is smaller than before began anew with the process.
fn points(samples: &[Sample], since: Timestamp, until: Timestamp, step_ms: u64) -> Vec<Point> {
    let step = |sample: &Sample| sample.at.millis_since(since) / step_ms;
    let early = samples.iter().take_while(|sample| sample.at < since).count();
    let (early, wanted) = samples.split_at(early);
    let wanted = wanted.split(|sample| sample.at > until).next().unwrap_or_default();
    // Without an earlier one the first sample is where counting begins.
    let mut before = early.last().or(wanted.first());
    let mut points = Vec::new();
    for step in wanted.chunk_by(|a, b| step(a) == step(b)) {
        let (Some(last), Some(base)) = (step.last(), before) else { continue };
        points.push(point(base, last));
        before = Some(last);
    }
    points
}

fn point(before: &Sample, last: &Sample) -> Point {
    let seconds = last.at.millis_since(before.at) as f64 / 1_000.0;
    let mut values = [0.0; FIGURES.len()];
    for ((value, figure), (old, new)) in
        values.iter_mut().zip(FIGURES).zip(before.figures.into_iter().zip(last.figures))
    {
        *value = match figure.kind {
            Kind::Gauge => new as f64,
            Kind::Counter if seconds == 0.0 => 0.0,
            Kind::Counter => new.checked_sub(old).unwrap_or(new) as f64 / seconds,
        };
    }
    Point { at: last.at, values }
}

fn sample(at: Timestamp, stats: &Stats) -> Sample {
    let operations = stats.operations;
    let others = operations.total() - operations.get - operations.set - operations.delete;
    let figures = [
        stats.store.keys,
        stats.store.bytes,
        operations.get,
        operations.set,
        operations.delete,
        others,
        operations.hits,
        operations.misses,
        stats.store.evictions,
        stats.store.expirations,
        stats.log.bytes,
        stats.log.segments,
        stats.node.applied_index,
        stats.node.term,
        u64::from(stats.node.role == "leader"),
        stats.uptime.as_secs(),
    ];
    Sample { at, figures }
}

/// Times a request. If it took long when this is dropped, it is noted.
pub(super) struct Timed<'a> {
    past: Option<&'a Past>,
    operation: &'static str,
    started: Instant,
    /// Bytes of the value that was read or written.
    pub(super) bytes: u64,
}

impl<'a> Timed<'a> {
    pub(super) fn begin(past: Option<&'a Past>, operation: &'static str) -> Timed<'a> {
        let past = past.filter(|past| !past.slow.is_zero());
        Timed { past, operation, started: Instant::now(), bytes: 0 }
    }

    /// When it began.
    pub(super) fn started(&self) -> Instant {
        self.started
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        let Some(past) = self.past else { return };
        let duration = self.started.elapsed();
        if duration >= past.slow {
            let (at, operation) = (past.clock.wall(), self.operation.to_owned());
            past.history.add_slow(Slow { at, operation, duration, bytes: self.bytes });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(at: u64, keys: u64, gets: u64) -> Sample {
        let mut figures = [0; FIGURES.len()];
        (figures[0], figures[2]) = (keys, gets);
        Sample { at: Timestamp(at), figures }
    }

    fn seen(points: &[Point]) -> Vec<(u64, f64, f64)> {
        points.iter().map(|point| (point.at.0, point.values[0], point.values[2])).collect()
    }

    /// Goal: gauges are as they were last, counters grow by the second, and a restart is no fall.
    #[test]
    fn a_series_tells_levels_and_rates() {
        let samples = [
            sample(10_000, 1, 100),
            sample(20_000, 2, 200),
            sample(25_000, 3, 300),
            sample(40_000, 4, 30),
            sample(50_000, 5, 30),
        ];
        let points = |since, until| seen(&points(&samples, Timestamp(since), Timestamp(until), 10_000));
        assert_eq!(
            points(20_000, 60_000),
            [(25_000, 3.0, 200.0 / 15.0), (40_000, 4.0, 2.0), (50_000, 5.0, 0.0)]
        );
        assert_eq!(points(0, 60_000)[0], (10_000, 1.0, 0.0), "nothing is known of what was before");
        assert_eq!(points(20_000, 30_000).len(), 1);
        assert_eq!(points(55_000, 60_000), []);
    }

    proptest! {
        /// Goal: every step with a sample has one point, with the last sample's gauge; and growth adds up to the whole.
        #[test]
        fn nothing_is_lost_in_steps(
            gaps in prop::collection::vec((1..40_000_u64, 0..1_000_u64), 1..60),
            step_s in 1..60_u64,
        ) {
            let (mut at, mut gets) = (1_000_000, 0);
            let samples: Vec<Sample> = gaps.iter().map(|(gap, growth)| {
                at += gap;
                gets += growth;
                sample(at, at, gets)
            }).collect();
            let since = Timestamp(1_000_000);
            let points = points(&samples, since, Timestamp(u64::MAX), step_s * 1_000);
            let step = |at: u64| (at - since.0) / (step_s * 1_000);
            let steps: std::collections::BTreeMap<u64, u64> = samples.iter().map(|s| (step(s.at.0), s.at.0)).collect();
            let told: Vec<_> = points.iter().map(|point| (point.at.0, point.values[0])).collect();
            let wanted: Vec<_> = steps.values().map(|at| (*at, *at as f64)).collect();
            prop_assert_eq!(told, wanted);
            let mut before = samples[0].at.0;
            let mut growth = 0.0;
            for point in &points {
                growth += point.values[2] * (point.at.0 - before) as f64 / 1_000.0;
                before = point.at.0;
            }
            prop_assert!((growth - (gets - samples[0].figures[2]) as f64).abs() < 1e-3);
        }
    }
}
