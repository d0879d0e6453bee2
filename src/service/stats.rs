//! Figures of a node, for every protocol that shows them.

use std::time::Duration;

use super::counters::Operations;
use crate::raft::{Status, StoreStatus};

/// What a node knows of itself.
#[derive(Debug)]
pub struct Stats {
    /// Raft and identity.
    pub node: Status,
    /// The log on disk.
    pub log: Log,
    /// The store.
    pub store: StoreStatus,
    /// Operations since the start.
    pub operations: Operations,
    /// Since the service began.
    pub uptime: Duration,
}

/// The log on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Bytes of records; preallocated room does not count.
    pub bytes: u64,
    /// Segments.
    pub segments: u64,
    /// Times that it was synced to disk since the node started.
    pub syncs: u64,
    /// Index of the first entry, if there is one.
    pub first_index: Option<u64>,
    /// Index of the last entry, if there is one.
    pub last_index: Option<u64>,
    /// The name of the durability mode, as in the configuration.
    pub durability: String,
}

impl Log {
    pub(super) fn of(node: &Status) -> Log {
        // There is one raft group today.
        let span = node.wal.spans.first();
        Log {
            bytes: node.wal.bytes,
            segments: node.wal.segments,
            syncs: node.wal.fsync_us.count(),
            first_index: span.map(|span| span.first_index),
            last_index: span.map(|span| span.last_index),
            // The log's own type is not known on this floor; its variants bear the names of the modes.
            durability: format!("{:?}", node.wal.durability).to_lowercase(),
        }
    }
}
