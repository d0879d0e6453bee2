//! What can go wrong, named by what the caller can do about it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::disk;

/// An error of the log. Cheap to clone: one failure answers many callers.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk failed. Inside a segment this poisons the log.
    #[error("{operation} {file}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        file: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// There is no room for another segment.
    #[error("no space for {file}")]
    NoSpace {
        /// The file that could not be made.
        file: String,
    },
    /// A file is damaged or missing: an operator has to look.
    #[error("{file}: damaged at offset {offset}: {what}")]
    Corrupt {
        /// The file.
        file: String,
        /// Where in the file, in bytes.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The log belongs to another cluster, node or incarnation.
    #[error("{file} belongs to another {what}: it says {found}, this is {expected}")]
    Identity {
        /// The file.
        file: String,
        /// Which part of the identity differs.
        what: &'static str,
        /// What it should be.
        expected: String,
        /// What the file says.
        found: String,
    },
    /// The log was written in a format that this version does not know.
    #[error("{file} has format {found}, this version knows formats up to {known}")]
    Format {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// An earlier write or sync failed. Nothing is accepted any more; the process must stop.
    #[error("the log is poisoned by an earlier failure")]
    Poisoned {
        /// That failure.
        #[source]
        cause: Arc<Error>,
    },
    /// The caller asked for something that the log's laws exclude. Nothing was changed.
    #[error("refused: {what}")]
    Invalid {
        /// What was wrong.
        what: &'static str,
    },
    /// The log was closed before this was done.
    #[error("the log is closed")]
    Closed,
}

impl Error {
    /// Wraps an error of the disk, telling "full" from the rest.
    pub(super) fn io(operation: &'static str, path: &Path, source: io::Error) -> Error {
        let file = path.display().to_string();
        if disk::is_full(&source) {
            return Error::NoSpace { file };
        }
        Error::Io { operation, file, source: Arc::new(source) }
    }

    /// As [`Error::io`], for a failure inside a segment, where a full disk is no better than a broken one.
    pub(super) fn fatal(operation: &'static str, path: &Path, source: io::Error) -> Error {
        Error::Io { operation, file: path.display().to_string(), source: Arc::new(source) }
    }

    /// Whether making a file failed for lack of something that may come back: space, or file descriptors. Not
    /// to be asked about a failure inside a segment, which is final whatever it says.
    pub(super) fn is_shortage(&self) -> bool {
        match self {
            Error::NoSpace { .. } => true,
            error => error.is_lack_of_files(),
        }
    }

    /// Whether it failed because no more files can be opened: that says nothing of the disk.
    pub fn is_lack_of_files(&self) -> bool {
        match self {
            Error::Io { source, .. } => disk::is_lack_of_files(source),
            _ => false,
        }
    }

    pub(super) fn corrupt(path: &Path, offset: u64, what: impl Into<String>) -> Error {
        Error::Corrupt { file: path.display().to_string(), offset, what: what.into() }
    }

    pub(super) fn invalid(what: &'static str) -> Error {
        Error::Invalid { what }
    }

    /// What later callers are told once this error has stopped the log.
    pub(super) fn poisoning(&self) -> Error {
        match self {
            Error::Poisoned { .. } => self.clone(),
            cause => Error::Poisoned { cause: Arc::new(cause.clone()) },
        }
    }
}
