//! HTTP: translates requests into calls of [`service::Kv`](crate::service::Kv) and the results back, nothing else.
//!
//! ```text
//! socket - connection - hyper - face -------+- plain GET of a key ------------+- service::Kv
//!          (watch: time limits)             +- api (poem-openapi: routes,     |
//!                                           |  parameters, document) ---------+
//!                                           +- any error -> problem+json
//! ```
//!
//! Invariants: every answer that is not a success is `application/problem+json` with a stable `code`, also for
//! unknown paths and methods; an error of a write says whether it may have been applied; a body is never held in
//! memory beyond the limits, and a write begins only when its body has arrived whole.
//!
//! What one plain `GET` of a key allocates here: the key, the header map of the answer (two), ETag and version (one
//! each), the box of the body. Errors that hyper finds before a request exists (a malformed head, one that is too
//! large) and clients that are too slow are answered in `connection`.
//!
//! It deliberately knows nothing of raft, the log or the store.

mod accept;
mod admission;
mod answers;
mod api;
mod backups;
mod batch;
mod body;
mod cluster;
mod coding;
mod connection;
mod deadline;
mod distinct;
mod docs;
mod document;
mod examples;
mod face;
mod gate;
mod history;
mod hosts;
mod intake;
mod links;
mod local;
mod operations;
mod ops;
mod outgoing;
mod pages;
mod params;
mod payload;
mod percent;
mod preconditions;
mod probe;
mod refusal;
mod results;
mod routes;
mod schemas;
mod server;
mod socket;
mod stats;
mod versions;
mod watch;

#[cfg(test)]
mod tests;

pub use distinct::json;
pub use document::document;
pub use gate::Gate;
pub use hosts::Hosts;
pub use local::Local;
pub use probe::{Document, Head};
pub use server::{Config, Server};
