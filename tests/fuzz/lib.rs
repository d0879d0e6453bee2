//! What the targets check, one module a parser: `check` takes any bytes, says whether the parser took them, and panics if a
//! promise is broken.
//!
//! Not crashing is not enough to ask: each body also holds two readers of the same bytes against each other, or what was
//! read against what is written back.

pub mod config;
pub mod document;
pub mod entry;
pub mod http;
pub mod snapshot;
pub mod wal;
