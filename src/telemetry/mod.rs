//! What the process says of itself: structured logs on standard error.
//!
//! Invariants: no log line holds a key or a value (they have no way here: `Key` does not print its bytes); nothing is
//! logged per request at level info.

mod logs;

pub use logs::{Config, Format, set_level, start};
