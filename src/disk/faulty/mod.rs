//! A disk in memory that forgets, for tests: what is left after the power went, at any operation.
//!
//! Every file has two contents: what its readers see (the page cache) and what is durable, plus the list of
//! writes in between. Names likewise. A sync moves the writes over. [`Faulty::cut_off_at`] stops the disk at
//! one operation; [`Faulty::after_power_cut`] then draws, from a seed, what the machine finds when it comes
//! back:
//!
//! ```text
//!   live     ###########bbbbbbbbbbbbbcccc     writes b and c are not synced
//!   durable  ###########
//!   image    ###########bbbb....bbbbcc..     each 512-byte sector: after none, some or all of the writes
//! ```
//!
//! * Each sector of what was not synced is kept or lost on its own, in any order; a sector written several
//!   times may hold any of the versions between.
//! * Each name change (create, rename, remove) that no [`crate::disk::Disk::sync_dir`] followed is kept or
//!   lost on its own.
//! * A sync that failed loses its writes from sight for good: a later sync reports success and does not save
//!   them.
//! * [`Faulty::after_kill`] is the softer end: the process dies, the page cache stays, unsynced writes stay
//!   unsynced.
//!
//! It does not model wear, latency or bit rot; tests change bytes with [`Faulty::put`].

mod double;
mod inode;
mod state;

pub use double::Faulty;
pub use state::{Fault, Operation};
