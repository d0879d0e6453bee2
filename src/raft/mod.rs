//! Raft: the only user of openraft. Log, state machine, snapshots, batcher, cluster time.
//!
//! ```text
//!  write -> batcher -> openraft core -> log store -> wal            (entries, votes: one ordered stream)
//!                            |  committed
//!                            v
//!                     state machine -> store -> outcomes to the callers
//!  read -> barrier (a quorum says who leads) -> store
//!
//!  peers: network, desk      not the leader: writes go through the forwarder, reads ask the leader where to read from
//! ```
//!
//! Invariants: the entry that is acknowledged is on disk on a quorum and applied here; an error other than
//! `UnknownOutcome` means that nothing was applied; cluster time never goes back; an entry is proposed at most
//! once. What this floor does not do: permissions, limits on requests, protocols. Those are above.

mod absence;
mod address;
mod affairs;
mod backup;
mod barrier;
mod batcher;
mod budget;
mod checkpoints;
mod cluster_time;
mod config;
mod error;
mod formation;
mod forward;
mod full_disks;
mod health;
mod identity;
mod ignition;
mod lead;
mod leader;
mod ledger;
mod log_store;
mod lost_quorum;
mod machine;
mod maintenance;
mod members;
mod node;
mod notices;
mod open;
mod operations;
mod options;
mod packing;
mod payload;
mod peer;
mod proposal;
mod recovery;
mod relief;
mod removals;
mod replacement;
mod replica;
mod restore;
mod retirement;
mod scan;
mod slow_disk;
pub mod snapshot;
mod snapshots;
mod standing;
mod status;
mod stopping;
mod survey;
mod syncs;
mod time_note;
mod touches;
mod transport;
mod turns;
mod types;

pub use address::check_address;
pub use backup::Backup;
pub use config::{Config, PeerConfig, SnapshotConfig};
pub use error::{AdminError, ClusterError, Failure, OpenError, ReadError, Retired, WriteError};
pub use identity::ADMIN_SOCKET;
pub use lost_quorum::recover;
pub use node::{Consistency, Node, Read};
pub use options::{Options, check_files};
pub use peer::TlsFiles;
pub use proposal::Reply;
pub use removals::{Gone, Noted, Removals};
pub use restore::{Lifetimes, Restore, Restored, restore};
pub use status::{Compaction, Status, StoreStatus, Taken};
pub use survey::{Cluster, MemberStatus};
pub use transport::{Connection, Incoming, Transport};
pub use turns::{Rest, Turns, Yielding};

#[cfg(test)]
mod tests;
