//! Backups and what is restored from them, in process: on disks that fail and with clocks that are set by hand.

mod contents;
mod crash;
mod damage;
mod lifetimes;
mod live;
mod lost_quorum;
mod restored;
mod seeds;
mod support;
