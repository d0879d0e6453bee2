//! What one entry of the log says.

use super::{Level, Slot, Timestamp, Transaction, Version};

/// Note that a key was read: moves it to the front of the LRU order, if `slot` still holds `version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// Where the entry was.
    pub slot: Slot,
    /// What it was.
    pub version: Version,
}

/// One entry of the log. Its encoding is in [`codec`](super::codec).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The proposer's level. Apply uses the one in state; this one tells how to read the entry.
    pub level: Level,
    /// Cluster time at the leader when it proposed.
    pub at: Timestamp,
    /// Keys read lately, applied before the transactions.
    pub touches: Vec<Touch>,
    /// The transactions, applied in order.
    pub transactions: Vec<Transaction>,
}
