//! What a client wants changed.

use std::fmt;

use bytes::Bytes;

use super::limits::{MAX_TRANSACTION_BYTES, MAX_TRANSACTION_COMMANDS};
use super::{Key, Level, Settings, SettingsChange, Timestamp, Ttl, Version};

/// What becomes of the deadline of a key that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The key has no deadline afterwards.
    Never,
    /// The key keeps the deadline that it has, if any.
    Keep,
    /// A time to live from the entry's position in cluster time.
    After(Ttl),
    /// A deadline. One that is not after the present removes the key at once (reason: expired).
    At(Timestamp),
}

/// What must hold of a key for a command to be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// The key is absent.
    Absent,
    /// The key is present.
    Present,
    /// The key has this version; [`Version::ABSENT`] asks for absence.
    Version(Version),
}

/// One change. Golden files in `tests/golden/` hold the encoding of each.
///
/// `Debug` prints the lengths of keys and values only: they never reach logs.
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
    /// Writes a value. `Outcome::Written` or `Unmet`, `ValueTooLarge`, `OutOfMemory`.
    Set {
        /// The key.
        key: Key,
        /// Its new value.
        value: Bytes,
        /// Its new deadline.
        expiry: Expiry,
        /// What must hold before.
        condition: Condition,
    },
    /// Removes a key. `Outcome::Deleted`, `Absent` or `Unmet`.
    Delete {
        /// The key.
        key: Key,
        /// What must hold before.
        condition: Condition,
    },
    /// Sets the deadline of a key that is present. `Outcome::Written` or `Absent`, `Unmet`.
    Expire {
        /// The key.
        key: Key,
        /// Its new deadline. `Never` takes it away, `Keep` changes nothing but recency and version.
        expiry: Expiry,
        /// What must hold before.
        condition: Condition,
    },
    /// Adds to a decimal integer; an absent key counts as 0; the deadline stays.
    /// `Outcome::Number`, `NotAnInteger`, `Overflow`, `OutOfMemory`.
    Add {
        /// The key.
        key: Key,
        /// What to add.
        by: i64,
    },
    /// Removes every key. `Outcome::Cleared`.
    Clear,
    /// Changes replicated settings. `Outcome::Configured`.
    Configure(SettingsChange),
    /// Seeds a new cluster; the first one in a log counts, later ones change nothing. `Outcome::Configured`.
    Initialize {
        /// Key of the index's hash, drawn at random by the creator.
        hash_seed: u128,
        /// The settings to begin with.
        settings: Settings,
    },
    /// Raises the level; one that is not above the present changes nothing. `Outcome::Configured`.
    Raise(Level),
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Set { key, value, expiry, condition } => {
                write!(f, "Set({key:?}, {} bytes, {expiry:?}, {condition:?})", value.len())
            }
            Command::Delete { key, condition } => write!(f, "Delete({key:?}, {condition:?})"),
            Command::Expire { key, expiry, condition } => {
                write!(f, "Expire({key:?}, {expiry:?}, {condition:?})")
            }
            Command::Add { key, by } => write!(f, "Add({key:?}, {by})"),
            Command::Clear => f.write_str("Clear"),
            Command::Configure(change) => write!(f, "Configure({change:?})"),
            Command::Initialize { settings, .. } => write!(f, "Initialize({settings:?})"),
            Command::Raise(level) => write!(f, "Raise({level})"),
        }
    }
}

impl Command {
    /// The key that this command may write, if it is about one key.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Command::Set { key, .. }
            | Command::Delete { key, .. }
            | Command::Expire { key, .. }
            | Command::Add { key, .. } => Some(key),
            Command::Clear | Command::Configure(_) | Command::Initialize { .. } | Command::Raise(_) => None,
        }
    }

    /// Bytes of keys and values, for the limits on transactions and queues.
    pub fn size(&self) -> usize {
        let value = match self {
            Command::Set { value, .. } => value.len(),
            _ => 0,
        };
        self.key().map_or(0, |key| key.as_bytes().len()) + value
    }
}

/// How the commands of a transaction stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Independent: each is judged by itself, and the transaction may be split anywhere.
    Each,
    /// Isolated without rollback: if the checks hold, every command is carried out, nothing else between them;
    /// a command that fails leaves the others standing.
    Multi,
    /// All or nothing: published only if every check and command succeeds. To delete or expire an absent key
    /// is success.
    All,
}

/// On whose behalf a transaction runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Principal {
    /// Nobody in particular: the store has no accounts, or the node itself asks.
    #[default]
    Anonymous,
}

/// What must hold of a key for its transaction to be carried out (WATCH, `check`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The key.
    pub key: Key,
    /// What must hold.
    pub condition: Condition,
}

/// Commands that travel together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// How the commands stand to each other.
    pub mode: Mode,
    /// On whose behalf.
    pub principal: Principal,
    /// What must hold before, for `Multi` and `All`; empty for `Each`.
    pub checks: Vec<Check>,
    /// What to do, in order.
    pub commands: Vec<Command>,
}

/// A transaction over [`MAX_TRANSACTION_COMMANDS`] or [`MAX_TRANSACTION_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a transaction has at most {MAX_TRANSACTION_COMMANDS} commands and {MAX_TRANSACTION_BYTES} bytes")]
pub struct TransactionTooLarge;

impl Transaction {
    /// One command by itself.
    pub fn single(command: Command) -> Transaction {
        Transaction {
            mode: Mode::Each,
            principal: Principal::Anonymous,
            checks: Vec::new(),
            commands: vec![command],
        }
    }

    /// Bytes of keys and values in checks and commands.
    pub fn size(&self) -> usize {
        let checks: usize = self.checks.iter().map(|check| check.key.as_bytes().len()).sum();
        checks + self.commands.iter().map(Command::size).sum::<usize>()
    }

    /// Whether the transaction is within the limits.
    pub fn validate(&self) -> Result<(), TransactionTooLarge> {
        let count = self.commands.len() + self.checks.len();
        if count > MAX_TRANSACTION_COMMANDS || self.size() > MAX_TRANSACTION_BYTES {
            return Err(TransactionTooLarge);
        }
        Ok(())
    }
}
