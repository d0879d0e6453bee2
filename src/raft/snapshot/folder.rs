//! The folder of snapshots, `data/snapshots`.
//!
//! A file under the name of a snapshot was written whole, synced and verified before it got that name. What is still
//! being written has a temporary name, and what of that a crash left behind is removed at the next start. A name
//! that is neither is left alone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::error::Error;
use super::load::{self, Loaded};
use super::name;
use super::pace::Pace;
use super::receive::Receiving;
use super::sending::Sending;
use super::temporary::{Temporary, is_temporary};
use super::verify::verify_at;
use crate::disk::{Ballast, Disk};
use crate::wal::LogId;

/// A folder of snapshots. Cheap to clone; clones are the same folder.
#[derive(Clone, Debug)]
pub struct Folder {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Snapshots that this process wrote or read whole and found valid.
    valid: Mutex<BTreeSet<PathBuf>>,
    /// How many were begun, for temporary names.
    begun: AtomicU64,
}

/// A snapshot that is there; whether it is valid was not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// The last entry in it, by its name.
    pub last_log: LogId,
    /// Its length.
    pub bytes: u64,
}

impl Folder {
    /// Opens the folder, creates it if need be, and removes what unfinished snapshots left.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Folder, Error> {
        disk.create_dir_all(dir).map_err(Error::io("creating", dir))?;
        for name in disk.read_dir(dir).map_err(Error::io("listing", dir))? {
            if is_temporary(&name) {
                let path = dir.join(name);
                disk.remove(&path).map_err(Error::io("removing", &path))?;
            }
        }
        Ok(Folder { disk, dir: dir.to_owned(), shared: Arc::default() })
    }

    /// The snapshots that are there by name, the newest first.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn list(&self) -> Result<Vec<Found>, Error> {
        let mut names = self.disk.read_dir(&self.dir).map_err(Error::io("listing", &self.dir))?;
        names.sort_unstable();
        let snapshots = names.iter().rev().filter_map(|name| Some((name, name::parse(name)?)));
        let found = snapshots.map(|(name, last_log)| {
            let path = self.dir.join(name);
            let file = self.disk.open_read(&path).map_err(Error::io("opening", &path))?;
            let bytes = file.len().map_err(Error::io("reading", &path))?;
            Ok(Found { path, last_log, bytes })
        });
        found.collect()
    }

    /// Loads the newest snapshot that is valid. `None` if there are no snapshots at all.
    ///
    /// Older ones stand in for those that are damaged or cannot be read; [`Loaded::damaged`] says why.
    ///
    /// # Errors
    /// [`Error::NoneValid`] if there are some and none can be used. [`Error::WrongCluster`] and
    /// [`Error::LevelTooHigh`] at the first such snapshot: an older one does not help.
    pub fn load_newest(&self, cluster: u128) -> Result<Option<Loaded>, Error> {
        let mut damaged = Vec::new();
        for found in self.list()? {
            match self.load(&found, cluster) {
                Ok(loaded) => return Ok(Some(Loaded { damaged, ..loaded })),
                Err(error @ (Error::WrongCluster { .. } | Error::LevelTooHigh { .. })) => return Err(error),
                Err(error) => damaged.push(error),
            }
        }
        if damaged.is_empty() { Ok(None) } else { Err(Error::NoneValid(damaged)) }
    }

    /// Loads one of the snapshots.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with file and offset, [`Error::Io`], [`Error::WrongCluster`], [`Error::LevelTooHigh`].
    pub fn load(&self, found: &Found, cluster: u128) -> Result<Loaded, Error> {
        let loaded = load::load(&*self.disk, &found.path, cluster)?;
        named(found, loaded.meta.last_log)?;
        self.note_valid(found.path.clone());
        Ok(loaded)
    }

    /// Verifies the snapshots older than `last_log` that this process has not yet read whole, slowly, and says what is
    /// damaged. One that is removed meanwhile is passed over.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be listed.
    pub fn damaged_before(&self, last_log: LogId) -> Result<Vec<Error>, Error> {
        let mut damaged = Vec::new();
        for found in self.list()?.into_iter().filter(|found| found.last_log < last_log) {
            if let Err(error) = self.verify(&found)
                && self.disk.exists(&found.path).unwrap_or(true)
            {
                damaged.push(error);
            }
        }
        Ok(damaged)
    }

    /// Removes all snapshots older than the newest `keep` valid ones (at least one), and returns those.
    ///
    /// What this process has not yet read whole is verified first. While fewer than `keep` are valid, nothing is
    /// removed; damaged ones go once they are older than those kept.
    ///
    /// # Errors
    /// [`Error::Io`]. The snapshots to be kept are untouched in any case.
    pub fn retain(&self, keep: usize) -> Result<Vec<Found>, Error> {
        let mut kept = Vec::new();
        let mut removed = false;
        for found in self.list()? {
            if kept.len() < keep.max(1) {
                if self.is_valid(&found)? {
                    kept.push(found);
                }
                continue;
            }
            self.disk.remove(&found.path).map_err(Error::io("removing", &found.path))?;
            self.shared.valid.lock().remove(&found.path);
            removed = true;
        }
        if removed {
            self.disk.sync_dir(&self.dir).map_err(Error::io("syncing", &self.dir))?;
        }
        Ok(kept)
    }

    /// Opens one of the snapshots, to be read as it is. Removing it meanwhile does not hurt.
    ///
    /// # Errors
    /// [`Error::Corrupt`] and [`Error::LevelTooHigh`] for its header, [`Error::Io`].
    pub fn send(&self, path: &Path) -> Result<Sending, Error> {
        Sending::open(&*self.disk, path)
    }

    /// Begins to take in a snapshot of `bytes` from elsewhere.
    ///
    /// # Errors
    /// [`Error::NoSpace`] if it does not fit, [`Error::Io`].
    pub fn receive(&self, bytes: u64) -> Result<Receiving, Error> {
        self.reserve(bytes)?;
        Ok(Receiving::new(self.temporary()?, bytes))
    }

    /// Gives back the space that is kept for a snapshot on a full disk. What is kept for marks stays.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn use_ballast(&self) -> Result<(), Error> {
        let ballast = Ballast::new(Arc::clone(&self.disk), self.dir.parent().unwrap_or(&self.dir));
        let used = ballast.bytes().and_then(|kept| ballast.give(kept.saturating_sub(Ballast::MARKS_BYTES)));
        used.map(drop).map_err(Error::io("using the space kept in", &self.dir))
    }

    /// Verifies a snapshot that has arrived whole, and makes it one of the folder's.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::WrongCluster`], [`Error::LevelTooHigh`], [`Error::Io`]. What arrived is gone then.
    pub fn accept(&self, received: Receiving, cluster: u128) -> Result<Found, Error> {
        self.publish(received.whole()?, cluster)
    }

    /// Whether a snapshot of about `bytes` may be begun: 1.2 times that must be free.
    pub(super) fn reserve(&self, bytes: u64) -> Result<(), Error> {
        let space =
            self.disk.space(&self.dir).map_err(Error::io("asking for the free space of", &self.dir))?;
        let (needed_bytes, free_bytes) = (bytes.saturating_add(bytes / 5), space.free_bytes);
        if free_bytes < needed_bytes { Err(Error::NoSpace { needed_bytes, free_bytes }) } else { Ok(()) }
    }

    /// Creates an unfinished snapshot.
    pub(super) fn temporary(&self) -> Result<Temporary, Error> {
        let number = self.shared.begun.fetch_add(1, Ordering::Relaxed);
        Temporary::create(&self.disk, &self.dir, number)
    }

    /// Verifies an unfinished snapshot whose content was synced, and gives it its name.
    pub(super) fn publish(&self, temporary: Temporary, cluster: u128) -> Result<Found, Error> {
        let summary = verify_at(&*self.disk, temporary.path(), &mut Pace::gentle())?;
        summary.meta.belongs_to(cluster, temporary.path())?;
        let last_log = summary.meta.last_log;
        let path = temporary.publish(&name::name(last_log))?;
        self.note_valid(path.clone());
        Ok(Found { path, last_log, bytes: summary.bytes })
    }

    /// Loads an unfinished snapshot whose content was synced, as strictly as the start of a node does, and gives it its
    /// name.
    pub(super) fn publish_loaded(&self, temporary: Temporary, cluster: u128) -> Result<Found, Error> {
        let Loaded { meta, bytes, .. } = load::load(&*self.disk, temporary.path(), cluster)?;
        let path = temporary.publish(&name::name(meta.last_log))?;
        self.note_valid(path.clone());
        Ok(Found { path, last_log: meta.last_log, bytes })
    }

    fn is_valid(&self, found: &Found) -> Result<bool, Error> {
        match self.verify(found) {
            Ok(()) => Ok(true),
            // It stays, but does not count: one bad file must not stop new ones.
            Err(Error::Corrupt { .. } | Error::Io { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads a snapshot whole, unless this process has done so before.
    fn verify(&self, found: &Found) -> Result<(), Error> {
        if self.shared.valid.lock().contains(&found.path) {
            return Ok(());
        }
        let summary = verify_at(&*self.disk, &found.path, &mut Pace::gentle())?;
        named(found, summary.meta.last_log)?;
        self.note_valid(found.path.clone());
        Ok(())
    }

    fn note_valid(&self, path: PathBuf) {
        self.shared.valid.lock().insert(path);
    }
}

/// Whether a snapshot bears the name of what is in it.
fn named(found: &Found, last_log: LogId) -> Result<(), Error> {
    if found.last_log == last_log {
        return Ok(());
    }
    Err(Error::corrupt(
        &found.path,
        0,
        format!("it bears the name of another: its own is {}", name::name(last_log)),
    ))
}
