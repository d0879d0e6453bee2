//! The whole of a forgetting disk: files, names, faults, and which operations were begun.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::inode::{Inode, Luck};

const ENOSPC: i32 = 28;

/// A kind of operation that can be counted, cut off at or made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// [`crate::disk::Disk::create`].
    Create,
    /// [`crate::disk::File::write_at`].
    Write,
    /// [`crate::disk::File::set_len`].
    SetLen,
    /// [`crate::disk::File::allocate`].
    Allocate,
    /// [`crate::disk::File::sync_data`] or [`crate::disk::File::sync_all`].
    Sync,
    /// [`crate::disk::Disk::rename`].
    Rename,
    /// [`crate::disk::Disk::remove`].
    Remove,
    /// [`crate::disk::Disk::sync_dir`].
    SyncDir,
}

/// An error to be reported by operations that match.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Which operations.
    pub operation: Operation,
    /// On files whose name contains this; empty for all.
    pub name: String,
    /// How many matching operations succeed first.
    pub skip: u64,
    /// How many then fail; `u64::MAX` for all.
    pub times: u64,
    /// The error number they report (5 = EIO, 28 = ENOSPC).
    pub errno: i32,
}

#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) files: Vec<Inode>,
    pub(super) live: BTreeMap<PathBuf, usize>,
    pub(super) durable: BTreeMap<PathBuf, usize>,
    pub(super) changes: Vec<NameChange>,
    pub(super) dirs: BTreeSet<PathBuf>,
    pub(super) locks: BTreeSet<PathBuf>,
    pub(super) trace: Vec<(Operation, String)>,
    pub(super) cut_off_at: Option<u64>,
    pub(super) off: bool,
    pub(super) faults: Vec<Fault>,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) sync_takes: Duration,
}

/// One change of a directory: the names it sets or clears, all or none of them.
#[derive(Debug, Clone)]
pub(super) struct NameChange {
    dir: PathBuf,
    sets: Vec<(PathBuf, Option<usize>)>,
    /// A directory that was renamed with all in it, and to what.
    moved: Option<(PathBuf, PathBuf)>,
}

/// How an operation goes on after it was counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is done and reported as done.
    Done,
    /// The power goes in its middle: it may or may not have reached the disk, and nobody is told.
    Cut,
}

impl State {
    pub(super) fn alive(&self) -> io::Result<()> {
        if self.off { Err(power_is_off()) } else { Ok(()) }
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<usize> {
        self.alive()?;
        self.live.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Counts an operation and decides its fate.
    pub(super) fn begin(&mut self, operation: Operation, path: &Path) -> io::Result<Fate> {
        self.alive()?;
        let number = self.trace.len() as u64;
        self.trace.push((operation, file_name(path)));
        if self.cut_off_at.is_some_and(|at| number >= at) {
            self.off = true;
            return Ok(Fate::Cut);
        }
        let matches =
            |fault: &&mut Fault| fault.operation == operation && file_name(path).contains(&fault.name);
        for fault in self.faults.iter_mut().filter(|fault| fault.times > 0).filter(matches) {
            if fault.skip > 0 {
                fault.skip -= 1;
            } else {
                fault.times -= 1;
                return Err(io::Error::from_raw_os_error(fault.errno));
            }
        }
        Ok(Fate::Done)
    }

    pub(super) fn change(&mut self, path: &Path, sets: Vec<(PathBuf, Option<usize>)>) {
        set_names(&mut self.live, &sets);
        self.changes.push(NameChange { dir: parent(path), sets, moved: None });
    }

    /// Renames a directory. What is in it moves as one, and counts as durable in it.
    pub(super) fn rename_dir(&mut self, from: &Path, to: &Path) {
        let below = self.live.iter().filter(|(name, _)| name.starts_with(from));
        let below: Vec<_> = below.map(|(name, inode)| (name.clone(), *inode)).collect();
        let cleared = below.iter().map(|(name, _)| (name.clone(), None));
        let set = below.iter().map(|(name, inode)| (moved(name, from, to), Some(*inode)));
        let sets: Vec<_> = cleared.chain(set).collect();
        set_names(&mut self.live, &sets);
        self.dirs = self.dirs.iter().map(|dir| moved(dir, from, to)).collect();
        self.changes.retain(|change| !change.dir.starts_with(from));
        let moved = Some((from.to_path_buf(), to.to_path_buf()));
        self.changes.push(NameChange { dir: parent(to), sets, moved });
    }

    pub(super) fn sync_names(&mut self, dir: &Path) {
        let (synced, rest) =
            std::mem::take(&mut self.changes).into_iter().partition(|change| change.dir == dir);
        self.changes = rest;
        let synced: Vec<NameChange> = synced;
        synced.iter().for_each(|change| set_names(&mut self.durable, &change.sets));
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.live
            .values()
            .filter_map(|inode| self.files.get(*inode))
            .map(|inode| inode.live.len() as u64)
            .sum()
    }

    /// Fails if growing the file to `length` bytes passes the capacity.
    pub(super) fn room_for(&self, inode: usize, length: u64) -> io::Result<()> {
        let have = self.files.get(inode).map_or(0, |file| file.live.len() as u64);
        match self.capacity_bytes {
            Some(capacity) if length > have && self.used_bytes() + (length - have) > capacity => {
                Err(io::Error::from_raw_os_error(ENOSPC))
            }
            _ => Ok(()),
        }
    }

    /// What a power cut leaves, drawn from `seed`; the top of the parent module has the rules.
    pub(super) fn after_power_cut(&self, seed: u64) -> State {
        let mut luck = Luck::new(seed);
        let (mut names, mut dirs) = (self.durable.clone(), self.dirs.clone());
        for change in &self.changes {
            if luck.below(2) == 1 {
                set_names(&mut names, &change.sets);
            } else if let Some((from, to)) = &change.moved {
                dirs = dirs.iter().map(|dir| moved(dir, to, from)).collect();
            }
        }
        let files = self.files.iter().map(|inode| Inode::durable(inode.drawn(&mut luck))).collect();
        State {
            files,
            live: names.clone(),
            durable: names,
            dirs,
            capacity_bytes: self.capacity_bytes,
            ..State::default()
        }
    }

    /// What the next process finds when this one was killed.
    pub(super) fn after_kill(&self) -> State {
        let (locks, trace, faults) = (BTreeSet::new(), Vec::new(), Vec::new());
        State { cut_off_at: None, off: false, locks, trace, faults, ..self.clone() }
    }
}

impl Fate {
    pub(super) fn report(self) -> io::Result<()> {
        if self == Fate::Done { Ok(()) } else { Err(power_is_off()) }
    }
}

fn set_names(names: &mut BTreeMap<PathBuf, usize>, sets: &[(PathBuf, Option<usize>)]) {
    for (name, inode) in sets {
        match inode {
            Some(inode) => names.insert(name.clone(), *inode),
            None => names.remove(name),
        };
    }
}

/// A path, with `to` in place of `from` if it is that or below it.
fn moved(path: &Path, from: &Path, to: &Path) -> PathBuf {
    match path.strip_prefix(from) {
        Ok(rest) if rest.as_os_str().is_empty() => to.to_path_buf(),
        Ok(rest) => to.join(rest),
        Err(_) => path.to_path_buf(),
    }
}

pub(super) fn parent(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}
