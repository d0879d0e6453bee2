//! The head of a segment: who wrote it, which one it is, and how long it is.
//!
//! ```text
//!    0  magic          8   "KVRMWAL\n"
//!    8  format         u32  1
//!   12  zero           u32
//!   16  cluster        u128
//!   32  node           u64
//!   40  incarnation    u128
//!   56  sequence       u64  equals the file's name
//!   64  id             u64  random, never 0; seeds everything in this segment
//!   72  length         u64  of the whole file, in bytes
//!   80  previous id    u64  id of the segment before; 0 for the first
//!   88  crc32c         u32  of bytes 0 to 87
//!   92  zeros, up to 512
//! ```
//!
//! A head is synced before its file gets its name, so a named segment whose head does not verify is damaged.

use std::path::{Path, PathBuf};

use super::error::Error;
use super::layout::{HEAD, Numbers, is_zero};
use super::values::Identity;

/// The format this version writes.
pub(super) const FORMAT: u32 = 1;

const MAGIC: [u8; 8] = *b"KVRMWAL\n";
const SUMMED: usize = 88;
const EXTENSION: &str = "seg";

/// The decoded head of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) identity: Identity,
    pub(super) sequence: u32,
    pub(super) id: u64,
    pub(super) length: u32,
    pub(super) previous_id: u64,
}

impl Head {
    /// The head's sector.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD as usize);
        bytes.extend(MAGIC);
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.identity.cluster.to_le_bytes());
        bytes.extend(self.identity.node.to_le_bytes());
        bytes.extend(self.identity.incarnation.to_le_bytes());
        bytes.extend(u64::from(self.sequence).to_le_bytes());
        bytes.extend(self.id.to_le_bytes());
        bytes.extend(u64::from(self.length).to_le_bytes());
        bytes.extend(self.previous_id.to_le_bytes());
        assert!(bytes.len() == SUMMED, "the layout above");
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes.resize(HEAD as usize, 0);
        bytes
    }

    /// Reads and checks the head of `path` out of its first bytes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Format`].
    pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<Head, Error> {
        let damaged = |what: &str| Error::corrupt(path, 0, what);
        let (summed, rest) = bytes.split_at_checked(SUMMED).ok_or_else(|| damaged("the head is cut off"))?;
        let mut tail = Numbers(rest);
        if tail.u32() != Some(crc32c::crc32c(summed)) || !summed.starts_with(&MAGIC) {
            return Err(damaged("the head does not verify"));
        }
        if rest.len() != HEAD as usize - SUMMED || !is_zero(tail.0) {
            return Err(damaged("the head is not followed by zeros"));
        }
        let mut numbers = Numbers(summed);
        Head::fields(path, &mut numbers)?.ok_or_else(|| damaged("the head holds impossible values"))
    }

    fn fields(path: &Path, numbers: &mut Numbers<'_>) -> Result<Option<Head>, Error> {
        let format = numbers.take::<8>().and_then(|_magic| numbers.u32()).unwrap_or(0);
        if format > FORMAT {
            let file = path.display().to_string();
            return Err(Error::Format { file, found: format, known: FORMAT });
        }
        let mut read = || {
            let _reserved = numbers.u32()?;
            let identity =
                Identity { cluster: numbers.u128()?, node: numbers.u64()?, incarnation: numbers.u128()? };
            let sequence = u32::try_from(numbers.u64()?).ok()?;
            let (id, length) = (numbers.u64()?, u32::try_from(numbers.u64()?).ok()?);
            let previous_id = numbers.u64()?;
            (sequence > 0 && id != 0 && length > HEAD).then_some(Head {
                identity,
                sequence,
                id,
                length,
                previous_id,
            })
        };
        Ok(read())
    }

    /// Refuses a segment of another cluster, node or incarnation.
    pub(super) fn belongs_to(&self, path: &Path, identity: &Identity) -> Result<(), Error> {
        let differs = |what, expected: u128, found: u128| {
            let file = path.display().to_string();
            let hex = |number| format!("{number:032x}");
            Err(Error::Identity { file, what, expected: hex(expected), found: hex(found) })
        };
        if self.identity.cluster != identity.cluster {
            return differs("cluster", identity.cluster, self.identity.cluster);
        }
        if self.identity.node != identity.node {
            return differs("node", identity.node.into(), self.identity.node.into());
        }
        if self.identity.incarnation != identity.incarnation {
            return differs("incarnation", identity.incarnation, self.identity.incarnation);
        }
        Ok(())
    }
}

/// The file of the segment with this number.
pub(super) fn path_of(dir: &Path, sequence: u32) -> PathBuf {
    dir.join(format!("{sequence:016x}.{EXTENSION}"))
}

/// The number in a segment's file name; `None` for any other name.
pub(super) fn sequence_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    let lower = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if digits.len() == 16 && lower { u64::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        let identity = Identity { cluster: 1 << 100, node: 3, incarnation: 7 << 90 };
        Head { identity, sequence: 9, id: 11, length: 4096, previous_id: 5 }
    }

    #[test]
    fn a_head_is_read_back_and_every_flipped_bit_is_found() {
        let bytes = head().encode();
        let path = Path::new("f");
        assert_eq!(Head::decode(path, &bytes).unwrap(), head());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Head::decode(path, &flipped), Err(Error::Corrupt { .. })), "bit {bit}");
        }
        assert!((0..bytes.len()).all(|length| Head::decode(path, &bytes[..length]).is_err()));
    }

    #[test]
    fn a_newer_format_is_told_apart_from_damage() {
        let mut bytes = head().encode();
        bytes[8] = 2;
        let sum = crc32c::crc32c(&bytes[..SUMMED]).to_le_bytes();
        bytes[SUMMED..SUMMED + 4].copy_from_slice(&sum);
        assert!(matches!(Head::decode(Path::new("f"), &bytes), Err(Error::Format { found: 2, .. })));
    }

    #[test]
    fn only_names_of_segments_are_taken_for_segments() {
        assert_eq!(path_of(Path::new("d"), 31), Path::new("d/000000000000001f.seg"));
        assert_eq!(sequence_of("000000000000001f.seg"), Some(31));
        for name in ["1f.seg", "000000000000001F.seg", "000000000000001f.seg.tmp", "+00000000000001f.seg"] {
            assert_eq!(sequence_of(name), None, "{name}");
        }
    }
}
