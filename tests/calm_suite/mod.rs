//! States of a cluster that can last, by what brings them about.

mod addresses;
mod disks;
mod figures;
mod gone;
mod group;
mod load;
mod member;
mod quorum;
mod refused;
mod report;
mod small_disk;
mod truth;
mod whole;
