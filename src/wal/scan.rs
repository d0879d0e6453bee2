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

use super::layout::{ALIGN, HEAD, SECTOR, is_zero};
use super::record::{Flaw, Frame, HEADER, Record, frame_of, header_of};

/// Walks over the records of one segment.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    segment: &'a [u8],
    segment_id: u64,
    at: u32,
    sealed: bool,
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

impl<'a> Scan<'a> {
    /// Starts behind the head. `segment` is the whole file.
    pub(super) fn new(segment: &'a [u8], segment_id: u64) -> Scan<'a> {
        Scan { segment, segment_id, at: HEAD, sealed: false }
    }

    /// Where the records read so far end.
    pub(super) fn position(&self) -> u32 {
        self.at
    }

    fn rest(&self, from: u32) -> &'a [u8] {
        self.segment.get(from as usize..).unwrap_or_default()
    }

    /// The next record, or how they end.
    pub(super) fn next(&mut self) -> Result<Frame, End> {
        if self.sealed {
            return Err(End::Damaged("something follows the end of the segment"));
        }
        match frame_of(self.rest(self.at), self.segment_id, self.at) {
            Ok(frame) => self.accept(frame),
            Err(_) if is_zero(self.rest(self.at)) => Err(End::Clean),
            Err(flaw) => Err(self.judge(flaw)),
        }
    }

    fn accept(&mut self, frame: Frame) -> Result<Frame, End> {
        if frame.synced > frame.offset {
            return Err(End::Damaged("the record claims that more was synced than there was"));
        }
        if let Record::SegmentEnd { length, next_id } = frame.record {
            if length != u64::from(frame.offset) {
                return Err(End::Damaged("the end of the segment is at the wrong place"));
            }
            if !is_zero(self.rest(frame.end)) {
                self.at = frame.end;
                return Err(End::Damaged("something follows the end of the segment"));
            }
            self.at = frame.end;
            self.sealed = true;
            return Err(End::Sealed { next_id });
        }
        self.at = frame.end;
        Ok(frame)
    }

    /// Decides between a torn end and damage; see the top of the module.
    fn judge(&self, flaw: Flaw) -> End {
        let what = match flaw {
            Flaw::Header => "the record's header does not verify",
            Flaw::Body(what, _) => what,
        };
        let torn = match flaw {
            Flaw::Header => self.header_is_torn(),
            Flaw::Body(_, header) => self.body_is_torn(header.len),
        };
        if torn && !self.synced_beyond() { End::Torn } else { End::Damaged(what) }
    }

    /// Whether a later record proves that the bytes at X had been synced.
    fn synced_beyond(&self) -> bool {
        let later = (self.at + ALIGN..self.segment.len() as u32).step_by(ALIGN as usize);
        let mut found = later.filter_map(|offset| header_of(self.rest(offset), self.segment_id, offset));
        found.any(|header| header.synced > self.at)
    }

    fn header_is_torn(&self) -> bool {
        let end = self.at + HEADER;
        let closing = self.segment.get(end as usize - 1);
        self.has_zero_share(self.at, end)
            || (closing.is_some_and(|byte| *byte == 0) && is_zero(self.rest(end)))
    }

    fn body_is_torn(&self, len: u32) -> bool {
        let end = u64::from(self.at) + u64::from(HEADER) + u64::from(len) + 1;
        let Ok(end) = u32::try_from(end) else { return false };
        match self.segment.get(end as usize - 1) {
            Some(closing) => *closing == 0 || self.has_zero_share(self.at, end),
            None => false,
        }
    }

    /// Whether some sector's share of the bytes from `start` to `end` is all zero.
    fn has_zero_share(&self, start: u32, end: u32) -> bool {
        let end = end.min(self.segment.len() as u32);
        let mut from = start;
        while from < end {
            let to = (from / SECTOR + 1).saturating_mul(SECTOR).min(end);
            if is_zero(self.segment.get(from as usize..to as usize).unwrap_or_default()) {
                return true;
            }
            from = to;
        }
        false
    }
}
