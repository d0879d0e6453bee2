//! What front-ends ask for, and what they get.

use bytes::Bytes;

use crate::model::{Condition, Expiry, Key, Timestamp, Version};
use crate::raft::Consistency;

/// Reads a value.
#[derive(Debug)]
pub struct Get {
    /// The key.
    pub key: Key,
    /// How fresh the answer must be.
    pub consistency: Consistency,
}

/// Asks for a key's deadline.
#[derive(Debug)]
pub struct Describe {
    /// The key.
    pub key: Key,
    /// How fresh the answer must be.
    pub consistency: Consistency,
}

/// Writes a value.
#[derive(Debug)]
pub struct Put {
    /// The key.
    pub key: Key,
    /// Its new value.
    pub value: Bytes,
    /// Its new deadline.
    pub expiry: Expiry,
    /// What must hold before.
    pub condition: Condition,
}

/// Removes a key.
#[derive(Debug)]
pub struct Delete {
    /// The key.
    pub key: Key,
    /// What must hold before.
    pub condition: Condition,
}

/// A value that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Bytes,
    /// Its version.
    pub version: Version,
    /// Milliseconds it has left, if it has a deadline.
    pub ttl_ms: Option<u64>,
}

/// What a key has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Countdown {
    /// Milliseconds left, if it has a deadline.
    pub ttl_ms: Option<u64>,
    /// The deadline in cluster time, if it has one.
    pub expires_at: Option<Timestamp>,
    /// Its version.
    pub version: Version,
}

/// A value was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The key's version now.
    pub version: Version,
    /// Whether it was absent before.
    pub created: bool,
}

/// The names of the consistency modes in every protocol and in the configuration.
#[derive(Debug)]
pub struct Consistencies;

impl Consistencies {
    /// Every mode with its name, the strongest first.
    pub const ALL: [(&'static str, Consistency); 3] = [
        ("linearizable", Consistency::Linearizable),
        ("lease", Consistency::Lease),
        ("stale", Consistency::Stale),
    ];

    /// The mode of this name.
    pub fn named(name: &str) -> Option<Consistency> {
        Consistencies::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, mode)| mode)
    }
}
