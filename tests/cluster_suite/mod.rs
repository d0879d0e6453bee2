//! What a cluster of real nodes must hold, by subject.

mod failover;
mod formation;
mod harness;
mod identity;
mod levels;
mod load;
mod membership;
mod recovery;
mod restore;
mod settings;
mod tls;
mod traffic;
