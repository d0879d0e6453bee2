//! Settings that the cluster agrees on: they live in the store and change through the log.

use std::fmt;
use std::str::FromStr;

use super::limits::DEFAULT_MAX_VALUE_BYTES;

/// Which entry makes room when the store is full.
#[expect(clippy::enum_variant_names, reason = "NoEviction is the name that users of Redis know")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Eviction {
    /// The least recently used of all entries.
    #[default]
    Lru,
    /// The least recently used of the entries that have a deadline.
    VolatileLru,
    /// The entry whose deadline comes first.
    VolatileTtl,
    /// None: a write that needs room is refused.
    NoEviction,
}

/// No eviction policy has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown eviction policy {0:?}: lru, volatile-lru, volatile-ttl or noeviction")]
pub struct UnknownEviction(pub String);

impl Eviction {
    /// Every policy, in the order of their codes in the log.
    pub const ALL: [Eviction; 4] =
        [Eviction::Lru, Eviction::VolatileLru, Eviction::VolatileTtl, Eviction::NoEviction];

    /// The name in configuration, API and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Eviction::Lru => "lru",
            Eviction::VolatileLru => "volatile-lru",
            Eviction::VolatileTtl => "volatile-ttl",
            Eviction::NoEviction => "noeviction",
        }
    }
}

impl fmt::Display for Eviction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Eviction {
    type Err = UnknownEviction;

    fn from_str(name: &str) -> Result<Eviction, UnknownEviction> {
        Eviction::ALL.into_iter().find(|e| e.name() == name).ok_or_else(|| UnknownEviction(name.to_owned()))
    }
}

/// The replicated settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Most accounted bytes; 0 means no limit.
    pub max_bytes: u64,
    /// Most keys; 0 means no limit.
    pub max_keys: u64,
    /// What makes room.
    pub eviction: Eviction,
    /// Longest value in bytes.
    pub max_value_bytes: u64,
    /// How many members are to vote; 0: all that may, the largest odd number of them. Since [`Level::VOTERS`].
    ///
    /// [`Level::VOTERS`]: super::Level::VOTERS
    pub voters: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_bytes: 0,
            max_keys: 0,
            eviction: Eviction::Lru,
            max_value_bytes: DEFAULT_MAX_VALUE_BYTES,
            voters: 0,
        }
    }
}

/// Some settings with new values; what is `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SettingsChange {
    /// See [`Settings::max_bytes`].
    pub max_bytes: Option<u64>,
    /// See [`Settings::max_keys`].
    pub max_keys: Option<u64>,
    /// See [`Settings::eviction`].
    pub eviction: Option<Eviction>,
    /// See [`Settings::max_value_bytes`].
    pub max_value_bytes: Option<u64>,
    /// See [`Settings::voters`].
    pub voters: Option<u64>,
}

impl SettingsChange {
    /// `settings` with this change made.
    pub fn applied_to(self, settings: Settings) -> Settings {
        Settings {
            max_bytes: self.max_bytes.unwrap_or(settings.max_bytes),
            max_keys: self.max_keys.unwrap_or(settings.max_keys),
            eviction: self.eviction.unwrap_or(settings.eviction),
            max_value_bytes: self.max_value_bytes.unwrap_or(settings.max_value_bytes),
            voters: self.voters.unwrap_or(settings.voters),
        }
    }
}

impl From<Settings> for SettingsChange {
    fn from(settings: Settings) -> SettingsChange {
        SettingsChange {
            max_bytes: Some(settings.max_bytes),
            max_keys: Some(settings.max_keys),
            eviction: Some(settings.eviction),
            max_value_bytes: Some(settings.max_value_bytes),
            voters: Some(settings.voters),
        }
    }
}
