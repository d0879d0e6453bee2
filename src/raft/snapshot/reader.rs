//! Reads a snapshot block after block and believes none of it unchecked.
//!
//! Memory is bounded by the largest block, whatever the file claims. Every byte is covered: the header by its two
//! CRCs, each block by its own, everything before the end by the checksum in the end, and behind the end nothing may
//! follow. So a flipped bit or a cut is always found, at the latest when [`Reader::next`] comes to the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::block::{HEAD_BYTES, Head, Kind};
use super::end::{MARK, Totals};
use super::error::Error;
use super::header::{Header, PREFIX_BYTES, Prefix};
use crate::disk::{Disk, File};

/// A snapshot being read.
pub(super) struct Reader {
    source: Source,
    header: Header,
    checksum: u32,
    hash: Xxh3,
    totals: Totals,
    stored: Vec<u8>,
}

/// A block of records; its content is in the caller's buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    /// What the records are.
    pub(super) kind: Kind,
    /// How many.
    pub(super) records: u32,
    /// Where the block begins in the file.
    pub(super) offset: u64,
}

impl Reader {
    /// Opens a snapshot and reads its header.
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<Reader, Error> {
        let mut source = Source::open(disk, path)?;
        let mut prefix = [0; PREFIX_BYTES];
        source.read(&mut prefix, 0)?;
        let claimed = Prefix::decode(&prefix, path)?;
        source.holds(claimed.body_bytes, 0)?;
        let mut body = vec![0; claimed.body_bytes];
        source.read(&mut body, 0)?;
        let (header, checksum) = claimed.header(&body).map_err(|what| source.corrupt(0, what))?;
        let mut hash = Xxh3::new();
        hash.update(&prefix);
        hash.update(&body);
        Ok(Reader { source, header, checksum, hash, totals: Totals::default(), stored: Vec::new() })
    }

    /// What the snapshot says about itself.
    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// The length of the file in bytes.
    pub(super) fn length(&self) -> u64 {
        self.source.length
    }

    /// The file.
    pub(super) fn file(&self) -> &Arc<dyn File> {
        &self.source.file
    }

    /// How many bytes were read.
    pub(super) fn position(&self) -> u64 {
        self.source.at
    }

    /// What the blocks read so far add up to.
    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// Damage that was found in a block after it had been read.
    pub(super) fn corrupt(&self, offset: u64, what: impl Into<String>) -> Error {
        self.source.corrupt(offset, what)
    }

    /// Puts the content of the next block of records into `content`. `None` once the end of the file was reached and
    /// everything in it was found to be what was written.
    pub(super) fn next(&mut self, content: &mut Vec<u8>) -> Result<Option<Block>, Error> {
        let offset = self.source.at;
        let mut bytes = [0; HEAD_BYTES];
        self.source.read(&mut bytes, offset)?;
        let head = Head::decode(&bytes, self.checksum, offset);
        let head = head.map_err(|what| self.source.corrupt(offset, what))?;
        self.source.holds(head.stored, offset)?;
        self.stored.resize(head.stored, 0);
        self.source.read(&mut self.stored, offset)?;
        if head.kind != Kind::End {
            self.hash.update(&bytes);
            self.hash.update(&self.stored);
        }
        head.unpack(&mut self.stored, content).map_err(|what| self.source.corrupt(offset, what))?;
        if head.kind == Kind::End {
            return self.end(content, offset).map(|()| None);
        }
        self.totals.count(head.kind, head.records, content.len());
        Ok(Some(Block { kind: head.kind, records: head.records, offset }))
    }

    fn end(&mut self, content: &[u8], offset: u64) -> Result<(), Error> {
        let wrong = match Totals::decode(content) {
            None => Some("the end does not decode"),
            Some((totals, _)) if totals != self.totals => {
                Some("the totals in the end are not those of the blocks")
            }
            Some((_, checksum)) if checksum != self.hash.digest128() => {
                Some("the file does not match the checksum in its end")
            }
            Some(_) => None,
        };
        if let Some(what) = wrong {
            return Err(self.corrupt(offset, what));
        }
        let mark = self.source.at;
        let mut found = [0; MARK.len()];
        self.source.read(&mut found, mark)?;
        if found != MARK {
            return Err(self.corrupt(mark, "the closing mark is wrong"));
        }
        if self.source.at != self.source.length {
            return Err(self.corrupt(self.source.at, "something follows the end"));
        }
        Ok(())
    }
}

/// The bytes of a file, front to back.
struct Source {
    file: Arc<dyn File>,
    path: PathBuf,
    length: u64,
    at: u64,
}

impl Source {
    fn open(disk: &dyn Disk, path: &Path) -> Result<Source, Error> {
        let file = disk.open_read(path).map_err(Error::io("opening", path))?;
        let length = file.len().map_err(Error::io("reading", path))?;
        Ok(Source { file, path: path.to_owned(), length, at: 0 })
    }

    fn corrupt(&self, offset: u64, what: impl Into<String>) -> Error {
        Error::corrupt(&self.path, offset, what)
    }

    /// Whether `length` bytes are left. If not, the part of the file that begins at `part` is damaged.
    fn holds(&self, length: usize, part: u64) -> Result<(), Error> {
        if length as u64 > self.length - self.at {
            return Err(self.corrupt(part, "the file ends too early"));
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8], part: u64) -> Result<(), Error> {
        self.holds(buffer.len(), part)?;
        self.file.read_exact_at(self.at, buffer).map_err(Error::io("reading", &self.path))?;
        self.at += buffer.len() as u64;
        Ok(())
    }
}
