//! What the handles and the writer share, under one lock: the groups, the queue, the open segments, the
//! counters.
//!
//! Callbacks are never called under the lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::config::Config;
use super::error::Error;
use super::index::{Group, Place};
use super::segment::Segment;
use super::stats::{BATCH_BOUNDS, FSYNC_BOUNDS_US, Histogram, Span, Stats};
use super::values::{Entry, LogId, Vote};

/// Told once that an operation is durable (or written, if that was chosen), or why it is not. Runs on the
/// writer's thread, so it must be quick and must not wait for the log.
pub type Callback = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// An operation that was handed over, with who is to be told.
pub(super) struct Op {
    pub(super) work: Work,
    /// Whether it is synced before it is answered even where appends are not.
    pub(super) synced: bool,
    pub(super) done: Callback,
}

/// What an operation asks the writer for.
pub(super) enum Work {
    Append {
        group: u16,
        entries: Vec<Entry>,
        generation: u32,
    },
    Vote {
        group: u16,
        vote: Vote,
    },
    Truncate {
        group: u16,
        to: Option<LogId>,
    },
    Purge {
        group: u16,
        upto: LogId,
    },
    Roll,
    /// Nothing; it is answered in its turn.
    Nothing,
}

/// The shared part of an open log.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) inner: Mutex<Inner>,
    pub(super) work: Condvar,
    /// Bytes that were admitted and are not on disk yet.
    pub(super) admitted_bytes: Arc<AtomicU64>,
}

/// What the lock guards.
pub(super) struct Inner {
    pub(super) groups: BTreeMap<u16, Group>,
    pub(super) queue: VecDeque<Op>,
    /// Commit positions that ride the next write.
    pub(super) committed: BTreeMap<u16, LogId>,
    pub(super) segments: BTreeMap<u32, Listed>,
    pub(super) cached_bytes: usize,
    pub(super) appended_bytes: u64,
    pub(super) poisoned: Option<Error>,
    pub(super) closing: bool,
    pub(super) fsync_us: Histogram,
    pub(super) batch_entries: Histogram,
    pub(super) truncations: u64,
    pub(super) torn_ends: u64,
}

/// A segment in use.
pub(super) struct Listed {
    pub(super) segment: Arc<Segment>,
    /// Where its records end.
    pub(super) end: u32,
}

/// Where an entry was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub(super) group: u16,
    pub(super) index: u64,
    pub(super) generation: u32,
    pub(super) place: Place,
}

/// Why the writer woke up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    /// There is work.
    Work,
    /// Nothing came for as long as it wanted to wait.
    Idle,
    /// The log is being closed and nothing is left to do.
    Close,
    /// The log was poisoned by somebody else.
    Poisoned,
}

impl Shared {
    pub(super) fn new(config: Config, groups: BTreeMap<u16, Group>, torn: bool) -> Shared {
        let inner = Inner {
            groups,
            queue: VecDeque::new(),
            committed: BTreeMap::new(),
            segments: BTreeMap::new(),
            cached_bytes: 0,
            appended_bytes: 0,
            poisoned: None,
            closing: false,
            fsync_us: Histogram::new(&FSYNC_BOUNDS_US),
            batch_entries: Histogram::new(&BATCH_BOUNDS),
            truncations: 0,
            torn_ends: u64::from(torn),
        };
        Shared { config, inner: Mutex::new(inner), work: Condvar::new(), admitted_bytes: Arc::default() }
    }

    /// Takes all that is queued, waiting for it at most `patience`.
    pub(super) fn take(
        &self,
        batch: &mut VecDeque<Op>,
        committed: &mut BTreeMap<u16, LogId>,
        patience: Duration,
    ) -> Wake {
        let mut inner = self.inner.lock();
        let mut waited = false;
        loop {
            if inner.poisoned.is_some() {
                return Wake::Poisoned;
            }
            if !inner.queue.is_empty() {
                std::mem::swap(&mut inner.queue, batch);
                std::mem::swap(&mut inner.committed, committed);
                return Wake::Work;
            }
            if inner.closing || waited {
                std::mem::swap(&mut inner.committed, committed);
                return if inner.closing { Wake::Close } else { Wake::Idle };
            }
            waited = self.work.wait_for(&mut inner, patience).timed_out();
        }
    }

    /// Refuses everything from now on, and answers what is queued.
    pub(super) fn poison(&self, error: &Error) {
        let queue = {
            let mut inner = self.inner.lock();
            inner.poisoned.get_or_insert_with(|| error.poisoning());
            std::mem::take(&mut inner.queue)
        };
        self.work.notify_all();
        for op in queue {
            (op.done)(Err(error.poisoning()));
        }
    }
}

impl Inner {
    /// Notes where entries now stand, and lets payloads go that may.
    pub(super) fn publish(&mut self, placed: &[Placed], config: &Config) {
        for Placed { group, index, generation, place } in placed {
            if let Some(group) = self.groups.get_mut(group) {
                group.set_place(*index, *generation, *place);
            }
        }
        self.evict(config);
    }

    /// Drops payloads, oldest first in each group, while there are too many.
    pub(super) fn evict(&mut self, config: &Config) {
        for group in self.groups.values_mut() {
            while self.cached_bytes > config.cache_bytes {
                match group.evict() {
                    Some(bytes) => self.cached_bytes -= bytes,
                    None => break,
                }
            }
        }
    }

    /// The last index of a group that may be purged so that segments with at least `keep_bytes` of records
    /// stay.
    pub(super) fn index_behind(&self, group: u16, keep_bytes: u64) -> Option<u64> {
        let mut kept = 0;
        let first_kept = self.segments.iter().rev().find_map(|(sequence, listed)| {
            kept += u64::from(listed.end);
            (kept >= keep_bytes).then_some(*sequence)
        })?;
        self.groups.get(&group)?.first_index_from(first_kept)?.checked_sub(1)
    }

    pub(super) fn stats(&self, config: &Config) -> Stats {
        let spans = self.groups.iter().filter_map(|(group, kept)| {
            kept.entries().map(|(first_index, last_index)| Span { group: *group, first_index, last_index })
        });
        Stats {
            bytes: self.segments.values().map(|listed| u64::from(listed.end)).sum(),
            segments: self.segments.len() as u64,
            spans: spans.collect(),
            appended_bytes: self.appended_bytes,
            cached_bytes: self.cached_bytes as u64,
            fsync_us: self.fsync_us,
            batch_entries: self.batch_entries,
            truncations: self.truncations,
            torn_ends: self.torn_ends,
            durability: config.durability,
        }
    }
}
