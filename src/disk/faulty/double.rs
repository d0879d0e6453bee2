//! The double of the file system: the traits of a disk over the state of one that forgets.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::inode::{Inode, Unsynced};
use super::state::{Fate, Fault, Operation, State, file_name, parent};
use crate::disk::contract::{Disk, File, Lock, LockError, Space};

/// The disk that forgets. Cheap to clone; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct Faulty {
    state: Arc<Mutex<State>>,
}

impl Faulty {
    /// An empty disk without faults.
    pub fn new() -> Faulty {
        Faulty::default()
    }

    /// How many operations that change something were begun.
    pub fn operations(&self) -> u64 {
        self.state.lock().trace.len() as u64
    }

    /// The operations begun so far, with the names of their files.
    pub fn trace(&self) -> Vec<(Operation, String)> {
        self.state.lock().trace.clone()
    }

    /// Cuts the power in the middle of the operation with this number (the first is 0). From then on all
    /// fails.
    pub fn cut_off_at(&self, operation: u64) {
        self.state.lock().cut_off_at = Some(operation);
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.state.lock().off
    }

    /// Adds an error to be reported.
    pub fn inject(&self, fault: Fault) {
        self.state.lock().faults.push(fault);
    }

    /// Removes all injected errors.
    pub fn clear_faults(&self) {
        self.state.lock().faults.clear();
    }

    /// Limits the sum of all file lengths; what needs more fails with "no space". `None` for no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity_bytes = bytes;
    }

    /// From now on a sync of a file takes at least so long.
    pub fn slow_down(&self, sync_takes: Duration) {
        self.state.lock().sync_takes = sync_takes;
    }

    /// What the machine finds after the power came back: one of the possible outcomes, drawn from `seed`.
    pub fn after_power_cut(&self, seed: u64) -> Faulty {
        Faulty { state: Arc::new(Mutex::new(self.state.lock().after_power_cut(seed))) }
    }

    /// What the next process finds when this one was killed: all that was written, synced or not as it was.
    pub fn after_kill(&self) -> Faulty {
        Faulty { state: Arc::new(Mutex::new(self.state.lock().after_kill())) }
    }

    /// The content of a file as its readers see it; `None` if there is none of this name.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state.lock();
        state.live.get(path).and_then(|inode| state.files.get(*inode)).map(|inode| inode.live.clone())
    }

    /// Puts a file there as if it had always been: durable, under a durable name.
    pub fn put(&self, path: &Path, content: &[u8]) {
        let mut state = self.state.lock();
        let inode = state.files.len();
        state.files.push(Inode::durable(content.to_vec()));
        state.live.insert(path.to_path_buf(), inode);
        state.durable.insert(path.to_path_buf(), inode);
        state.dirs.extend(path.ancestors().skip(1).map(Path::to_path_buf));
    }

    fn handle(&self, inode: usize, path: &Path, writable: bool) -> Arc<dyn File> {
        Arc::new(Handle { state: Arc::clone(&self.state), inode, path: path.to_path_buf(), writable })
    }
}

impl Disk for Faulty {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        if state.live.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !state.dirs.contains(&parent(path)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let fate = state.begin(Operation::Create, path)?;
        let inode = state.files.len();
        state.files.push(Inode::default());
        state.change(path, vec![(path.to_path_buf(), Some(inode))]);
        drop(state);
        fate.report().map(|()| self.handle(inode, path, true))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let inode = self.state.lock().find(path)?;
        Ok(self.handle(inode, path, true))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let inode = self.state.lock().find(path)?;
        Ok(self.handle(inode, path, false))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        state.alive()?;
        if !state.dirs.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let all = state.live.keys().chain(&state.dirs);
        Ok(all.filter(|name| parent(name) == path).map(|name| file_name(name)).collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state.lock();
        state.alive()?;
        Ok(state.live.contains_key(path) || state.dirs.contains(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.dirs.contains(from) {
            let fate = state.begin(Operation::Rename, to)?;
            state.rename_dir(from, to);
            return fate.report();
        }
        let inode = state.find(from)?;
        let fate = state.begin(Operation::Rename, to)?;
        state.change(to, vec![(from.to_path_buf(), None), (to.to_path_buf(), Some(inode))]);
        fate.report()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.find(path)?;
        let fate = state.begin(Operation::Remove, path)?;
        state.change(path, vec![(path.to_path_buf(), None)]);
        fate.report()
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let below: Vec<_> = state.live.keys().filter(|name| name.starts_with(path)).cloned().collect();
        let fate = state.begin(Operation::Remove, path)?;
        state.dirs.retain(|dir| !dir.starts_with(path));
        for name in below {
            state.change(&name, vec![(name.clone(), None)]);
        }
        fate.report()
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.alive()?;
        state.dirs.extend(path.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let fate = state.begin(Operation::SyncDir, path)?;
        if fate == Fate::Done {
            state.sync_names(path);
        }
        fate.report()
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let state = self.state.lock();
        let size_bytes = state.capacity_bytes.unwrap_or(1 << 40);
        Ok(Space { size_bytes, free_bytes: size_bytes.saturating_sub(state.used_bytes()) })
    }

    fn lock(&self, path: &Path) -> Result<Lock, LockError> {
        let mut state = self.state.lock();
        state.alive()?;
        if !state.locks.insert(path.to_path_buf()) {
            return Err(LockError::Held);
        }
        Ok(Lock::new(Held { state: Arc::clone(&self.state), path: path.to_path_buf() }))
    }
}

#[derive(Debug)]
struct Handle {
    state: Arc<Mutex<State>>,
    inode: usize,
    path: PathBuf,
    writable: bool,
}

impl Handle {
    /// Runs one counted change of this file.
    fn change(&self, operation: Operation, length: u64, change: Unsynced) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut state = self.state.lock();
        state.alive()?;
        state.room_for(self.inode, length)?;
        let begun = state.begin(operation, &self.path);
        let inode = state.files.get_mut(self.inode).ok_or(io::ErrorKind::NotFound)?;
        match begun {
            Ok(fate) => {
                inode.write(change);
                fate.report()
            }
            Err(error) => {
                // A write that fails may have come half the way.
                if let Unsynced::Bytes { offset, bytes } = change {
                    let half = bytes.get(..bytes.len() / 2).unwrap_or_default().to_vec();
                    inode.write(Unsynced::Bytes { offset, bytes: half });
                }
                Err(error)
            }
        }
    }
}

impl File for Handle {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        self.change(Operation::Write, end, Unsynced::Bytes { offset, bytes: bytes.to_vec() })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.state.lock();
        state.alive()?;
        let inode = state.files.get(self.inode).ok_or(io::ErrorKind::NotFound)?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = inode.live.get(from..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..read), rest.get(..read)) {
            to.copy_from_slice(from);
        }
        Ok(read)
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.state.lock();
        state.alive()?;
        Ok(state.files.get(self.inode).map_or(0, |inode| inode.live.len() as u64))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.change(Operation::SetLen, length, Unsynced::Length(length))
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let length = length.max(self.len()?);
        self.change(Operation::Allocate, length, Unsynced::Length(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        let sync_takes = self.state.lock().sync_takes;
        if !sync_takes.is_zero() {
            // Nobody rings: the time passes.
            Condvar::new().wait_for(&mut Mutex::new(()).lock(), sync_takes);
        }
        let mut state = self.state.lock();
        state.alive()?;
        let begun = state.begin(Operation::Sync, &self.path);
        let inode = state.files.get_mut(self.inode).ok_or(io::ErrorKind::NotFound)?;
        match begun {
            Ok(Fate::Done) => inode.sync(),
            Ok(Fate::Cut) => {}
            Err(_) => inode.lose(),
        }
        begun.and_then(Fate::report)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Gives a lock back when dropped.
#[derive(Debug)]
struct Held {
    state: Arc<Mutex<State>>,
    path: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.state.lock().locks.remove(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn disk_with(content: &[u8]) -> (Faulty, Arc<dyn File>, PathBuf) {
        let disk = Faulty::new();
        let path = PathBuf::from("/d/file");
        disk.create_dir_all(Path::new("/d")).unwrap();
        disk.put(&path, content);
        let file = disk.open(&path).unwrap();
        (disk, file, path)
    }

    #[test]
    fn sectors_not_synced_are_lost_one_by_one_and_synced_ones_never() {
        let (disk, file, path) = disk_with(&[1; 2048]);
        file.write_at(0, &[2; 2048]).unwrap();
        let mut seen = BTreeSet::new();
        for seed in 0..200 {
            let content = disk.after_power_cut(seed).content(&path).unwrap();
            let sectors: Vec<u8> = content.chunks(512).map(|sector| sector[0]).collect();
            assert!(content.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
            seen.insert(sectors);
        }
        assert_eq!(seen.len(), 16, "every combination of kept and lost sectors");
        file.sync_data().unwrap();
        assert!((0..50).all(|seed| disk.after_power_cut(seed).content(&path).unwrap() == [2; 2048]));
    }

    #[test]
    fn names_not_synced_are_lost_one_by_one_and_a_rename_is_whole() {
        let (disk, _, path) = disk_with(b"old");
        let (a, b) = (PathBuf::from("/d/a"), PathBuf::from("/d/b"));
        disk.create(&a).unwrap();
        disk.rename(&path, &b).unwrap();
        let mut seen = BTreeSet::new();
        for seed in 0..100 {
            let image = disk.after_power_cut(seed);
            assert!(image.content(&path).is_some() != image.content(&b).is_some(), "both or neither name");
            seen.insert((image.content(&a).is_some(), image.content(&b).is_some()));
        }
        assert_eq!(seen.len(), 4);
        disk.sync_dir(Path::new("/d")).unwrap();
        let names = |seed| disk.after_power_cut(seed).read_dir(Path::new("/d")).unwrap();
        assert!((0..50).all(|seed| names(seed) == ["a", "b"]));
    }

    #[test]
    fn what_a_failed_sync_lost_no_later_sync_brings_back() {
        let (disk, file, path) = disk_with(&[1; 512]);
        file.write_at(0, &[2; 512]).unwrap();
        let fault = Fault { operation: Operation::Sync, name: String::new(), skip: 0, times: 1, errno: 5 };
        disk.inject(fault);
        assert!(file.sync_data().is_err() && file.sync_data().is_ok());
        assert_eq!(disk.content(&path).unwrap(), [2; 512], "readers still see it");
        assert!((0..20).any(|seed| disk.after_power_cut(seed).content(&path).unwrap() == [1; 512]));
    }

    #[test]
    fn a_kill_keeps_what_was_written_and_leaves_it_unsynced() {
        let (disk, file, path) = disk_with(&[1; 512]);
        file.write_at(0, &[2; 512]).unwrap();
        let next = disk.after_kill();
        assert_eq!(next.content(&path).unwrap(), [2; 512]);
        assert!((0..20).any(|seed| next.after_power_cut(seed).content(&path).unwrap() == [1; 512]));
        next.open(&path).unwrap().sync_data().unwrap();
        assert!((0..20).all(|seed| next.after_power_cut(seed).content(&path).unwrap() == [2; 512]));
    }

    #[test]
    fn capacity_and_cut_off_end_in_errors() {
        let (disk, file, _) = disk_with(&[1; 512]);
        disk.set_capacity(Some(1000));
        assert!(crate::disk::is_full(&file.allocate(1001).unwrap_err()));
        file.allocate(1000).unwrap();
        disk.cut_off_at(disk.operations());
        assert!(file.write_at(0, b"x").is_err() && disk.is_off());
        assert!(file.len().is_err() && disk.create(Path::new("/d/x")).is_err());
    }
}
