//! A file that is not visible as a snapshot until it is whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::Error;
use crate::disk::{Disk, File, TEMPORARY};

/// A file under a temporary name. It is removed when this is dropped without [`Temporary::publish`].
#[derive(Debug)]
pub(super) struct Temporary {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    path: PathBuf,
    file: Arc<dyn File>,
    published: bool,
}

impl Temporary {
    /// Creates a file that no other bears the number of.
    pub(super) fn create(disk: &Arc<dyn Disk>, dir: &Path, number: u64) -> Result<Temporary, Error> {
        let path = dir.join(format!("unfinished-{number}{TEMPORARY}"));
        let file = disk.create(&path).map_err(Error::io("creating", &path))?;
        Ok(Temporary { disk: Arc::clone(disk), dir: dir.to_owned(), path, file, published: false })
    }

    /// The file.
    pub(super) fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// Its temporary name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its name, durably. Its content must have been synced and verified.
    ///
    /// If only the last step fails, the sync of the directory, the file keeps its name: it is whole, and an older
    /// one of that name is gone already.
    pub(super) fn publish(mut self, name: &str) -> Result<PathBuf, Error> {
        let path = self.dir.join(name);
        self.disk.rename(&self.path, &path).map_err(Error::io("renaming", &self.path))?;
        self.published = true;
        self.disk.sync_dir(&self.dir).map_err(Error::io("syncing", &self.dir))?;
        Ok(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.published {
            // If this fails as well, the next start removes the file.
            let _ = self.disk.remove(&self.path);
        }
    }
}

/// Whether a file of this name is a leftover of [`Temporary`].
pub(super) fn is_temporary(name: &str) -> bool {
    name.ends_with(TEMPORARY)
}
