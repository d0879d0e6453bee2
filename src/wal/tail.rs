//! The end of the log: the segment being written, and what is encoded for it but not written yet.
//!
//! ```text
//!   0         synced            written           position              length
//!   | head .. records on disk | in the page cache | in the buffer |  ...    |
//! ```
//!
//! Invariant: synced <= written <= position, and behind the position there is always room for a SegmentEnd.

use std::sync::Arc;

use super::error::Error;
use super::layout::HEAD;
use super::record::{self, Record};
use super::segment::{END_SIZE, Segment};

/// A buffer that once held a huge record is given back above this size.
const BUFFER_KEPT_BYTES: usize = 8 << 20;

/// The segment being written.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) segment: Arc<Segment>,
    position: u32,
    written: u32,
    synced: u32,
    buffer: Vec<u8>,
}

impl Tail {
    /// Goes on at `position`, up to which all is known to be synced.
    pub(super) fn new(segment: Arc<Segment>, position: u32, buffer: Vec<u8>) -> Tail {
        assert!(position >= HEAD && buffer.is_empty(), "a tail begins behind a head with nothing to write");
        Tail { segment, position, written: position, synced: position, buffer }
    }

    /// Where the next record will stand.
    pub(super) fn position(&self) -> u32 {
        self.position
    }

    /// Bytes encoded but not written.
    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Whether something was written that is not synced.
    pub(super) fn is_dirty(&self) -> bool {
        self.synced < self.written
    }

    /// Whether a record with this payload can be put here.
    pub(super) fn fits(&self, payload: usize) -> bool {
        self.fits_bytes(record::size(payload))
    }

    fn fits_bytes(&self, bytes: u64) -> bool {
        u64::from(self.position) + bytes + END_SIZE <= u64::from(self.segment.head.length)
    }

    /// Encodes a record; returns where it will stand.
    pub(super) fn put(&mut self, record: &Record, payload: &[u8]) -> u32 {
        let offset = self.position;
        record::encode(&mut self.buffer, (self.segment.head.id, offset), self.synced, record, payload);
        self.position = self.written + self.buffer.len() as u32;
        let end = matches!(record, Record::SegmentEnd { .. });
        assert!(end || self.fits_bytes(0), "room for the SegmentEnd is never used up");
        assert!(self.position <= self.segment.head.length, "records stay inside the preallocated segment");
        offset
    }

    /// Writes what is encoded.
    pub(super) fn write(&mut self) -> Result<(), Error> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let done = self.segment.file.write_at(self.written.into(), &self.buffer);
        done.map_err(|error| Error::fatal("write", &self.segment.path, error))?;
        self.written = self.position;
        self.buffer.clear();
        if self.buffer.capacity() > BUFFER_KEPT_BYTES {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Syncs what was written.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        let done = self.segment.file.sync_data();
        done.map_err(|error| Error::fatal("sync", &self.segment.path, error))?;
        self.synced = self.written;
        Ok(())
    }

    /// Hands the buffer over to the next tail.
    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        assert!(self.buffer.is_empty(), "a segment is left only when all of it is written");
        std::mem::take(&mut self.buffer)
    }
}
