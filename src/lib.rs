//! Kvorum: a replicated in-memory key-value store.
//!
//! > A Redis-compatible, OpenAPI-documented cache and store whose keys, TTLs, evictions and locks stay true through
//! > failover, and which can tell you why a key is gone.
//!
//! Floors; a module imports only from floors below it. `tests/architecture` holds the table.
//!
//! ```text
//! cli         arguments; serve, client commands, tools
//! app         the only place that wires things together, and the order of shutting down
//! config      the sum of every floor's settings
//! http        protocol front-end: translates, nothing else
//! service     every operation once: limits, deadlines, stable errors
//! raft        log store, state machine, snapshots, batcher, cluster time
//! store       the deterministic core                wal        append-only segmented log
//! clock       time      model  plain values         disk       files
//! telemetry   logs      shutdown  one token, named tasks
//! ```

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod disk;
pub mod history;
pub mod http;
pub mod model;
pub mod raft;
pub mod service;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod wal;
