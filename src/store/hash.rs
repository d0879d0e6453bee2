//! The state hash: tells whether two replicas agree, in O(1) per change.
//!
//! Sums of hashes (mod 2^64) do not depend on the order of changes: adding an entry adds its hash, removing
//! it subtracts. xxh3 with fixed seeds; it is no defence against forgery, only against divergence.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

use crate::model::{Slot, Timestamp};

/// Hash of everything replicated. Equal at equal log indexes on all replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StateHash {
    /// Sum over entries of H(key, value, version, deadline).
    pub contents: u64,
    /// Sum over entries of H(slot, recency).
    pub order: u64,
    /// Hash of time, counters, settings and totals.
    pub globals: u64,
}

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}{:016x}", self.contents, self.order, self.globals)
    }
}

/// The key's part of [`content_hash`].
pub(super) fn key_hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// H(key, value, version, deadline).
pub(super) fn content_hash(key_hash: u64, value_hash: u64, version: u64, deadline: Option<Timestamp>) -> u64 {
    // Absent deadlines hash as 0, which no entry can have: it would be in the past always.
    words([key_hash, value_hash, version, deadline.map_or(0, |deadline| deadline.0)])
}

/// The value's part of [`content_hash`].
pub(super) fn value_hash(value: &[u8]) -> u64 {
    xxh3_64(value)
}

/// H(slot, recency).
pub(super) fn order_hash(slot: Slot, recency: u64) -> u64 {
    words([u64::from(slot.0), recency])
}

/// Hash of some numbers, at most 16.
pub(super) fn words<const N: usize>(words: [u64; N]) -> u64 {
    let mut bytes = [0; 128];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    xxh3_64(&bytes[..8 * N])
}
