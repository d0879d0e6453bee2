//! The node itself.

use std::sync::Arc;

use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::front::{Front, Group};
use crate::http::coding::Coding;
use crate::http::history::{HistoryBody, Since, SlowBody, Step};
use crate::http::operations::{Compact, Failure, GetHistory, GetSlow, GetStats, PutLogLevel};
use crate::http::pages::Limit;
use crate::http::params::Param;
use crate::http::payload::{Document, SMALL_BYTES, Shown};
use crate::http::stats::{Compaction, Stats};
use crate::model::Principal;

/// Operations on the node.
pub(in crate::http) struct Node(pub(super) Arc<Front>);

/// What a node logs.
#[derive(Debug, Object)]
#[oai(rename = "LogLevel", deny_unknown_fields)]
struct LogLevelBody {
    /// A level for everything (`off`, `error`, `warn`, `info`, `debug`, `trace`), levels for modules
    /// (`kvorum::raft=debug`), or both, separated by commas.
    #[oai(validator(
        max_length = 500,
        pattern = "^([a-z0-9_:]+=)?(off|error|warn|info|debug|trace)(,([a-z0-9_:]+=)?(off|error|warn|info|debug|trace))*$"
    ))]
    level: String,
}

/// What a node logs now, and what it logged before.
#[derive(Debug, Object)]
struct LogLevelChange {
    /// In force now.
    level: String,
    /// In force before.
    before: String,
}

#[OpenApi]
impl Node {
    /// Read figures of the node
    ///
    /// ```sh
    /// curl -s http://127.0.0.1:8080/v1/stats
    /// ```
    #[oai(path = "/v1/stats", method = "get", operation_id = "getStats", tag = "Group::Node")]
    async fn get_stats(&self) -> Result<Json<Stats>, Failure<GetStats>> {
        Ok(Json(self.0.kv()?.stats().into()))
    }

    /// Compact the log
    ///
    /// Takes a snapshot, verifies it and drops the log behind it. Answered when that is done.
    ///
    /// ```sh
    /// curl -s -X POST http://127.0.0.1:8080/v1/admin/compact
    /// ```
    #[oai(path = "/v1/admin/compact", method = "post", operation_id = "compact", tag = "Group::Node")]
    async fn compact(&self) -> Result<Json<Compaction>, Failure<Compact>> {
        Ok(Json(self.0.kv()?.compact(&Principal::Anonymous).await?.into()))
    }

    /// Read the node's history
    ///
    /// Figures of this node over time: levels as they were last in each step, growth by the second. Samples are taken every
    /// `history.sample_s` seconds and kept for 7 days; after a day only the last of each five minutes is. They are this
    /// node's own, and may have gaps.
    ///
    /// ```sh
    /// curl -s 'http://127.0.0.1:8080/v1/stats/history?step=60'
    /// ```
    #[oai(path = "/v1/stats/history", method = "get", operation_id = "getHistory", tag = "Group::Node")]
    async fn get_history(
        &self,
        /// Where to begin, in milliseconds since the Unix epoch by the node's clock. Default: an hour ago.
        since: Param<Since>,
        /// Seconds from one point to the next; longer, if there would be more than 2,000. Default: so that there are about
        /// 360. The answer says which it is.
        step: Param<Step>,
        coding: Coding,
    ) -> Result<Shown<HistoryBody>, Failure<GetHistory>> {
        let series = self.0.kv()?.history(&Principal::Anonymous, since.0.0, step.0.0).await?;
        Ok(Shown(coding, series.into()))
    }

    /// Read the slow log
    ///
    /// Requests that took `history.slow_ms` or longer, the newest first. Neither keys nor values are in it.
    ///
    /// ```sh
    /// curl -s 'http://127.0.0.1:8080/v1/stats/slow?limit=10'
    /// ```
    #[oai(path = "/v1/stats/slow", method = "get", operation_id = "getSlow", tag = "Group::Node")]
    async fn get_slow(
        &self,
        /// Most entries.
        limit: Param<Limit<1_000>>,
        coding: Coding,
    ) -> Result<Shown<SlowBody>, Failure<GetSlow>> {
        let slow = self.0.kv()?.slow(&Principal::Anonymous, limit.0.0).await?;
        Ok(Shown(coding, slow.into()))
    }

    /// Change the log level
    ///
    /// Of this node, until it ends.
    ///
    /// ```sh
    /// curl -s -X PUT -H 'Content-Type: application/json' -d '{"level": "info,kvorum::raft=debug"}' \
    ///   http://127.0.0.1:8080/v1/admin/log-level
    /// ```
    #[oai(path = "/v1/admin/log-level", method = "put", operation_id = "putLogLevel", tag = "Group::Node")]
    async fn put_log_level(
        &self,
        level: Document<LogLevelBody, SMALL_BYTES>,
        coding: Coding,
    ) -> Result<Shown<LogLevelChange>, Failure<PutLogLevel>> {
        let kv = self.0.kv()?;
        let LogLevelBody { level } = level.read(&self.0.bodies).await?;
        let before = kv.set_log_level(&Principal::Anonymous, &level)?;
        Ok(Shown(coding, LogLevelChange { level, before }))
    }
}
