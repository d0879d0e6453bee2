//! The mark of a log that was closed: where it ended.
//!
//! The last Synced record says what had been synced before it, but sectors that turn to zeros at the very end of the log
//! may take that record along. So a log that is closed leaves its end in a file of its own, `closed`, beside the
//! segments:
//!
//! ```text
//!    0  magic     8   "KVRMEND\n"
//!    8  format    u32  1
//!   12  sequence  u32  of the last segment
//!   16  id        u64  of the last segment
//!   24  end       u32  where its records end
//!   28  crc32c    u32  of bytes 0 to 27
//! ```
//!
//! It is written after the last sync, and removed, with the directory synced, before the log is written to again. So
//! whenever it is there, the log reaches at least as far as it says. Where there is no room for it, there is none.

use std::path::Path;

use crate::disk::{self, Disk};

use super::error::Error;
use super::head::{Head, path_of};
use super::layout::Numbers;

pub(super) const NAME: &str = "closed";
const MAGIC: [u8; 8] = *b"KVRMEND\n";
const FORMAT: u32 = 1;
const SUMMED: usize = 28;
const LENGTH: usize = SUMMED + 4;

/// Where a log ended when it was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) sequence: u32,
    pub(super) id: u64,
    pub(super) end: u32,
}

impl Closed {
    /// Leaves the mark; it is durable when this returns.
    pub(super) fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
        let failed = |error| Error::io("write", &dir.join(NAME), error);
        disk::replace(disk, dir, NAME, &self.encode()).map_err(failed)
    }

    /// The mark in `dir`, if there is one.
    pub(super) fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Closed>, Error> {
        let path = dir.join(NAME);
        let failed = |error| Error::io("read", &path, error);
        if !disk.exists(&path).map_err(failed)? {
            return Ok(None);
        }
        let file = disk.open_read(&path).map_err(failed)?;
        // One byte more than there should be, to see that it is not there.
        let mut bytes = [0; LENGTH + 1];
        let read = file.read_at(0, &mut bytes).map_err(failed)?;
        Closed::decode(&path, bytes.get(..read).unwrap_or_default()).map(Some)
    }

    /// Takes the mark away. The caller syncs the directory before it writes to the log.
    pub(super) fn remove(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
        let path = dir.join(NAME);
        disk.remove(&path).map_err(|error| Error::io("remove", &path, error))
    }

    /// Refuses a log whose records end before the mark.
    pub(super) fn check(&self, dir: &Path, segments: &[(Head, u32)]) -> Result<(), Error> {
        let path = path_of(dir, self.sequence);
        let found = segments.iter().find(|(head, _)| head.sequence == self.sequence && head.id == self.id);
        match found {
            Some((_, end)) if *end >= self.end => Ok(()),
            Some((_, end)) => {
                let what = format!("the log ends here, and reached to byte {} when it was closed", self.end);
                Err(Error::corrupt(&path, (*end).into(), what))
            }
            None => Err(Error::corrupt(&path, 0, "the segment in which the log was closed is missing")),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.extend(MAGIC);
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend(self.sequence.to_le_bytes());
        bytes.extend(self.id.to_le_bytes());
        bytes.extend(self.end.to_le_bytes());
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    fn decode(path: &Path, bytes: &[u8]) -> Result<Closed, Error> {
        let damaged = || Error::corrupt(path, 0, "the mark of the closed log does not verify");
        let (summed, sum) = bytes.split_at_checked(SUMMED).ok_or_else(damaged)?;
        if sum != crc32c::crc32c(summed).to_le_bytes() || !summed.starts_with(&MAGIC) {
            return Err(damaged());
        }
        let mut numbers = Numbers(summed);
        let format = numbers.take::<8>().and_then(|_magic| numbers.u32()).unwrap_or(0);
        if format > FORMAT {
            let file = path.display().to_string();
            return Err(Error::Format { file, found: format, known: FORMAT });
        }
        let mut read = || Some(Closed { sequence: numbers.u32()?, id: numbers.u64()?, end: numbers.u32()? });
        read().ok_or_else(damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the mark is read back, and every flipped bit and every other length is found.
    #[test]
    fn a_mark_is_read_back_and_damage_is_found() {
        let mark = Closed { sequence: 7, id: 1 << 60, end: 4_096 };
        let (path, bytes) = (Path::new("closed"), mark.encode());
        assert_eq!(Closed::decode(path, &bytes).unwrap(), mark);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Closed::decode(path, &flipped).is_err(), "bit {bit}");
        }
        assert!((0..bytes.len()).all(|length| Closed::decode(path, &bytes[..length]).is_err()));
        assert!(Closed::decode(path, &[bytes, vec![0]].concat()).is_err());
    }
}
