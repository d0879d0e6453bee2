//! Configuration: the sum of every layer's settings, from defaults, a TOML file, the environment and flags.
//!
//! ```text
//! defaults (keys.rs) < file < KVORUM_<SECTION>__<KEY> < flags  --> Raw (serde) --> Config (each layer's own type)
//! ```
//!
//! Invariants: a key that does not exist is an error that names the nearest one and where it stood; every default
//! stands in [`KEYS`] and nowhere else, and equals the layer's own (a test compares them); nothing below this floor
//! knows serde, files or variables.
//!
//! Variables that begin with `KVORUM_` but have no double underscore are not settings: Kubernetes injects
//! `KVORUM_PORT=tcp://..` for a Service of that name.

mod error;
mod keys;
mod load;
mod memory;
mod origin;
mod raw;
mod settings;
mod size;
mod strict;

pub use error::Error;
pub use keys::{KEYS, Key};
pub use load::{Loaded, Setting, Sources, load};
pub use memory::limit_bytes as memory_limit_bytes;
pub use origin::Origin;
pub use settings::Config;
pub use size::Size;
