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
//!              [6, max_bytes, max_keys, eviction, max_value_bytes]     nil = unchanged         Configure
//!              [7, seed high, seed low, max_bytes, max_keys, eviction, max_value_bytes]        Initialize
//! expiry       0 never, 1 keep, 2 after (ms), 3 at (unix ms)        value 0 where it has none
//! condition    0 always, 1 absent, 2 present, 3 version             value 0 where it has none
//! mode         0 each, 1 multi, 2 all        eviction  0 lru, 1 volatile-lru, 2 volatile-ttl, 3 noeviction
//! ```
//!
//! Invariants: encoding is a function of the value (integers in their shortest form), decoding never allocates
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
