//! The order of deadlines: an indexed heap with four children a node.
//!
//! Ordered by (deadline, slot): the order of expiry and of `volatile-ttl`. Insert, change and remove are
//! O(log n), the first is O(1). 16 bytes a deadline: 12 in the heap and 4 for the place of each slot in it.
//! Algorithm: d-ary heap, Johnson 1975; four children of 12 bytes lie in one cache line or two.

use super::paged::Paged;
use crate::model::{Slot, Timestamp};

const ARITY: usize = 4;
const NOWHERE: u32 = u32::MAX;

/// Deadline in two halves, so that it packs into 12 bytes.
#[derive(Clone, Copy, Default)]
struct Item {
    high: u32,
    low: u32,
    slot: u32,
}

impl Item {
    fn new(deadline: Timestamp, slot: Slot) -> Item {
        Item { high: (deadline.0 >> 32) as u32, low: deadline.0 as u32, slot: slot.0 }
    }

    fn deadline(self) -> Timestamp {
        Timestamp(u64::from(self.high) << 32 | u64::from(self.low))
    }

    /// Deadlines that are equal go by slot, so that every node expires and evicts in the same order.
    fn rank(self) -> (u64, u32) {
        (self.deadline().0, self.slot)
    }
}

#[derive(Clone, Copy)]
struct Position(u32);

impl Default for Position {
    fn default() -> Position {
        Position(NOWHERE)
    }
}

/// The deadlines of a keyspace.
pub(super) struct Deadlines {
    heap: Paged<Item, 4_096>,
    positions: Paged<Position, 4_096>,
}

impl Deadlines {
    pub(super) fn new() -> Deadlines {
        Deadlines { heap: Paged::new(), positions: Paged::new() }
    }

    /// The earliest deadline and its slot.
    pub(super) fn first(&self) -> Option<(Timestamp, Slot)> {
        let item = (self.heap.len() > 0).then(|| *self.heap.get(0))?;
        Some((item.deadline(), Slot(item.slot)))
    }

    /// Gives `slot` this deadline, or none.
    pub(super) fn set(&mut self, slot: Slot, deadline: Option<Timestamp>) {
        match (self.position(slot), deadline) {
            (None, None) => {}
            (None, Some(deadline)) => {
                self.push(slot, deadline);
                self.rise(self.heap.len() - 1);
            }
            (Some(at), Some(deadline)) => {
                *self.heap.get_mut(at) = Item::new(deadline, slot);
                self.settle(at);
            }
            (Some(at), None) => self.remove(at),
        }
    }

    /// Whether `slot` is in the order.
    pub(super) fn contains(&self, slot: Slot) -> bool {
        self.position(slot).is_some()
    }

    /// Where in the heap `slot` is, to bring that place in.
    pub(super) fn glance(&self, slot: Slot) -> Option<u32> {
        self.position(slot).map(|at| at as u32)
    }

    /// A byte of the deadline at a place in the heap and of the one above it.
    pub(super) fn glance_at(&self, at: u32) -> u32 {
        let above = (at as usize).saturating_sub(1) / ARITY;
        self.heap.get(at as usize).slot ^ self.heap.get(above).slot
    }

    /// Adds a deadline without keeping the order; [`Deadlines::restore_order`] must follow.
    pub(super) fn push(&mut self, slot: Slot, deadline: Timestamp) {
        self.positions.grow_to(slot.0 as usize + 1);
        *self.positions.get_mut(slot.0 as usize) = Position(self.heap.len() as u32);
        self.heap.push(Item::new(deadline, slot));
    }

    /// Makes a heap of what was pushed (Floyd 1964), O(n).
    pub(super) fn restore_order(&mut self) {
        let parents = self.heap.len().saturating_sub(1).div_ceil(ARITY);
        (0..parents).rev().for_each(|at| self.sink(at));
    }

    fn position(&self, slot: Slot) -> Option<usize> {
        let slot = slot.0 as usize;
        let position = (slot < self.positions.len()).then(|| self.positions.get(slot).0)?;
        (position != NOWHERE).then_some(position as usize)
    }

    fn remove(&mut self, at: usize) {
        let slot = self.heap.get(at).slot;
        *self.positions.get_mut(slot as usize) = Position(NOWHERE);
        let Some(last) = self.heap.pop() else { return };
        if at < self.heap.len() {
            self.put(at, last);
            self.settle(at);
        }
    }

    fn put(&mut self, at: usize, item: Item) {
        *self.positions.get_mut(item.slot as usize) = Position(at as u32);
        *self.heap.get_mut(at) = item;
    }

    fn settle(&mut self, at: usize) {
        if !self.rise(at) {
            self.sink(at);
        }
    }

    fn rise(&mut self, mut at: usize) -> bool {
        let (item, start) = (*self.heap.get(at), at);
        while at > 0 {
            let parent = *self.heap.get((at - 1) / ARITY);
            if parent.rank() <= item.rank() {
                break;
            }
            self.put(at, parent);
            at = (at - 1) / ARITY;
        }
        self.put(at, item);
        at != start
    }

    fn sink(&mut self, mut at: usize) {
        let item = *self.heap.get(at);
        loop {
            let children = at * ARITY + 1..(at * ARITY + 1 + ARITY).min(self.heap.len());
            let Some(least) = children.min_by_key(|&child| self.heap.get(child).rank()) else { break };
            let child = *self.heap.get(least);
            if item.rank() <= child.rank() {
                break;
            }
            self.put(at, child);
            at = least;
        }
        self.put(at, item);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn first_is_the_least_by_deadline_then_slot() {
        let (mut deadlines, mut model) = (Deadlines::new(), BTreeSet::new());
        let mut set = [None; 64];
        let mut random = 1_u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let slot = (random >> 40) as u32 % 64;
            let deadline = (random >> 62 != 0).then_some(Timestamp(((random >> 50) % 100) << 30));
            if let Some(old) = set[slot as usize] {
                model.remove(&(old, Slot(slot)));
            }
            set[slot as usize] = deadline;
            model.extend(deadline.map(|deadline| (deadline, Slot(slot))));
            deadlines.set(Slot(slot), deadline);
            assert_eq!(deadlines.first(), model.first().copied());
        }
    }

    #[test]
    fn a_bulk_load_is_ordered() {
        let mut deadlines = Deadlines::new();
        (0..1_000).for_each(|n| deadlines.push(Slot(n), Timestamp(u64::from(n * 7_919 % 1_009))));
        deadlines.restore_order();
        let mut seen = Vec::new();
        while let Some((deadline, slot)) = deadlines.first() {
            seen.push((deadline, slot));
            deadlines.set(slot, None);
        }
        assert!(seen.len() == 1_000 && seen.is_sorted());
    }
}
