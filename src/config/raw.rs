//! The configuration as it is written: the only place where serde knows it.

use serde::Deserialize;

use super::size::Size;
use super::strict::{switch, whole};

/// All sections. Defaults stand in `keys.rs`, so every field is there when this is read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) http: Http,
    pub(super) ops: Ops,
    pub(super) peer: Peer,
    pub(super) data: Data,
    pub(super) store: Store,
    pub(super) cluster: Cluster,
    pub(super) wal: Wal,
    pub(super) snapshot: Snapshot,
    pub(super) raft: Raft,
    pub(super) history: History,
    pub(super) lifecycle: Lifecycle,
    pub(super) shutdown: Shutdown,
    pub(super) log: Log,
    pub(super) auth: Auth,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    pub(super) listen: String,
    pub(super) allowed_hosts: String,
    pub(super) default_consistency: String,
    #[serde(deserialize_with = "whole")]
    pub(super) request_timeout_ms: u64,
    #[serde(deserialize_with = "whole")]
    pub(super) max_connections: u64,
    #[serde(deserialize_with = "whole")]
    pub(super) header_timeout_ms: u64,
    #[serde(deserialize_with = "whole")]
    pub(super) body_timeout_ms: u64,
    #[serde(deserialize_with = "whole")]
    pub(super) idle_timeout_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ops {
    pub(super) listen: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Peer {
    pub(super) listen: String,
    pub(super) advertise: String,
    pub(super) tls_cert_file: String,
    pub(super) tls_key_file: String,
    pub(super) tls_ca_file: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    pub(super) dir: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    pub(super) max_bytes: Size,
    #[serde(deserialize_with = "whole")]
    pub(super) max_keys: u64,
    pub(super) eviction: String,
    pub(super) max_value_bytes: Size,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cluster {
    pub(super) seeds: String,
    pub(super) secret_file: String,
    pub(super) role: String,
    #[serde(deserialize_with = "whole")]
    pub(super) replace_after_s: u64,
    #[serde(deserialize_with = "whole")]
    pub(super) hand_over_after_s: u64,
    #[serde(deserialize_with = "whole")]
    pub(super) max_level: u64,
    #[serde(deserialize_with = "whole")]
    pub(super) level_auto_raise_after_s: u64,
    #[serde(deserialize_with = "whole")]
    pub(super) state_hash_every: u64,
    pub(super) restore_from: String,
    pub(super) restore_ttl: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wal {
    pub(super) durability: String,
    #[serde(deserialize_with = "whole")]
    pub(super) interval_ms: u64,
    pub(super) segment_bytes: Size,
    pub(super) cache_bytes: Size,
    pub(super) keep_bytes: Size,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Snapshot {
    pub(super) every_bytes: Size,
    #[serde(deserialize_with = "whole")]
    pub(super) every_entries: u64,
    #[serde(deserialize_with = "whole")]
    pub(super) every_s: u64,
    pub(super) side_buffer_bytes: Size,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raft {
    #[serde(deserialize_with = "whole")]
    pub(super) heartbeat_ms: u64,
    #[serde(deserialize_with = "whole")]
    pub(super) election_min_ms: u64,
    #[serde(deserialize_with = "whole")]
    pub(super) election_max_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct History {
    #[serde(deserialize_with = "whole")]
    pub(super) sample_s: u64,
    #[serde(deserialize_with = "whole")]
    pub(super) slow_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lifecycle {
    #[serde(deserialize_with = "whole")]
    pub(super) wait_s: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shutdown {
    #[serde(deserialize_with = "whole")]
    pub(super) drain_ms: u64,
    #[serde(deserialize_with = "whole")]
    pub(super) deadline_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) level: String,
    pub(super) format: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    #[serde(deserialize_with = "switch")]
    pub(super) allow_anonymous: bool,
}
