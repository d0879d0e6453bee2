//! The deterministic core: what a key-value store is, without disk, clock, network, locks or randomness.
//!
//! ```text
//! entry ── open_entry(at, touches) ── transact(transaction, reads) ... ──> Effects {outcomes, answers, removals}
//! query ── read(now, query) ──> Answer                                      (changes nothing)
//! cut   ── begin_cut ── walk, drain_side ... ── end_cut ──> Globals + records ──> Loader ──> equal store
//! ```
//!
//! ```text
//!            key                                   slots: 0 1 2 3 ..
//!             │ SipHash-1-3                                 │ address
//!   index  [12 addresses + tags] ──address──> record in a cell of a page <── list links, deadlines (by slot)
//! ```
//!
//! # Invariants
//! 1. Equal entries in equal order make equal stores. Nothing here depends on addresses, iteration order of maps
//!    or time.
//! 2. An entry is in exactly one slot, in the index, in one of the two lists, and in the order of deadlines if and
//!    only if it has one (but for those that a running search for victims has set aside). `keyspace` alone changes
//!    these.
//! 3. Versions, recencies and slots of entries are unique. Revision and recency never fall.
//! 4. Accounted bytes and keys never exceed the effective limits when a transaction ends (asserted).
//! 5. An entry whose deadline is at or before `now` is absent to every command and read.
//! 6. No call does more than a constant amount of work beyond its own commands, touches and the evictions that its
//!    own bytes need.
//!
//! # What it does not do
//! It does not encode anything, does not know log indexes beyond the position that it puts on removals, and cannot
//! fail: a condition that does not hold is an `Outcome`.

mod cells;
mod cut;
mod deadlines;
mod decide;
mod draft;
mod effects;
mod globals;
mod guard;
mod hash;
mod index;
mod judge;
mod keyset;
mod keyspace;
mod level;
mod limits;
mod loader;
mod order;
mod paged;
mod read;
mod record;
mod room;
mod slots;
mod state;
mod tally;
mod transact;
mod warm;

pub use cut::{CutActive, RecordRef, Side, Walk};
pub use effects::{Changes, Effects, Garbage, Removal};
pub use globals::Globals;
pub use hash::StateHash;
pub use limits::Limits;
pub use loader::{Invalid, Loader};
pub use state::{Counters, Store};
pub use tally::Tally;
