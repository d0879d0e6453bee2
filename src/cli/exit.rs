//! How a command ends.

use std::process::ExitCode;

use crate::{app, raft};

/// How a command ended; the table is at the head of this floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// A negative answer.
    Negative = 1,
    /// Wrong usage.
    Usage = 2,
    /// The condition of a write does not hold.
    Precondition = 3,
    /// The server cannot be reached.
    Unreachable = 4,
    /// The server, or a tool, refused or failed.
    Refused = 5,
    /// The outcome of a write is not known.
    UnknownOutcome = 6,
    /// A data file is damaged.
    Damaged = 65,
    /// The listen address cannot be used.
    Listen = 69,
    /// The raft core, the log or another part that must not end did.
    Fatal = 70,
    /// Shutdown took too long.
    Deadline = 71,
    /// No space left.
    NoSpace = 72,
    /// The data directory cannot be created or written.
    ReadOnly = 73,
    /// The system refused an operation on a file.
    Io = 74,
    /// Another process uses the data directory.
    Locked = 75,
    /// The data directory is of another cluster, not whole, or not empty where it must be.
    Foreign = 76,
    /// The data was written by a newer version.
    LevelTooHigh = 77,
    /// Wrong configuration.
    Configuration = 78,
    /// Power was lost in a durability mode that does not survive it.
    UncleanBoot = 79,
    /// The node is no member of its cluster any more.
    Retired = 80,
    /// A second signal ended the process.
    Interrupted = 130,
}

impl Exit {
    /// Every status there is.
    pub const ALL: [Exit; 21] = [
        Exit::Done,
        Exit::Negative,
        Exit::Usage,
        Exit::Precondition,
        Exit::Unreachable,
        Exit::Refused,
        Exit::UnknownOutcome,
        Exit::Damaged,
        Exit::Listen,
        Exit::Fatal,
        Exit::Deadline,
        Exit::NoSpace,
        Exit::ReadOnly,
        Exit::Io,
        Exit::Locked,
        Exit::Foreign,
        Exit::LevelTooHigh,
        Exit::Configuration,
        Exit::UncleanBoot,
        Exit::Retired,
        Exit::Interrupted,
    ];
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }

    /// `error` and everything behind it, in one line. Errors that are logged alone name their cause themselves: a cause that
    /// stands in the line already is not added again.
    pub(super) fn of(exit: Exit, error: &dyn std::error::Error) -> Failure {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let cause = error.to_string();
            if !message.contains(&cause) {
                message += &format!(": {cause}");
            }
            source = error.source();
        }
        Failure { exit, message }
    }
}

impl From<app::Error> for Failure {
    fn from(error: app::Error) -> Failure {
        let exit = match &error {
            app::Error::System(_) => Exit::Io,
            app::Error::Listen { .. } => Exit::Listen,
            app::Error::Open(error) => of_open(error),
            app::Error::Node(raft::Failure::LevelTooHigh(_)) => Exit::LevelTooHigh,
            app::Error::Node(raft::Failure::Retired(_)) => Exit::Retired,
            app::Error::Node(_) | app::Error::Broken(_) => Exit::Fatal,
            app::Error::Interrupted => Exit::Interrupted,
            app::Error::Deadline => Exit::Deadline,
        };
        Failure::of(exit, &error)
    }
}

/// The status of a start that was refused.
pub(super) fn of_open(error: &raft::OpenError) -> Exit {
    use std::io::ErrorKind::{AlreadyExists, NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    match error {
        raft::OpenError::Locked(_) => Exit::Locked,
        raft::OpenError::Damaged { .. } => Exit::Damaged,
        raft::OpenError::Foreign { .. } | raft::OpenError::NotEmpty(_) => Exit::Foreign,
        raft::OpenError::LevelTooHigh(_) => Exit::LevelTooHigh,
        raft::OpenError::UncleanBoot(..) => Exit::UncleanBoot,
        raft::OpenError::Retired(..) => Exit::Retired,
        raft::OpenError::NoSpace(_) => Exit::NoSpace,
        raft::OpenError::Io { source, .. } => match source.kind() {
            PermissionDenied | ReadOnlyFilesystem | NotADirectory | AlreadyExists => Exit::ReadOnly,
            _ => Exit::Io,
        },
        raft::OpenError::Core(_) => Exit::Fatal,
        raft::OpenError::Secret(_) | raft::OpenError::Tls(_) => Exit::Configuration,
        raft::OpenError::Listen { .. } => Exit::Listen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_part_of_the_node_ends_the_process_with_70() {
        let dead = [raft::Failure::Core("it panicked".into()), raft::Failure::Task];
        for failure in dead.map(|failure| Failure::from(app::Error::Node(failure))) {
            assert_eq!(failure.exit as u8, 70, "{}", failure.message);
        }
        let newer = app::Error::Node(raft::Failure::LevelTooHigh("log entry 5".into()));
        assert_eq!(Failure::from(newer).exit as u8, 77);
    }

    /// Goal: a line names each cause, and none twice.
    #[test]
    fn causes_are_named_once() {
        let io = |text: &str| std::io::Error::other(text.to_owned());
        let open = raft::OpenError::Io { path: "/data".into(), source: io("no such thing") };
        let failure = Failure::from(app::Error::Open(open));
        assert_eq!(failure.message, "the node did not start: /data: no such thing");
        let system = Failure::from(app::Error::System(io("too many files")));
        assert_eq!(system.message, "the system refused: too many files");
    }

    #[test]
    fn the_table_lists_every_status_once() {
        let table: Vec<u8> = include_str!("mod.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//! | ")?.split(' ').next()?.parse().ok())
            .collect();
        assert_eq!(table, Exit::ALL.map(|exit| exit as u8));
    }
}
