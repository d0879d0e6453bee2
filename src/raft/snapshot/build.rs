//! Takes a snapshot of the running store while writes go on.
//!
//! ```text
//! caller:  write lock: begin_cut at the last log id
//! build:   repeat: read lock: copy up to 256 slots | no lock: compress, write | now and then: write lock: take side
//!          write lock: end_cut -> the rest of the side
//!          end of the file, sync, read back and verify, rename, sync the folder
//! ```
//!
//! Under the lock records are only copied, and the lock goes to a waiting writer first. The file is written and synced
//! in pieces between, so that it never has much unsynced when the log wants to sync; and the thread rests as long as it
//! works, so that writers find a core.
//!
//! Whatever fails, the cut is given up and the unfinished file is removed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{RwLock, RwLockReadGuard};

use super::block::Kind;
use super::error::Error;
use super::folder::Folder;
use super::header::Header;
use super::meta::Meta;
use super::pace::Pace;
use super::record::Packer;
use super::writer::Writer;
use crate::clock::Stopwatch;
use crate::store::{Effects, Globals, Side, Store, Walk};

/// Most slots and bytes of keys and values copied under one hold of the lock.
const CHUNK_SLOTS: usize = 256;
const CHUNK_BYTES: usize = 64 << 10;

/// What writers displaced is taken over after so many chunks.
const DRAIN_CHUNKS: u64 = 32;

/// More than header and end take, the membership apart.
const FRAME_BYTES: u64 = 512;

/// How far a snapshot has come, and a way to call it off. Shared with whoever watches.
#[derive(Debug, Default)]
pub struct Progress {
    cancelled: AtomicBool,
    keys: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    /// Calls the snapshot off; [`build`] ends with [`Error::Cancelled`] unless it is past the walk.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Keys written so far.
    pub fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// A snapshot that was taken.
#[derive(Clone, Debug)]
pub struct Built {
    /// The file.
    pub path: PathBuf,
    /// Where in the life of the cluster it was taken.
    pub meta: Meta,
    /// The length of the file.
    pub bytes: u64,
    /// How many keys are in it.
    pub keys: u64,
    /// How long it took, verification included.
    pub duration: Duration,
}

/// Writes the cut that `store` has begun to a new snapshot in `folder`. Blocks; meant for a thread of its own.
///
/// `globals` is what `Store::begin_cut` returned, under the write lock and at `meta.last_log`. Returns when the snapshot
/// is durable, verified and visible.
///
/// # Errors
/// [`Error::NoSpace`] before anything is written, [`Error::Abandoned`] if the cut is gone (try again),
/// [`Error::Cancelled`], [`Error::Io`], and [`Error::Corrupt`] if what was written does not verify.
pub fn build(
    store: &RwLock<Store>,
    globals: Globals,
    meta: Meta,
    folder: &Folder,
    progress: &Progress,
) -> Result<Built, Error> {
    let time = Stopwatch::start();
    let mut cut = Cut { store, is_mine: true };
    // What an entry is accounted for beyond key and value is more than its numbers and its share of a block's head.
    folder.reserve(FRAME_BYTES + globals.bytes + meta.membership.len() as u64)?;
    let temporary = folder.temporary()?;
    let header = Header { meta: meta.clone(), globals };
    let writer = Writer::begin(Arc::clone(temporary.file()), temporary.path().to_owned(), &header)?;
    let (walked, displaced) = (Packer::new(Kind::Walked), Packer::new(Kind::Displaced));
    let mut copy = Copy { writer, walked, displaced, progress };
    copy.walk(&mut cut)?;
    copy.side(&cut.end()?)?;
    copy.finish()?;
    let found = folder.publish(temporary, meta.cluster)?;
    Ok(Built { path: found.path, meta, bytes: found.bytes, keys: globals.keys, duration: time.elapsed() })
}

/// The cut in the store. Dropping it gives the cut up if it is still there.
struct Cut<'a> {
    store: &'a RwLock<Store>,
    /// Once this cut is over, one that is in the store belongs to the next snapshot.
    is_mine: bool,
}

impl Cut<'_> {
    /// Copies the next chunk.
    fn walk(&mut self, packer: &mut Packer, pace: &mut Pace) -> Result<Walk, Error> {
        let store = self.store.read();
        let walk = pace.work(|| store.walk(CHUNK_SLOTS, CHUNK_BYTES, &mut |record| packer.push(&record)));
        RwLockReadGuard::unlock_fair(store);
        self.is_mine = walk != Walk::Abandoned;
        if self.is_mine { Ok(walk) } else { Err(Error::Abandoned) }
    }

    /// Takes over what writers displaced so far.
    fn side(&mut self) -> Result<Side, Error> {
        let side = self.store.write().drain_side();
        self.is_mine = side.is_some();
        side.ok_or(Error::Abandoned)
    }

    /// Ends the cut and takes over the rest.
    fn end(&mut self) -> Result<Side, Error> {
        let mut effects = Effects::new();
        // A statement of its own: what `effects` gets is large, and is dropped when the lock is free again.
        let side = self.store.write().end_cut(&mut effects);
        self.is_mine = false;
        side.ok_or(Error::Abandoned)
    }
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        if self.is_mine {
            let mut effects = Effects::new();
            self.store.write().abandon_cut(&mut effects);
        }
    }
}

/// The snapshot while it is written.
struct Copy<'a> {
    writer: Writer,
    walked: Packer,
    displaced: Packer,
    progress: &'a Progress,
}

impl Copy<'_> {
    /// Writes all that the walk meets, and what writers displace meanwhile.
    fn walk(&mut self, cut: &mut Cut<'_>) -> Result<(), Error> {
        let mut pace = Pace::gentle();
        for chunk in 1_u64.. {
            let walk = cut.walk(&mut self.walked, &mut pace)?;
            if self.progress.cancelled.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            if chunk % DRAIN_CHUNKS == 0 {
                let side = cut.side()?;
                pace.work(|| self.side(&side))?;
            }
            if walk == Walk::Done {
                break;
            }
            pace.work(|| self.write())?;
            pace.rest();
        }
        Ok(())
    }

    /// Packs what writers displaced.
    fn side(&mut self, side: &Side) -> Result<(), Error> {
        side.visit(&mut |record| self.displaced.push(&record));
        self.write()
    }

    /// Writes what makes whole blocks.
    fn write(&mut self) -> Result<(), Error> {
        let Copy { writer, walked, displaced, progress } = self;
        for packer in [walked, displaced] {
            packer.drain(|kind, records, content| {
                writer.block(kind, records, content)?;
                progress.keys.fetch_add(u64::from(records), Ordering::Relaxed);
                progress.bytes.store(writer.written(), Ordering::Relaxed);
                Ok(())
            })?;
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
