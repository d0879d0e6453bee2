//! What can go wrong, by what the caller can do about it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::snapshot;
use crate::wal;

/// Why a write has no outcome. All but [`WriteError::UnknownOutcome`]: it was certainly not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Nobody leads at present.
    #[error("no leader")]
    NoLeader,
    /// More is waiting than the node takes.
    #[error("too many writes are waiting")]
    Overloaded,
    /// More commands or bytes than a transaction may have.
    #[error("the transaction is too large")]
    TooLarge,
    /// No space left for the log.
    #[error("the disk is full")]
    OutOfDisk,
    /// The node is starting, stopping or broken.
    #[error("the node is not available")]
    Unavailable,
    /// It was proposed, and what became of it is not known.
    #[error("the outcome of the write is unknown")]
    UnknownOutcome,
}

/// Why a read has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Nobody leads at present.
    #[error("no leader")]
    NoLeader,
    /// More is waiting than the node takes.
    #[error("too many reads are waiting")]
    Overloaded,
    /// The node is starting, stopping or broken.
    #[error("the node is not available")]
    Unavailable,
    /// The deadline passed first.
    #[error("the read took too long")]
    Timeout,
}

/// Why an administrative task was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The same is under way.
    #[error("a snapshot is being taken already")]
    Busy,
    /// No space left for it.
    #[error("the disk is full")]
    OutOfDisk,
    /// Writers changed more meanwhile than is remembered for a snapshot. It may be tried again.
    #[error("writers changed more than the snapshot's side buffer holds")]
    Outrun,
    /// The node is starting, stopping or broken.
    #[error("the node is not available")]
    Unavailable,
    /// It was tried.
    #[error("it failed: {0}")]
    Failed(String),
}

/// Why something was not done to the cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// No member has this id.
    #[error("there is no such member")]
    NoSuchMember,
    /// The cluster is not in the state for it.
    #[error("{0}")]
    Refused(String),
    /// A node that must take part does not answer. Nothing was begun.
    #[error("{0}")]
    Unreachable(String),
    /// Nobody leads at present, or who was asked does not.
    #[error("no leader")]
    NoLeader,
    /// The node is starting, stopping or broken.
    #[error("the node is not available")]
    Unavailable,
    /// It was begun, and what became of it is not known.
    #[error("what became of it is not known: {0}")]
    Unknown(String),
}

/// Why a member is none any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retired {
    /// It asked to leave.
    Left,
    /// It was taken out.
    Removed,
    /// A new member of its name has taken its place.
    Replaced,
}

impl Retired {
    /// The name in its mark and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Retired::Left => "left",
            Retired::Removed => "removed",
            Retired::Replaced => "replaced",
        }
    }

    /// The reason of that name.
    pub(super) fn named(name: &str) -> Option<Retired> {
        [Retired::Left, Retired::Removed, Retired::Replaced]
            .into_iter()
            .find(|retired| retired.name() == name)
    }
}

impl std::fmt::Display for Retired {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Retired::Left => "it has left",
            Retired::Removed => "it was removed",
            Retired::Replaced => "a new member has taken its place",
        })
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses the data directory.
    #[error("the data directory {0} is in use by another process")]
    Locked(PathBuf),
    /// A file is not what was written.
    #[error("{file} is damaged at byte {offset}: {what}")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What was found.
        what: String,
    },
    /// Parts of the directory belong to different nodes or clusters, or some are missing.
    #[error("the data directory {directory} is not whole: {what}")]
    Foreign {
        /// The directory.
        directory: PathBuf,
        /// What does not belong, and the way out.
        what: String,
    },
    /// A backup is to be restored into a directory that is not empty.
    #[error("{0} is not empty: a backup is restored into an empty directory only")]
    NotEmpty(PathBuf),
    /// Written by a newer version.
    #[error("{0}; start a newer version")]
    LevelTooHigh(String),
    /// Power was lost in a durability mode that does not survive it.
    #[error(
        "the machine restarted without a clean shutdown while wal.durability was \"interval\": the last {0} ms of \
         acknowledged writes before it may be missing. {1} is untouched. No other members are known that could admit this node \
         anew (cluster.seeds names none): `kvorum recover` makes a new cluster of what is there"
    )]
    UncleanBoot(u64, PathBuf),
    /// No space left to start with.
    #[error("no space left on the disk of {0}")]
    NoSpace(PathBuf),
    /// The system refused something.
    #[error("{path}: {source}")]
    Io {
        /// What it was about.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The raft core did not start.
    #[error("raft: {0}")]
    Core(String),
    /// The secrets that members share cannot be read.
    #[error("cluster.secret_file: {0}")]
    Secret(String),
    /// The certificates for peers cannot be used.
    #[error("peer.tls: {0}")]
    Tls(String),
    /// The node in the directory is no member any more.
    #[error(
        "{0} is of a node that is no member of its cluster any more: {1}. To have it join as a new member, move the \
         directory away or empty it; its data stays readable with `kvorum snapshot verify` and `kvorum wal inspect`"
    )]
    Retired(PathBuf, Retired),
    /// The listener for peers cannot be bound.
    #[error("cannot listen to peers on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

impl OpenError {
    /// An error of the system about `path`.
    pub(super) fn io(path: impl Into<PathBuf>, source: io::Error) -> OpenError {
        let path = path.into();
        if crate::disk::is_full(&source) { OpenError::NoSpace(path) } else { OpenError::Io { path, source } }
    }
}

/// Why a node cannot go on. The process ends with an exit code of its own.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The raft core is dead.
    #[error("the raft core stopped: {0}")]
    Core(String),
    /// A task of the node ended before its time; the log names it.
    #[error("a task of the node ended before its time")]
    Task,
    /// The log holds what only a newer version understands.
    #[error("{0}; start a newer version")]
    LevelTooHigh(String),
    /// The node is no member of the cluster any more.
    #[error("this node is no member of the cluster any more: {0}")]
    Retired(Retired),
    /// The log could not be written; what is on disk after that is not known.
    #[error("the log failed: {0}")]
    Log(wal::Error),
}

impl From<wal::Error> for OpenError {
    fn from(error: wal::Error) -> OpenError {
        match error {
            wal::Error::Corrupt { file, offset, what } => {
                OpenError::Damaged { file: file.into(), offset, what }
            }
            wal::Error::NoSpace { file } => OpenError::NoSpace(file.into()),
            wal::Error::Io { file, source, operation } => {
                let source = io::Error::new(source.kind(), format!("{operation}: {source}"));
                OpenError::io(file, source)
            }
            wal::Error::Format { .. } => OpenError::LevelTooHigh(error.to_string()),
            other => OpenError::Foreign { directory: PathBuf::from("wal"), what: other.to_string() },
        }
    }
}

impl From<snapshot::Error> for OpenError {
    fn from(error: snapshot::Error) -> OpenError {
        let text = error.to_string();
        match error {
            snapshot::Error::Corrupt { file, offset, what } => OpenError::Damaged { file, offset, what },
            snapshot::Error::NoneValid(errors) => match errors.into_iter().next() {
                Some(snapshot::Error::Corrupt { file, offset, .. }) => {
                    OpenError::Damaged { file, offset, what: text }
                }
                Some(first) => OpenError::from(first),
                None => OpenError::Core(text),
            },
            snapshot::Error::Io { file, source, .. } => OpenError::io(file, source),
            snapshot::Error::WrongCluster { file, .. } => OpenError::Foreign { directory: file, what: text },
            snapshot::Error::LevelTooHigh { .. } => OpenError::LevelTooHigh(text),
            snapshot::Error::NoSpace { .. } => OpenError::NoSpace(PathBuf::from("snapshots")),
            snapshot::Error::Abandoned | snapshot::Error::Cancelled => OpenError::Core(text),
        }
    }
}
