//! Raft: the only user of openraft. Log, state machine, snapshots, batcher, cluster time.
//!
//! ```text
//!  write -> batcher -> openraft core -> log store -> wal            (entries, votes: one ordered stream)
//!                            |  committed
//!                            v
//!                     state machine -> store -> outcomes to the callers
//!  read ----------------------------> store
//! ```
//!
//! Invariants: the entry that is acknowledged is on disk on a quorum and applied here; an error other than
//! `UnknownOutcome` means that nothing was applied; cluster time never goes back; an entry is proposed at most
//! once. What this floor does not do: permissions, limits on requests, protocols. Those are above.

mod backup;
mod batcher;
mod cluster_time;
mod config;
mod error;
mod health;
mod identity;
mod log_store;
mod machine;
mod maintenance;
mod node;
mod open;
mod payload;
mod peer;
mod proposal;
mod removals;
mod replica;
mod restore;
pub mod snapshot;
mod snapshots;
mod status;
mod touches;
mod types;

pub use backup::Backup;
pub use config::{Config, SnapshotConfig};
pub use error::{AdminError, Failure, OpenError, ReadError, WriteError};
pub use node::{Consistency, Node, Read};
pub use open::Options;
pub use proposal::Reply;
pub use removals::{Gone, Removals};
pub use restore::{Lifetimes, Restore, Restored, restore};
pub use status::{Compaction, Status, StoreStatus, Taken};

#[cfg(test)]
mod tests;
