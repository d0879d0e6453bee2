//! History: what a node was like lately, in a database of its own below the data directory. The only user of sled.
//!
//! ```text
//! requests, sampler --(bounded channel; full: dropped and counted)--> keeper thread --> sled (data/history/)
//! questions ---------(the same channel, with a way back)------------^
//! ```
//!
//! Invariants: it is this node's own and never consensus data; nobody waits for it but those who ask it; whatever becomes
//! of its files, the node goes on. A database that cannot be used is set aside and begun anew. No key and no value is ever
//! written to it.
//!
//! It deliberately does not promise to survive a power cut: sled's flush does not reach the disk. What is lost then is
//! lost.

mod config;
mod database;
mod keeper;
mod sample;
mod slow;

pub use config::Config;
pub use keeper::{Ask, History};
pub use sample::{FIGURES, Figure, Kind, Sample};
pub use slow::Slow;
