//! What can go wrong with a request, named by what the caller can do about it.

use std::borrow::Cow;

use crate::model::limits::MAX_KEY_BYTES;
use crate::model::{KeyError, Version};
use crate::raft::{self, Gone};

/// Why a request was not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request makes no sense. The text says why, without its data.
    #[error("{0}")]
    InvalidArgument(String),
    /// The key is too long.
    #[error("a key has at most {MAX_KEY_BYTES} bytes, this one has {0}")]
    KeyTooLarge(usize),
    /// The value is longer than the setting `max_value_bytes`.
    #[error("a value has at most {limit_bytes} bytes here (max_value_bytes)")]
    ValueTooLarge {
        /// The setting.
        limit_bytes: u64,
    },
    /// The body is longer than any that this operation takes.
    #[error("a body, or what stands in it, has at most {limit_bytes} bytes here")]
    BodyTooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// There is no such key.
    #[error("there is no such key")]
    NotFound(Option<Gone>),
    /// The request's condition does not hold.
    #[error("the condition of the request does not hold")]
    PreconditionFailed {
        /// The key's version; [`Version::ABSENT`] if there is none.
        version: Version,
    },
    /// The value is no number that can be added to, or the sum would be none.
    #[error("{0}")]
    NotAnInteger(&'static str),
    /// A step of a batch failed, so nothing of the batch was done.
    #[error("step {at} (counted from 0): {error}")]
    Step {
        /// Its number, from 0.
        at: usize,
        /// What is wrong with it.
        #[source]
        error: Box<Error>,
    },
    /// Something else is under way that excludes this request.
    #[error("{0}")]
    Conflict(Cow<'static, str>),
    /// No member of the cluster has this id.
    #[error("there is no such member")]
    NoSuchMember,
    /// The store is full and its eviction policy makes no room.
    #[error("the store is full and its eviction policy makes no room for this write")]
    OutOfMemory,
    /// The log cannot grow: the disk is full.
    #[error("the disk is full: writes are refused until there is space")]
    OutOfDisk,
    /// No leader is known.
    #[error("the cluster has no leader at the moment")]
    NoLeader,
    /// Too much is waiting already.
    #[error("too many requests are waiting")]
    Overloaded,
    /// The write was proposed, and what came of it is not known.
    #[error("no answer in time: the write may have been applied, or may still be")]
    UnknownOutcome,
    /// The node cannot serve this now: it starts, stops, or could not answer before the deadline.
    #[error("{0}")]
    Unavailable(&'static str),
    /// Another node that must take part does not answer. The text says which.
    #[error("{0}")]
    Unreachable(String),
    /// A defect. The log says more.
    #[error("an internal error: the log of the node says more")]
    Internal,
}

/// Whether a write that failed may have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It did not and will not.
    No,
    /// It may have, or still may.
    Unknown,
}

impl Applied {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Applied::No => "no",
            Applied::Unknown => "unknown",
        }
    }
}

impl Error {
    /// The stable name of this error.
    pub fn code(&self) -> Code {
        match self {
            Error::InvalidArgument(_) => Code::InvalidArgument,
            Error::KeyTooLarge(_) => Code::KeyTooLarge,
            Error::ValueTooLarge { .. } => Code::ValueTooLarge,
            Error::BodyTooLarge { .. } => Code::BodyTooLarge,
            Error::NotFound(_) | Error::NoSuchMember => Code::NotFound,
            Error::NotAnInteger(_) => Code::NotAnInteger,
            Error::Step { error, .. } => error.code(),
            Error::PreconditionFailed { .. } => Code::PreconditionFailed,
            Error::Conflict(_) => Code::Conflict,
            Error::OutOfMemory => Code::OutOfMemory,
            Error::OutOfDisk => Code::OutOfDisk,
            Error::NoLeader => Code::NoLeader,
            Error::Overloaded => Code::Overloaded,
            Error::UnknownOutcome => Code::UnknownOutcome,
            Error::Unavailable(_) | Error::Unreachable(_) => Code::Unavailable,
            Error::Internal => Code::Internal,
        }
    }

    /// The node answered something else than what was asked: a defect.
    pub(super) fn unexpected(what: &'static str) -> Error {
        tracing::error!(what, "the node answered something else than what was asked");
        Error::Internal
    }

    /// Whether the write that failed with this may have happened.
    pub fn applied(&self) -> Applied {
        match self {
            Error::UnknownOutcome | Error::Internal => Applied::Unknown,
            Error::Step { error, .. } => error.applied(),
            _ => Applied::No,
        }
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Error {
        match error {
            KeyError::Empty => Error::InvalidArgument(error.to_string()),
            KeyError::TooLarge(length) => Error::KeyTooLarge(length),
        }
    }
}

impl From<raft::WriteError> for Error {
    fn from(error: raft::WriteError) -> Error {
        match error {
            raft::WriteError::NoLeader => Error::NoLeader,
            raft::WriteError::Overloaded => Error::Overloaded,
            raft::WriteError::OutOfDisk => Error::OutOfDisk,
            raft::WriteError::TooLarge => Error::InvalidArgument(error.to_string()),
            raft::WriteError::Unavailable => {
                Error::Unavailable("the node does not take writes at the moment")
            }
            raft::WriteError::UnknownOutcome => Error::UnknownOutcome,
        }
    }
}

impl From<raft::ReadError> for Error {
    fn from(error: raft::ReadError) -> Error {
        match error {
            raft::ReadError::NoLeader => Error::NoLeader,
            raft::ReadError::Overloaded => Error::Overloaded,
            raft::ReadError::Unavailable => Error::Unavailable("the node does not serve reads at the moment"),
            raft::ReadError::Timeout => Error::Unavailable("the read could not be answered in time"),
        }
    }
}

impl From<raft::ClusterError> for Error {
    fn from(error: raft::ClusterError) -> Error {
        match error {
            raft::ClusterError::NoSuchMember => Error::NoSuchMember,
            raft::ClusterError::Refused(reason) => Error::Conflict(reason.into()),
            raft::ClusterError::Unreachable(reason) => Error::Unreachable(reason),
            raft::ClusterError::NoLeader => Error::NoLeader,
            raft::ClusterError::Unavailable => Error::Unavailable("the node is not available at the moment"),
            raft::ClusterError::Unknown(reason) => {
                tracing::warn!(reason, "the outcome of a task on the cluster is not known");
                Error::UnknownOutcome
            }
        }
    }
}

/// The stable name of an error: one list for problem documents, RESP, metrics and documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request makes no sense.
    InvalidArgument,
    /// No such key, or no such path.
    NotFound,
    /// The path exists, but not with this method.
    MethodNotAllowed,
    /// Nothing of what the client accepts can be sent.
    NotAcceptable,
    /// The body has a coding that is not understood.
    UnsupportedMediaType,
    /// A part of the request did not arrive in time.
    RequestTimeout,
    /// The head of the request is too long.
    HeadTooLarge,
    /// A page of another site asks.
    Forbidden,
    /// The request names another server.
    Misdirected,
    /// The request is sent in a way that is not understood.
    NotImplemented,
    /// The request's condition does not hold.
    PreconditionFailed,
    /// Something else excludes this request.
    Conflict,
    /// The key is too long.
    KeyTooLarge,
    /// The value is too long.
    ValueTooLarge,
    /// The body is too long.
    BodyTooLarge,
    /// The value is no integer.
    NotAnInteger,
    /// The store is full.
    OutOfMemory,
    /// The disk is full.
    OutOfDisk,
    /// No leader is known.
    NoLeader,
    /// Too much is waiting.
    Overloaded,
    /// The outcome of a write is not known.
    UnknownOutcome,
    /// The node cannot serve this now.
    Unavailable,
    /// A defect.
    Internal,
}

impl Code {
    /// Every code.
    pub const ALL: [Code; 23] = [
        Code::InvalidArgument,
        Code::NotFound,
        Code::MethodNotAllowed,
        Code::NotAcceptable,
        Code::UnsupportedMediaType,
        Code::RequestTimeout,
        Code::HeadTooLarge,
        Code::Forbidden,
        Code::Misdirected,
        Code::NotImplemented,
        Code::PreconditionFailed,
        Code::Conflict,
        Code::KeyTooLarge,
        Code::ValueTooLarge,
        Code::BodyTooLarge,
        Code::NotAnInteger,
        Code::OutOfMemory,
        Code::OutOfDisk,
        Code::NoLeader,
        Code::Overloaded,
        Code::UnknownOutcome,
        Code::Unavailable,
        Code::Internal,
    ];

    /// The name that clients see. Never changes.
    pub fn name(self) -> &'static str {
        match self {
            Code::InvalidArgument => "invalid-argument",
            Code::NotFound => "not-found",
            Code::MethodNotAllowed => "method-not-allowed",
            Code::NotAcceptable => "not-acceptable",
            Code::UnsupportedMediaType => "unsupported-media-type",
            Code::RequestTimeout => "request-timeout",
            Code::HeadTooLarge => "head-too-large",
            Code::Forbidden => "forbidden",
            Code::Misdirected => "misdirected",
            Code::NotImplemented => "not-implemented",
            Code::PreconditionFailed => "precondition-failed",
            Code::Conflict => "conflict",
            Code::KeyTooLarge => "key-too-large",
            Code::ValueTooLarge => "value-too-large",
            Code::BodyTooLarge => "body-too-large",
            Code::NotAnInteger => "not-an-integer",
            Code::OutOfMemory => "out-of-memory",
            Code::OutOfDisk => "out-of-disk",
            Code::NoLeader => "no-leader",
            Code::Overloaded => "overloaded",
            Code::UnknownOutcome => "timeout-unknown-outcome",
            Code::Unavailable => "unavailable",
            Code::Internal => "internal",
        }
    }

    /// One line on what it means, for titles and tables.
    pub fn summary(self) -> &'static str {
        match self {
            Code::InvalidArgument => "The request makes no sense",
            Code::NotFound => "There is no such thing",
            Code::MethodNotAllowed => "This path does not know the method",
            Code::NotAcceptable => "Nothing that the client accepts can be sent",
            Code::UnsupportedMediaType => "The coding of the body is not understood",
            Code::RequestTimeout => "The request did not arrive in time",
            Code::HeadTooLarge => "The head of the request is too long",
            Code::Forbidden => "A page of another site may not do this",
            Code::Misdirected => "This server does not go by the name that the request gives it",
            Code::NotImplemented => "The transfer coding of the body is not understood",
            Code::PreconditionFailed => "The condition of the request does not hold",
            Code::Conflict => "Something else is under way",
            Code::KeyTooLarge => "The key is too long",
            Code::ValueTooLarge => "The value is too long",
            Code::BodyTooLarge => "The body is too long",
            Code::NotAnInteger => "The value is no integer of 64 bits, or would be none",
            Code::OutOfMemory => "The store is full",
            Code::OutOfDisk => "The disk is full",
            Code::NoLeader => "The cluster has no leader at the moment",
            Code::Overloaded => "Too many requests are waiting",
            Code::UnknownOutcome => "The outcome of the write is not known",
            Code::Unavailable => "The node cannot serve this now",
            Code::Internal => "An internal error",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_have_distinct_names() {
        let names: BTreeSet<_> = Code::ALL.into_iter().map(Code::name).collect();
        assert_eq!(names.len(), Code::ALL.len());
    }

    #[test]
    fn only_an_unknown_outcome_and_a_defect_may_have_been_applied() {
        assert_eq!(Error::UnknownOutcome.applied(), Applied::Unknown);
        assert_eq!(Error::Internal.applied(), Applied::Unknown);
        for error in
            [Error::NoLeader, Error::Overloaded, Error::OutOfDisk, Error::OutOfMemory, Error::NotFound(None)]
        {
            assert_eq!(error.applied(), Applied::No, "{error}");
        }
    }
}
