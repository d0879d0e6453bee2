//! Limits, and by how much something exceeds them.

use super::keyspace::Totals;
use super::level::MAX_KEYS;
use crate::model::Settings;

/// Limits on the store as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most accounted bytes.
    pub max_bytes: u64,
    /// Most keys.
    pub max_keys: u64,
}

impl Limits {
    /// What the settings ask for. Slots have an end, so there is always a limit on keys.
    pub(super) fn targets(settings: &Settings) -> Limits {
        let or = |limit, without| if limit == 0 { without } else { limit };
        Limits {
            max_bytes: or(settings.max_bytes, u64::MAX),
            max_keys: or(settings.max_keys, MAX_KEYS).min(MAX_KEYS),
        }
    }
}

/// Bytes and keys that must go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) bytes: u64,
    pub(super) keys: u64,
}

impl Need {
    /// By how much `totals` exceed `limits`.
    pub(super) fn over(totals: Totals, limits: Limits) -> Need {
        Need {
            bytes: totals.bytes.saturating_sub(limits.max_bytes),
            keys: totals.keys.saturating_sub(limits.max_keys),
        }
    }

    pub(super) fn is_some(self) -> bool {
        self.bytes > 0 || self.keys > 0
    }

    pub(super) fn less(self, freed: u64) -> Need {
        Need { bytes: self.bytes.saturating_sub(freed), keys: self.keys.saturating_sub(1) }
    }
}
