//! Many keys at a time.

use std::sync::Arc;

use poem_openapi::OpenApi;

use super::front::{Front, Group};
use crate::http::answers::Cleared;
use crate::http::batch::{BatchBody, MAX_BATCH_BYTES, steps};
use crate::http::coding::Coding;
use crate::http::operations::{Batch, ClearKeys, Failure, ScanKeys};
use crate::http::pages::{ConfirmAll, Cursor, Limit, PageBody, Prefix};
use crate::http::params::Param;
use crate::http::payload::{Document, Shown};
use crate::http::results::Results;
use crate::model::Principal;
use crate::model::limits::MAX_SCAN_ITEMS;
use crate::service::{Consistency, Scan};

/// Operations on many keys.
pub(in crate::http) struct Many(pub(super) Arc<Front>);

#[OpenApi]
impl Many {
    /// List keys
    ///
    /// Answers with a page of keys, in no order that means anything. Follow `cursor` until it is null: then every key
    /// that was there from the first page to the last was returned exactly once, whatever was written meanwhile and
    /// whichever node answered. A page holds about 1 MiB at most (or one key), and a store that is mostly empty is looked
    /// through for about 10 ms, so a page may be short or empty while there are more. Each key in it is as it was at some
    /// moment after the request was made, not all at the same one. After every key was removed (`DELETE /v1/kv`), older
    /// cursors mean nothing.
    ///
    /// ```sh
    /// curl -s 'http://127.0.0.1:8080/v1/kv?prefix=user:&limit=100'
    /// ```
    #[oai(path = "/v1/kv", method = "get", operation_id = "scanKeys", tag = "Group::Keys")]
    async fn scan_keys(
        &self,
        /// Only keys that begin with this, percent-encoded.
        prefix: Param<Prefix>,
        /// Most keys in the page.
        limit: Param<Limit<MAX_SCAN_ITEMS>>,
        /// The `cursor` of the page before. Without it the scan begins.
        cursor: Param<Cursor>,
        /// Whether the values are wanted too.
        values: Param<bool>,
        /// How fresh the answer must be.
        consistency: Param<Option<Consistency>>,
        coding: Coding,
    ) -> Result<Shown<PageBody>, Failure<ScanKeys>> {
        let scan = Scan {
            prefix: prefix.0.0.into(),
            cursor: cursor.0.0,
            limit: limit.0.0,
            values: values.0,
            consistency: self.0.consistency(consistency.0),
        };
        Ok(Shown(coding, self.0.kv()?.scan(&Principal::Anonymous, scan).await?.into()))
    }

    /// Remove every key
    ///
    /// Takes as long for ten million keys as for one.
    ///
    /// ```sh
    /// curl -s -X DELETE 'http://127.0.0.1:8080/v1/kv?confirm=all'
    /// ```
    #[oai(path = "/v1/kv", method = "delete", operation_id = "clearKeys", tag = "Group::Keys")]
    async fn clear_keys(
        &self,
        /// Says that this is meant.
        confirm: Param<ConfirmAll>,
        coding: Coding,
    ) -> Result<Shown<Cleared>, Failure<ClearKeys>> {
        let Param(ConfirmAll) = confirm;
        let keys = self.0.kv()?.clear(&Principal::Anonymous).await?;
        Ok(Shown(coding, Cleared { keys }))
    }

    /// Do several steps, or none
    ///
    /// The steps are applied in one log entry, with nothing of anybody else between them. If a `check` or a condition
    /// does not hold, a value is no integer, or there is no room, nothing is done and the error names the step.
    ///
    /// ```sh
    /// curl -s -H 'Content-Type: application/json' http://127.0.0.1:8080/v1/batch -d '{"steps": [
    ///   {"op": "check", "key": "stock", "present": true},
    ///   {"op": "incr", "key": "stock", "by": -1},
    ///   {"op": "set", "key": "order:7", "value": "1 poem", "ttl_ms": 86400000}
    /// ]}'
    /// ```
    #[oai(path = "/v1/batch", method = "post", operation_id = "batch", tag = "Group::Keys")]
    async fn batch(
        &self,
        batch: Document<BatchBody, MAX_BATCH_BYTES>,
        coding: Coding,
    ) -> Result<Results, Failure<Batch>> {
        let kv = self.0.kv()?;
        let (document, room) = batch.value(&self.0.bodies).await?;
        let done = kv.batch(&Principal::Anonymous, steps(document)?).await?;
        drop(room);
        Ok(Results { coding, done })
    }
}
