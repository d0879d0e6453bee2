//! A segment file: made whole before it bears its name, then read by many and written by one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, File, TEMPORARY};

use super::error::Error;
use super::head::{Head, path_of};
use super::layout::{HEAD, SECTOR};
use super::record;
use super::values::Identity;

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) head: Head,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn File>,
}

/// A segment that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) sequence: u32,
    pub(super) previous_id: u64,
    pub(super) length: u32,
}

impl Plan {
    /// The length for a segment that must hold a record with this payload behind its opening: the usual one,
    /// or more.
    pub(super) fn length_for(usual: u64, opening: u64, payload: usize) -> u32 {
        // Room for the closing records is included, and for the Synced records of a few restarts.
        let needed = u64::from(HEAD) + opening + record::size(payload) + END_SIZE + 16 * record::size(0);
        let length = usual.max(needed.next_multiple_of(u64::from(SECTOR)));
        u32::try_from(length).expect("segment and payload sizes are bounded far below 4 GiB")
    }
}

/// The room that is kept free for the SegmentEnd.
pub(super) const END_SIZE: u64 = record::size(16);

impl Segment {
    /// Makes the segment's file under a temporary name, syncs it, renames it (over an unused one of that
    /// name) and syncs the directory.
    ///
    /// # Errors
    /// [`Error::NoSpace`] or [`Error::Io`]. What it leaves behind is replaced by the next try.
    pub(super) fn create(
        disk: &dyn Disk,
        dir: &Path,
        identity: Identity,
        plan: Plan,
    ) -> Result<Segment, Error> {
        let path = path_of(dir, plan.sequence);
        let temporary = temporary_of(&path);
        let head = Head {
            identity,
            sequence: plan.sequence,
            id: random_id(&path)?,
            length: plan.length,
            previous_id: plan.previous_id,
        };
        let made = fill(disk, &temporary, &head);
        if made.is_err() {
            // Whatever was reserved is given back; a leftover is removed at the next start anyway.
            let _leftover = disk.remove(&temporary);
        }
        let file = made?;
        disk.rename(&temporary, &path).map_err(|error| Error::io("rename to", &path, error))?;
        disk.sync_dir(dir).map_err(|error| Error::io("sync directory", dir, error))?;
        Ok(Segment { head, path, file })
    }

    /// Opens the file of a head that was read before.
    pub(super) fn open(disk: &dyn Disk, dir: &Path, head: Head) -> Result<Segment, Error> {
        let path = path_of(dir, head.sequence);
        let file = disk.open(&path).map_err(|error| Error::io("open", &path, error))?;
        Ok(Segment { head, path, file })
    }
}

fn temporary_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY);
    PathBuf::from(name)
}

fn fill(disk: &dyn Disk, path: &Path, head: &Head) -> Result<Arc<dyn File>, Error> {
    let failed = |operation| move |error| Error::io(operation, path, error);
    if disk.exists(path).map_err(failed("look for"))? {
        disk.remove(path).map_err(failed("remove"))?;
    }
    let file = disk.create(path).map_err(failed("create"))?;
    file.allocate(u64::from(head.length)).map_err(failed("allocate"))?;
    file.write_at(0, &head.encode()).map_err(failed("write"))?;
    file.sync_all().map_err(failed("sync"))?;
    Ok(file)
}

fn random_id(path: &Path) -> Result<u64, Error> {
    loop {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::io("draw an id for", path, std::io::Error::other(error.to_string())))?;
        let id = u64::from_le_bytes(bytes);
        if id != 0 {
            return Ok(id);
        }
    }
}
