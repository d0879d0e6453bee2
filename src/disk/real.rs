//! The file system itself: the one user of `std::fs`.
//!
//! Writing goes through `pwrite` and `fdatasync`, nothing else, so that tools which watch or disturb those
//! calls see everything that Kvorum does to its data.
//!
//! Files and directories that it creates are their owner's alone, whatever the umask of the process says. What was there
//! before keeps its mode: it may be open for a reason that Kvorum does not know.

#![expect(clippy::disallowed_methods, reason = "the one user of std::fs")]

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, OFlags, fallocate, flock, statvfs};
use rustix::io::Errno;

use super::contract::{Disk, File, Lock, LockError, Space, within};

/// Zeros are written in pieces of this many bytes where a file system cannot reserve blocks.
const ZEROS: usize = 1 << 20;

/// Mode of a file that only its owner reads and writes.
const PRIVATE_FILE: u32 = 0o600;

/// Mode of a directory that only its owner looks into.
const PRIVATE_DIRECTORY: u32 = 0o700;

/// The bits of a mode that let everybody in. Those of the group do not count: orchestrators give a volume a group of its own.
const OTHERS: u32 = 0o007;

/// The operating system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Real;

#[derive(Debug)]
struct Handle(fs::File);

impl Disk for Real {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut options = fs::File::options();
        let file = options.read(true).write(true).create_new(true).mode(PRIVATE_FILE).open(path)?;
        Ok(Arc::new(Handle(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(Handle(fs::File::options().read(true).write(true).open(path)?)))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        // Without NONBLOCK a FIFO that nobody writes to keeps the caller waiting.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
        let file = fs::File::options().read(true).custom_flags(flags).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Arc::new(Handle(file)))
    }

    fn read_to_end(&self, path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        within(bytes, limit_bytes)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        fs::exists(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut missing: Vec<PathBuf> = Vec::new();
        let mut at = path;
        while !at.as_os_str().is_empty() && !fs::exists(at)? {
            missing.push(at.to_path_buf());
            match at.parent() {
                Some(parent) => at = parent,
                None => break,
            }
        }
        fs::DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(path)?;
        missing.iter().rev().try_for_each(|made| self.sync_dir(parent(made)))
    }

    fn is_open_to_others(&self, path: &Path) -> io::Result<bool> {
        Ok(fs::metadata(path)?.mode() & OTHERS != 0)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = statvfs(path)?;
        Ok(Space {
            size_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    fn lock(&self, path: &Path) -> Result<Lock, LockError> {
        // The directory first: whoever is refused has not created a file.
        let directory = fs::File::open(parent(path))?;
        match exclusive(&directory) {
            // Network file systems lock no directories; the file alone has to do there.
            Ok(()) | Err(LockError::Io(_)) => {}
            Err(held) => return Err(held),
        }
        let mut options = fs::File::options();
        let file =
            options.read(true).write(true).create(true).truncate(false).mode(PRIVATE_FILE).open(path)?;
        exclusive(&file)?;
        Ok(Lock::new((directory, file)))
    }
}

impl File for Handle {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        match fallocate(&self.0, FallocateFlags::empty(), 0, length) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.fill(length),
            Err(error) => Err(error.into()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

impl Handle {
    /// Reserves blocks the slow way, behind what the file already holds.
    fn fill(&self, length: u64) -> io::Result<()> {
        let zeros = vec![0; ZEROS];
        let mut at = self.len()?;
        while at < length {
            let piece = usize::try_from(length - at).unwrap_or(ZEROS).min(ZEROS);
            self.0.write_all_at(zeros.get(..piece).unwrap_or_default(), at)?;
            at += piece as u64;
        }
        Ok(())
    }
}

impl Real {
    /// Creates a file that others may read, as far as the umask lets them, and the directories above it: for documents.
    pub(super) fn create_public(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        fs::create_dir_all(parent(path))?;
        let file = fs::File::options().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(Handle(file)))
    }
}

/// Locks an open file or directory for this process alone.
fn exclusive(file: &fs::File) -> Result<(), LockError> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(LockError::Held),
        Err(error) => Err(LockError::Io(error.into())),
    }
}

/// The directory that holds `path`; the working directory for a bare name.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_lock_on_the_same_file_is_told_apart_from_other_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Real.lock(&path).unwrap();
        assert!(matches!(Real.lock(&path), Err(LockError::Held)));
        drop(held);
        assert!(Real.lock(&path).is_ok());
        assert!(matches!(Real.lock(&dir.path().join("no/such/dir")), Err(LockError::Io(_))));
    }

    /// Goal: a lock does not depend on its file, which anybody who tidies up can remove.
    #[test]
    fn a_lock_holds_without_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Real.lock(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(matches!(Real.lock(&path), Err(LockError::Held)));
        assert!(!path.exists(), "a refusal creates no file");
        drop(held);
        assert!(Real.lock(&path).is_ok());
    }

    /// Goal: what is created is its owner's alone; documents are not.
    #[test]
    fn files_and_directories_are_private() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("a/b");
        Real.create_dir_all(&dir).unwrap();
        drop((Real.create(&dir.join("file")).unwrap(), Real.lock(&dir.join("lock")).unwrap()));
        let mode = |path: PathBuf| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(home.path().join("a")), mode(dir.clone())), (0o700, 0o700));
        assert_eq!((mode(dir.join("file")), mode(dir.join("lock"))), (0o600, 0o600));
        assert!(!Real.is_open_to_others(&dir).unwrap());
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Real.is_open_to_others(&dir).unwrap());
        Real.create_public(&dir.join("page")).unwrap();
        assert_eq!(mode(dir.join("page")) & 0o600, 0o600);
    }

    /// Goal: a pipe is read to its end, and refused at once where positions are needed; nothing is read in part.
    #[test]
    fn pipes_are_read_to_their_end_and_have_no_positions() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
        assert_eq!(Real.open_read(&fifo).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(Real.open_read(dir.path()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        for (limit, fits) in [(200_000, true), (199_999, false)] {
            let writer = std::thread::spawn({
                let fifo = fifo.clone();
                move || fs::write(fifo, [7; 200_000])
            });
            let read = Real.read_to_end(&fifo, limit);
            assert_eq!(read.as_ref().is_ok_and(|bytes| *bytes == [7; 200_000]), fits, "{limit}");
            assert_eq!(read.err().map(|error| error.kind()), (!fits).then_some(io::ErrorKind::FileTooLarge));
            // It may have met a closed pipe.
            let _ = writer.join().unwrap();
        }
        assert!(!Real.read_to_end(Path::new("/proc/self/status"), 1 << 20).unwrap().is_empty());
    }

    #[test]
    fn allocate_gives_zeros_of_the_asked_length_and_keeps_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = Real.create(&dir.path().join("file")).unwrap();
        file.write_at(0, b"head").unwrap();
        file.allocate(5000).unwrap();
        assert_eq!(file.len().unwrap(), 5000);
        let mut bytes = vec![1; 5000];
        file.read_exact_at(0, &mut bytes).unwrap();
        assert!(bytes.starts_with(b"head") && bytes[4..].iter().all(|byte| *byte == 0));
        assert!(file.read_exact_at(1, &mut bytes).is_err(), "one byte past the end");
        let plain = Handle(fs::File::options().write(true).open(dir.path().join("file")).unwrap());
        plain.fill(3_000_000).unwrap();
        assert_eq!(file.len().unwrap(), 3_000_000, "zero-writing reaches the same length");
    }

    #[test]
    fn nested_directories_are_created_and_space_is_known() {
        let dir = tempfile::tempdir().unwrap();
        Real.create_dir_all(&dir.path().join("a/b/c")).unwrap();
        Real.create_dir_all(&dir.path().join("a/b/c")).unwrap();
        assert_eq!(Real.read_dir(&dir.path().join("a/b")).unwrap(), ["c"]);
        let space = Real.space(dir.path()).unwrap();
        assert!(space.free_bytes > 0 && space.size_bytes >= space.free_bytes);
    }
}
