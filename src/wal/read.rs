//! Reading entries back: from memory, or from the segments with every byte verified again.
//!
//! Neighbours on disk are read in one piece.

use std::sync::Arc;

use bytes::Bytes;

use super::error::Error;
use super::index::{Place, Source};
use super::record;
use super::segment::Segment;
use super::values::{Entry, LogId};

/// The most that is read in one piece, unless a single record is larger.
const PIECE_BYTES: u64 = 1 << 20;

/// An entry to be read from a segment.
#[derive(Debug)]
struct Stored {
    id: LogId,
    offset: u32,
    /// Where its record ends.
    end: u64,
}

/// Entries that stand close to each other in one segment, in the order of their offsets.
#[derive(Debug)]
struct Piece {
    segment: Arc<Segment>,
    entries: Vec<Stored>,
}

/// A plan for reading, made under the lock and carried out without it.
#[derive(Debug, Default)]
pub(super) struct Reading {
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Have(Entry),
    Fetch(Piece),
}

impl Reading {
    /// Plans to read these sources; `segment` finds an open segment by its number.
    pub(super) fn new(
        sources: Vec<Source>,
        segment: impl Fn(u32) -> Option<Arc<Segment>>,
    ) -> Result<Reading, Error> {
        let mut reading = Reading::default();
        for source in sources {
            match source {
                Source::Cached(entry) => reading.steps.push(Step::Have(entry)),
                Source::Stored { id, place, len } => reading.fetch(id, place, len, &segment)?,
            }
        }
        Ok(reading)
    }

    fn fetch(
        &mut self,
        id: LogId,
        place: Place,
        len: u32,
        segment: &impl Fn(u32) -> Option<Arc<Segment>>,
    ) -> Result<(), Error> {
        let end = u64::from(place.offset) + record::size(len as usize);
        let entry = Stored { id, offset: place.offset, end };
        match self.steps.last_mut() {
            Some(Step::Fetch(piece)) if piece.admits(place, end) => piece.entries.push(entry),
            _ => {
                let segment = segment(place.segment);
                let segment = segment.ok_or(Error::invalid("the entry's segment was removed meanwhile"))?;
                self.steps.push(Step::Fetch(Piece { segment, entries: vec![entry] }));
            }
        }
        Ok(())
    }

    /// Carries the plan out.
    pub(super) fn run(self) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        for step in self.steps {
            match step {
                Step::Have(entry) => entries.push(entry),
                Step::Fetch(piece) => piece.read(&mut entries)?,
            }
        }
        Ok(entries)
    }
}

impl Piece {
    fn admits(&self, place: Place, end: u64) -> bool {
        let (Some(first), Some(last)) = (self.entries.first(), self.entries.last()) else { return false };
        place.segment == self.segment.head.sequence
            && u64::from(place.offset) >= last.end
            && end - u64::from(first.offset) <= PIECE_BYTES
    }

    fn read(&self, entries: &mut Vec<Entry>) -> Result<(), Error> {
        let (Some(first), Some(last)) = (self.entries.first(), self.entries.last()) else { return Ok(()) };
        let Segment { head, path, file } = self.segment.as_ref();
        let mut bytes = vec![0; (last.end - u64::from(first.offset)) as usize];
        let read = file.read_exact_at(first.offset.into(), &mut bytes);
        read.map_err(|error| Error::io("read", path, error))?;
        for Stored { id, offset, end } in &self.entries {
            let start = (offset - first.offset) as usize;
            let own = bytes.get(start..(end - u64::from(first.offset)) as usize).unwrap_or_default();
            let payload = record::payload_of(own, head.id, *offset, *id);
            let damaged =
                || Error::corrupt(path, (*offset).into(), "the entry does not verify when it is read");
            entries.push(Entry { id: *id, payload: Bytes::from(payload.ok_or_else(damaged)?) });
        }
        Ok(())
    }
}
