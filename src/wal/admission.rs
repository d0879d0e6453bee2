//! Admission of appends: the bytes that are admitted never exceed the bytes that are left.
//!
//! ```text
//!  the segment being written            the next one, if it is ready
//! | records | room .............. E |  | head | room .......... R  E |
//!                                                E: for the SegmentEnd
//!                                                R: the reserve, in the last segment that there is
//! ```
//!
//! A record that finds no segment holds up all that stands behind it, votes too. So whoever may refuse an append asks first
//! and holds a [`Grant`] until the append is on disk. Votes, truncations and purges do not ask: the last part of the reserve
//! is theirs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::layout::HEAD;
use super::record;
use super::segment::END_SIZE;
use super::shared::Shared;
use super::spares::Spares;

/// Bytes that are kept for appends that cannot be refused, at most.
const RESERVE_BYTES: u64 = 1 << 20;

/// The share of the reserve that no entry gets: it is for votes, truncations and purges.
const VOTES_SHARE: u64 = 4;

/// Bytes that the writer may add to each append: commit positions, records that say what is synced.
const BESIDE_BYTES: u64 = 2 * record::size(record::OWN_PAYLOAD_MAX);

/// How much an append matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// It can be refused.
    Ordinary,
    /// The cluster needs it to go on: a blank entry, a membership, the time.
    Needed,
}

/// Whether an append may be handed over.
#[derive(Debug)]
pub enum Admission {
    /// It will find its place.
    Granted(Grant),
    /// It is known soon: the next segment is being made, or others are on their way to disk.
    Later,
    /// There is no room for it.
    Refused,
}

/// Room that was promised. Held until the append is on disk, or is known never to come.
#[derive(Debug)]
pub struct Grant {
    admitted: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.admitted.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Bytes that an append of so many entries takes in the log, at most.
pub fn append_bytes(entries: usize, payload_bytes: usize) -> u64 {
    // Each record has a head, and is padded.
    payload_bytes as u64 + entries as u64 * record::size(8) + BESIDE_BYTES
}

/// Judges one append. `is_free` says whether the disk has so many bytes that no file holds yet.
pub(super) fn admit(
    shared: &Shared,
    spares: &Spares,
    bytes: u64,
    urgency: Urgency,
    is_free: impl Fn(u64) -> bool,
) -> Admission {
    let (spare, is_lacking) = spares.outlook();
    let usual = shared.config.segment_bytes;
    let reserve = RESERVE_BYTES.min(usual / 4);
    let kept = if urgency == Urgency::Needed { reserve / VOTES_SHARE } else { reserve };
    // One after the other: two must not be promised the same room.
    let inner = shared.inner.lock();
    if inner.poisoned.is_some() || inner.closing {
        return Admission::Refused;
    }
    let Some((_, last)) = inner.segments.last_key_value() else { return Admission::Later };
    let tail = u64::from(last.segment.head.length) - u64::from(last.end);
    let admitted = shared.admitted_bytes.load(Ordering::Acquire);
    let needed = admitted + bytes;
    let tail_kept = if spare.is_some() { 0 } else { kept };
    let opening = inner.groups.len() as u64 * record::size(record::OWN_PAYLOAD_MAX);
    let next = spare.map(|length| u64::from(length).saturating_sub(u64::from(HEAD) + opening));
    let fits = |room: u64, kept: u64| needed + kept + END_SIZE <= room;
    let is_large = || bytes + kept + END_SIZE + opening + u64::from(HEAD) > usual;
    let is_granted = fits(tail, tail_kept)
        || next.is_some_and(|next| fits(next, kept))
        // It gets a segment of its own, which can only be made when it is its turn.
        || (!is_lacking && admitted == 0 && is_large() && is_free(bytes + 2 * usual));
    if is_granted {
        shared.admitted_bytes.fetch_add(bytes, Ordering::AcqRel);
        return Admission::Granted(Grant { admitted: Arc::clone(&shared.admitted_bytes), bytes });
    }
    if is_lacking || admitted == 0 && is_large() { Admission::Refused } else { Admission::Later }
}
