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

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::{DecodeError, decode};
pub use encode::encode;

/// First byte of every entry.
const FORMAT: u8 = 1;

const OP_SET: u8 = 1;
const OP_DELETE: u8 = 2;
const OP_EXPIRE: u8 = 3;
const OP_ADD: u8 = 4;
const OP_CLEAR: u8 = 5;
const OP_CONFIGURE: u8 = 6;
const OP_INITIALIZE: u8 = 7;

const MODE_EACH: u8 = 0;
const MODE_MULTI: u8 = 1;
const MODE_ALL: u8 = 2;

const EXPIRY_NEVER: u8 = 0;
const EXPIRY_KEEP: u8 = 1;
const EXPIRY_AFTER: u8 = 2;
const EXPIRY_AT: u8 = 3;

const CONDITION_ALWAYS: u8 = 0;
const CONDITION_ABSENT: u8 = 1;
const CONDITION_PRESENT: u8 = 2;
const CONDITION_VERSION: u8 = 3;
