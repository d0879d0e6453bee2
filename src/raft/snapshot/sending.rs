//! A snapshot on its way to elsewhere, read as it is.
//!
//! The file was verified when it was written or loaded, and whoever takes it in verifies it again. It stays readable
//! when its name is removed: on Unix a file lives as long as somebody has it open.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::Error;
use super::meta::Meta;
use super::reader::Reader;
use crate::disk::{Disk, File};
use crate::store::Globals;

/// A snapshot that is being read, front to back.
#[derive(Debug)]
pub struct Sending {
    file: Arc<dyn File>,
    path: PathBuf,
    meta: Meta,
    globals: Globals,
    bytes: u64,
    at: u64,
}

impl Sending {
    /// Opens a snapshot and reads its header.
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<Sending, Error> {
        let reader = Reader::open(disk, path)?;
        let (meta, globals) = (reader.header().meta.clone(), reader.header().globals);
        let (file, bytes) = (Arc::clone(reader.file()), reader.length());
        Ok(Sending { file, path: path.to_owned(), meta, globals, bytes, at: 0 })
    }

    /// Where in the life of the cluster it was taken.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The replicated state beside the entries.
    pub fn globals(&self) -> &Globals {
        &self.globals
    }

    /// The length of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads the next piece, `most` bytes long or up to the end; empty at the end. Blocks.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn next(&mut self, most: usize) -> Result<Vec<u8>, Error> {
        let left = usize::try_from(self.bytes - self.at).unwrap_or(usize::MAX);
        let mut piece = vec![0; most.min(left)];
        self.file.read_exact_at(self.at, &mut piece).map_err(Error::io("reading", &self.path))?;
        self.at += piece.len() as u64;
        Ok(piece)
    }
}
