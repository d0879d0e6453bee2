//! A consistent copy of the store, taken while writes go on.
//!
//! ```text
//!   slots:  0 ........ position ........ end ....
//!           walked     not yet walked    taken after the cut: not part of it
//!
//!   writer, before it changes an entry at or after `position` for the first time --old state--> side
//!   walker, under the read lock: entries unchanged since the cut -------------------------------> visit
//! ```
//!
//! An entry whose version is above the cut's revision was written after the cut: its old state, if it had
//! one, went to the side when that happened. One with a recency above the cut's but an old version was only
//! touched: only its recency at the cut was kept (`recencies`). So every entry of the cut comes out exactly
//! once, walked or from the side, with its state at the cut. FLUSHALL gives the whole old keyspace to the
//! cut, which walks on in it.
//!
//! The side is bounded by bytes; a cut that would pass the bound is given up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

use super::globals::Globals;
use super::keyspace::Keyspace;
use super::record::Record;
use crate::model::{Recency, Slot, Timestamp, Version};

const CHUNK_BYTES: usize = 256 << 10;
/// What a displaced recency counts toward the side's bound: a map's share.
const RECENCY_BYTES: usize = 32;

/// An entry, lent to a visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// Its slot.
    pub slot: Slot,
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// Its version.
    pub version: Version,
    /// Its deadline, if any.
    pub deadline: Option<Timestamp>,
    /// Its place in the LRU order.
    pub recency: Recency,
}

/// A cut is being walked already; there is one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another snapshot is being taken")]
pub struct CutActive;

/// How far a walk came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// There are slots left.
    More,
    /// All slots are walked; what is left is in the side.
    Done,
    /// The cut was given up, or there is none: take another one.
    Abandoned,
}

pub(super) struct Cut {
    revision: u64,
    recency: u64,
    end: u32,
    position: AtomicU32,
    budget: usize,
    side: Side,
    recencies: BTreeMap<Slot, u64>,
    frozen: Option<Box<Keyspace>>,
}

impl Cut {
    pub(super) fn new(globals: &Globals, end: u32, budget: usize) -> Cut {
        Cut {
            revision: globals.revision,
            recency: globals.recency,
            end,
            position: AtomicU32::new(0),
            budget,
            side: Side::default(),
            recencies: BTreeMap::new(),
            frozen: None,
        }
    }

    /// Hands over an entry that is about to be changed or removed. `false` if the side is past its bound.
    pub(super) fn displace(&mut self, record: &Record<'_>) -> bool {
        if self.is_waiting_for(record) {
            let record = self.at_cut(record);
            self.side.push(&record.0, record.1);
        }
        self.is_within_budget()
    }

    /// Hands over the recency of an entry that is about to be touched. `false` if the side is past its bound.
    pub(super) fn displace_recency(&mut self, record: &Record<'_>) -> bool {
        if self.is_waiting_for(record) && record.recency() <= self.recency {
            self.recencies.insert(record.slot(), record.recency());
        }
        self.is_within_budget()
    }

    /// Goes on in `keyspace`, which writers have left for good.
    pub(super) fn freeze(&mut self, keyspace: Box<Keyspace>) {
        self.frozen = Some(keyspace);
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    pub(super) fn is_done(&self) -> bool {
        self.position() >= self.end
    }

    pub(super) fn take_side(&mut self) -> Side {
        std::mem::take(&mut self.side)
    }

    pub(super) fn into_parts(self) -> (Side, Option<Box<Keyspace>>) {
        (self.side, self.frozen)
    }

    pub(super) fn walk(
        &self,
        live: &Keyspace,
        max_slots: usize,
        max_bytes: usize,
        visit: &mut dyn FnMut(RecordRef<'_>),
    ) -> Walk {
        let keyspace = self.frozen.as_deref().unwrap_or(live);
        let start = self.position();
        let stop = self.end.min(start.saturating_add(u32::try_from(max_slots.max(1)).unwrap_or(u32::MAX)));
        let (mut at, mut bytes) = (start, 0);
        while at < stop && bytes < max_bytes.max(1) {
            let address = keyspace.slots.get(Slot(at));
            at += 1;
            let Some(record) = address.map(|address| keyspace.records.at(address)) else { continue };
            if record.version() <= self.revision {
                let (record, _) = self.at_cut(&record);
                bytes += record.key.len() + record.value.len();
                visit(record);
            }
        }
        // Relaxed: writers hold the lock that this walk holds shared, which orders the two.
        self.position.store(at, Ordering::Relaxed);
        if at < self.end { Walk::More } else { Walk::Done }
    }

    fn position(&self) -> u32 {
        self.position.load(Ordering::Relaxed)
    }

    fn is_waiting_for(&self, record: &Record<'_>) -> bool {
        !self.is_frozen()
            && record.version() <= self.revision
            && (self.position()..self.end).contains(&record.slot().0)
    }

    fn at_cut<'a>(&self, record: &Record<'a>) -> (RecordRef<'a>, Option<&'a Bytes>) {
        let touched = record.recency() > self.recency;
        let kept = self.recencies.get(&record.slot()).filter(|_| touched);
        let shared = record.shared_value();
        (RecordRef { recency: Recency(*kept.unwrap_or(&record.recency())), ..lend(record) }, shared)
    }

    fn is_within_budget(&self) -> bool {
        self.side.bytes + self.recencies.len() * RECENCY_BYTES <= self.budget
    }
}

/// The record as a visitor sees it.
pub(super) fn lend<'a>(record: &Record<'a>) -> RecordRef<'a> {
    RecordRef {
        slot: record.slot(),
        key: record.key(),
        value: record.value(),
        version: Version(record.version()),
        deadline: record.deadline(),
        recency: Recency(record.recency()),
    }
}

/// Entries that writers displaced, with their state at the cut.
#[derive(Default)]
pub struct Side {
    chunks: Vec<Chunk>,
    bytes: usize,
}

struct Chunk {
    heads: Vec<Head>,
    arena: Vec<u8>,
}

struct Head {
    slot: Slot,
    version: Version,
    recency: Recency,
    deadline: Option<Timestamp>,
    key_end: usize,
    end: usize,
    shared: Option<Bytes>,
}

impl Side {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Shows every entry.
    pub fn visit(&self, visit: &mut dyn FnMut(RecordRef<'_>)) {
        for chunk in &self.chunks {
            let mut start = 0;
            for head in &chunk.heads {
                let inside = &chunk.arena[head.key_end..head.end];
                visit(RecordRef {
                    slot: head.slot,
                    key: &chunk.arena[start..head.key_end],
                    value: head.shared.as_deref().unwrap_or(inside),
                    version: head.version,
                    deadline: head.deadline,
                    recency: head.recency,
                });
                start = head.end;
            }
        }
    }

    fn push(&mut self, record: &RecordRef<'_>, shared: Option<&Bytes>) {
        let inside = if shared.is_some() { &[] } else { record.value };
        let length = record.key.len() + inside.len();
        let has_room = |chunk: &Chunk| chunk.arena.len() + length <= CHUNK_BYTES;
        if !self.chunks.last().is_some_and(has_room) {
            self.chunks.push(Chunk { heads: Vec::new(), arena: Vec::with_capacity(CHUNK_BYTES) });
        }
        let chunk = self.chunks.last_mut().expect("one was pushed if there was none");
        chunk.arena.extend_from_slice(record.key);
        let key_end = chunk.arena.len();
        chunk.arena.extend_from_slice(inside);
        chunk.heads.push(Head {
            slot: record.slot,
            version: record.version,
            recency: record.recency,
            deadline: record.deadline,
            key_end,
            end: chunk.arena.len(),
            shared: shared.cloned(),
        });
        self.bytes += record.key.len() + record.value.len() + size_of::<Head>();
    }
}
