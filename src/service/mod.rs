//! Every operation once, for all front-ends.
//!
//! A front-end translates its protocol into a request of this floor and the result back, nothing else. Here a request
//! gets its deadline, its principal, its counters and, if it fails, an [`Error`] whose [`Code`] is the same in
//! problem documents, RESP, metrics and documentation.
//!
//! ```text
//! http, resp  --(&Principal, Get | Put | ..)-->  Kv  --Transaction, Query-->  raft::Node
//!             <--Entry, Written, Error---------      <--Outcome, Answer-----
//! ```
//!
//! Invariants: an error of a write says whether the write may have happened ([`Error::applied`]); everything but
//! [`Error::UnknownOutcome`] and [`Error::Internal`] certainly did not. No text of an error holds a key, a value or
//! anything of the inside.
//!
//! It deliberately keeps no state but counters: limits that replicas must agree on are judged by the store, a
//! front-end may only refuse earlier.

mod backup;
mod batch;
mod cluster;
mod counters;
mod error;
mod kv;
mod past;
mod request;
mod stats;

pub use backup::Backup;
pub use batch::{Step, StepDone};
pub use cluster::{ClusterView, MAX_VOTERS};
pub use counters::Operations;
pub use error::{Applied, Code, Error};
pub use kv::{Config, Kv};
pub use past::{MAX_POINTS, Past, Point, Series};
pub use request::{
    Consistencies, Countdown, Delete, Describe, Entry, Expire, Get, Incr, Page, Precondition, Put, Scan, Sum,
    Written, remaining,
};
pub use stats::{Log, Stats};

pub use crate::history::{FIGURES, Kind, Slow};
pub use crate::raft::{Cluster, Compaction, Consistency, Gone, MemberStatus, Status, StoreStatus, Taken};
