//! Snapshots and backups.

use std::sync::Arc;

use poem_openapi::OpenApi;

use super::front::{Front, Group};
use crate::http::accept::Octets;
use crate::http::backups::{SnapshotBody, Streamed};
use crate::http::coding::Coding;
use crate::http::operations::{Failure, GetBackup, Snapshot};
use crate::http::payload::Shown;
use crate::model::Principal;

/// Operations that make copies of the store.
pub(in crate::http) struct Backups(pub(super) Arc<Front>);

#[OpenApi]
impl Backups {
    /// Back up the store
    ///
    /// A consistent snapshot of the whole store at one entry of the log, taken while writes go on: all that was answered
    /// before this call is in it. `kvorum restore` makes a new cluster of it, `kvorum snapshot verify` checks it; it
    /// checks itself, so a copy that is damaged or not whole is found by both. Not bound to the request's deadline. Two
    /// are sent at a time, and a client that takes nothing for a minute is given up.
    ///
    /// ```sh
    /// curl -s -OJ http://127.0.0.1:8080/v1/admin/backup
    /// ```
    #[oai(path = "/v1/admin/backup", method = "get", operation_id = "getBackup", tag = "Group::Node")]
    async fn get_backup(&self, _accept: Octets) -> Result<Streamed, Failure<GetBackup>> {
        Ok(Streamed(self.0.kv()?.backup(&Principal::Anonymous).await?))
    }

    /// Take a snapshot
    ///
    /// Writes a snapshot into the data directory now and leaves the log as it is. Answered when it is on disk and
    /// verified. Nothing is written if nothing has changed since the newest one.
    ///
    /// ```sh
    /// curl -s -X POST http://127.0.0.1:8080/v1/admin/snapshot
    /// ```
    #[oai(path = "/v1/admin/snapshot", method = "post", operation_id = "snapshot", tag = "Group::Node")]
    async fn snapshot(&self, coding: Coding) -> Result<Shown<SnapshotBody>, Failure<Snapshot>> {
        let taken = self.0.kv()?.snapshot(&Principal::Anonymous).await?;
        Ok(Shown(coding, taken.into()))
    }
}
