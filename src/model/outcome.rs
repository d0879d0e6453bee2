//! What came of a command.

use super::{Timestamp, Version};

/// What came of one command. A failed condition is an outcome, never an error: apply cannot fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The key was written, or its deadline was set.
    Written {
        /// Its version now.
        version: Version,
        /// Whether it was absent before.
        created: bool,
        /// Its deadline now.
        deadline: Option<Timestamp>,
    },
    /// The key was removed.
    Deleted,
    /// Nothing done: the key is absent.
    Absent,
    /// The sum.
    Number {
        /// The key's value now.
        value: i64,
        /// Its version now.
        version: Version,
    },
    /// Every key was removed.
    Cleared {
        /// How many there were.
        keys: u64,
    },
    /// Settings are as asked.
    Configured,
    /// Nothing done: the condition does not hold.
    Unmet {
        /// The key's version now; [`Version::ABSENT`] if absent.
        version: Version,
    },
    /// Nothing done: the value is no decimal integer of 64 bits.
    NotAnInteger,
    /// Nothing done: the sum does not fit 64 bits.
    Overflow,
    /// Nothing done: the value is longer than the setting `max_value_bytes`.
    ValueTooLarge,
    /// Nothing done: no room could be made.
    OutOfMemory,
    /// Nothing done: a check of the transaction, or (mode `All`) another command of it failed.
    Aborted,
}

impl Outcome {
    /// Whether a transaction of mode `All` goes on after this.
    pub fn is_success(&self) -> bool {
        match self {
            Outcome::Written { .. }
            | Outcome::Deleted
            | Outcome::Absent
            | Outcome::Number { .. }
            | Outcome::Cleared { .. }
            | Outcome::Configured => true,
            Outcome::Unmet { .. }
            | Outcome::NotAnInteger
            | Outcome::Overflow
            | Outcome::ValueTooLarge
            | Outcome::OutOfMemory
            | Outcome::Aborted => false,
        }
    }
}

/// A check of a transaction that did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedCheck {
    /// Its number among the checks.
    pub at: usize,
    /// The version of its key; [`Version::ABSENT`] if absent.
    pub version: Version,
}

/// Why a key is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A client deleted it.
    Deleted,
    /// Its deadline passed.
    Expired,
    /// It made room for others.
    Evicted,
    /// A client cleared the store.
    Cleared,
}

impl Reason {
    /// The name in API and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Deleted => "deleted",
            Reason::Expired => "expired",
            Reason::Evicted => "evicted",
            Reason::Cleared => "cleared",
        }
    }
}
