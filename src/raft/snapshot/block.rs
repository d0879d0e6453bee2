//! The frame around everything behind the file's header: blocks of records, and the end.
//!
//! ```text
//! byte  size
//!    0     1  kind: 1 walked records, 2 displaced records, 3 the end
//!    1     1  codec: 0 stored as they are, 1 LZ4 block
//!    2     2  zero
//!    4     4  number of records; 0 in the end
//!    8     4  length of the content before compression
//!   12     4  length of what is stored
//!   16     4  CRC-32C of what is stored
//!   20     4  CRC-32C of bytes 0 to 20
//!   24     -  what is stored
//! ```
//!
//! Both CRCs start from the CRC of the file's header continued over the block's offset as a u64: a block that was
//! moved, repeated or taken from another file does not verify.
//!
//! Content is [`BLOCK_BYTES`] long at most, except that one record larger than that has a block of its own. It is
//! stored compressed only where that saves a sixteenth, because what is stored raw loads faster; the end never is.

use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

use super::wire::{Cursor, MAX_VARINT_BYTES};
use crate::model::limits::{MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// Most content of a block that holds more than one record: 64 KiB, compressed and written within a fraction of a
/// millisecond, so that it holds up no other thread for longer.
pub(super) const BLOCK_BYTES: usize = 64 << 10;

/// Most content of any block: the largest record, with its six numbers.
const MAX_CONTENT_BYTES: usize = MAX_KEY_BYTES + MAX_VALUE_BYTES as usize + 6 * MAX_VARINT_BYTES;

/// Length of the part before what is stored.
pub(super) const HEAD_BYTES: usize = 24;

const RAW: u8 = 0;
const LZ4: u8 = 1;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Records in the order of their slots, as the walk met them.
    Walked,
    /// Records that writers handed over before they changed them, in any order.
    Displaced,
    /// The totals. Nothing but the closing mark follows.
    End,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Kind::Walked => 1,
            Kind::Displaced => 2,
            Kind::End => 3,
        }
    }

    fn of(code: u8) -> Option<Kind> {
        [Kind::Walked, Kind::Displaced, Kind::End].into_iter().find(|kind| kind.code() == code)
    }
}

/// What both CRCs of the block at `offset` start from, in the file whose header has the CRC `header`.
fn seed(header: u32, offset: u64) -> u32 {
    crc32c::crc32c_append(header, &offset.to_le_bytes())
}

/// The part of a block before what is stored, verified.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// What the block holds.
    pub(super) kind: Kind,
    /// How many records.
    pub(super) records: u32,
    /// Length of what is stored, in bytes.
    pub(super) stored: usize,
    content: usize,
    codec: u8,
    checksum: u32,
    seed: u32,
}

impl Head {
    /// Reads the head of the block at `offset`. What it claims is within bounds afterwards, so that memory for it may
    /// be taken; whether the file is long enough is for the caller to see.
    pub(super) fn decode(bytes: &[u8; HEAD_BYTES], header: u32, offset: u64) -> Result<Head, &'static str> {
        let seed = seed(header, offset);
        let (fields, checksum) = bytes.split_at(HEAD_BYTES - 4);
        if crc32c::crc32c_append(seed, fields).to_le_bytes() != checksum {
            return Err("the head of the block does not match its checksum");
        }
        Head::fields(fields, seed).ok_or("the head of the block is invalid")
    }

    fn fields(bytes: &[u8], seed: u32) -> Option<Head> {
        let mut cursor = Cursor::new(bytes);
        let (kind, codec, zero) = (Kind::of(cursor.u8()?)?, cursor.u8()?, cursor.u16()?);
        let (records, content, stored) = (cursor.u32()?, cursor.u32()? as usize, cursor.u32()? as usize);
        let checksum = cursor.u32()?;
        let sized = match codec {
            RAW => stored == content,
            LZ4 => stored < content && kind != Kind::End,
            _ => false,
        };
        let bounded = content <= MAX_CONTENT_BYTES && (content <= BLOCK_BYTES || records == 1);
        (zero == 0 && sized && bounded).then_some(Head {
            kind,
            records,
            stored,
            content,
            codec,
            checksum,
            seed,
        })
    }

    /// Checks what is `stored` and puts the content into `content`, whose old bytes do not matter. May exchange the
    /// two buffers.
    pub(super) fn unpack(&self, stored: &mut Vec<u8>, content: &mut Vec<u8>) -> Result<(), &'static str> {
        if crc32c::crc32c_append(self.seed, stored) != self.checksum {
            return Err("the block does not match its checksum");
        }
        if self.codec == RAW {
            std::mem::swap(stored, content);
            return Ok(());
        }
        content.resize(self.content, 0);
        match decompress_into(stored, content) {
            Ok(length) if length == self.content => Ok(()),
            _ => Err("the block does not decompress to its length"),
        }
    }
}

/// Makes blocks, keeping its buffer from one to the next.
#[derive(Debug, Default)]
pub(super) struct Framer {
    block: Vec<u8>,
}

impl Framer {
    /// The bytes of a block that will stand at `offset`.
    pub(super) fn frame(
        &mut self,
        header: u32,
        offset: u64,
        kind: Kind,
        records: u32,
        content: &[u8],
    ) -> &[u8] {
        assert!(content.len() <= MAX_CONTENT_BYTES, "a block is bounded, or no reader would take it");
        let codec = if kind == Kind::End { self.copy(content) } else { self.pack(content) };
        let stored = self.block.len() - HEAD_BYTES;
        let seed = seed(header, offset);
        let checksum = crc32c::crc32c_append(seed, self.block.get(HEAD_BYTES..).unwrap_or_default());
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend([kind.code(), codec, 0, 0]);
        for number in [records, content.len() as u32, stored as u32, checksum] {
            head.extend(number.to_le_bytes());
        }
        head.extend(crc32c::crc32c_append(seed, &head).to_le_bytes());
        if let Some(space) = self.block.get_mut(..HEAD_BYTES) {
            space.copy_from_slice(&head);
        }
        &self.block
    }

    /// Puts `content` behind the space for the head, compressed if that pays; returns the codec.
    fn pack(&mut self, content: &[u8]) -> u8 {
        self.block.resize(HEAD_BYTES + get_maximum_output_size(content.len()), 0);
        let space = self.block.get_mut(HEAD_BYTES..).unwrap_or_default();
        match compress_into(content, space) {
            Ok(length) if length + content.len() / 16 < content.len() => {
                self.block.truncate(HEAD_BYTES + length);
                LZ4
            }
            _ => self.copy(content),
        }
    }

    /// Puts `content` behind the space for the head as it is; returns the codec.
    fn copy(&mut self, content: &[u8]) -> u8 {
        self.block.resize(HEAD_BYTES, 0);
        self.block.extend_from_slice(content);
        RAW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(block: &[u8]) -> (&[u8; HEAD_BYTES], &[u8]) {
        block.split_first_chunk().expect("a block has a head")
    }

    /// Goal: content comes back whether it was compressed or not, and only at its own place.
    #[test]
    fn a_block_verifies_only_at_its_offset_in_its_file() {
        let noise: Vec<u8> =
            (0..5000u32).flat_map(|n| crc32c::crc32c(&n.to_le_bytes()).to_le_bytes()).collect();
        for content in [vec![], vec![7; 9000], noise] {
            let mut framer = Framer::default();
            let block = framer.frame(1, 4096, Kind::Walked, 3, &content).to_vec();
            let (head, stored) = split(&block);
            let read = Head::decode(head, 1, 4096).unwrap();
            assert_eq!((read.kind, read.records, read.stored), (Kind::Walked, 3, stored.len()));
            let mut unpacked = vec![1; 17];
            read.unpack(&mut stored.to_vec(), &mut unpacked).unwrap();
            assert_eq!(unpacked, content);
            assert!(Head::decode(head, 1, 4097).is_err(), "moved");
            assert!(Head::decode(head, 2, 4096).is_err(), "of another file");
        }
    }

    /// Goal: what a head claims is bounded before memory is taken for it.
    #[test]
    fn a_head_with_absurd_lengths_is_refused() {
        let forge = |records: u32, content: u32, stored: u32, codec: u8| {
            let mut head = vec![1, codec, 0, 0];
            for number in [records, content, stored, 0] {
                head.extend(number.to_le_bytes());
            }
            head.extend(crc32c::crc32c_append(seed(9, 0), &head).to_le_bytes());
            Head::decode(head.as_slice().try_into().unwrap(), 9, 0).is_ok()
        };
        let large = MAX_CONTENT_BYTES as u32;
        assert!(forge(1, large, large, RAW) && forge(1, large, 10, LZ4) && forge(5, 100, 100, RAW));
        assert!(!forge(1, large + 1, large + 1, RAW), "larger than the largest record");
        assert!(!forge(2, large, large, RAW), "more than one record in a large block");
        assert!(!forge(1, u32::MAX, 10, LZ4) && !forge(1, 10, u32::MAX, LZ4));
        assert!(!forge(1, 10, 9, RAW) && !forge(1, 10, 10, LZ4) && !forge(1, 10, 9, 2));
    }
}
