//! What a disk is: the traits that the file system and its faulty double both obey.
//!
//! The promises behind these methods are listed at the top of the folder; nothing else may be relied on.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The unit a power cut keeps or loses as a whole, in bytes.
pub const SECTOR: usize = 512;

/// A file system, or something that behaves like one at its worst.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Creates a file that must not exist yet, for reading and writing. No other user of the machine may read it.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens a file that exists, for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens a file that exists, for reading only. What has no positions (a pipe, a device, a directory) is refused with an
    /// error of kind `InvalidInput`.
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Reads a file from its start to its end. Pipes, and files of the kernel that do not know their length, are read too.
    ///
    /// # Errors
    /// One of kind `FileTooLarge` if there are more than `limit_bytes`.
    fn read_to_end(&self, path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
        let file = self.open_read(path)?;
        let mut bytes = Vec::new();
        let mut piece = [0; 4_096];
        loop {
            match file.read_at(bytes.len() as u64, &mut piece)? {
                0 => return within(bytes, limit_bytes),
                read => bytes.extend_from_slice(piece.get(..read).unwrap_or_default()),
            }
            if bytes.len() as u64 > limit_bytes {
                return within(bytes, limit_bytes);
            }
        }
    }
    /// The names in a directory, sorted; names that are not UTF-8 are left out (Kvorum writes none).
    fn read_dir(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Whether something bears this name. An error other than "not found" is returned as such.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Renames a file or directory, replacing a file that bears the new name. Durable only after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Durable only after [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a file, or a directory and everything below it. Durable only after [`Disk::sync_dir`].
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory and those above it. What it created is synced into its parents before it returns, and no other
    /// user of the machine may look into it.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Whether users of the machine other than the owner and the group may look into a directory. A disk without users
    /// has none.
    fn is_open_to_others(&self, _path: &Path) -> io::Result<bool> {
        Ok(false)
    }
    /// Makes the names of a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Size and free bytes of the file system that holds `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// Locks `path` (created if needed) and the directory that it is in for this process alone, until the guard is
    /// dropped or the process ends. The directory is locked too because its file can be removed.
    ///
    /// # Errors
    /// [`LockError::Held`] if another holder exists, [`LockError::Io`] for anything else.
    fn lock(&self, path: &Path) -> Result<Lock, LockError>;
}

/// An open file. Positions are explicit, so that one handle serves many threads.
pub trait File: fmt::Debug + Send + Sync + 'static {
    /// Writes all of `bytes` at `offset`, extending the file if needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Fills `buffer` from `offset` on, up to the end of the file; returns how many bytes were read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file holds no byte.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends (with zeros) to `length` bytes.
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// Makes the file `length` bytes long with its blocks reserved, so that writing inside cannot run out of
    /// space. Zeros are written where the file system cannot reserve.
    fn allocate(&self, length: u64) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes content, length and all other attributes durable.
    fn sync_all(&self) -> io::Result<()>;

    /// Fills the whole `buffer`; a file that ends before is an error of kind `UnexpectedEof`.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let wanted = buffer.len();
        if self.read_at(offset, buffer)? == wanted {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

/// Room on a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Total size.
    pub size_bytes: u64,
    /// What this process may still use.
    pub free_bytes: u64,
}

/// Holds an exclusive lock as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _holder: Box<dyn fmt::Debug + Send + Sync>,
}

impl Lock {
    /// A guard that unlocks when `holder` is dropped.
    pub(super) fn new(holder: impl fmt::Debug + Send + Sync + 'static) -> Lock {
        Lock { _holder: Box::new(holder) }
    }
}

/// Why a lock was not obtained.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process (or another part of this one) holds it.
    #[error("the lock is held by another process")]
    Held,
    /// The lock file could not be created or locked.
    #[error("locking failed")]
    Io(#[from] io::Error),
}

/// `bytes` if there are no more than `limit_bytes`.
pub(super) fn within(bytes: Vec<u8>, limit_bytes: u64) -> io::Result<Vec<u8>> {
    if bytes.len() as u64 > limit_bytes {
        let what = format!("larger than {limit_bytes} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// ENFILE and EMFILE: the machine, or this process, may not open another file. `std` has no kind for them.
const NO_DESCRIPTOR: [i32; 2] = [23, 24];

/// Whether an error says that no more files can be opened.
pub fn is_lack_of_files(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|errno| NO_DESCRIPTOR.contains(&errno))
}

/// Whether an error says that the disk (or the user's quota) is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
