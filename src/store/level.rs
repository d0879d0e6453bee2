//! Constants of level 1: what replicas must agree on besides state itself.
//!
//! A change of any of these is a new level; apply then picks by the level in state.

/// What an entry costs beyond its key and value, in bytes: an accounting constant near the real overhead
/// (record head, slot, index, list and deadline shares), not a measurement.
pub(super) const ENTRY_COST: u64 = 64;

/// Most expired entries that the opening of one log entry removes. It exceeds the packing target of the
/// batcher (512 commands), so that clean-up keeps pace with writers whose every key expires.
pub(super) const SWEEP_STEPS: usize = 1_024;

/// Most evictions that the opening of one log entry makes on the way to a lowered limit.
pub(super) const LIMIT_STEPS: usize = 1_024;

/// Most keys under any settings: slots stay below 2^27.
pub(super) const MAX_KEYS: u64 = 1 << 27;

/// What an entry counts toward `max_bytes`.
pub(super) fn cost(key: usize, value: usize) -> u64 {
    key as u64 + value as u64 + ENTRY_COST
}
