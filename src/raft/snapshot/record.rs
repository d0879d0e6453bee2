//! Records: the entries of the store, as blocks hold them one behind the other.
//!
//! ```text
//! varint  slot * 2 + 1 if there is a deadline. In a block of walked records the slot counts from behind the
//!         one before (so nearly always 0), in its first record and in a block of displaced ones it is the slot
//! varint  version
//! varint  recency
//! varint  deadline in ms since 1970, if there is one
//! varint  length of the key
//! varint  length of the value
//! bytes   key
//! bytes   value
//! ```
//!
//! Every slot in use at the cut stands in exactly one record of the file, walked or displaced.

use super::block::{BLOCK_BYTES, Kind};
use super::wire::{Cursor, MAX_VARINT_BYTES, put_varint};
use crate::model::{Recency, Slot, Timestamp, Version};
use crate::store::RecordRef;

/// Fewest bytes of a record: five varints and a key of one byte.
const MIN_RECORD_BYTES: usize = 6;

/// Buffers kept from chunk to chunk are no larger than this, though a large value passed through.
const KEPT_BYTES: usize = 4 * BLOCK_BYTES;

/// Encodes records and cuts them into blocks.
///
/// Encoding happens under the store's lock, so it only copies; compressing and writing follow outside of it.
#[derive(Debug)]
pub(super) struct Packer {
    kind: Kind,
    bytes: Vec<u8>,
    full: Vec<Piece>,
    open: Piece,
    next_slot: u64,
}

/// A run of records that makes one block.
#[derive(Clone, Copy, Debug, Default)]
struct Piece {
    records: u32,
    length: usize,
}

impl Packer {
    /// Without records.
    pub(super) fn new(kind: Kind) -> Packer {
        let open = Piece::default();
        Packer { kind, bytes: Vec::with_capacity(2 * BLOCK_BYTES), full: Vec::new(), open, next_slot: 0 }
    }

    /// Adds a record. Those of kind `Walked` come in the order of their slots.
    pub(super) fn push(&mut self, record: &RecordRef<'_>) {
        let about = record.key.len() + record.value.len() + 6 * MAX_VARINT_BYTES;
        if self.open.records > 0 && self.open.length + about > BLOCK_BYTES {
            self.close();
        }
        let before = self.bytes.len();
        let slot = u64::from(record.slot.0);
        let counted = slot.checked_sub(self.next_slot).expect("the walk goes from slot to slot upwards");
        put_varint(&mut self.bytes, counted << 1 | u64::from(record.deadline.is_some()));
        put_varint(&mut self.bytes, record.version.0);
        put_varint(&mut self.bytes, record.recency.0);
        if let Some(deadline) = record.deadline {
            put_varint(&mut self.bytes, deadline.0);
        }
        put_varint(&mut self.bytes, record.key.len() as u64);
        put_varint(&mut self.bytes, record.value.len() as u64);
        self.bytes.extend_from_slice(record.key);
        self.bytes.extend_from_slice(record.value);
        self.open.records += 1;
        self.open.length += self.bytes.len() - before;
        if self.kind == Kind::Walked {
            self.next_slot = slot + 1;
        }
    }

    /// Ends the block in the making.
    pub(super) fn close(&mut self) {
        if self.open.records > 0 {
            self.full.push(std::mem::take(&mut self.open));
        }
        self.next_slot = 0;
    }

    /// Hands over what makes whole blocks, as kind, number of records and content, and forgets it.
    pub(super) fn drain<E>(
        &mut self,
        mut write: impl FnMut(Kind, u32, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = self.bytes.as_slice();
        for piece in self.full.drain(..) {
            let (content, behind) = rest.split_at(piece.length);
            write(self.kind, piece.records, content)?;
            rest = behind;
        }
        let written = self.bytes.len() - rest.len();
        self.bytes.drain(..written);
        if self.bytes.len() <= KEPT_BYTES {
            self.bytes.shrink_to(KEPT_BYTES);
        }
        Ok(())
    }
}

/// Decodes the records of a block.
#[derive(Debug)]
pub(super) struct Records<'a> {
    cursor: Cursor<'a>,
    kind: Kind,
    left: u32,
    next_slot: u64,
}

impl<'a> Records<'a> {
    /// Over the `count` records of `content`.
    pub(super) fn new(kind: Kind, count: u32, content: &'a [u8]) -> Result<Records<'a>, &'static str> {
        if kind == Kind::End || count == 0 || count as usize > content.len() / MIN_RECORD_BYTES {
            return Err("the block cannot hold its number of records");
        }
        Ok(Records { cursor: Cursor::new(content), kind, left: count, next_slot: 0 })
    }

    #[inline]
    fn decode(&mut self) -> Option<RecordRef<'a>> {
        let cursor = &mut self.cursor;
        let head = cursor.varint()?;
        let slot = (head >> 1).checked_add(self.next_slot)?;
        let version = Version(cursor.varint()?);
        let recency = Recency(cursor.varint()?);
        let deadline = if head & 1 == 1 { Some(Timestamp(cursor.varint()?)) } else { None };
        let (key, value) = (usize::try_from(cursor.varint()?).ok()?, usize::try_from(cursor.varint()?).ok()?);
        let (key, value) = (cursor.take(key)?, cursor.take(value)?);
        if self.kind == Kind::Walked {
            self.next_slot = slot + 1;
        }
        Some(RecordRef { slot: Slot(u32::try_from(slot).ok()?), key, value, version, deadline, recency })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordRef<'a>, &'static str>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            let over = !self.cursor.is_empty();
            self.cursor = Cursor::new(&[]);
            return over.then_some(Err("the block holds more than its records"));
        }
        self.left -= 1;
        let record = self.decode();
        if record.is_none() {
            (self.left, self.cursor) = (0, Cursor::new(&[]));
        }
        Some(record.ok_or("a record of the block does not decode"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record<'a>(slot: u32, value: &'a [u8], deadline: Option<u64>) -> RecordRef<'a> {
        let (version, recency) = (Version(u64::MAX - u64::from(slot)), Recency(7));
        RecordRef {
            slot: Slot(slot),
            key: b"key",
            value,
            version,
            deadline: deadline.map(Timestamp),
            recency,
        }
    }

    fn blocks(kind: Kind, records: &[RecordRef<'_>]) -> Vec<(u32, Vec<u8>)> {
        let (mut packer, mut blocks) = (Packer::new(kind), Vec::new());
        let mut take = |packer: &mut Packer| {
            packer.drain(|kept, count, content| {
                assert_eq!(kept, kind);
                blocks.push((count, content.to_vec()));
                Ok::<(), ()>(())
            })
        };
        for record in records {
            packer.push(record);
            take(&mut packer).unwrap();
        }
        packer.close();
        take(&mut packer).unwrap();
        blocks
    }

    /// Goal: records come back from blocks of either kind; a block is full at its limit and no later, and what is
    /// larger has a block of its own.
    #[test]
    fn records_come_back_and_large_ones_stand_alone() {
        let (small, large) = (vec![1; 1_000], vec![2; 2 * BLOCK_BYTES]);
        let mut records: Vec<_> = (0..600).map(|slot| record(slot, &small, None)).collect();
        records[9] = record(9, &large, Some(u64::MAX));
        records[10] = record(10, b"", Some(1));
        records.push(record(u32::MAX, b"last slot", None));
        for kind in [Kind::Walked, Kind::Displaced] {
            if kind == Kind::Displaced {
                records.reverse();
            }
            let blocks = blocks(kind, &records);
            assert!(blocks.iter().all(|(count, content)| *count == 1 || content.len() <= BLOCK_BYTES));
            assert_eq!(
                blocks.len(),
                1 + 1 + 10,
                "before the large one, itself, and 65 records in each behind it"
            );
            let back =
                blocks.iter().flat_map(|(count, content)| Records::new(kind, *count, content).unwrap());
            assert_eq!(back.collect::<Result<Vec<_>, _>>().unwrap(), records);
        }
    }

    #[test]
    fn a_wrong_number_of_records_is_refused() {
        let all = blocks(Kind::Walked, &[record(1, b"a", None), record(2, b"b", None)]);
        let (count, content) = &all[0];
        let read =
            |count, content| Records::new(Kind::Walked, count, content)?.collect::<Result<Vec<_>, _>>();
        assert_eq!(read(*count, content).map(|records| records.len()), Ok(2));
        assert!(read(0, content).is_err() && read(1, content).is_err() && read(3, content).is_err());
        assert!(read(u32::MAX, content).is_err() && read(*count, &content[1..]).is_err());
        assert!(Records::new(Kind::End, *count, content).is_err());
    }

    proptest! {
        /// Goal: whatever a block holds, decoding ends, without a panic, after at most its number of records.
        #[test]
        fn any_bytes_are_decoded_or_refused(
            count in 0..50_u32,
            content in prop::collection::vec(prop_oneof![0..4_u8, any::<u8>()], 0..300),
        ) {
            for kind in [Kind::Walked, Kind::Displaced] {
                if let Ok(records) = Records::new(kind, count, &content) {
                    prop_assert!(records.count() <= count as usize + 1);
                }
            }
        }
    }
}
