//! The end of a snapshot: totals, the checksum of the whole file, and a mark behind which nothing may follow.
//!
//! The content of the last block:
//!
//! ```text
//! byte  size
//!    0     8  number of blocks before this one
//!    8     8  records in blocks of walked records
//!   16     8  records in blocks of displaced records
//!   24     8  length of all content before compression
//!   32    16  XXH3-128 of every byte of the file before this block
//! ```
//!
//! Behind that block stands [`MARK`], and there the file ends.

use super::block::Kind;
use super::wire::Cursor;

/// The last bytes of the file.
pub(super) const MARK: [u8; 8] = *b"KVSNEND\n";

/// What the blocks of records add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Blocks of records.
    pub(super) blocks: u64,
    /// Records that the walk met.
    pub(super) walked: u64,
    /// Records that writers handed over.
    pub(super) displaced: u64,
    /// Length of all content before compression, in bytes.
    pub(super) content: u64,
}

impl Totals {
    /// Adds a block.
    pub(super) fn count(&mut self, kind: Kind, records: u32, content: usize) {
        self.blocks += 1;
        self.content += content as u64;
        match kind {
            Kind::Walked => self.walked += u64::from(records),
            Kind::Displaced => self.displaced += u64::from(records),
            Kind::End => unreachable!("the end is not among the blocks that it counts"),
        }
    }

    /// How many records there are.
    pub(super) fn records(&self) -> u64 {
        self.walked + self.displaced
    }

    /// The content of the last block.
    pub(super) fn encode(&self, checksum: u128) -> Vec<u8> {
        let numbers = [self.blocks, self.walked, self.displaced, self.content];
        let mut out: Vec<u8> = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
        out.extend(checksum.to_le_bytes());
        out
    }

    /// Totals and checksum out of the content of the last block.
    pub(super) fn decode(content: &[u8]) -> Option<(Totals, u128)> {
        let mut cursor = Cursor::new(content);
        let totals = Totals {
            blocks: cursor.u64()?,
            walked: cursor.u64()?,
            displaced: cursor.u64()?,
            content: cursor.u64()?,
        };
        let checksum = cursor.u128()?;
        cursor.is_empty().then_some((totals, checksum))
    }
}
