//! What is replicated beside the entries.

use super::hash::{StateHash, words};
use crate::model::{Level, Settings, Timestamp};

/// Everything replicated that is not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Globals {
    /// Cluster time of the last entry.
    pub now: Timestamp,
    /// The last revision given.
    pub revision: u64,
    /// The last recency given.
    pub recency: u64,
    /// The level that governs apply.
    pub level: Level,
    /// Key of the index's hash.
    pub hash_seed: u128,
    /// Whether an `Initialize` was applied.
    pub initialized: bool,
    /// The settings.
    pub settings: Settings,
    /// Keys evicted since the cluster was created.
    pub evictions: u64,
    /// Keys expired since the cluster was created.
    pub expirations: u64,
    /// Entries, those expired but not yet removed included.
    pub keys: u64,
    /// Accounted bytes. With `keys` and the settings it gives the effective limits.
    pub bytes: u64,
    /// Hash of the state at this point.
    pub state_hash: StateHash,
}

impl Globals {
    /// Hash of all this but the state hash.
    pub(super) fn hash(&self) -> u64 {
        let settings = self.settings;
        words([
            self.now.0,
            self.revision,
            self.recency,
            u64::from(self.level.0),
            self.hash_seed as u64,
            (self.hash_seed >> 64) as u64,
            u64::from(self.initialized),
            settings.max_bytes,
            settings.max_keys,
            settings.eviction as u64,
            settings.max_value_bytes,
            self.evictions,
            self.expirations,
            self.keys,
            self.bytes,
            settings.voters,
        ])
    }
}
