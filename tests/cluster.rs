//! Clusters of real nodes on loopback: formation, identity, membership, failover, settings, levels.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes and clocks")]
#![allow(clippy::print_stderr, reason = "a test that cannot run here says so")]

mod cluster_suite;
mod node;
