//! What a cluster of real nodes must hold, by subject.

mod authority;
mod failover;
mod formation;
mod full_disk;
mod harness;
mod identity;
mod installation;
mod levels;
mod load;
mod membership;
mod network;
mod partitions;
mod recovery;
mod restore;
mod settings;
mod shim;
mod slow_disk;
mod tls;
mod traffic;
