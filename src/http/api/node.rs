//! The node itself.

use std::sync::Arc;

use poem_openapi::OpenApi;
use poem_openapi::payload::Json;

use super::front::{Front, Group};
use crate::http::operations::{Compact, Failure, GetStats};
use crate::http::stats::{Compaction, Stats};
use crate::model::Principal;

/// Operations on the node.
pub(in crate::http) struct Node(pub(super) Arc<Front>);

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
}
