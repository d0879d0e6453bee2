//! Figures of the node, as `GET /v1/stats` and `POST /v1/admin/compact` send them.

use poem_openapi::Object;

use crate::service;

/// Figures of one node. `store` is the same on all nodes at the same log index; the rest is the node's own.
#[derive(Debug, Object)]
pub(super) struct Stats {
    /// The node's id.
    node: u64,
    /// The cluster's id, in hexadecimal.
    cluster: String,
    /// What the node is in its cluster: `leader`, `follower`, `candidate` or `learner`.
    role: String,
    /// The version of the program.
    version: String,
    /// Seconds since the node began to serve.
    uptime_seconds: u64,
    /// The store.
    store: Store,
    /// Operations since the start, as clients asked for them here, failures included.
    ops: Operations,
    /// Reads of values that found one.
    hits: u64,
    /// Reads of values that found none.
    misses: u64,
    /// Share of the reads that found a value; 0 if there were none.
    hit_ratio: f64,
    /// Keys that made room for others.
    evictions: u64,
    /// Keys whose deadline passed.
    expirations: u64,
    /// The log on disk.
    wal: Wal,
    /// The log's agreement.
    raft: Raft,
}

/// The store.
#[derive(Debug, Object)]
struct Store {
    /// Keys, expired ones that are not swept yet included.
    keys: u64,
    /// Accounted bytes.
    bytes: u64,
    /// Most accounted bytes; 0 means no limit.
    max_bytes: u64,
    /// Most keys; 0 means no limit.
    max_keys: u64,
    /// What makes room: `lru`, `volatile-lru`, `volatile-ttl` or `noeviction`.
    eviction: String,
    /// Longest value in bytes.
    max_value_bytes: u64,
    /// Grows with every change of a key.
    revision: u64,
}

/// Operations by kind.
#[derive(Debug, Object)]
struct Operations {
    /// All together.
    total: u64,
    /// Reads of values.
    get: u64,
    /// Writes of values.
    set: u64,
    /// Removals.
    delete: u64,
    /// Questions for deadlines.
    ttl: u64,
    /// Additions to numbers.
    incr: u64,
    /// Changes of deadlines.
    expire: u64,
    /// Pages of scans.
    scan: u64,
    /// Removals of everything.
    clear: u64,
    /// Batches; their steps do not count by themselves.
    batch: u64,
}

/// The log on disk.
#[derive(Debug, Object)]
struct Wal {
    /// Bytes of records; preallocated room does not count.
    bytes: u64,
    /// Segments.
    segments: u64,
    /// Index of the first entry; null if there is none.
    first_index: Option<u64>,
    /// Index of the last entry; null if there is none.
    last_index: Option<u64>,
    /// Times that it was synced to disk since the node started.
    syncs: u64,
    /// `always`: acknowledged means synced; `interval`: synced every `wal.interval_ms`.
    durability: String,
}

/// The log's agreement.
#[derive(Debug, Object)]
struct Raft {
    /// The term.
    term: u64,
    /// The leader's id; null if none is known.
    leader: Option<u64>,
    /// Index of the last entry.
    last_log_index: u64,
    /// Index up to which entries are committed.
    commit_index: u64,
    /// Index up to which entries are applied.
    applied_index: u64,
    /// Index of the newest snapshot; 0 if there is none.
    snapshot_index: u64,
    /// Index up to which the log is dropped; 0 if none of it is.
    purged_index: u64,
    /// The level: the version of formats and rules that all members share.
    level: u16,
    /// This node's wall clock minus cluster time, in milliseconds: positive while the wall clock is ahead.
    clock_offset_ms: i64,
    /// Whether the node is ready to serve.
    ready: bool,
}

/// What a compaction did.
#[derive(Debug, Object)]
pub(super) struct Compaction {
    /// Bytes of records in the log before.
    bytes_before: u64,
    /// Bytes of records in the log after.
    bytes_after: u64,
    /// Index that the snapshot covers.
    index: u64,
    /// Size of the snapshot.
    snapshot_bytes: u64,
    /// How long it took.
    duration_ms: u64,
}

impl From<service::Stats> for Stats {
    fn from(stats: service::Stats) -> Stats {
        let service::Stats { node, log, store, operations, uptime } = stats;
        Stats {
            node: node.node.0,
            cluster: format!("{:032x}", node.cluster),
            role: node.role.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: uptime.as_secs(),
            store: Store {
                keys: store.keys,
                bytes: store.bytes,
                max_bytes: store.max_bytes,
                max_keys: store.max_keys,
                eviction: store.eviction.name().to_owned(),
                max_value_bytes: store.max_value_bytes,
                revision: store.revision,
            },
            hits: operations.hits,
            misses: operations.misses,
            hit_ratio: operations.hit_ratio(),
            ops: operations.into(),
            evictions: store.evictions,
            expirations: store.expirations,
            wal: Wal {
                bytes: log.bytes,
                segments: log.segments,
                syncs: log.syncs,
                first_index: log.first_index,
                last_index: log.last_index,
                durability: log.durability,
            },
            raft: node.into(),
        }
    }
}

impl From<service::Operations> for Operations {
    fn from(operations: service::Operations) -> Operations {
        Operations {
            total: operations.total(),
            get: operations.get,
            set: operations.set,
            delete: operations.delete,
            ttl: operations.ttl,
            incr: operations.incr,
            expire: operations.expire,
            scan: operations.scan,
            clear: operations.clear,
            batch: operations.batch,
        }
    }
}

impl From<service::Status> for Raft {
    fn from(status: service::Status) -> Raft {
        Raft {
            term: status.term,
            leader: status.leader.map(|leader| leader.0),
            last_log_index: status.last_log_index,
            commit_index: status.commit_index,
            applied_index: status.applied_index,
            snapshot_index: status.snapshot_index,
            purged_index: status.purged_index,
            level: status.level.0,
            clock_offset_ms: status.clock_offset_ms,
            ready: status.ready,
        }
    }
}

impl From<service::Compaction> for Compaction {
    fn from(compaction: service::Compaction) -> Compaction {
        Compaction {
            bytes_before: compaction.bytes_before,
            bytes_after: compaction.bytes_after,
            index: compaction.index,
            snapshot_bytes: compaction.snapshot_bytes,
            duration_ms: u64::try_from(compaction.duration.as_millis()).unwrap_or(u64::MAX),
        }
    }
}
