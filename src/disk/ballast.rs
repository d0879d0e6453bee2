//! Space that is kept for a full disk: a file whose blocks are given back when nothing else is left.
//!
//! Its content does not matter. A writer that needs a few blocks on a full disk has the file give some back, and tries again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::contract::Disk;

/// The ballast grows and shrinks in steps of so many bytes.
const STEP_BYTES: u64 = 64 << 10;

/// A file that keeps space. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ballast {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl Ballast {
    /// Bytes that are kept at least: small files, such as marks, can be written when the disk is full.
    pub const MARKS_BYTES: u64 = 128 << 10;
    /// The name of the file in a data directory.
    pub const NAME: &str = "reserve";

    /// The ballast of the data directory `dir`. Nothing is created yet.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path) -> Ballast {
        Ballast { disk, path: dir.join(Ballast::NAME) }
    }

    /// How many bytes it keeps.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn bytes(&self) -> io::Result<u64> {
        if self.disk.exists(&self.path)? { self.disk.open_read(&self.path)?.len() } else { Ok(0) }
    }

    /// Has it keep about `bytes`. If the disk has not so many, it keeps what it kept.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn keep(&self, bytes: u64) -> io::Result<()> {
        let (wanted, kept) = (bytes.next_multiple_of(STEP_BYTES), self.bytes()?);
        if wanted == kept {
            return Ok(());
        }
        let is_there = self.disk.exists(&self.path)?;
        let file = if is_there { self.disk.open(&self.path)? } else { self.disk.create(&self.path)? };
        if wanted < kept {
            file.set_len(wanted)?;
        } else if let Err(error) = file.allocate(wanted) {
            // A part of it may have been reserved: that is space which others need now.
            file.set_len(kept)?;
            file.sync_all()?;
            return Err(error);
        }
        // Blocks that were given back can be had only after this.
        file.sync_all()
    }

    /// Gives back at least `bytes`, or all that it keeps. Returns whether it gave any.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn give(&self, bytes: u64) -> io::Result<bool> {
        let kept = self.bytes()?;
        self.keep(kept.saturating_sub(bytes) / STEP_BYTES * STEP_BYTES)?;
        Ok(kept > 0)
    }

    /// Does `work`; if the disk is full, gives back `bytes` and does it once more.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn helping<T>(&self, bytes: u64, work: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match work() {
            Err(error) if super::is_full(&error) && self.give(bytes).unwrap_or(false) => work(),
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Faulty, is_full, replace};

    /// Goal: a full disk takes a small file as long as there is ballast, and the ballast never takes the last block itself.
    #[test]
    fn ballast_serves_on_a_full_disk() {
        let (disk, dir) = (Faulty::new(), Path::new("/data"));
        disk.create_dir_all(dir).unwrap();
        let ballast = Ballast::new(Arc::new(disk.clone()), dir);
        ballast.keep(100_000).unwrap();
        assert_eq!(ballast.bytes().unwrap(), 131_072);
        disk.set_capacity(Some(131_072));
        assert!(is_full(&ballast.keep(200_000).unwrap_err()));
        assert_eq!(ballast.bytes().unwrap(), 131_072);
        for n in 0..2 {
            let (disk, name) = (disk.clone(), ["one", "two"][n]);
            assert!(is_full(&replace(&disk, dir, name, &[b'm'; 70_000]).unwrap_err()));
            ballast.helping(65_536, || replace(&disk, dir, name, &[b'm'; 60_000])).unwrap();
        }
        assert_eq!(ballast.bytes().unwrap(), 0);
        assert!(is_full(
            &ballast.helping(65_536, || replace(&disk, dir, "three", &[b'm'; 60_000])).unwrap_err()
        ));
    }
}
