//! One group in memory: its state, where each of its entries stands on disk, and the newest payloads.
//!
//! ```text
//!            first                                      last
//!   slots      [ ][ ][ ][ ][ ][ ][ ][ ][ ][ ][ ][ ][ ][ ]      32 bytes each
//!   cache                     [b][b][b][b][b][b][b][b][b]      always the newest ones, without a gap
//!   placed     <------------------------------->               written (and synced, if promised)
//! ```
//!
//! Invariants: slots are contiguous in their index; the cache covers a suffix of them; what is not placed is
//! in the cache; a slot is placed only by the write of exactly its entry (a truncation begins a new
//! generation, so that a late answer for a dropped entry finds nobody).

use std::collections::VecDeque;

use bytes::Bytes;

use super::values::{Entry, GroupState, LogId};

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The segment's sequence number, never 0.
    pub(super) segment: u32,
    pub(super) offset: u32,
}

/// An entry without its payload.
#[derive(Debug, Clone, Copy)]
struct Slot {
    term: u64,
    leader: u64,
    len: u32,
    generation: u32,
    /// 0 until the entry is placed.
    segment: u32,
    offset: u32,
}

const _: () = assert!(size_of::<Slot>() == 32, "the index costs 32 bytes an entry");

/// One step of reading entries.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// It is in memory.
    Cached(Entry),
    /// It has to be read.
    Stored { id: LogId, place: Place, len: u32 },
}

/// A group's part of the shared state.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    pub(super) state: GroupState,
    /// Index of the first slot; without meaning while there are none.
    first: u64,
    slots: VecDeque<Slot>,
    cache: VecDeque<Bytes>,
    generation: u32,
    applied: Option<u64>,
}

impl Group {
    /// A group known only by its state, as at the opening of the first segment.
    pub(super) fn from_state(state: GroupState) -> Group {
        Group { state, ..Group::default() }
    }

    /// First and last index of the entries here.
    pub(super) fn entries(&self) -> Option<(u64, u64)> {
        let last = self.first.checked_add(self.slots.len() as u64)?.checked_sub(1)?;
        if self.slots.is_empty() { None } else { Some((self.first, last)) }
    }

    /// Adds an entry that [`GroupState::admits`]. With its place it is known to be on disk and its payload is
    /// not kept.
    pub(super) fn push(&mut self, id: LogId, len: u32, body: Result<Place, Bytes>) {
        assert!(self.state.admits(id), "entries follow each other without a gap");
        if self.slots.is_empty() {
            self.first = id.index;
        }
        let place = body.as_ref().ok().copied().unwrap_or(Place { segment: 0, offset: 0 });
        let Place { segment, offset } = place;
        let generation = self.generation;
        self.slots.push_back(Slot { term: id.term, leader: id.leader, len, generation, segment, offset });
        match body {
            Ok(_) => self.cache.clear(),
            Err(payload) => self.cache.push_back(payload),
        }
        self.state.last = Some(id);
    }

    /// The generation of the entries added from now on.
    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// Removes what follows `to`; `last` becomes `to`. Returns the payload bytes that left the cache.
    pub(super) fn truncate_after(&mut self, to: Option<LogId>) -> usize {
        let keep = to.map_or(0, |id| id.index.saturating_add(1).saturating_sub(self.first));
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        let dropped = self.slots.len().saturating_sub(keep);
        self.slots.truncate(keep);
        self.generation = self.generation.wrapping_add(1);
        self.state.last = to;
        let cut = self.cache.len().saturating_sub(dropped);
        self.cache.drain(cut..).map(|payload| payload.len()).sum()
    }

    /// Removes what is at or below `upto`. Returns the payload bytes that left the cache.
    pub(super) fn purge_upto(&mut self, upto: LogId) -> usize {
        self.state.purge(upto);
        let mut freed = 0;
        while !self.slots.is_empty() && self.first <= upto.index {
            freed += self.drop_oldest_cached(self.slots.len());
            self.slots.pop_front();
            self.first += 1;
        }
        // What a long log took is given back once most of it is gone.
        if self.slots.capacity() / 4 > self.slots.len() {
            self.slots.shrink_to(self.slots.len() * 2);
            self.cache.shrink_to(self.cache.len() * 2);
        }
        freed
    }

    /// Drops the payload of the oldest slot if the cache reaches so far back.
    fn drop_oldest_cached(&mut self, slots: usize) -> usize {
        if self.cache.len() < slots {
            return 0;
        }
        self.cache.pop_front().map_or(0, |payload| payload.len())
    }

    fn slot(&self, index: u64) -> Option<&Slot> {
        self.slots.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    /// The position of the entry with this index; of the purged position too, which has no entry any more.
    pub(super) fn log_id(&self, index: u64) -> Option<LogId> {
        match self.slot(index) {
            Some(slot) => Some(LogId { term: slot.term, leader: slot.leader, index }),
            None => self.state.purged.filter(|purged| purged.index == index),
        }
    }

    /// Notes where an entry was written, unless a truncation has dropped it since.
    pub(super) fn set_place(&mut self, index: u64, generation: u32, place: Place) {
        let at = index.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(slot) = at.and_then(|at| self.slots.get_mut(at))
            && slot.generation == generation
        {
            (slot.segment, slot.offset) = (place.segment, place.offset);
        }
    }

    /// The segment of each entry with its index, in order.
    pub(super) fn segments(&self) -> impl Iterator<Item = (u32, u64)> {
        self.slots.iter().map(|slot| slot.segment).zip(self.first..)
    }

    /// Index of the first entry that stands in this segment or a later one, or nowhere yet.
    pub(super) fn first_index_from(&self, segment: u32) -> Option<u64> {
        let before = self.slots.partition_point(|slot| slot.segment != 0 && slot.segment < segment);
        if before < self.slots.len() { Some(self.first + before as u64) } else { None }
    }

    /// Entries up to here may leave the cache once they are placed.
    pub(super) fn note_applied(&mut self, index: u64) {
        self.applied = self.applied.max(Some(index));
    }

    /// Drops the oldest cached payload if it may go; returns its bytes.
    pub(super) fn evict(&mut self) -> Option<usize> {
        let index = self.first + (self.slots.len() - self.cache.len()) as u64;
        let slot = self.slot(index)?;
        if slot.segment == 0 || self.applied.is_none_or(|applied| applied < index) {
            return None;
        }
        self.cache.pop_front().map(|payload| payload.len())
    }

    /// Where to find the entries of a range, from its first index here on: at least one, then while the
    /// payloads fit the budget.
    pub(super) fn sources(&self, range: std::ops::Range<u64>, budget_bytes: usize) -> Vec<Source> {
        let mut sources = Vec::new();
        let mut bytes = 0usize;
        for index in range.start.max(self.first)..range.end {
            let Some(slot) = self.slot(index) else { break };
            bytes = bytes.saturating_add(slot.len as usize);
            if bytes > budget_bytes && !sources.is_empty() {
                break;
            }
            sources.push(self.source(index, slot));
        }
        sources
    }

    fn source(&self, index: u64, slot: &Slot) -> Source {
        let id = LogId { term: slot.term, leader: slot.leader, index };
        let uncached = (self.slots.len() - self.cache.len()) as u64;
        let cached = (index - self.first).checked_sub(uncached).and_then(|at| self.cache.get(at as usize));
        match cached {
            Some(payload) => Source::Cached(Entry { id, payload: payload.clone() }),
            None => {
                assert!(slot.segment != 0, "what is not on disk is in the cache");
                let place = Place { segment: slot.segment, offset: slot.offset };
                Source::Stored { id, place, len: slot.len }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u64) -> LogId {
        LogId { term: 1, leader: 1, index }
    }

    fn group(indexes: std::ops::Range<u64>) -> Group {
        let mut group = Group::default();
        indexes.for_each(|index| group.push(id(index), 10, Err(Bytes::from(vec![index as u8; 10]))));
        group
    }

    fn place(offset: u32) -> Place {
        Place { segment: 1, offset }
    }

    #[test]
    fn a_late_answer_for_a_truncated_entry_places_nothing() {
        let mut group = group(0..5);
        let old = group.generation();
        assert_eq!(group.truncate_after(Some(id(2))), 20);
        group.push(id(3), 10, Err(Bytes::from_static(b"new entry.")));
        group.set_place(3, old, place(100));
        group.note_applied(9);
        (0..3).for_each(|index| group.set_place(index, old, place(index as u32)));
        assert_eq!((0..9).filter_map(|_| group.evict()).count(), 3, "the new entry 3 is not placed yet");
        group.set_place(3, group.generation(), place(200));
        assert_eq!(group.evict(), Some(10));
        let sources = group.sources(3..4, 0);
        assert!(matches!(sources[..], [Source::Stored { place: Place { offset: 200, .. }, .. }]));
    }

    #[test]
    fn only_applied_and_placed_entries_leave_the_cache_oldest_first() {
        let mut group = group(5..10);
        assert_eq!(group.evict(), None);
        (5..8).for_each(|index| group.set_place(index, 0, place(8)));
        assert_eq!(group.evict(), None, "not applied");
        group.note_applied(6);
        assert_eq!((group.evict(), group.evict(), group.evict()), (Some(10), Some(10), None));
        let cached: Vec<bool> =
            group.sources(0..99, 1000).iter().map(|from| matches!(from, Source::Cached(_))).collect();
        assert_eq!(cached, [false, false, true, true, true]);
    }

    #[test]
    fn purging_past_the_end_leaves_the_purged_position_as_the_last() {
        let mut group = group(0..5);
        assert_eq!(group.purge_upto(id(1)), 20);
        assert_eq!((group.log_id(1), group.log_id(0), group.entries()), (Some(id(1)), None, Some((2, 4))));
        assert_eq!(group.purge_upto(id(20)), 30);
        assert_eq!(
            (group.state.last, group.state.purged, group.entries()),
            (Some(id(20)), Some(id(20)), None)
        );
        group.push(id(21), 1, Ok(place(8)));
        assert_eq!(group.entries(), Some((21, 21)));
    }

    #[test]
    fn a_read_stops_at_its_budget_but_carries_one() {
        let group = group(0..5);
        assert_eq!(group.sources(1..4, 0).len(), 1);
        assert_eq!(group.sources(1..4, 20).len(), 2);
        assert_eq!(group.sources(1..4, 1000).len(), 3);
        assert!(group.sources(5..9, 1000).is_empty());
    }
}
