//! The write-ahead log: an append-only, segmented log of bytes, positions and votes for several groups in one
//! stream.
//!
//! It knows neither raft nor commands. Entries and votes share one order, one writer thread and one sync, so
//! what was handed over first is durable first.
//!
//! ```text
//!   append, save_vote, ...        Wal: into memory at once (index, cache), and into the queue
//!            |
//!         writer                  takes all that is queued: encode, one write, one fdatasync, callbacks
//!            |
//!   0000000000000003.seg          head | GroupStates | records ............ | SegmentEnd | zeros
//!   0000000000000004.seg          head | GroupStates | records ...  X zeros               the last
//!   0000000000000005.seg          head | zeros                                            the spare
//!   closed                        where the log ended, from when it is closed to when it is opened
//! ```
//!
//! What holds:
//!
//! * **Acknowledged is durable.** A callback hears `Ok` after `fdatasync` returned ([`Durability::Always`]).
//! * **Prefix.** What recovery finds is what was handed over up to some point: at least all that was
//!   acknowledged, nothing out of order, nothing torn.
//! * **Damage is found.** A flipped bit, a missing or shortened file, a missing segment is refused by
//!   [`Wal::open`] with [`Error::Corrupt`] naming file and offset, unless it is the torn end of a write
//!   nobody was told of.
//! * **Poisoned for good.** After a failed write or sync inside a segment nothing is accepted any more;
//!   syncing again would report success for data that is gone (Rebello et al., "Can Applications Recover from
//!   fsync Failures?", 2020).
//! * **A full disk does not poison**, nor does a lack of file descriptors. The next segment is made
//!   beforehand; if there is no room for it, [`Wal::room`] says so while the present one goes on. What is admitted
//!   ([`Wal::admit`]) never exceeds what is left, so votes always find room.
//! * **A prefix of segments can be dropped.** Each segment opens with the state of every group. A segment is
//!   removed only after a later synced record covers all in it.
//!
//! What it does not do: it does not bound its queue (raft bounds what is unacknowledged, and [`Wal::admit`] what a full disk
//! takes), does not compress
//! or encrypt, and does not decide what to purge.
//!
//! The bytes are drawn in `head`, `record`, `layout` and `closed`; the recovery law in `survey`, `scan` and `recover`.

mod admission;
mod closed;
mod config;
mod contents;
mod error;
mod head;
mod index;
mod inspect;
mod layout;
mod log;
mod read;
mod record;
mod recover;
mod replay;
mod scan;
mod segment;
mod shared;
mod spares;
mod stats;
mod survey;
mod tail;
#[cfg(test)]
mod tests;
mod values;
mod window;
mod writer;

pub use admission::{Admission, Grant, Urgency, append_bytes};
pub use config::{Config, Durability};
pub use error::Error;
pub use inspect::{Finding, Kind, Line, SegmentReport, inspect, is_blank, is_of_log, verify};
pub use log::Wal;
pub use shared::Callback;
pub use spares::{Lack, Room};
pub use stats::{BATCH_BOUNDS, FSYNC_BOUNDS_US, Histogram, Span, Stats};
pub use survey::Survey;
pub use values::{Entry, GroupState, Identity, LogId, Vote};
