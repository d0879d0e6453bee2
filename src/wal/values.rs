//! The plain values that the log keeps: positions, votes, entries, and what is known of a group.
//!
//! Laws of a [`GroupState`], obeyed by the handles, the writer and recovery alike because all three use the
//! methods here: an entry follows the last one without a gap (the first of an empty log may have any index),
//! `purged` never falls, and `last` is never below `purged`.

use bytes::Bytes;

/// Whose log this is. Every segment's head carries it, and a log of another identity is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: u128,
    /// The node's id in the cluster.
    pub node: u64,
    /// Random, drawn once for this data directory.
    pub incarnation: u128,
}

/// The position of an entry: who proposed it, in which term, at which index. Ordered by term, leader, index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// The term of the leader that proposed the entry.
    pub term: u64,
    /// That leader.
    pub leader: u64,
    /// The index in the group's log.
    pub index: u64,
}

/// A vote: for whom, in which term, and whether a quorum granted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vote {
    /// The term.
    pub term: u64,
    /// The candidate or leader voted for.
    pub node: u64,
    /// Whether that node is known to be the leader.
    pub committed: bool,
}

/// An entry: its position and its bytes, which the log does not look into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub id: LogId,
    /// What it says; at most [`Entry::PAYLOAD_BYTES_MAX`] bytes.
    pub payload: Bytes,
}

impl Entry {
    /// The longest payload that is accepted. The largest transaction is 16 MiB before encoding.
    pub const PAYLOAD_BYTES_MAX: usize = 32 << 20;
}

/// What is known of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupState {
    /// The vote saved last.
    pub vote: Option<Vote>,
    /// The last entry; the purged one if none follows it.
    pub last: Option<LogId>,
    /// The commit position saved last.
    pub committed: Option<LogId>,
    /// Up to where entries were purged.
    pub purged: Option<LogId>,
}

impl GroupState {
    /// Whether an entry with this position may come next.
    pub(super) fn admits(&self, id: LogId) -> bool {
        self.last.is_none_or(|last| last.index.checked_add(1) == Some(id.index))
    }

    /// The index of the purged position, if there is one.
    pub(super) fn purged_index(&self) -> Option<u64> {
        self.purged.map(|id| id.index)
    }

    /// Whether a truncation to this position leaves at least what was purged.
    pub(super) fn admits_truncation(&self, to: Option<LogId>) -> bool {
        self.purged_index() <= to.map(|id| id.index)
    }

    /// Moves `purged` (never back), and `last` with it if it was below.
    pub(super) fn purge(&mut self, upto: LogId) {
        if self.purged_index() < Some(upto.index) {
            self.purged = Some(upto);
        }
        if self.last.is_none_or(|last| last.index < upto.index) {
            self.last = Some(upto);
        }
    }
}
