//! The node's history as documents.

use poem::Request;
use poem_openapi::Object;
use poem_openapi::registry::{MetaParamIn, MetaSchema};

use super::params::{Parameter, number, query};
use super::refusal::Refusal;
use crate::model::Timestamp;
use crate::model::limits::MAX_DEADLINE_MS;
use crate::service::{Point, Series, Slow};

/// Longest step of a series, in seconds: 7 days.
const MAX_STEP_S: u64 = 7 * 24 * 3_600;

/// Figures of a node over time.
#[derive(Debug, Object)]
#[oai(rename = "History")]
pub(super) struct HistoryBody {
    /// Where it begins, in milliseconds since the Unix epoch.
    since: u64,
    /// Seconds from one point to the next.
    step_s: u64,
    /// The steps of which something is known, oldest first.
    points: Vec<PointBody>,
}

/// The figures of one step.
#[derive(Debug, Object)]
#[oai(rename = "Point")]
struct PointBody {
    /// When the last sample of the step was taken, in milliseconds since the Unix epoch.
    at: u64,
    /// Keys in the store.
    keys: u64,
    /// Accounted bytes in the store.
    bytes: u64,
    /// Reads of values a second.
    gets_per_s: f64,
    /// Writes of values a second.
    sets_per_s: f64,
    /// Removals a second.
    deletes_per_s: f64,
    /// Other operations a second.
    others_per_s: f64,
    /// Reads a second that found a value.
    hits_per_s: f64,
    /// Reads a second that found none.
    misses_per_s: f64,
    /// Keys a second that made room for others.
    evictions_per_s: f64,
    /// Keys a second whose deadline passed.
    expirations_per_s: f64,
    /// Bytes of records in the log.
    wal_bytes: u64,
    /// Segments of the log.
    wal_segments: u64,
    /// Entries of the log applied a second.
    applied_per_s: f64,
    /// The term.
    term: u64,
    /// Whether the node led.
    leads: bool,
}

impl From<Series> for HistoryBody {
    fn from(series: Series) -> HistoryBody {
        HistoryBody {
            since: series.since.0,
            step_s: series.step_s,
            points: series.points.into_iter().map(PointBody::from).collect(),
        }
    }
}

impl From<Point> for PointBody {
    fn from(point: Point) -> PointBody {
        let [keys, bytes, gets, sets, deletes, others, hits, misses, evictions, expirations, rest @ ..] =
            point.values;
        let [wal_bytes, wal_segments, applied, term, leads, _uptime] = rest;
        PointBody {
            at: point.at.0,
            keys: keys as u64,
            bytes: bytes as u64,
            gets_per_s: gets,
            sets_per_s: sets,
            deletes_per_s: deletes,
            others_per_s: others,
            hits_per_s: hits,
            misses_per_s: misses,
            evictions_per_s: evictions,
            expirations_per_s: expirations,
            wal_bytes: wal_bytes as u64,
            wal_segments: wal_segments as u64,
            applied_per_s: applied,
            term: term as u64,
            leads: leads > 0.0,
        }
    }
}

/// Requests that took long.
#[derive(Debug, Object)]
#[oai(rename = "SlowLog")]
pub(super) struct SlowBody {
    /// The requests, newest first.
    items: Vec<SlowItem>,
}

/// A request that took long.
#[derive(Debug, Object)]
#[oai(rename = "SlowRequest")]
struct SlowItem {
    /// When it ended, in milliseconds since the Unix epoch by the node's clock.
    at: u64,
    /// What it was: `get`, `set`, `delete`, `ttl`, `incr`, `expire`, `scan`, `clear` or `batch`.
    operation: String,
    /// How long it took in the node, in milliseconds.
    duration_ms: f64,
    /// Bytes of the value that was read or written; 0 where there is none.
    bytes: u64,
}

impl From<Vec<Slow>> for SlowBody {
    fn from(slow: Vec<Slow>) -> SlowBody {
        let item = |slow: Slow| SlowItem {
            at: slow.at.0,
            operation: slow.operation,
            duration_ms: slow.duration.as_secs_f64() * 1_000.0,
            bytes: slow.bytes,
        };
        SlowBody { items: slow.into_iter().map(item).collect() }
    }
}

/// `since` of a series.
pub(super) struct Since(pub(super) Option<Timestamp>);

impl Parameter for Since {
    const IN: MetaParamIn = MetaParamIn::Query;

    fn schema() -> MetaSchema {
        MetaSchema {
            minimum: Some(0.0),
            maximum: Some(MAX_DEADLINE_MS as f64),
            ..MetaSchema::new_with_format("integer", "int64")
        }
    }

    fn parse(request: &Request, name: &str) -> Result<Since, Refusal> {
        Ok(Since(bounded(request, name, 0..=MAX_DEADLINE_MS)?.map(Timestamp)))
    }
}

/// `step` of a series.
pub(super) struct Step(pub(super) Option<u64>);

impl Parameter for Step {
    const IN: MetaParamIn = MetaParamIn::Query;

    fn schema() -> MetaSchema {
        MetaSchema {
            minimum: Some(1.0),
            maximum: Some(MAX_STEP_S as f64),
            example: Some(60.into()),
            ..MetaSchema::new_with_format("integer", "int32")
        }
    }

    fn parse(request: &Request, name: &str) -> Result<Step, Refusal> {
        Ok(Step(bounded(request, name, 1..=MAX_STEP_S)?))
    }
}

fn bounded(
    request: &Request,
    name: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Option<u64>, Refusal> {
    let Some(text) = query(request, name)? else { return Ok(None) };
    let found = number(&text).filter(|number| range.contains(number));
    found.map(Some).ok_or_else(|| {
        Refusal::invalid(format!("{name} is a whole number from {} to {}", range.start(), range.end()))
    })
}
