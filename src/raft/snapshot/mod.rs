//! Snapshots: the store in one file, written while it changes, and found damaged if it is.
//!
//! ```text
//! data/snapshots/<index>-<term>-<leader>.snap, each 16 hex digits
//!
//! +--------+-------+-------+-- ... --+-----+------+
//! | header | block | block |         | end | mark |
//! +--------+-------+-------+-- ... --+-----+------+
//!   |        |                         |     `- 8 bytes; the file ends behind them
//!   |        |                         `- a block: totals, checksum of all bytes before it
//!   |        `- up to 64 KiB of records, LZ4 or raw, each block with two CRCs that know its place
//!   `- cluster, log position, membership, all replicated state but the entries; two CRCs
//! ```
//!
//! The layouts are drawn in `header`, `block`, `record` and `end`.
//!
//! ```text
//!              build: walk, displaced entries         load_newest: the newest valid one
//! running store ------------------------------> file -----------------------------------> store
//!                                                ^  \
//!              receive, accept: from elsewhere --'   |--> verify: for tools, and before a file gets its name
//!                                                    |--> Rewrite: the first snapshot of another cluster
//!                                                    `--> Sending: as it is, to elsewhere
//! ```
//!
//! Invariants:
//!
//! * A file has the name of a snapshot only after it was written whole, synced, read back and verified. A crash at any
//!   moment leaves the snapshots that were there, and at most a file with a temporary name.
//! * Every flipped bit and every cut is found, and named by file and offset. Nothing of a file reaches anyone before
//!   all of it was verified.
//! * Every slot in use at the cut is in exactly one record, with its state at the cut.
//! * Memory for reading is bounded by the largest record that can exist, whatever a file claims.
//!
//! What it deliberately does not do: decide when to take a snapshot or what to purge (raft does), send one to another
//! node (the peers do), or log.

mod block;
mod build;
mod end;
mod error;
mod folder;
mod header;
mod load;
mod meta;
mod name;
mod pace;
mod reader;
mod receive;
mod record;
mod rewrite;
mod sending;
mod temporary;
mod verify;
mod wire;
mod writer;

pub use build::{Built, Progress, build};
pub use error::Error;
pub use folder::{Folder, Found};
pub use load::Loaded;
pub use meta::Meta;
pub use receive::Receiving;
pub use rewrite::{Change, Deadlines, Rewrite};
pub use sending::Sending;
pub use verify::{Summary, level, verify};
