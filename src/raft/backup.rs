//! Backups: snapshots on their way to a client.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::snapshot::{Error, Sending};
use super::status::Taken;

/// Most backups at a time: each keeps a file from being freed until it was read to its end.
pub(super) const MAX_BACKUPS: usize = 2;

/// Who may read a backup.
pub(super) struct Readers(Arc<Semaphore>);

impl Readers {
    pub(super) fn new() -> Readers {
        Readers(Arc::new(Semaphore::new(MAX_BACKUPS)))
    }

    /// A place among them, if one is free.
    pub(super) fn admit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}

/// A snapshot that is being read. Its place among the backups is free again when this is dropped.
#[derive(Debug)]
pub struct Backup {
    taken: Taken,
    sending: Sending,
    _place: OwnedSemaphorePermit,
}

impl Backup {
    pub(super) fn new(taken: Taken, sending: Sending, place: OwnedSemaphorePermit) -> Backup {
        Backup { taken, sending, _place: place }
    }

    /// What it is a backup of.
    pub fn taken(&self) -> &Taken {
        &self.taken
    }

    /// Reads the next piece, `most` bytes long or up to the end; empty at the end. Blocks.
    ///
    /// # Errors
    /// The disk failed; what was read so far is worth nothing.
    pub fn next(&mut self, most: usize) -> Result<Vec<u8>, Error> {
        self.sending.next(most)
    }
}
