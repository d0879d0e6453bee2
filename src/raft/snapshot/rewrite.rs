//! The snapshot of one cluster as the first snapshot of another.
//!
//! ```text
//! source --survey: every byte verified, both sums added up--> Rewrite --write: block after block--> folder
//!                                                                                    `-> loaded, then named
//! ```
//!
//! The file begins with the sums over its records, and those change with the records: so the source is read twice, and
//! neither time is more of it in memory than a block. What was written is loaded as the start of a node loads it before
//! it gets its name: damage that only a whole store shows (two records of one key) is found here and not at that start.
//!
//! Invariants: every version grows by the same number, so their order and their uniqueness stay; slots, recencies and the
//! position in the log are those of the source; the source is only read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::block::Kind;
use super::error::Error;
use super::folder::{Folder, Found};
use super::header::Header;
use super::meta::Meta;
use super::reader::{Block, Reader};
use super::record::{Packer, Records};
use super::writer::Writer;
use crate::disk::Disk;
use crate::model::limits::MAX_DEADLINE_MS;
use crate::model::{Slot, Timestamp, Version};
use crate::store::{Globals, RecordRef, Tally};
use crate::wal::LogId;

/// More than a version's varint grows by.
const GROWTH_BYTES: u64 = 10;

/// What becomes of the moments at which keys expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadlines {
    /// They stay.
    Kept,
    /// They move by the time from the last entry in the snapshot to this moment, as if no time had passed; never back.
    From(Timestamp),
}

/// What becomes other.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Key of the index's hash.
    pub hash_seed: u128,
    /// What is added to the revision and to every version.
    pub revisions: u64,
    /// When the keys expire.
    pub deadlines: Deadlines,
}

/// A source that was found whole, and what becomes of it.
#[derive(Debug)]
pub struct Rewrite {
    path: PathBuf,
    bytes: u64,
    last_log: LogId,
    globals: Globals,
    revisions: u64,
    shift_ms: u64,
}

impl Rewrite {
    /// Reads and verifies the whole source. `progress` is told after each block how many bytes were read, and of how many.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with file and offset, [`Error::LevelTooHigh`], [`Error::Io`].
    pub fn survey(
        disk: &dyn Disk,
        path: &Path,
        change: Change,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Rewrite, Error> {
        let mut reader = Reader::open(disk, path)?;
        let Header { meta, globals: old } = reader.header().clone();
        let Some(revision) = old.revision.checked_add(change.revisions) else {
            return Err(reader.corrupt(0, "its revision is out of bounds"));
        };
        let shift_ms = match change.deadlines {
            Deadlines::Kept => 0,
            Deadlines::From(moment) => moment.0.saturating_sub(old.now.0),
        };
        let globals = Globals {
            now: Timestamp(old.now.0.saturating_add(shift_ms)),
            revision,
            hash_seed: change.hash_seed,
            // These count since the cluster began.
            evictions: 0,
            expirations: 0,
            ..old
        };
        let mut rewrite = Rewrite {
            path: path.to_owned(),
            bytes: reader.length(),
            last_log: meta.last_log,
            globals,
            revisions: change.revisions,
            shift_ms,
        };
        let (mut was, mut becomes) = (Tally::new(old), Tally::new(globals));
        each_block(&mut reader, progress, &mut |_, records| {
            for record in records {
                let record = record?;
                was.add(&record).map_err(|_| INVALID)?;
                becomes.add(&rewrite.changed(record)).map_err(|_| INVALID)?;
            }
            Ok(())
        })?;
        if was.total() != old {
            return Err(reader.corrupt(0, "its records do not add up to what its header says"));
        }
        rewrite.globals = becomes.total();
        Ok(rewrite)
    }

    /// The last entry whose effect is in it, by its place in the old cluster's log and in the new one's.
    pub fn last_log(&self) -> LogId {
        self.last_log
    }

    /// The replicated state of the new cluster beside the entries.
    pub fn globals(&self) -> &Globals {
        &self.globals
    }

    /// Writes the first snapshot of `cluster`, whose members raft encodes as `membership`, into `folder`, of which `disk`
    /// is the disk. It is durable, verified and visible when this returns.
    ///
    /// # Errors
    /// Those of [`Rewrite::survey`], and [`Error::NoSpace`] before anything is written.
    pub fn write(
        &self,
        disk: &dyn Disk,
        folder: &Folder,
        (cluster, membership): (u128, Bytes),
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Found, Error> {
        folder.reserve(self.bytes + self.globals.keys.saturating_mul(GROWTH_BYTES))?;
        let temporary = folder.temporary()?;
        let last_log = self.last_log;
        let meta = Meta { cluster, last_log, membership, membership_log: Some(last_log) };
        let header = Header { meta, globals: self.globals };
        let (file, path) = (Arc::clone(temporary.file()), temporary.path().to_owned());
        let mut copy = Copy::new(Writer::begin(file, path, &header)?);
        self.copy(&mut Reader::open(disk, &self.path)?, &mut copy, progress)?;
        copy.finish()?;
        folder.publish_loaded(temporary, cluster)
    }

    fn copy(
        &self,
        reader: &mut Reader,
        copy: &mut Copy,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), Error> {
        let mut tally = Tally::new(self.globals);
        let mut failed = None;
        let read = each_block(reader, progress, &mut |kind, records| {
            for record in records {
                let record = self.changed(record?);
                tally.add(&record).map_err(|_| INVALID)?;
                copy.push(kind, &record);
            }
            copy.write().map_err(|error| {
                failed = Some(error);
                "the copy could not be written"
            })
        });
        failed.map_or(read, Err)?;
        if tally.total() == self.globals {
            return Ok(());
        }
        Err(reader.corrupt(0, "it changed while it was read"))
    }

    fn changed<'a>(&self, record: RecordRef<'a>) -> RecordRef<'a> {
        let moved =
            |deadline: Timestamp| Timestamp(deadline.0.saturating_add(self.shift_ms).min(MAX_DEADLINE_MS));
        RecordRef {
            version: Version(record.version.0.saturating_add(self.revisions)),
            deadline: record.deadline.map(moved),
            ..record
        }
    }
}

/// What is said of a record that no store can hold.
const INVALID: &str = "a record is out of bounds";

/// Hands over the records of each block, up to the verified end.
fn each_block(
    reader: &mut Reader,
    progress: &mut dyn FnMut(u64, u64),
    visit: &mut dyn FnMut(Kind, Records<'_>) -> Result<(), &'static str>,
) -> Result<(), Error> {
    let mut content = Vec::new();
    while let Some(Block { kind, records, offset }) = reader.next(&mut content)? {
        Records::new(kind, records, &content)
            .and_then(|records| visit(kind, records))
            .map_err(|what| reader.corrupt(offset, what))?;
        progress(reader.position(), reader.length());
    }
    Ok(())
}

/// The new snapshot while it is written.
struct Copy {
    writer: Writer,
    walked: Packer,
    displaced: Packer,
    /// The first slot that may follow in a block of walked records.
    next: Slot,
}

impl Copy {
    fn new(writer: Writer) -> Copy {
        let (walked, displaced) = (Packer::new(Kind::Walked), Packer::new(Kind::Displaced));
        Copy { writer, walked, displaced, next: Slot(0) }
    }

    fn push(&mut self, kind: Kind, record: &RecordRef<'_>) {
        if kind != Kind::Walked {
            return self.displaced.push(record);
        }
        if record.slot < self.next {
            self.walked.close();
        }
        self.next = Slot(record.slot.0.saturating_add(1));
        self.walked.push(record);
    }

    /// Writes what makes whole blocks.
    fn write(&mut self) -> Result<(), Error> {
        let Copy { writer, walked, displaced, .. } = self;
        for packer in [walked, displaced] {
            packer.drain(|kind, records, content| writer.block(kind, records, content))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), Error> {
        self.walked.close();
        self.displaced.close();
        self.write()?;
        self.writer.finish()
    }
}
