//! A segment's file, read piece by piece.
//!
//! A segment is preallocated, so most of a young one is zeros, and one may be hundreds of megabytes long. Whoever walks over it
//! holds one piece in memory: [`PIECE_BYTES`], or the record at hand if that is longer.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, File};

use super::error::Error;
use super::head::Head;
use super::layout::{HEAD, is_zero};

/// The most that is read at a time, unless a single record is longer.
const PIECE_BYTES: u32 = 1 << 20;

/// A file and the part of it that is in memory.
#[derive(Debug)]
pub(super) struct Window {
    file: Arc<dyn File>,
    path: PathBuf,
    length: u32,
    /// Where the part in memory begins.
    start: u32,
    bytes: Vec<u8>,
}

impl Window {
    /// Opens the segment whose head was read before.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Corrupt`] if the head is another by now.
    pub(super) fn open(disk: &dyn Disk, path: &Path, head: &Head) -> Result<Window, Error> {
        let file = disk.open_read(path).map_err(|error| Error::io("open", path, error))?;
        let mut window =
            Window { file, path: path.to_owned(), length: head.length, start: 0, bytes: Vec::new() };
        if Head::decode(path, window.get(0, HEAD)?)? != *head {
            return Err(Error::corrupt(path, 0, "the file changes while it is read"));
        }
        Ok(window)
    }

    /// Bytes of the segment.
    pub(super) fn length(&self) -> u32 {
        self.length
    }

    /// The bytes from `offset` on: `wanted` of them, fewer only at the end of the segment.
    pub(super) fn get(&mut self, offset: u32, wanted: u32) -> Result<&[u8], Error> {
        let end = offset.saturating_add(wanted).min(self.length);
        let offset = offset.min(end);
        if offset < self.start || u64::from(end) > u64::from(self.start) + self.bytes.len() as u64 {
            self.read(offset, end)?;
        }
        let (from, to) = ((offset - self.start) as usize, (end - self.start) as usize);
        Ok(self.bytes.get(from..to).unwrap_or_default())
    }

    /// Takes the piece into memory that begins at `offset` and reaches at least to `end`.
    fn read(&mut self, offset: u32, end: u32) -> Result<(), Error> {
        let end = offset.saturating_add(PIECE_BYTES).min(self.length).max(end);
        let length = (end - offset) as usize;
        if self.bytes.capacity() > length.max(PIECE_BYTES as usize) {
            // A huge record was here.
            self.bytes = Vec::new();
        }
        self.bytes.resize(length, 0);
        self.start = offset;
        let read = self.file.read_exact_at(offset.into(), &mut self.bytes);
        read.map_err(|error| Error::io("read", &self.path, error))
    }

    /// Where the first byte from `offset` on is that is not zero.
    pub(super) fn first_content(&mut self, offset: u32) -> Result<Option<u32>, Error> {
        let mut at = offset;
        while at < self.length {
            let piece = self.get(at, PIECE_BYTES)?;
            if !is_zero(piece) {
                let zeros = piece.iter().take_while(|byte| **byte == 0).count();
                return Ok(Some(at + zeros as u32));
            }
            at += piece.len() as u32;
        }
        Ok(None)
    }

    /// Whether there are only zeros from `offset` on.
    pub(super) fn is_zero_from(&mut self, offset: u32) -> Result<bool, Error> {
        Ok(self.first_content(offset)?.is_none())
    }
}
