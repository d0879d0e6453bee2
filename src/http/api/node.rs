//! The node itself.

use std::sync::Arc;

use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::front::{Front, Group};
use crate::http::coding::Coding;
use crate::http::operations::{Compact, Failure, GetStats, PutLogLevel};
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
