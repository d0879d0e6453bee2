//! The header of a snapshot: who wrote it, and all replicated state but the entries.
//!
//! ```text
//! byte  size
//!    0     8  89 'K' 'V' 'S' 'N' 'A' 'P' 0A
//!    8     2  format: 1
//!   10     2  level
//!   12     4  length of what follows byte 20: 196 and the membership, and from level 2 on 8 more
//!   16     4  CRC-32C of bytes 0 to 16. Up to here the layout is the same in every format
//!   20    16  cluster
//!   36    24  last entry: index, term, leader
//!   60    24  entry that brought the membership: index, term, leader; zero if none did
//!   84     8  cluster time in ms since 1970
//!   92     8  revision
//!  100     8  recency
//!  108    16  key of the index's hash
//!  124     1  flags: 1 initialized, 2 an entry brought the membership
//!  125     1  eviction policy: 0 lru, 1 volatile-lru, 2 volatile-ttl, 3 noeviction
//!  126     2  zero
//!  128     8  setting max_bytes
//!  136     8  setting max_keys
//!  144     8  setting max_value_bytes
//!  152     8  keys evicted so far
//!  160     8  keys expired so far
//!  168     8  keys
//!  176     8  accounted bytes
//!  184    24  state hash: of contents, order, globals
//!  208     4  length of the membership
//!  212     -  membership
//!    -     8  from level 2 on: setting voters
//!    -     4  CRC-32C of everything before
//! ```
//!
//! Little endian. Blocks follow without a gap.

use std::path::Path;

use bytes::Bytes;

use super::error::Error;
use super::meta::Meta;
use super::wire::Cursor;
use crate::model::{Eviction, Level, Settings, Timestamp};
use crate::store::{Globals, StateHash};
use crate::wal::LogId;

/// Length of the part that says how long the rest is.
pub(super) const PREFIX_BYTES: usize = 20;

const MAGIC: [u8; 8] = *b"\x89KVSNAP\n";
const FORMAT: u16 = 1;
/// The same at level 1, without the membership.
const BODY_BYTES: usize = 196;
const CHECKSUM_BYTES: usize = 4;
const INITIALIZED: u8 = 1;
const MEMBERSHIP_LOG: u8 = 2;
/// Stands where no entry brought the membership.
const NO_LOG_ID: LogId = LogId { term: 0, leader: 0, index: 0 };

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Where in the life of the cluster.
    pub(super) meta: Meta,
    /// The replicated state beside the entries.
    pub(super) globals: Globals,
}

impl Header {
    /// The header's bytes, and their checksum, from which those of the blocks start.
    pub(super) fn encode(&self) -> (Vec<u8>, u32) {
        let Header { meta, globals } = self;
        assert!(meta.membership.len() <= Meta::MAX_MEMBERSHIP_BYTES, "or no reader would take it");
        let mut out = Vec::with_capacity(PREFIX_BYTES + BODY_BYTES + meta.membership.len());
        out.extend(MAGIC);
        out.extend(FORMAT.to_le_bytes());
        out.extend(globals.level.0.to_le_bytes());
        let body_bytes = body_bytes(globals.level) + meta.membership.len();
        out.extend((body_bytes as u32).to_le_bytes());
        out.extend(crc32c::crc32c(&out).to_le_bytes());
        put_body(&mut out, meta, globals);
        let checksum = crc32c::crc32c(&out);
        out.extend(checksum.to_le_bytes());
        (out, checksum)
    }
}

fn put_body(out: &mut Vec<u8>, meta: &Meta, globals: &Globals) {
    let settings = &globals.settings;
    let hash = globals.state_hash;
    out.extend(meta.cluster.to_le_bytes());
    for id in [meta.last_log, meta.membership_log.unwrap_or(NO_LOG_ID)] {
        put(out, &[id.index, id.term, id.leader]);
    }
    put(out, &[globals.now.0, globals.revision, globals.recency]);
    out.extend(globals.hash_seed.to_le_bytes());
    let initialized = if globals.initialized { INITIALIZED } else { 0 };
    let membership_log = if meta.membership_log.is_some() { MEMBERSHIP_LOG } else { 0 };
    out.extend([initialized | membership_log, code(settings.eviction), 0, 0]);
    put(out, &[settings.max_bytes, settings.max_keys, settings.max_value_bytes]);
    put(out, &[globals.evictions, globals.expirations, globals.keys, globals.bytes]);
    put(out, &[hash.contents, hash.order, hash.globals]);
    out.extend((meta.membership.len() as u32).to_le_bytes());
    out.extend_from_slice(&meta.membership);
    if globals.level >= Level::VOTERS {
        put(out, &[settings.voters]);
    }
}

/// Length of what follows the prefix, without the membership.
fn body_bytes(level: Level) -> usize {
    if level >= Level::VOTERS { BODY_BYTES + 8 } else { BODY_BYTES }
}

fn code(eviction: Eviction) -> u8 {
    Eviction::ALL.iter().take_while(|other| **other != eviction).count() as u8
}

fn put(out: &mut Vec<u8>, numbers: &[u64]) {
    out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

/// The first bytes of a file, verified.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prefix {
    /// How many bytes of the header follow.
    pub(super) body_bytes: usize,
    bytes: [u8; PREFIX_BYTES],
    level: Level,
}

impl Prefix {
    /// Reads the first bytes of `file`. The length that they claim is within bounds afterwards.
    pub(super) fn decode(bytes: &[u8; PREFIX_BYTES], file: &Path) -> Result<Prefix, Error> {
        let corrupt = |what: &str| Error::corrupt(file, 0, what);
        if !bytes.starts_with(&MAGIC) {
            return Err(corrupt("it does not begin like a snapshot"));
        }
        let (fields, checksum) = bytes.split_at(PREFIX_BYTES - CHECKSUM_BYTES);
        if crc32c::crc32c(fields).to_le_bytes() != checksum {
            return Err(corrupt("the start of the header does not match its checksum"));
        }
        let mut cursor = Cursor::new(fields.get(MAGIC.len()..).unwrap_or_default());
        let (Some(format), Some(level), Some(length)) = (cursor.u16(), cursor.u16(), cursor.u32()) else {
            return Err(corrupt("the start of the header does not decode"));
        };
        if Level(level) > Level::LATEST {
            return Err(Error::LevelTooHigh { file: file.to_owned(), found: Level(level) });
        }
        let (body_bytes, fixed) = (length as usize, body_bytes(Level(level)));
        if format != FORMAT {
            return Err(corrupt("its format is not known"));
        }
        if !(fixed..=fixed + Meta::MAX_MEMBERSHIP_BYTES).contains(&body_bytes) {
            return Err(corrupt("the length of the header is out of bounds"));
        }
        Ok(Prefix { body_bytes, bytes: *bytes, level: Level(level) })
    }

    /// Reads the rest of the header. The second result is its checksum.
    pub(super) fn header(&self, body: &[u8]) -> Result<(Header, u32), &'static str> {
        let (fields, checksum) = body.split_at_checked(body.len() - CHECKSUM_BYTES).unwrap_or_default();
        let expected = crc32c::crc32c_append(crc32c::crc32c(&self.bytes), fields);
        if expected.to_le_bytes() != checksum {
            return Err("the header does not match its checksum");
        }
        let header = self.fields(fields).ok_or("the header is invalid")?;
        Ok((header, expected))
    }

    fn fields(&self, fields: &[u8]) -> Option<Header> {
        let mut cursor = Cursor::new(fields);
        let cluster = cursor.u128()?;
        let (last_log, membership_log) = (log_id(&mut cursor)?, log_id(&mut cursor)?);
        let (now, revision, recency) = (Timestamp(cursor.u64()?), cursor.u64()?, cursor.u64()?);
        let hash_seed = cursor.u128()?;
        let flags = cursor.u8()?;
        let eviction = *Eviction::ALL.get(usize::from(cursor.u8()?))?;
        let zero = cursor.u16()?;
        let (max_bytes, max_keys, max_value_bytes) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
        let (evictions, expirations) = (cursor.u64()?, cursor.u64()?);
        let (keys, bytes) = (cursor.u64()?, cursor.u64()?);
        let state_hash = StateHash { contents: cursor.u64()?, order: cursor.u64()?, globals: cursor.u64()? };
        let length = cursor.u32()? as usize;
        let membership = Bytes::copy_from_slice(cursor.take(length)?);
        let voters = if self.level >= Level::VOTERS { cursor.u64()? } else { 0 };
        if zero != 0 || flags & !(INITIALIZED | MEMBERSHIP_LOG) != 0 || !cursor.is_empty() {
            return None;
        }
        let membership_log = match flags & MEMBERSHIP_LOG != 0 {
            true => Some(membership_log),
            false if membership_log == NO_LOG_ID => None,
            false => return None,
        };
        let settings = Settings { max_bytes, max_keys, eviction, max_value_bytes, voters };
        let (initialized, level) = (flags & INITIALIZED != 0, self.level);
        let meta = Meta { cluster, last_log, membership, membership_log };
        let globals = Globals {
            now,
            revision,
            recency,
            level,
            hash_seed,
            initialized,
            settings,
            evictions,
            expirations,
            keys,
            bytes,
            state_hash,
        };
        Some(Header { meta, globals })
    }
}

fn log_id(cursor: &mut Cursor<'_>) -> Option<LogId> {
    let (index, term, leader) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
    Some(LogId { term, leader, index })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(eviction: Eviction, membership: usize, membership_log: Option<LogId>) -> Header {
        let mut number = 1_u64 << 40;
        let mut next = || {
            number += 1;
            number
        };
        let last_log = LogId { term: next(), leader: next(), index: next() };
        let membership = Bytes::from(vec![b'm'; membership]);
        let cluster = u128::from(next()) << 64 | 5;
        let meta = Meta { cluster, last_log, membership, membership_log };
        let settings = Settings {
            max_bytes: next(),
            max_keys: next(),
            eviction,
            max_value_bytes: next(),
            voters: next(),
        };
        let state_hash = StateHash { contents: next(), order: next(), globals: next() };
        let globals = Globals {
            now: Timestamp(next()),
            revision: next(),
            recency: next(),
            level: Level::LATEST,
            hash_seed: u128::from(next()) << 64 | u128::from(next()),
            initialized: membership_log.is_some(),
            settings,
            evictions: next(),
            expirations: next(),
            keys: next(),
            bytes: next(),
            state_hash,
        };
        Header { meta, globals }
    }

    fn decode(bytes: &[u8]) -> Result<(Header, u32), Error> {
        let file = Path::new("file");
        let (prefix, body) = bytes.split_first_chunk().expect("long enough");
        let prefix = Prefix::decode(prefix, file)?;
        assert!(
            prefix.body_bytes <= body_bytes(Level::LATEST) + Meta::MAX_MEMBERSHIP_BYTES,
            "bounded before memory is taken"
        );
        let Some(body) = body.get(..prefix.body_bytes) else {
            return Err(Error::corrupt(file, 0, "too short"));
        };
        prefix.header(body).map_err(|what| Error::corrupt(file, 0, what))
    }

    /// Goal: every field comes back as it was, each in its own place.
    #[test]
    fn headers_round_trip() {
        let id = LogId { term: 0, leader: 0, index: 0 };
        for eviction in Eviction::ALL {
            for (membership, membership_log) in [(0, None), (1, Some(id)), (Meta::MAX_MEMBERSHIP_BYTES, None)]
            {
                let header = header(eviction, membership, membership_log);
                let (bytes, checksum) = header.encode();
                assert_eq!(decode(&bytes).unwrap(), (header, checksum));
            }
        }
    }

    proptest! {
        /// Goal: a header with right checksums and wrong content is read or refused, never a panic.
        #[test]
        fn forged_headers_are_read_or_refused(at in 8..230_usize, with in any::<u8>()) {
            let (mut bytes, _) = header(Eviction::Lru, 18, None).encode();
            bytes[at] = with;
            let checksum = crc32c::crc32c(&bytes[..16]);
            bytes[16..20].copy_from_slice(&checksum.to_le_bytes());
            let end = bytes.len() - CHECKSUM_BYTES;
            let checksum = crc32c::crc32c(&bytes[..end]);
            bytes[end..].copy_from_slice(&checksum.to_le_bytes());
            if let Ok((header, _)) = decode(&bytes) {
                prop_assert_eq!(header.encode().0, bytes, "nothing is read that would not be written so");
            }
        }
    }
}
