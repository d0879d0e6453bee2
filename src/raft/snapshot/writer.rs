//! Writes a snapshot block after block.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::Xxh3;

use super::block::{Framer, Kind};
use super::end::{MARK, Totals};
use super::error::Error;
use super::header::Header;
use crate::clock::Stopwatch;
use crate::disk::File;

/// What is written is synced every so many bytes: the log shares the disk, and one sync of everything at the end
/// would hold up its own syncs for as long.
const SYNC_BYTES: u64 = 256 << 10;

/// Where a sync takes this long whatever its size, the bytes between two are doubled, up to [`MAX_SYNC_BYTES`].
const SLOW_SYNC: Duration = Duration::from_millis(5);
const MAX_SYNC_BYTES: u64 = 4 << 20;

/// A snapshot in the making. Until [`Writer::finish`] returned, its file is not a snapshot.
pub(super) struct Writer {
    file: Arc<dyn File>,
    path: PathBuf,
    at: u64,
    synced: u64,
    sync_bytes: u64,
    header: u32,
    hash: Xxh3,
    framer: Framer,
    totals: Totals,
}

impl Writer {
    /// Begins in an empty file. `path` is for errors.
    pub(super) fn begin(file: Arc<dyn File>, path: PathBuf, header: &Header) -> Result<Writer, Error> {
        let (bytes, checksum) = header.encode();
        let mut writer = Writer {
            file,
            path,
            at: 0,
            synced: 0,
            sync_bytes: SYNC_BYTES,
            header: checksum,
            hash: Xxh3::new(),
            framer: Framer::default(),
            totals: Totals::default(),
        };
        writer.append(&bytes)?;
        Ok(writer)
    }

    /// Appends a block of records.
    pub(super) fn block(&mut self, kind: Kind, records: u32, content: &[u8]) -> Result<(), Error> {
        self.totals.count(kind, records, content.len());
        self.framed(kind, records, content)?;
        if self.at - self.synced >= self.sync_bytes {
            self.sync()?;
        }
        Ok(())
    }

    /// How many bytes were written.
    pub(super) fn written(&self) -> u64 {
        self.at
    }

    /// Appends the end and makes everything durable.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        let end = self.totals.encode(self.hash.digest128());
        self.framed(Kind::End, 0, &end)?;
        self.append(&MARK)?;
        self.file.sync_all().map_err(Error::io("syncing", &self.path))
    }

    fn sync(&mut self) -> Result<(), Error> {
        let time = Stopwatch::start();
        self.file.sync_data().map_err(Error::io("syncing", &self.path))?;
        self.synced = self.at;
        if time.elapsed() >= SLOW_SYNC {
            self.sync_bytes = MAX_SYNC_BYTES.min(2 * self.sync_bytes);
        }
        Ok(())
    }

    fn framed(&mut self, kind: Kind, records: u32, content: &[u8]) -> Result<(), Error> {
        let mut framer = std::mem::take(&mut self.framer);
        let done = self.append(framer.frame(self.header, self.at, kind, records, content));
        self.framer = framer;
        done
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_at(self.at, bytes).map_err(Error::io("writing", &self.path))?;
        self.hash.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }
}
