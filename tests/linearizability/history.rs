//! What clients did to keys and what they were told: the record that the checker judges.
//!
//! Times come from one monotonic clock (or, in invented histories, are plain numbers): an operation took effect after
//! it was invoked and before it returned. One that returned before another was invoked came before it; all others are
//! concurrent. An operation with an unknown outcome has no return: it may take effect at any later time, or never.

use std::collections::BTreeMap;
use std::fmt;

/// What must hold of the key for a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Condition {
    /// Nothing.
    Always,
    /// `If-None-Match: *`.
    Absent,
    /// `If-Match: *`.
    Present,
    /// `If-Match: "<version>"`; 0 is the version of an absent key.
    Version(u64),
}

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    /// Read the value.
    Get,
    /// Write a value, if the condition holds.
    Set(String, Condition),
    /// Remove the key, if the condition holds.
    Delete(Condition),
    /// Add to the number that the value spells; an absent key counts as 0.
    Incr(i64),
}

/// What a client was told. A version is `None` where the history does not have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A read found this.
    Found { value: String, version: Option<u64> },
    /// There is no such key.
    Absent,
    /// The value is written.
    Written { version: Option<u64>, created: bool },
    /// The key is removed.
    Deleted,
    /// The condition does not hold: the key has this version, 0 if it is absent.
    Unmet { version: Option<u64> },
    /// The sum.
    Sum { value: i64, version: Option<u64> },
    /// The value is no number.
    NotAnInteger,
}

/// How an operation ended for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With an answer.
    Done(Answer),
    /// It was refused, and certainly did not and will not take effect.
    NotApplied,
    /// Nobody knows.
    Unknown,
}

/// One operation.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// Who asked. A client does one thing at a time.
    pub(crate) client: usize,
    /// Where, for the reader of a report.
    pub(crate) node: usize,
    /// Of which key.
    pub(crate) key: String,
    /// What.
    pub(crate) operation: Operation,
    /// What came of it.
    pub(crate) outcome: Outcome,
    /// When the client began to ask.
    pub(crate) invoked: u64,
    /// When the client had the outcome, or gave up.
    pub(crate) returned: u64,
}

/// What all clients did, in no order.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// The operations.
    pub(crate) records: Vec<Record>,
}

impl History {
    /// The operations by key.
    pub(crate) fn by_key(&self) -> BTreeMap<&str, Vec<&Record>> {
        let mut keys: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
        for record in &self.records {
            keys.entry(&record.key).or_default().push(record);
        }
        keys
    }
}

impl Answer {
    /// The version that the key had when it was looked at or got when it was written; `None` if it is not known or there
    /// is none.
    pub(crate) fn version(&self) -> Option<u64> {
        match self {
            Answer::Found { version, .. } | Answer::Written { version, .. } | Answer::Sum { version, .. } => {
                *version
            }
            Answer::Unmet { version } => version.filter(|version| *version > 0),
            Answer::Absent | Answer::Deleted | Answer::NotAnInteger => None,
        }
    }

    /// Whether the operation changed the key.
    pub(crate) fn is_change(&self) -> bool {
        matches!(self, Answer::Written { .. } | Answer::Sum { .. } | Answer::Deleted)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::Always => Ok(()),
            Condition::Absent => f.write_str(" if absent"),
            Condition::Present => f.write_str(" if present"),
            Condition::Version(version) => write!(f, " if version {version}"),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Get => f.write_str("get"),
            Operation::Set(value, condition) => write!(f, "set {value}{condition}"),
            Operation::Delete(condition) => write!(f, "delete{condition}"),
            Operation::Incr(by) => write!(f, "incr {by}"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = |version: &Option<u64>| version.map_or(String::new(), |v| format!(" (version {v})"));
        match self {
            Outcome::NotApplied => f.write_str("not applied"),
            Outcome::Unknown => f.write_str("unknown"),
            Outcome::Done(Answer::Found { value, version: v }) => write!(f, "{value}{}", version(v)),
            Outcome::Done(Answer::Absent) => f.write_str("absent"),
            Outcome::Done(Answer::Written { version: v, created: true }) => {
                write!(f, "created{}", version(v))
            }
            Outcome::Done(Answer::Written { version: v, created: false }) => {
                write!(f, "replaced{}", version(v))
            }
            Outcome::Done(Answer::Deleted) => f.write_str("deleted"),
            Outcome::Done(Answer::Unmet { version: v }) => write!(f, "condition unmet{}", version(v)),
            Outcome::Done(Answer::Sum { value, version: v }) => write!(f, "= {value}{}", version(v)),
            Outcome::Done(Answer::NotAnInteger) => f.write_str("not an integer"),
        }
    }
}

/// Times in milliseconds, as those of real histories are nanoseconds.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: u64| format!("{}.{:06}", time / 1_000_000, time % 1_000_000);
        let Record { client, node, operation, outcome, invoked, returned, .. } = self;
        let until = ms(*returned);
        write!(f, "{:>14} - {until:<14} client {client:>2} node {node}  ", ms(*invoked))?;
        write!(f, "{operation} -> {outcome}")
    }
}
