//! The LRU order: doubly linked lists threaded through the records.
//!
//! ```text
//! head (most recent) <-> ... <-> cursor <-> ... <-> tail (least recent)
//! ```
//!
//! One list holds the entries with a deadline, the other those without; recency merges them. The cursor is
//! where the search for victims of a transaction stands: what lies behind it is protected by that
//! transaction, so the search never walks over the same entry twice.

use super::cells::Address;
use super::record::{Record, Records};

/// One list.
#[derive(Clone, Copy, Default)]
pub(super) struct List {
    head: Address,
    tail: Address,
    cursor: Address,
}

impl List {
    /// Begins a search for victims at the tail.
    pub(super) fn rewind(&mut self) {
        self.cursor = self.tail;
    }

    /// Where the search stands; [`Address::NONE`] past the head.
    pub(super) fn cursor(&self) -> Address {
        self.cursor
    }

    /// Moves the search past the entry at the cursor.
    pub(super) fn skip(&mut self, records: &Records) {
        self.cursor = records.at(self.cursor).previous();
    }

    /// Shows the `most` recent entries, the least recent of them first.
    pub(super) fn visit_recent(&self, records: &Records, most: usize, visit: &mut dyn FnMut(&Record<'_>)) {
        let mut addresses = Vec::new();
        let mut at = self.head;
        while let Some(address) = at.some()
            && addresses.len() < most
        {
            addresses.push(address);
            at = records.at(address).next();
        }
        addresses.into_iter().rev().for_each(|address| visit(&records.at(address)));
    }

    /// Makes an entry the most recent one.
    pub(super) fn push(&mut self, records: &mut Records, address: Address) {
        let second = std::mem::replace(&mut self.head, address);
        records.set_previous(address, Address::NONE);
        records.set_next(address, second);
        match second.some() {
            Some(second) => records.set_previous(second, address),
            None => self.tail = address,
        }
    }

    /// Takes an entry out.
    pub(super) fn unlink(&mut self, records: &mut Records, address: Address) {
        let record = records.at(address);
        let (previous, next) = (record.previous(), record.next());
        if self.cursor == address {
            self.cursor = previous;
        }
        match previous.some() {
            Some(previous) => records.set_next(previous, next),
            None => self.head = next,
        }
        match next.some() {
            Some(next) => records.set_previous(next, previous),
            None => self.tail = previous,
        }
    }
}
