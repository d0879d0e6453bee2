//! Encoding of log entries: one format byte, then MessagePack. Golden files in `tests/golden/entry/` hold it.
//!
//! ```text
//! entry        0x01, [level, at, touches, transactions]
//! touches      [slot, version, slot, version, ...]                  flat
//! transaction  [mode, principal, checks, commands]                  principal: nil = anonymous
//! check        [key, condition kind, condition value]
//! command      [1, key, value, expiry kind, expiry value, condition kind, condition value]     Set
//!              [2, key, condition kind, condition value]                                       Delete
//!              [3, key, expiry kind, expiry value, condition kind, condition value]            Expire
//!              [4, key, by]                                                                    Add
//!              [5]                                                                             Clear
//!              [6, settings]                                           nil = unchanged         Configure
//!              [7, seed high, seed low, settings]                                              Initialize
//!              [8, level]                                                                      Raise
//! settings     max_bytes, max_keys, eviction, max_value_bytes, and from level 2 on voters         (no list of their own)
//! expiry       0 never, 1 keep, 2 after (ms), 3 at (unix ms)        value 0 where it has none
//! condition    0 always, 1 absent, 2 present, 3 version             value 0 where it has none
//! mode         0 each, 1 multi, 2 all        eviction  0 lru, 1 volatile-lru, 2 volatile-ttl, 3 noeviction
//! ```
//!
//! Settings that the level of the entry does not have yet are left out. Invariants: encoding is a function of the value (integers in their shortest form), decoding never allocates
//! more than the input justifies, keys and values are shares of the input and not copies, and what decodes
//! encodes back to the same bytes. A format byte or a code that is not known here is
//! [`DecodeError::Unknown`]: the node is too old for its log and must stop, never skip.

mod codes;
mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::{DecodeError, decode};
pub use encode::encode;
