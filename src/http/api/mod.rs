//! The operations, as poem-openapi routes and documents them, in groups.

mod assembly;
mod backups;
mod cluster;
mod deadlines;
mod front;
mod keys;
mod many;
mod node;
mod probes;

pub(super) use assembly::{Api, api};
pub(super) use keys::read;
