//! `bench`: a load generator that speaks HTTP.
//!
//! ```text
//!   schedule --ticket--> worker --request--> http --bytes--> link ==> server
//!                          |   <--answer--- answer <-bytes--
//!                          +--ending, latency--> tally --> report
//! ```
//!
//! A run has up to three phases: filling (each key written once), warm-up (not counted) and the run itself. Request
//! `n` is the same in each run with the same seed, whichever connection sends it: see `workload`. Latencies with a
//! rate are measured from when a request was due: see `schedule`. All that knows HTTP is `http` and `answer`.
//!
//! Deliberately not here: pipelining (HTTP/1.1 servers and proxies differ in it), TLS, retries.

mod answer;
mod http;
mod link;
mod mix;
mod plan;
mod progress;
mod random;
mod report;
mod run;
mod schedule;
mod tally;
mod units;
mod worker;
mod workload;
mod zipf;

pub(super) use mix::Mix;
pub(super) use run::run;
pub(super) use units::{Lengths, Time};
