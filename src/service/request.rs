//! What front-ends ask for, and what they get.

use bytes::Bytes;

use crate::model::{Condition, Expiry, Item, Key, Timestamp, Version};
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

/// What must hold before a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// This.
    Is(Condition),
    /// The key has one of these versions; [`Version::ABSENT`] is that of no key. Of none, it never holds.
    AnyOf(Vec<Version>),
}

impl Precondition {
    /// Whatever is so.
    pub const NONE: Precondition = Precondition::Is(Condition::Always);

    /// What to try first, and the versions that are left then.
    pub(super) fn split(self) -> (Condition, Vec<Version>) {
        match self {
            Precondition::Is(condition) => (condition, Vec::new()),
            Precondition::AnyOf(mut versions) => {
                let first = versions.pop().unwrap_or(NO_VERSION);
                (Condition::Version(first), versions)
            }
        }
    }
}

/// The version of no key and of no absent one either.
const NO_VERSION: Version = Version(u64::MAX);

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
    pub condition: Precondition,
}

/// Removes a key.
#[derive(Debug)]
pub struct Delete {
    /// The key.
    pub key: Key,
    /// What must hold before.
    pub condition: Precondition,
}

/// Adds to a number.
#[derive(Debug)]
pub struct Incr {
    /// The key. An absent one counts as 0.
    pub key: Key,
    /// What to add.
    pub by: i64,
    /// What must hold before.
    pub condition: Precondition,
}

/// Changes a deadline.
#[derive(Debug)]
pub struct Expire {
    /// The key.
    pub key: Key,
    /// Its new deadline; [`Expiry::Never`] takes it away.
    pub expiry: Expiry,
    /// What must hold before.
    pub condition: Precondition,
}

/// Reads a page of keys.
#[derive(Debug)]
pub struct Scan {
    /// Only keys that begin with this.
    pub prefix: Bytes,
    /// Where the page before ended; 0 to begin.
    pub cursor: u64,
    /// Most items, at most [`MAX_SCAN_ITEMS`](crate::model::limits::MAX_SCAN_ITEMS).
    pub limit: usize,
    /// Whether the items have their values.
    pub values: bool,
    /// How fresh the answer must be.
    pub consistency: Consistency,
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

/// A number was added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    /// The key's value now.
    pub value: i64,
    /// Its version now.
    pub version: Version,
}

/// A page of keys. It may be empty though the scan is not at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// What was found.
    pub items: Vec<Item>,
    /// Where to go on; `None` at the end.
    pub cursor: Option<u64>,
    /// Cluster time that remaining times to live are counted from.
    pub now: Timestamp,
}

/// Milliseconds that are left at `now`.
pub fn remaining(deadline: Option<Timestamp>, now: Timestamp) -> Option<u64> {
    deadline.map(|deadline| deadline.millis_since(now))
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
