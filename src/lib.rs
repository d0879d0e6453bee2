//! Kvorum: a replicated in-memory key-value store.

pub mod clock;
pub mod disk;
pub mod model;
pub mod raft;
pub mod store;
pub mod wal;
