//! Goal: a cluster that is broken is as calm as a whole one. In each state that can last for an hour, idle and loaded, its
//! nodes use hardly more processor time and write hardly any log, writes go on where there is a quorum, `/readyz` and
//! `/v1/cluster` say how it is, and what was away has everything soon after it is back.
//!
//! `cargo test --release --test calm -- --nocapture` prints the figures as a table. `KVORUM_BIN` names another program to be
//! measured.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes and clocks")]
#![allow(clippy::print_stdout, reason = "the table is for people")]

mod calm_suite;

/// What the tests of clusters have for starting nodes, and for standing between them and the system.
#[allow(dead_code, reason = "these tests use a part of it")]
mod cluster_suite {
    pub(crate) mod authority;
    pub(crate) mod harness;
    pub(crate) mod shim;
}

mod node;
