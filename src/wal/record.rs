//! One record: what it says and its bytes.
//!
//! ```text
//!    0  len          u32   of the payload
//!    4  type         u8    1 to 8
//!    5  group        u16
//!    7  synced       u32   how far this process itself had synced this segment when it wrote the record
//!   11  term         u64   of an entry's position, of a vote; 0 where it has no meaning
//!   19  leader       u64   of an entry's position; the node of a vote
//!   27  index        u64   of an entry's position
//!   35  payload crc  u32   crc32c of the payload as stored
//!   39  header crc   u32   crc32c of bytes 0 to 38
//!   43  0xFF               closes the header
//!   44  payload      len   xor keystream
//!    .  0xFF               closes the record
//!    .  zeros, up to the next multiple of 8
//!
//!   type           payload
//!   1 Entry        the entry's bytes
//!   2 Vote         committed u8
//!   3 Truncate     u8: 1 = what follows term/leader/index is gone, 0 = everything is
//!   4 Purge        none; everything up to term/leader/index is gone
//!   5 Committed    none
//!   6 Synced       none; says only what its field "synced" says
//!   7 GroupState   following u16 | which u8 (bits: vote, vote committed, last, committed, purged)
//!                  | vote term u64, node u64 | last, committed, purged: term u64, leader u64, index u64 each
//!   8 SegmentEnd   length u64 (where this record begins) | id of the next segment u64
//! ```
//!
//! The first 8 bytes of a header hold a type, its last a 0xFF, so no sector's share of a header is zero by
//! content.

use super::layout::{ALIGN, CLOSING, Numbers, Seal, is_zero};
use super::values::{GroupState, LogId, Vote};

/// Bytes before the payload.
pub(super) const HEADER: u32 = 44;
/// The sealed part of the header: all before its own checksum.
const SUMMED: usize = 39;

/// What a record says. The bytes of an entry travel beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    Entry { group: u16, id: LogId },
    Vote { group: u16, vote: Vote },
    Truncate { group: u16, to: Option<LogId> },
    Purge { group: u16, upto: LogId },
    Committed { group: u16, id: LogId },
    Synced,
    GroupState { group: u16, state: GroupState, following: u16 },
    SegmentEnd { length: u64, next_id: u64 },
}

/// A record at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) offset: u32,
    pub(super) record: Record,
    /// Bytes of the payload.
    pub(super) len: u32,
    pub(super) synced: u32,
    /// Where the next record may start.
    pub(super) end: u32,
}

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The header does not verify.
    Header,
    /// The header verifies, what follows does not.
    Body(&'static str, Header),
}

/// A header that verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) len: u32,
    kind: u8,
    group: u16,
    pub(super) synced: u32,
    id: LogId,
    payload_sum: u32,
}

/// The room a record with a payload of `len` bytes takes, alignment included.
pub(super) const fn size(len: usize) -> u64 {
    (HEADER as u64 + len as u64 + 1).next_multiple_of(ALIGN as u64)
}

/// Appends a record, to stand at `offset` of the segment with this id, to `buffer`. `payload` is that of an
/// entry; other records make their own.
pub(super) fn encode(
    buffer: &mut Vec<u8>,
    (segment_id, offset): (u64, u32),
    synced: u32,
    record: &Record,
    payload: &[u8],
) {
    let seal = Seal::new(segment_id, offset);
    let (kind, group, id) = record.fields();
    let own = record.own_payload();
    let payload = if matches!(record, Record::Entry { .. }) { payload } else { own.as_slice() };
    let start = buffer.len();
    let len = u32::try_from(payload.len()).expect("payloads are bounded by Entry::PAYLOAD_BYTES_MAX");
    buffer.extend(len.to_le_bytes());
    buffer.push(kind);
    buffer.extend(group.to_le_bytes());
    buffer.extend(synced.to_le_bytes());
    put_id(buffer, id);
    let body = start + HEADER as usize;
    buffer.resize(body, 0);
    buffer.extend_from_slice(payload);
    let mut sum = 0;
    if let Some(stored) = buffer.get_mut(body..) {
        seal.mask(stored);
        sum = seal.payload_checksum(stored);
    }
    buffer.push(CLOSING);
    buffer.resize(start + size(payload.len()) as usize, 0);
    close_header(buffer.get_mut(start..body).unwrap_or_default(), &seal, sum);
}

/// Fills in both checksums and the closing byte.
fn close_header(header: &mut [u8], seal: &Seal, payload_sum: u32) {
    let Some((summed, rest)) = header.split_at_mut_checked(SUMMED) else { return };
    if let Some(place) = summed.last_chunk_mut::<4>() {
        *place = payload_sum.to_le_bytes();
    }
    let header_sum = seal.header_checksum(summed).to_le_bytes();
    rest.iter_mut().zip(header_sum.into_iter().chain([CLOSING])).for_each(|(place, byte)| *place = byte);
}

/// Reads the header of the record at `offset`, if it verifies; `bytes` are the segment's from there on.
pub(super) fn header_of(bytes: &[u8], segment_id: u64, offset: u32) -> Option<Header> {
    let (summed, rest) = bytes.get(..HEADER as usize)?.split_at_checked(SUMMED)?;
    // Looked at first because it is cheap: most places a search tries are not records.
    if rest.last() != Some(&CLOSING) {
        return None;
    }
    if Numbers(rest).u32()? != Seal::new(segment_id, offset).header_checksum(summed) {
        return None;
    }
    let mut numbers = Numbers(summed);
    Some(Header {
        len: numbers.u32()?,
        kind: numbers.u8()?,
        group: numbers.u16()?,
        synced: numbers.u32()?,
        id: numbers.log_id()?,
        payload_sum: numbers.u32()?,
    })
}

/// Reads and checks the record at `offset`; `bytes` are the segment's from there on.
pub(super) fn frame_of(bytes: &[u8], segment_id: u64, offset: u32) -> Result<Frame, Flaw> {
    let header = header_of(bytes, segment_id, offset).ok_or(Flaw::Header)?;
    let flaw = |what| Flaw::Body(what, header);
    let end = u32::try_from(u64::from(offset) + size(header.len as usize)).unwrap_or(u32::MAX);
    let body = bytes.get(HEADER as usize..(end - offset) as usize);
    let body = body.ok_or(flaw("the record runs past the end of the segment"))?;
    let (stored, closing) = body.split_at_checked(header.len as usize).unwrap_or_default();
    if Seal::new(segment_id, offset).payload_checksum(stored) != header.payload_sum {
        return Err(flaw("the payload does not verify"));
    }
    if closing.first() != Some(&CLOSING) || !is_zero(closing.get(1..).unwrap_or_default()) {
        return Err(flaw("the record is not closed"));
    }
    let record =
        header.record(segment_id, offset, stored).ok_or(flaw("the record says something impossible"))?;
    Ok(Frame { offset, record, len: header.len, synced: header.synced, end })
}

/// Takes the payload out of the entry at `offset`, checking all of it again; `bytes` are the segment's from
/// there on.
pub(super) fn payload_of(bytes: &[u8], segment_id: u64, offset: u32, expected: LogId) -> Option<Vec<u8>> {
    let frame = frame_of(bytes, segment_id, offset).ok()?;
    if !matches!(frame.record, Record::Entry { id, .. } if id == expected) {
        return None;
    }
    let (_, body) = bytes.split_at_checked(HEADER as usize)?;
    let mut payload = body.get(..frame.len as usize)?.to_vec();
    Seal::new(segment_id, offset).mask(&mut payload);
    Some(payload)
}

impl Record {
    /// Type, group and position for the header.
    fn fields(&self) -> (u8, u16, LogId) {
        const NOWHERE: LogId = LogId { term: 0, leader: 0, index: 0 };
        match *self {
            Record::Entry { group, id } => (1, group, id),
            Record::Vote { group, vote } => {
                (2, group, LogId { term: vote.term, leader: vote.node, index: 0 })
            }
            Record::Truncate { group, to } => (3, group, to.unwrap_or(NOWHERE)),
            Record::Purge { group, upto } => (4, group, upto),
            Record::Committed { group, id } => (5, group, id),
            Record::Synced => (6, 0, NOWHERE),
            Record::GroupState { group, .. } => (7, group, NOWHERE),
            Record::SegmentEnd { .. } => (8, 0, NOWHERE),
        }
    }

    /// The payload of a record that is not an entry, unmasked.
    fn own_payload(&self) -> Vec<u8> {
        match *self {
            Record::Vote { vote, .. } => vec![u8::from(vote.committed)],
            Record::Truncate { to, .. } => vec![u8::from(to.is_some())],
            Record::GroupState { state, following, .. } => state_payload(&state, following),
            Record::SegmentEnd { length, next_id } => [length.to_le_bytes(), next_id.to_le_bytes()].concat(),
            _ => Vec::new(),
        }
    }
}

impl Header {
    /// The record behind a header whose payload verified; `None` if no version ever wrote such a one.
    fn record(&self, segment_id: u64, offset: u32, stored: &[u8]) -> Option<Record> {
        let (group, id) = (self.group, self.id);
        if self.kind == 1 {
            return Some(Record::Entry { group, id });
        }
        if stored.len() > OWN_PAYLOAD_MAX {
            return None;
        }
        let mut payload = stored.to_vec();
        Seal::new(segment_id, offset).mask(&mut payload);
        let mut numbers = Numbers(&payload);
        let record = match self.kind {
            2 => Record::Vote {
                group,
                vote: Vote { term: id.term, node: id.leader, committed: numbers.flag()? },
            },
            3 => Record::Truncate { group, to: numbers.flag()?.then_some(id) },
            4 => Record::Purge { group, upto: id },
            5 => Record::Committed { group, id },
            6 => Record::Synced,
            7 => Record::GroupState { group, following: numbers.u16()?, state: numbers.group_state()? },
            8 => Record::SegmentEnd { length: numbers.u64()?, next_id: numbers.u64()? },
            _ => return None,
        };
        numbers.0.is_empty().then_some(record)
    }
}

/// The longest payload of a record that is not an entry.
pub(super) const OWN_PAYLOAD_MAX: usize = 3 + 16 + 3 * 24;

fn put_id(buffer: &mut Vec<u8>, id: LogId) {
    buffer.extend(id.term.to_le_bytes());
    buffer.extend(id.leader.to_le_bytes());
    buffer.extend(id.index.to_le_bytes());
}

fn state_payload(state: &GroupState, following: u16) -> Vec<u8> {
    let vote = state.vote.unwrap_or(Vote { term: 0, node: 0, committed: false });
    let ids = [state.last, state.committed, state.purged];
    let mut which = u8::from(state.vote.is_some()) | u8::from(vote.committed) << 1;
    for (bit, id) in ids.iter().enumerate() {
        which |= u8::from(id.is_some()) << (bit + 2);
    }
    let mut payload = Vec::with_capacity(OWN_PAYLOAD_MAX);
    payload.extend(following.to_le_bytes());
    payload.push(which);
    payload.extend(vote.term.to_le_bytes());
    payload.extend(vote.node.to_le_bytes());
    for id in ids {
        put_id(&mut payload, id.unwrap_or(LogId { term: 0, leader: 0, index: 0 }));
    }
    payload
}

impl Numbers<'_> {
    fn flag(&mut self) -> Option<bool> {
        self.u8().filter(|flag| *flag < 2).map(|flag| flag == 1)
    }

    fn log_id(&mut self) -> Option<LogId> {
        Some(LogId { term: self.u64()?, leader: self.u64()?, index: self.u64()? })
    }

    fn group_state(&mut self) -> Option<GroupState> {
        let which = self.u8().filter(|which| *which < 1 << 5)?;
        let has = |bit: u8| which & (1 << bit) != 0;
        let vote = Vote { term: self.u64()?, node: self.u64()?, committed: has(1) };
        Some(GroupState {
            vote: has(0).then_some(vote),
            last: self.log_id().map(|id| has(2).then_some(id))?,
            committed: self.log_id().map(|id| has(3).then_some(id))?,
            purged: self.log_id().map(|id| has(4).then_some(id))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: u64 = 0xABCD;
    const AT: u32 = 1000;

    fn samples() -> Vec<(Record, Vec<u8>)> {
        let id = LogId { term: 3, leader: 2, index: 17 };
        let vote = Vote { term: 3, node: 2, committed: true };
        let state = GroupState { vote: Some(vote), last: Some(id), committed: None, purged: Some(id) };
        vec![
            (Record::Entry { group: 1, id }, b"payload".to_vec()),
            (Record::Entry { group: 1, id }, Vec::new()),
            (Record::Vote { group: 9, vote }, Vec::new()),
            (Record::Truncate { group: 1, to: None }, Vec::new()),
            (Record::Truncate { group: 1, to: Some(id) }, Vec::new()),
            (Record::Purge { group: 1, upto: id }, Vec::new()),
            (Record::Committed { group: 1, id }, Vec::new()),
            (Record::Synced, Vec::new()),
            (Record::GroupState { group: 65535, state, following: 2 }, Vec::new()),
            (Record::GroupState { group: 0, state: GroupState::default(), following: 0 }, Vec::new()),
            (Record::SegmentEnd { length: 4000, next_id: 5 }, Vec::new()),
        ]
    }

    fn encoded(record: &Record, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes, (ID, AT), 512, record, payload);
        bytes
    }

    #[test]
    fn every_record_is_read_back_as_it_was_written() {
        for (record, payload) in samples() {
            let bytes = encoded(&record, &payload);
            let frame = frame_of(&bytes, ID, AT).unwrap();
            assert_eq!((frame.record, frame.synced, frame.offset), (record, 512, AT));
            assert_eq!(frame.end as usize, AT as usize + bytes.len());
            assert_eq!(bytes.len() as u64, size(frame.len as usize));
            if let Record::Entry { id, .. } = record {
                assert_eq!(payload_of(&bytes, ID, AT, id).unwrap(), payload);
                assert_eq!(payload_of(&bytes, ID, AT, LogId { index: 18, ..id }), None);
            }
        }
    }

    #[test]
    fn no_record_verifies_with_a_bit_flipped_or_at_another_place() {
        for (record, payload) in samples() {
            let bytes = encoded(&record, &payload);
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(frame_of(&flipped, ID, AT).is_err(), "{record:?} bit {bit}");
            }
            assert_eq!(frame_of(&bytes, ID, AT + 8), Err(Flaw::Header));
            assert_eq!(frame_of(&bytes, ID + 1, AT), Err(Flaw::Header));
            assert!((0..bytes.len()).all(|length| frame_of(&bytes[..length], ID, AT).is_err()));
        }
        assert_eq!(frame_of(&[0; 512], ID, AT), Err(Flaw::Header));
    }
}
