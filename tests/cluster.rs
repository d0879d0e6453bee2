//! Clusters of real nodes on loopback: formation, identity, membership, failover, settings, levels.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes and clocks")]

mod cluster_suite;
mod node;
