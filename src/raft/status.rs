//! What a node says of itself.

use std::time::Duration;

use super::snapshot::Sending;
use crate::model::{Eviction, Level, NodeId, Timestamp};
use crate::store::StateHash;
use crate::wal;

/// A node's place in the cluster and in the log.
#[derive(Clone, Debug)]
pub struct Status {
    /// This node.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: u128,
    /// `leader`, `follower`, `candidate` or `learner`.
    pub role: &'static str,
    /// The term it knows.
    pub term: u64,
    /// Who leads, if it knows.
    pub leader: Option<NodeId>,
    /// Last entry of its log.
    pub last_log_index: u64,
    /// Last entry it knows to be committed.
    pub commit_index: u64,
    /// Last entry in its store.
    pub applied_index: u64,
    /// Last entry in its newest snapshot, 0 if it has none.
    pub snapshot_index: u64,
    /// Up to where its log was purged.
    pub purged_index: u64,
    /// The level in its store.
    pub level: Level,
    /// The highest level that it understands.
    pub max_level: Level,
    /// Its wall clock minus cluster time, in milliseconds: positive while the wall clock is ahead.
    pub clock_offset_ms: i64,
    /// Whether it serves requests.
    pub ready: bool,
    /// Whether its disk is full and nothing more can be freed there.
    pub is_out_of_disk: bool,
    /// Its log on disk.
    pub wal: wal::Stats,
}

/// The store's replicated figures.
#[derive(Clone, Copy, Debug)]
pub struct StoreStatus {
    /// Whether it has been given its settings.
    pub is_initialized: bool,
    /// Keys, expired ones included that were not swept yet.
    pub keys: u64,
    /// Accounted bytes.
    pub bytes: u64,
    /// Limit of accounted bytes, 0 for none.
    pub max_bytes: u64,
    /// Limit of keys, 0 for none.
    pub max_keys: u64,
    /// What makes room.
    pub eviction: Eviction,
    /// Longest value in bytes.
    pub max_value_bytes: u64,
    /// The wanted number of voters; 0: all that may vote, the largest odd number of them.
    pub voters: u64,
    /// The store's revision.
    pub revision: u64,
    /// Keys evicted since the cluster was created.
    pub evictions: u64,
    /// Keys expired since the cluster was created.
    pub expirations: u64,
}

/// What a compaction achieved.
#[derive(Clone, Copy, Debug)]
pub struct Compaction {
    /// Bytes of log records before.
    pub bytes_before: u64,
    /// Bytes of log records after.
    pub bytes_after: u64,
    /// Last entry in the new snapshot.
    pub index: u64,
    /// Length of the new snapshot.
    pub snapshot_bytes: u64,
    /// How long it took.
    pub duration: Duration,
}

/// A snapshot that was taken.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// The cluster.
    pub cluster: u128,
    /// The last entry whose effect is in it.
    pub index: u64,
    /// The term of that entry.
    pub term: u64,
    /// Cluster time of that entry.
    pub at: Timestamp,
    /// The store's revision.
    pub revision: u64,
    /// Keys, expired ones included that were not swept yet.
    pub keys: u64,
    /// Hash of the replicated state.
    pub state_hash: StateHash,
    /// The length of the file.
    pub bytes: u64,
    /// How long it took. Next to nothing if nothing had changed since the one before.
    pub duration: Duration,
}

impl Taken {
    pub(super) fn of(snapshot: &Sending, duration: Duration) -> Taken {
        let (meta, globals) = (snapshot.meta(), snapshot.globals());
        Taken {
            cluster: meta.cluster,
            index: meta.last_log.index,
            term: meta.last_log.term,
            at: globals.now,
            revision: globals.revision,
            keys: globals.keys,
            state_hash: globals.state_hash,
            bytes: snapshot.bytes(),
            duration,
        }
    }
}
