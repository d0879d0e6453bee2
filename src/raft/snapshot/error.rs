//! What can go wrong with a snapshot, named by what the caller can do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::model::Level;

/// Why a snapshot was not written, read or loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk failed. A snapshot being written is gone; those that stand are untouched.
    #[error("{doing} {}", file.display())]
    Io {
        /// What was being done: "writing", "renaming".
        doing: &'static str,
        /// To which file or directory.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not what was written. Use an older one.
    #[error("{} is damaged at byte {offset}: {what}", file.display())]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Where the damaged part begins: the file's head, or a block.
        offset: u64,
        /// What does not hold there.
        what: String,
    },
    /// There are snapshots, and none of them can be used.
    #[error("no snapshot can be used: {}", Listed(.0))]
    NoneValid(Vec<Error>),
    /// Not begun, because the disk would fill up. Make room and try again.
    #[error("a snapshot needs {needed_bytes} bytes free, but {free_bytes} are")]
    NoSpace {
        /// 1.2 times the estimated size.
        needed_bytes: u64,
        /// What the file system has.
        free_bytes: u64,
    },
    /// Writers displaced more than the side budget while the store was walked, or the store was replaced. Try again.
    #[error(
        "the snapshot was abandoned: writers changed more than its side buffer holds, or the store was replaced"
    )]
    Abandoned,
    /// The caller asked for it.
    #[error("the snapshot was cancelled")]
    Cancelled,
    /// The snapshot belongs to another cluster. It must not be used here.
    #[error("{} belongs to cluster {found:032x}, not to {wanted:032x}", file.display())]
    WrongCluster {
        /// The snapshot.
        file: PathBuf,
        /// Its cluster.
        found: u128,
        /// The cluster of this node.
        wanted: u128,
    },
    /// The snapshot was written at a level that this binary does not know. Use a newer binary.
    #[error("{} has level {found}, this binary knows levels up to {}", file.display(), Level::LATEST)]
    LevelTooHigh {
        /// The snapshot.
        file: PathBuf,
        /// Its level.
        found: Level,
    },
}

impl Error {
    /// For `map_err`: an operation of the disk failed.
    pub(super) fn io(doing: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { doing, file: file.to_owned(), source }
    }

    /// Something in a file does not hold.
    pub(crate) fn corrupt(file: &Path, offset: u64, what: impl Into<String>) -> Error {
        Error::Corrupt { file: file.to_owned(), offset, what: what.into() }
    }
}

/// Errors in one line, with what lies behind them.
struct Listed<'a>(&'a [Error]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, error) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(f, "{separator}{error}")?;
            if let Error::Io { source, .. } = error {
                write!(f, ": {source}")?;
            }
        }
        Ok(())
    }
}
