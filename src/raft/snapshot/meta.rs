//! What a snapshot says about the log and the cluster, beside the store itself.

use std::path::Path;

use bytes::Bytes;

use super::error::Error;
use crate::wal::LogId;

/// Where in the life of a cluster a snapshot was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The cluster.
    pub cluster: u128,
    /// The last entry whose effect is in the store.
    pub last_log: LogId,
    /// The membership then in force, as raft encodes it; at most [`Meta::MAX_MEMBERSHIP_BYTES`].
    pub membership: Bytes,
    /// The entry that brought that membership, if one did.
    pub membership_log: Option<LogId>,
}

impl Meta {
    /// Longest encoded membership: 1 MiB, thousands of members.
    pub const MAX_MEMBERSHIP_BYTES: usize = 1 << 20;

    /// Whether the snapshot in `file` is one of this cluster.
    pub(super) fn belongs_to(&self, cluster: u128, file: &Path) -> Result<(), Error> {
        if self.cluster == cluster {
            return Ok(());
        }
        Err(Error::WrongCluster { file: file.to_owned(), found: self.cluster, wanted: cluster })
    }
}
