//! The disk: the one place where Kvorum touches files.
//!
//! Two implementations stand behind [`Disk`]: [`Real`] is the file system, and [`Faulty`] is one in memory
//! for tests, which forgets what was not synced when it is "cut off". Everything above this floor (the log,
//! snapshots, `node.json`) takes an `Arc<dyn Disk>`, so that each of its steps can be crashed.
//!
//! What the floors above may rely on, and nothing more:
//!
//! * Bytes of a file survive a power cut once [`File::sync_data`] or [`File::sync_all`] returned. Before that
//!   each 512-byte sector may hold the old or the new content, whatever the order of the writes was.
//! * A name (created, renamed, removed) survives once [`Disk::sync_dir`] of its directory returned. Before
//!   that each such change may be lost alone; a rename is either done or not.
//! * After a failed sync nothing is known about what was written since the last good one, and a later sync
//!   does not bring it back. Never retry; stop using the file.
//!
//! Sockets have names in directories too, so they are made here; they hold no data and are not part of [`Disk`].
//!
//! It deliberately has no buffering, no paths of its own and no policy: those belong to its users.

mod ballast;
mod contract;
mod faulty;
mod real;
mod replace;
mod socket;

pub use ballast::Ballast;
pub use contract::{Disk, File, Lock, LockError, SECTOR, Space, is_full, is_lack_of_files};
pub use faulty::{Fault, Faulty, Operation};
pub use real::Real;
pub use replace::{TEMPORARY, publish, replace};
pub use socket::{SocketName, connect_at, listen_at};
