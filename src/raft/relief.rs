//! Relief of a full disk.
//!
//! ```text
//!  no room for the next segment -> older snapshot's log, older snapshot, and all that the store's state stands for are
//!                                  let go; the space for the snapshot that this takes was kept beforehand (the ballast)
//!  nothing more to free         -> writes are refused, and what is left of the log is for what the cluster needs to go on
//! ```
//!
//! A follower goes on in the same way: it takes the leader's entries as long as its own log can be made shorter for them.
//! So it stays close to the leader, and a new leader that needs it for a quorum finds it able to store what raft wants it to
//! have first. Only where nothing can be freed does it fall behind, and says so.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use tokio::time::{Duration, Instant, timeout_at};

use super::AdminError;
use super::full_disks::full_disks;
use super::maintenance::{Maintenance, ticks};
use super::members::Members;
use crate::disk::Ballast;
use crate::wal::{Lack, Room};

/// How often the node looks at its disk, and a leader at what the members say of theirs.
const LOOKING: Duration = Duration::from_millis(50);

/// How often the ballast is fitted to the store.
const FITTING: Duration = Duration::from_secs(1);

/// The same while the disk has no space for it: each try takes what is there for a moment.
const UNFIT: Duration = Duration::from_secs(10);

/// How long freed segments may take to become room for the next one.
const FREEING: Duration = Duration::from_secs(1);

/// How long a disk on which nothing could be freed is left alone.
const RETRY: Duration = Duration::from_secs(2);

/// How long a disk is left alone on which something was freed.
const AGAIN: Duration = Duration::from_millis(200);

/// How many times as long as making room took nothing is done for it.
const RESTS: u32 = 4;

/// A leader whose disk is full tries to hand over this often.
const HAND_OVER: Duration = Duration::from_secs(10);

/// Most that is kept for a snapshot on a full disk. A larger one has to find its room.
const BALLAST_MOST_BYTES: u64 = 256 << 20;

/// Segments whose space is kept so that a follower on a full disk can go on: those filled from one snapshot to the next.
const SEGMENTS: u64 = 4;

/// Most that is kept for them.
const SEGMENTS_MOST_BYTES: u64 = 64 << 20;

/// A log of no more segments than this is not made shorter before it lacks one.
const TRIMMED_SEGMENTS: u64 = 2;

/// A snapshot takes this beside what the store accounts for.
const SNAPSHOT_EXTRA_BYTES: u64 = 64 << 10;

impl Maintenance {
    /// Makes room when the log finds none, and keeps some for that.
    pub(super) async fn relieve(&self) {
        let mut ticks = ticks(LOOKING);
        let now = Instant::now();
        let (mut retry_at, mut fit_at, mut hand_over_at, mut trim_at) = (now, now, now, now);
        while !self.stopped_at(&mut ticks).await {
            match self.wal.lack() {
                // Files are no space: nothing on the disk helps.
                Some(Lack::Files) => {}
                Some(Lack::Space) if Instant::now() >= retry_at => {
                    let may_trim = Instant::now() >= trim_at && self.wal.stats().segments > TRIMMED_SEGMENTS;
                    if may_trim {
                        trim_at = Instant::now() + RETRY;
                    }
                    let lacks = self.wal.lacks();
                    let (has_segment, worked) = self.relieve_once(may_trim).await;
                    // The snapshot of a large store takes its time: most of it is left to others, unless it was worth it.
                    let was_ended = self.wal.lack().is_none() || self.wal.lacks() != lacks;
                    let rest = if was_ended { Duration::ZERO } else { worked * RESTS };
                    retry_at = Instant::now() + rest.max(if has_segment { AGAIN } else { RETRY });
                    if self.batcher.is_out_of_disk()
                        && Instant::now() >= hand_over_at
                        && self.members.spare_full_disk().await
                    {
                        hand_over_at = Instant::now() + HAND_OVER;
                    }
                }
                Some(Lack::Space) => {}
                None => {
                    self.batcher.give_up(false);
                    if Instant::now() >= fit_at {
                        fit_at = Instant::now() + if self.fit_ballast().await { FITTING } else { UNFIT };
                    }
                }
            }
        }
    }

    /// Makes room if the next segment is missing, or the log is to be trimmed. Returns whether there is a next segment now,
    /// and how long the work took.
    async fn relieve_once(&self, trim: bool) -> (bool, Duration) {
        let (lacks, mut worked) = (self.wal.lacks(), Duration::ZERO);
        if self.wal.lacks_segment() || trim {
            let begun = Instant::now();
            let made = self.make_room().await;
            worked = begun.elapsed();
            match made {
                Ok(()) => {}
                // Another snapshot, or the removal of the log behind one, is under way: it helps as well.
                Err(AdminError::Busy) => return (true, worked),
                Err(error) => tracing::debug!(%error, "the log could not be made shorter"),
            }
            // The log removes files and looks at the disk in a thread of its own, which may wait for a processor: writes are not
            // given up for that.
            let is_first = !self.batcher.is_out_of_disk();
            let is_short = || match is_first {
                true => self.wal.room() == Room::Reserve && self.wal.lacks() == lacks,
                false => self.wal.lacks_segment(),
            };
            let end = Instant::now() + FREEING;
            while is_short() && Instant::now() < end {
                tokio::time::sleep(LOOKING).await;
            }
        }
        // Another lack than the one that was relieved: writers were fast, and what was freed is full again.
        let is_short = self.wal.room() == Room::Reserve && self.wal.lacks() == lacks;
        if is_short && !self.batcher.is_out_of_disk() {
            tracing::warn!(
                "the disk is full: what this node could free of its own is not enough, so new writes are refused until there is \
                 space"
            );
        }
        self.batcher.give_up(is_short);
        let has_segment = !self.wal.lacks_segment();
        if has_segment {
            // Before the log takes it: without it the next time could not be mastered.
            self.fit_ballast().await;
        }
        (has_segment, worked)
    }

    /// Drops the log up to the newest snapshot. If that frees too little, takes a new one first.
    async fn make_room(&self) -> Result<(), AdminError> {
        let before = self.wal.stats().segments;
        if let Some(index) = self.snapshots.index() {
            // It was read whole when it was written, or at the start.
            self.purge_to(index).await?;
        }
        // The log behind it may still be long: then that is let go too.
        let end = Instant::now() + FREEING / 4;
        while self.wal.stats().segments < before && Instant::now() < end {
            if self.wal.room() == Room::Ample {
                return Ok(());
            }
            tokio::time::sleep(LOOKING / 5).await;
        }
        if self.replica.applied_index() <= self.last.index.load(Ordering::Relaxed) {
            return Ok(());
        }
        let index = self.take_snapshot_in_need().await?;
        self.purge_to(index).await
    }

    /// Has the ballast fit the store: at least as much as a snapshot needs, and the marks of a start. Where there is space also
    /// what it takes to go on within what the node has: another snapshot, and some segments that are filled meanwhile. Returns
    /// whether it fits.
    async fn fit_ballast(&self) -> bool {
        let snapshot = self.replica.store.read().bytes() + SNAPSHOT_EXTRA_BYTES;
        let snapshot = (snapshot + snapshot / 4).min(BALLAST_MOST_BYTES);
        let least = Ballast::MARKS_BYTES + snapshot;
        let segments = (SEGMENTS * self.wal.segment_bytes()).min(SEGMENTS_MOST_BYTES);
        let (ballast, size) = (self.ballast.clone(), self.wal.disk_bytes());
        let wanted = (least + snapshot + segments).min(size / 8).max(least);
        let fitted = tokio::task::spawn_blocking(move || {
            let kept = ballast.bytes()?;
            // A ballast that is a little too large is left as it is. It grows ahead of the store: each step is a sync.
            if wanted > kept {
                let grown = ballast.keep(wanted + wanted / 8);
                grown.or_else(|error| if kept < least { ballast.keep(least) } else { Err(error) })
            } else if wanted < kept / 2 {
                ballast.keep(wanted)
            } else {
                Ok(())
            }
        });
        match fitted.await {
            Ok(Err(error)) => {
                tracing::debug!(%error, "no space is kept for a full disk");
                false
            }
            _ => true,
        }
    }

    /// As leader: looks whether enough of the members that answer have room.
    pub(super) async fn watch_disks(&self) {
        let mut ticks = ticks(LOOKING);
        let mut was_full = false;
        while !self.stopped_at(&mut ticks).await {
            if self.batcher.term().is_none() {
                // `lead` notes the disks with which a new leader begins.
                was_full = false;
                continue;
            }
            let full = self.members.full_disks();
            let is_full = full.is_some();
            self.batcher.note_quorum(is_full);
            if let Some(full) = full.filter(|_| !was_full) {
                tracing::warn!(members = ?full, "no quorum has room on its disks: writes are refused until there is space");
            } else if was_full && !is_full {
                tracing::info!("a quorum has room on its disks again");
            }
            was_full = is_full;
        }
    }

    async fn purge_to(&self, index: u64) -> Result<(), AdminError> {
        self.purge(index).await?;
        let end = Instant::now() + FREEING;
        match timeout_at(end, self.purged_to(index)).await {
            Ok(purged) => purged,
            // A node that is short of processor time has not failed to free anything.
            Err(_) => Err(AdminError::Busy),
        }
    }
}

impl Members {
    /// As leader: the members with full disks, if too few are left without them.
    fn full_disks(&self) -> Option<BTreeSet<u64>> {
        self.leader.batcher.term()?;
        full_disks(
            &self.ledger,
            &self.leader.roster,
            (self.leader.node, self.leader.batcher.is_out_of_disk()),
        )
    }

    /// Hands leadership to a voter that has room, if this leader's disk is full. Returns whether it knew one.
    async fn spare_full_disk(&self) -> bool {
        let voter = self.roomy_voter().filter(|_| self.leader.batcher.term().is_some());
        let Some(to) = voter else { return false };
        tracing::warn!(to, "the disk of this leader is full: handing over");
        if let Err(error) = self.hand_over(Some(to), Instant::now()).await {
            tracing::info!(%error, "leadership is not handed over from a full disk");
        }
        true
    }

    fn roomy_voter(&self) -> Option<u64> {
        let membership = self.ledger.membership()?;
        membership.voter_ids().filter(|id| *id != self.leader.node && self.is_present(*id)).find(|id| {
            let report = self.leader.roster.report(*id);
            report.is_some_and(|report| !report.out_of_disk && !report.asks_to_stop && !report.may_stop)
        })
    }
}
