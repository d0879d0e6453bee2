//! Reading a segment's records one after the other, and judging the place where they stop.
//!
//! ```text
//!   head | record | record | record | X ............ zeros ............ end of the segment
//! ```
//!
//! At X there are only zeros (a clean end), or bytes that are no record. Those are the torn end of a write
//! that nobody was told of, or damage. They are a torn end only if
//!
//! * no record with a valid header stands at any later multiple of 8 and says that more than X had been
//!   synced, and
//! * the header at X is intact, and the record's closing byte is 0 or one sector's share of exactly that
//!   record is all zero (the sector was never written); or the header is not intact, and one sector's share
//!   of it is all zero, or its closing byte is 0 and only zeros follow up to the end of the segment.
//!
//! A single flipped bit satisfies none of the second group: a closing byte is 0xFF, and no written share is
//! zero.

use std::path::Path;

use crate::disk::Disk;

use super::error::Error;
use super::head::Head;
use super::layout::{ALIGN, HEAD, SECTOR, is_zero};
use super::record::{Flaw, Frame, HEADER, Record, frame_of, header_of, size};
use super::window::Window;

/// The search for later records looks at so many bytes at a time.
const SEARCH_BYTES: u32 = 256 << 10;

/// Walks over the records of one segment.
#[derive(Debug)]
pub(super) struct Scan {
    window: Window,
    segment_id: u64,
    at: u32,
    sealed: bool,
}

/// What stands next in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Record(Frame),
    End(End),
}

/// How the records of a segment end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With a SegmentEnd at its right place, then zeros.
    Sealed { next_id: u64 },
    /// With zeros.
    Clean,
    /// With the remains of a write that was not finished.
    Torn,
    /// With something that must not be there.
    Damaged(&'static str),
}

impl Scan {
    /// Starts behind the head of a segment.
    ///
    /// # Errors
    /// As [`Window::open`].
    pub(super) fn open(disk: &dyn Disk, path: &Path, head: &Head) -> Result<Scan, Error> {
        let window = Window::open(disk, path, head)?;
        Ok(Scan { window, segment_id: head.id, at: HEAD, sealed: false })
    }

    /// Where the records read so far end.
    pub(super) fn position(&self) -> u32 {
        self.at
    }

    /// The next record, or how they end.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn next(&mut self) -> Result<Step, Error> {
        if self.sealed {
            return Ok(Step::End(End::Damaged("something follows the end of the segment")));
        }
        match self.frame()? {
            Ok(frame) => self.accept(frame),
            Err(_) if self.window.is_zero_from(self.at)? => Ok(Step::End(End::Clean)),
            Err(flaw) => self.judge(flaw).map(Step::End),
        }
    }

    /// The record at the present place, if it is one.
    fn frame(&mut self) -> Result<Result<Frame, Flaw>, Error> {
        let (at, segment_id, length) = (self.at, self.segment_id, self.window.length());
        let Some(header) = header_of(self.window.get(at, HEADER)?, segment_id, at) else {
            return Ok(Err(Flaw::Header));
        };
        let whole = u32::try_from(size(header.len as usize)).ok().filter(|size| *size <= length - at);
        // Of a record that runs past the end of the segment nothing more is read.
        Ok(frame_of(self.window.get(at, whole.unwrap_or(HEADER))?, segment_id, at))
    }

    fn accept(&mut self, frame: Frame) -> Result<Step, Error> {
        if frame.synced > frame.offset {
            return Ok(Step::End(End::Damaged("the record claims that more was synced than there was")));
        }
        if let Record::SegmentEnd { length, next_id } = frame.record {
            if length != u64::from(frame.offset) {
                return Ok(Step::End(End::Damaged("the end of the segment is at the wrong place")));
            }
            self.at = frame.end;
            if !self.window.is_zero_from(frame.end)? {
                return Ok(Step::End(End::Damaged("something follows the end of the segment")));
            }
            self.sealed = true;
            return Ok(Step::End(End::Sealed { next_id }));
        }
        self.at = frame.end;
        Ok(Step::Record(frame))
    }

    /// Decides between a torn end and damage; see the top of the module.
    fn judge(&mut self, flaw: Flaw) -> Result<End, Error> {
        let what = match flaw {
            Flaw::Header => "the record's header does not verify",
            Flaw::Body(what, _) => what,
        };
        let torn = match flaw {
            Flaw::Header => self.header_is_torn()?,
            Flaw::Body(_, header) => self.body_is_torn(header.len)?,
        };
        Ok(if torn && !self.synced_beyond()? { End::Torn } else { End::Damaged(what) })
    }

    /// Whether a later record proves that the bytes at X had been synced.
    fn synced_beyond(&mut self) -> Result<bool, Error> {
        let (synced, segment_id) = (self.at, self.segment_id);
        let mut offset = self.at + ALIGN;
        loop {
            let mut piece = self.window.get(offset, SEARCH_BYTES)?;
            if piece.len() < HEADER as usize {
                return Ok(false);
            }
            while piece.len() >= HEADER as usize {
                if header_of(piece, segment_id, offset).is_some_and(|header| header.synced > synced) {
                    return Ok(true);
                }
                offset += ALIGN;
                piece = piece.get(ALIGN as usize..).unwrap_or_default();
            }
        }
    }

    /// The byte at `offset`, if the segment reaches so far.
    fn byte(&mut self, offset: u32) -> Result<Option<u8>, Error> {
        Ok(self.window.get(offset, 1)?.first().copied())
    }

    fn header_is_torn(&mut self) -> Result<bool, Error> {
        let end = self.at + HEADER;
        Ok(self.has_zero_share(self.at, end)?
            || (self.byte(end - 1)? == Some(0) && self.window.is_zero_from(end)?))
    }

    fn body_is_torn(&mut self, len: u32) -> Result<bool, Error> {
        let end = u64::from(self.at) + u64::from(HEADER) + u64::from(len) + 1;
        let Ok(end) = u32::try_from(end) else { return Ok(false) };
        match self.byte(end - 1)? {
            Some(closing) => Ok(closing == 0 || self.has_zero_share(self.at, end)?),
            None => Ok(false),
        }
    }

    /// Whether some sector's share of the bytes from `start` to `end` is all zero.
    fn has_zero_share(&mut self, start: u32, end: u32) -> Result<bool, Error> {
        let end = end.min(self.window.length());
        let mut from = start;
        while from < end {
            let to = (from / SECTOR + 1).saturating_mul(SECTOR).min(end);
            if is_zero(self.window.get(from, to - from)?) {
                return Ok(true);
            }
            from = to;
        }
        Ok(false)
    }
}
