//! Kvorum: a replicated in-memory key-value store.

pub mod model;
