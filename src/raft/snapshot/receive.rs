//! Takes in a snapshot that another node streams.

use super::error::Error;
use super::temporary::Temporary;

/// What has arrived is synced every so many bytes, so that the log finds the disk free.
const SYNC_BYTES: u64 = 1 << 20;

/// A snapshot that is arriving. Dropping it gives it up and removes what has arrived.
#[derive(Debug)]
pub struct Receiving {
    temporary: Temporary,
    wanted: u64,
    at: u64,
    synced: u64,
}

impl Receiving {
    /// Nothing has arrived yet of `wanted` bytes.
    pub(super) fn new(temporary: Temporary, wanted: u64) -> Receiving {
        Receiving { temporary, wanted, at: 0, synced: 0 }
    }

    /// How many bytes have arrived.
    pub fn received(&self) -> u64 {
        self.at
    }

    /// Appends a piece.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if that is more than was announced, [`Error::Io`].
    pub fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        let (file, path) = (self.temporary.file(), self.temporary.path());
        if piece.len() as u64 > self.wanted - self.at {
            return Err(Error::corrupt(path, self.wanted, "more arrived than was announced"));
        }
        file.write_at(self.at, piece).map_err(Error::io("writing", path))?;
        self.at += piece.len() as u64;
        if self.at - self.synced >= SYNC_BYTES {
            file.sync_data().map_err(Error::io("syncing", path))?;
            self.synced = self.at;
        }
        Ok(())
    }

    /// All has arrived: makes it durable and hands it over to be verified.
    pub(super) fn whole(self) -> Result<Temporary, Error> {
        let (file, path) = (self.temporary.file(), self.temporary.path());
        if self.at != self.wanted {
            return Err(Error::corrupt(path, self.at, "less arrived than was announced"));
        }
        file.sync_all().map_err(Error::io("syncing", path))?;
        Ok(self.temporary)
    }
}
