//! What an entry looks like in memory: one cell with everything that is known of it.
//!
//! ```text
//! offset  0         4      8      12                 14             16        24        32
//!         previous  next   slot   key length, flags  value length   version   recency   deadline?  key  value
//!         u32       u32    u32    u16                u16            u64       u64       u64        ...  ...
//! ```
//!
//! Little endian. `previous` (more recent) and `next` (less recent) are the links of the LRU list. Flag
//! 0x8000: there is a deadline. Flag 0x4000: key and value are too large for a cell; in their place is the
//! number (u32) of an [`Outer`]. An outer value is a shared buffer that reads hand out without a copy. Links,
//! version, recency and key lie in one cache line or two, so that a lookup costs the index's line and these.

use bytes::Bytes;

use super::cells::{Address, Cells, MAX_CELL, class_of};
use super::hash::value_hash;
use super::paged::Paged;
use crate::model::{Slot, Timestamp};

const HEAD: usize = 32;
const DEADLINE: u16 = 1 << 15;
const OUTER: u16 = 1 << 14;
const LENGTH: u16 = OUTER - 1;
const NONE: u32 = u32::MAX;

/// What changes with every write of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub(super) version: u64,
    pub(super) recency: u64,
    pub(super) deadline: Option<Timestamp>,
}

/// Key and value of an entry too large for a cell, and the hash of the value.
struct Outer {
    key: Box<[u8]>,
    value: Bytes,
    value_hash: u64,
}

enum Place {
    Free(u32),
    Taken(Outer),
}

impl Default for Place {
    fn default() -> Place {
        Place::Free(NONE)
    }
}

/// All records of a keyspace.
pub(super) struct Records {
    cells: Cells,
    outers: Paged<Place, 512>,
    free_outer: u32,
    moving: Vec<u8>,
}

/// A record, read where it lies.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    head: &'a [u8; HEAD],
    body: &'a [u8],
    outers: &'a Paged<Place, 512>,
}

impl<'a> Record<'a> {
    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes([self.head[at], self.head[at + 1], self.head[at + 2], self.head[at + 3]])
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from(self.u32(at)) | u64::from(self.u32(at + 4)) << 32
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.head[at], self.head[at + 1]])
    }

    pub(super) fn previous(&self) -> Address {
        Address::from_raw(self.u32(0))
    }

    pub(super) fn next(&self) -> Address {
        Address::from_raw(self.u32(4))
    }

    pub(super) fn slot(&self) -> Slot {
        Slot(self.u32(8))
    }

    pub(super) fn version(&self) -> u64 {
        self.u64(16)
    }

    pub(super) fn recency(&self) -> u64 {
        self.u64(24)
    }

    pub(super) fn has_deadline(&self) -> bool {
        self.u16(12) & DEADLINE != 0
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let bytes = self.body.first_chunk().filter(|_| self.has_deadline())?;
        Some(Timestamp(u64::from_le_bytes(*bytes)))
    }

    /// Whether the entry counts as absent at `now`.
    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        // A deadline that equals the present is past: at a deadline the key is gone, on every node alike.
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    fn is_outer(&self) -> bool {
        self.u16(12) & OUTER != 0
    }

    fn payload(&self) -> &'a [u8] {
        &self.body[if self.has_deadline() { 8 } else { 0 }..]
    }

    fn outer_number(&self) -> u32 {
        u32::from_le_bytes(*self.payload().first_chunk().expect("a stub holds a number"))
    }

    fn outer(&self) -> &'a Outer {
        match self.outers.get(self.outer_number() as usize) {
            Place::Taken(outer) => outer,
            Place::Free(_) => unreachable!("a stub names an outer value that is there"),
        }
    }

    pub(super) fn key(&self) -> &'a [u8] {
        match self.is_outer() {
            false => &self.payload()[..usize::from(self.u16(12) & LENGTH)],
            true => &self.outer().key,
        }
    }

    pub(super) fn value(&self) -> &'a [u8] {
        if self.is_outer() {
            return &self.outer().value;
        }
        let key = usize::from(self.u16(12) & LENGTH);
        &self.payload()[key..key + usize::from(self.u16(14))]
    }

    /// The value's shared buffer if it has one.
    pub(super) fn shared_value(&self) -> Option<&'a Bytes> {
        self.is_outer().then(|| &self.outer().value)
    }

    pub(super) fn value_hash(&self) -> u64 {
        match self.is_outer() {
            false => value_hash(self.value()),
            true => self.outer().value_hash,
        }
    }
}

impl Records {
    pub(super) fn new() -> Records {
        Records { cells: Cells::new(), outers: Paged::new(), free_outer: NONE, moving: Vec::new() }
    }

    pub(super) fn at(&self, address: Address) -> Record<'_> {
        let cell = self.cells.at(address);
        let (head, body) = cell.split_first_chunk().expect("a cell is longer than a record's head");
        Record { head, body, outers: &self.outers }
    }

    /// A byte of the record or of what lies behind it, to bring its cache line in.
    pub(super) fn glance(&self, address: Address, offset: usize) -> u8 {
        self.cells.at(address).get(offset).copied().unwrap_or(0)
    }

    /// Writes a new record, not yet linked.
    pub(super) fn create(&mut self, slot: Slot, key: &[u8], value: &[u8], stamp: Stamp) -> Address {
        let size = size_inside(key, value, stamp);
        if size <= MAX_CELL && self.cells.is_roomy() {
            let address = self.cells.take(class_of(size));
            write_inside(self.cells.at_mut(address), slot, key, value, stamp);
            return address;
        }
        let value = Bytes::copy_from_slice(value);
        let value_hash = value_hash(&value);
        let number = self.take_outer(Outer { key: key.into(), value, value_hash });
        self.create_stub(slot, number, stamp)
    }

    /// Writes another value and stamp for the same key. Returns where the record is now, and a shared value
    /// that was given up.
    pub(super) fn rewrite(
        &mut self,
        address: Address,
        key: &[u8],
        value: &[u8],
        stamp: Stamp,
    ) -> (Address, Option<Bytes>) {
        let old = self.at(address);
        let (slot, size) = (old.slot(), size_inside(key, value, stamp));
        if !old.is_outer() && size <= MAX_CELL && class_of(old.size_inside()) == class_of(size) {
            write_inside(self.cells.at_mut(address), slot, key, value, stamp);
            return (address, None);
        }
        let given_up = self.remove(address);
        (self.create(slot, key, value, stamp), given_up)
    }

    /// Writes another stamp. Returns where the record is now.
    pub(super) fn restamp(&mut self, address: Address, stamp: Stamp) -> Address {
        let old = self.at(address);
        let (slot, had) = (old.slot(), old.has_deadline());
        if had == stamp.deadline.is_some() {
            let cell = self.cells.at_mut(address);
            write_stamp(cell, stamp);
            return address;
        }
        if old.is_outer() {
            let number = old.outer_number();
            self.cells.give(address);
            return self.create_stub(slot, number, stamp);
        }
        let mut moving = std::mem::take(&mut self.moving);
        let old = self.at(address);
        let (key, value) = (old.key(), old.value());
        let length = key.len();
        moving.clear();
        moving.extend_from_slice(key);
        moving.extend_from_slice(value);
        self.cells.give(address);
        let address = self.create(slot, &moving[..length], &moving[length..], stamp);
        self.moving = moving;
        address
    }

    /// Gives the record's memory back. Returns its shared value, if it had one.
    pub(super) fn remove(&mut self, address: Address) -> Option<Bytes> {
        let record = self.at(address);
        let outer = record.is_outer().then(|| record.outer_number());
        self.cells.give(address);
        outer.map(|number| self.give_outer(number).value)
    }

    pub(super) fn set_previous(&mut self, address: Address, previous: Address) {
        self.cells.at_mut(address)[..4].copy_from_slice(&previous.raw().to_le_bytes());
    }

    pub(super) fn set_next(&mut self, address: Address, next: Address) {
        self.cells.at_mut(address)[4..8].copy_from_slice(&next.raw().to_le_bytes());
    }

    pub(super) fn set_recency(&mut self, address: Address, recency: u64) {
        self.cells.at_mut(address)[24..32].copy_from_slice(&recency.to_le_bytes());
    }

    fn create_stub(&mut self, slot: Slot, number: u32, stamp: Stamp) -> Address {
        let size = HEAD + deadline_bytes(stamp) + 4;
        let address = self.cells.take(class_of(size));
        let cell = self.cells.at_mut(address);
        write_head(cell, slot, OUTER, 0, stamp);
        let at = HEAD + deadline_bytes(stamp);
        cell[at..at + 4].copy_from_slice(&number.to_le_bytes());
        address
    }

    fn take_outer(&mut self, outer: Outer) -> u32 {
        let number = self.free_outer;
        if number == NONE {
            self.outers.push(Place::Taken(outer));
            return self.outers.len() as u32 - 1;
        }
        match std::mem::replace(self.outers.get_mut(number as usize), Place::Taken(outer)) {
            Place::Free(next) => self.free_outer = next,
            Place::Taken(_) => unreachable!("the free list holds free places"),
        }
        number
    }

    fn give_outer(&mut self, number: u32) -> Outer {
        let free = Place::Free(std::mem::replace(&mut self.free_outer, number));
        match std::mem::replace(self.outers.get_mut(number as usize), free) {
            Place::Taken(outer) => outer,
            Place::Free(_) => unreachable!("a stub names an outer value that is there"),
        }
    }
}

impl Record<'_> {
    fn size_inside(&self) -> usize {
        let deadline = if self.has_deadline() { 8 } else { 0 };
        HEAD + deadline + usize::from(self.u16(12) & LENGTH) + usize::from(self.u16(14))
    }
}

fn deadline_bytes(stamp: Stamp) -> usize {
    if stamp.deadline.is_some() { 8 } else { 0 }
}

fn size_inside(key: &[u8], value: &[u8], stamp: Stamp) -> usize {
    HEAD + deadline_bytes(stamp) + key.len() + value.len()
}

fn write_inside(cell: &mut [u8], slot: Slot, key: &[u8], value: &[u8], stamp: Stamp) {
    write_head(cell, slot, key.len() as u16, value.len() as u16, stamp);
    let payload = &mut cell[HEAD + deadline_bytes(stamp)..];
    payload[..key.len()].copy_from_slice(key);
    payload[key.len()..key.len() + value.len()].copy_from_slice(value);
}

fn write_head(cell: &mut [u8], slot: Slot, key: u16, value: u16, stamp: Stamp) {
    let flag = if stamp.deadline.is_some() { DEADLINE } else { 0 };
    let head: &mut [u8; HEAD] = cell.first_chunk_mut().expect("a cell is longer than a record's head");
    head[..4].copy_from_slice(&Address::NONE.raw().to_le_bytes());
    head[4..8].copy_from_slice(&Address::NONE.raw().to_le_bytes());
    head[8..12].copy_from_slice(&slot.0.to_le_bytes());
    head[12..14].copy_from_slice(&(key | flag).to_le_bytes());
    head[14..16].copy_from_slice(&value.to_le_bytes());
    write_stamp(cell, stamp);
}

/// Writes the stamp into a record whose flag for a deadline is right already.
fn write_stamp(cell: &mut [u8], stamp: Stamp) {
    cell[16..24].copy_from_slice(&stamp.version.to_le_bytes());
    cell[24..32].copy_from_slice(&stamp.recency.to_le_bytes());
    if let Some(deadline) = stamp.deadline {
        cell[HEAD..HEAD + 8].copy_from_slice(&deadline.0.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(deadline: Option<u64>) -> Stamp {
        Stamp { version: 7, recency: 9, deadline: deadline.map(Timestamp) }
    }

    #[track_caller]
    fn assert_holds(records: &Records, address: Address, key: &[u8], value: &[u8], deadline: Option<u64>) {
        let record = records.at(address);
        assert_eq!((record.key(), record.value()), (key, value));
        assert_eq!((record.slot(), record.version(), record.recency()), (Slot(3), 7, 9));
        assert_eq!(record.deadline(), deadline.map(Timestamp));
        assert_eq!(record.value_hash(), value_hash(value));
    }

    #[test]
    fn every_size_is_read_back_through_rewrites_and_deadlines() {
        let mut records = Records::new();
        let sizes = [0, 1, 64, 65, 1_999, 2_000, 2_001, 4_000, 100_000];
        for (key, from, to) in
            sizes.iter().flat_map(|&a| sizes.iter().flat_map(move |&b| [(1, a, b), (4_096, a, b)]))
        {
            let (key, from, to) = (vec![b'k'; key], vec![b'f'; from], vec![b't'; to]);
            let address = records.create(Slot(3), &key, &from, stamp(None));
            assert_holds(&records, address, &key, &from, None);
            let address = records.restamp(address, stamp(Some(5)));
            assert_holds(&records, address, &key, &from, Some(5));
            let (address, _) = records.rewrite(address, &key, &to, stamp(Some(6)));
            assert_holds(&records, address, &key, &to, Some(6));
            let address = records.restamp(address, stamp(None));
            assert_holds(&records, address, &key, &to, None);
            assert_eq!(records.at(address).shared_value().is_some(), key.len() + to.len() > 2_016);
            records.remove(address);
            assert_eq!(records.cells.page_count(), 0);
        }
        assert_eq!(records.outers.len(), 1, "places of outer values are used again");
    }

    /// Goal: when addresses run short, small entries live outside too, and nobody sees a difference.
    #[test]
    fn past_the_room_for_cells_entries_live_outside() {
        let mut records = Records::new();
        records.cells.set_roomy_pages(1);
        let first = records.create(Slot(3), b"a", b"one", stamp(None));
        let second = records.create(Slot(3), b"b", b"two", stamp(Some(5)));
        assert!(records.at(first).shared_value().is_none() && records.at(second).shared_value().is_some());
        assert_holds(&records, second, b"b", b"two", Some(5));
        let second = records.restamp(second, stamp(None));
        assert_holds(&records, second, b"b", b"two", None);
        let first = records.restamp(first, stamp(Some(6)));
        assert_holds(&records, first, b"a", b"one", Some(6));
        let (first, _) = records.rewrite(first, b"a", b"longer than before", stamp(Some(7)));
        assert_holds(&records, first, b"a", b"longer than before", Some(7));
    }
}
