//! Which errors each operation can end with: what the code returns and what the document says are one table.

use std::marker::PhantomData;

use poem_openapi::ApiResponse;
use poem_openapi::registry::Registry;
use poem_openapi::registry::{
    MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef,
};
use poem_openapi::types::Type;

use super::refusal::{PROBLEM, Problem, Refusal, status};
use crate::service::{Code, Error};

/// One operation of the API.
pub(super) trait Operation: Send + Sync + 'static {
    /// Its `operationId`.
    const ID: &'static str;
    /// Whether it changes the store, so that its errors say whether that happened.
    const WRITES: bool;
    /// The errors it can end with. All can end with [`Code::Internal`] as well, if Kvorum has a defect.
    const CODES: &'static [Code];
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident, $id:literal, $writes:literal, [$($code:ident),*];)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub(super) struct $name;

            impl Operation for $name {
                const ID: &'static str = $id;
                const WRITES: bool = $writes;
                const CODES: &'static [Code] = &[
                    $(Code::$code,)*
                    Code::Forbidden,
                    Code::Misdirected,
                    Code::NotImplemented,
                    Code::Internal,
                ];
            }
        )*

        /// Every operation: its id, whether it writes, its errors.
        pub(super) const ALL: &[(&str, bool, &[Code])] = &[$(($name::ID, $name::WRITES, $name::CODES),)*];
    };
}

operations! {
    /// Reads a value.
    GetKey, "getKey", false,
        [InvalidArgument, KeyTooLarge, NotFound, PreconditionFailed, NotAcceptable, NoLeader, Overloaded, Unavailable];
    /// Reads what is known of a value without the value.
    HeadKey, "headKey", false,
        [InvalidArgument, KeyTooLarge, NotFound, PreconditionFailed, NotAcceptable, NoLeader, Overloaded, Unavailable];
    /// Writes a value.
    PutKey, "putKey", true,
        [InvalidArgument, KeyTooLarge, PreconditionFailed, ValueTooLarge, UnsupportedMediaType, RequestTimeout,
         NotAcceptable, OutOfMemory, OutOfDisk, NoLeader, Overloaded, Unavailable, UnknownOutcome];
    /// Removes a key.
    DeleteKey, "deleteKey", true,
        [InvalidArgument, KeyTooLarge, NotFound, PreconditionFailed, OutOfDisk, NoLeader, Overloaded, Unavailable,
         UnknownOutcome];
    /// Says how long a key has left.
    GetKeyTtl, "getKeyTtl", false,
        [InvalidArgument, KeyTooLarge, NotFound, PreconditionFailed, NotAcceptable, NoLeader, Overloaded, Unavailable];
    /// Sets how long a key has left.
    PutKeyTtl, "putKeyTtl", true,
        [InvalidArgument, KeyTooLarge, NotFound, PreconditionFailed, BodyTooLarge, UnsupportedMediaType, RequestTimeout,
         NotAcceptable, OutOfDisk, NoLeader, Overloaded, Unavailable, UnknownOutcome];
    /// Takes a deadline away.
    DeleteKeyTtl, "deleteKeyTtl", true,
        [InvalidArgument, KeyTooLarge, NotFound, PreconditionFailed, NotAcceptable, OutOfDisk, NoLeader, Overloaded,
         Unavailable, UnknownOutcome];
    /// Adds to a number.
    IncrKey, "incrKey", true,
        [InvalidArgument, KeyTooLarge, NotAnInteger, PreconditionFailed, BodyTooLarge, UnsupportedMediaType, RequestTimeout,
         NotAcceptable, OutOfMemory, OutOfDisk, NoLeader, Overloaded, Unavailable, UnknownOutcome];
    /// Reads a page of keys.
    ScanKeys, "scanKeys", false, [InvalidArgument, NotAcceptable, NoLeader, Overloaded, Unavailable];
    /// Removes every key.
    ClearKeys, "clearKeys", true,
        [InvalidArgument, NotAcceptable, OutOfDisk, NoLeader, Overloaded, Unavailable, UnknownOutcome];
    /// Does several steps or none.
    Batch, "batch", true,
        [InvalidArgument, KeyTooLarge, ValueTooLarge, BodyTooLarge, NotAnInteger, PreconditionFailed,
         UnsupportedMediaType, RequestTimeout, NotAcceptable, OutOfMemory, OutOfDisk, NoLeader, Overloaded, Unavailable,
         UnknownOutcome];
    /// Reports figures of the node.
    GetStats, "getStats", false, [InvalidArgument, Unavailable];
    /// Compacts the log.
    Compact, "compact", true, [InvalidArgument, UnsupportedMediaType, Conflict, OutOfDisk, Unavailable];
    /// Reports figures of the node over time.
    GetHistory, "getHistory", false, [InvalidArgument, NotAcceptable, Unavailable];
    /// Reports requests that took long.
    GetSlow, "getSlow", false, [InvalidArgument, NotAcceptable, Unavailable];
    /// Takes a snapshot.
    Snapshot, "snapshot", true,
        [InvalidArgument, UnsupportedMediaType, NotAcceptable, Conflict, OutOfDisk, Unavailable];
    /// Streams a snapshot.
    GetBackup, "getBackup", false, [InvalidArgument, NotAcceptable, Conflict, OutOfDisk, Unavailable];
    /// Changes what the node logs.
    PutLogLevel, "putLogLevel", true,
        [InvalidArgument, BodyTooLarge, UnsupportedMediaType, RequestTimeout, NotAcceptable, Overloaded, Unavailable];
    /// Reads the state of the cluster.
    GetCluster, "getCluster", false, [InvalidArgument, NotAcceptable, Unavailable];
    /// Adds a member.
    AddMember, "addMember", true,
        [InvalidArgument, Conflict, BodyTooLarge, UnsupportedMediaType, RequestTimeout, NotAcceptable, NoLeader, Overloaded,
         Unavailable, UnknownOutcome];
    /// Removes a member.
    RemoveMember, "removeMember", true,
        [InvalidArgument, NotFound, Conflict, NotAcceptable, NoLeader, Unavailable, UnknownOutcome];
    /// Makes a learner a voter.
    PromoteMember, "promoteMember", true,
        [InvalidArgument, NotFound, UnsupportedMediaType, Conflict, NotAcceptable, NoLeader, Unavailable, UnknownOutcome];
    /// Hands over leadership.
    Transfer, "transfer", true,
        [InvalidArgument, NotFound, Conflict, BodyTooLarge, UnsupportedMediaType, RequestTimeout, NotAcceptable, NoLeader,
         Overloaded, Unavailable, UnknownOutcome];
    /// Leaves the cluster.
    Leave, "leave", true,
        [InvalidArgument, UnsupportedMediaType, Conflict, NotAcceptable, NoLeader, Unavailable, UnknownOutcome];
    /// Asks whether the node may stop.
    Stop, "stop", true,
        [InvalidArgument, UnsupportedMediaType, Conflict, NotAcceptable, NoLeader, Unavailable, UnknownOutcome];
    /// Reads the settings of the cluster.
    GetSettings, "getSettings", false, [InvalidArgument, NotAcceptable, NoLeader, Overloaded, Unavailable];
    /// Changes settings of the cluster.
    PutSettings, "putSettings", true,
        [InvalidArgument, Conflict, BodyTooLarge, UnsupportedMediaType, RequestTimeout, NotAcceptable, OutOfDisk, NoLeader,
         Overloaded, Unavailable, UnknownOutcome];
    /// Reads the level.
    GetLevel, "getLevel", false, [InvalidArgument, NotAcceptable, Unavailable];
    /// Raises the level.
    RaiseLevel, "raiseLevel", true,
        [InvalidArgument, Conflict, BodyTooLarge, UnsupportedMediaType, RequestTimeout, NotAcceptable, NoLeader, Overloaded,
         Unavailable, UnknownOutcome];
    /// Says that the process lives.
    GetHealth, "getHealth", false, [InvalidArgument];
    /// Says whether the node should get requests.
    GetReadiness, "getReadiness", false, [InvalidArgument, Unavailable];
}

/// A refusal by one operation.
pub(super) struct Failure<O>(Refusal, PhantomData<O>);

impl<O: Operation> From<Refusal> for Failure<O> {
    fn from(refusal: Refusal) -> Failure<O> {
        debug_assert!(O::CODES.contains(&refusal.code()), "{} does not document {:?}", O::ID, refusal.code());
        Failure(refusal, PhantomData)
    }
}

impl<O: Operation> From<Error> for Failure<O> {
    fn from(error: Error) -> Failure<O> {
        Failure::from(Refusal::Service(error))
    }
}

impl<O> From<Failure<O>> for poem::Error {
    fn from(failure: Failure<O>) -> poem::Error {
        failure.0.into()
    }
}

impl<O: Operation> ApiResponse for Failure<O> {
    fn meta() -> MetaResponses {
        let mut statuses: Vec<u16> = O::CODES.iter().map(|code| status(*code).as_u16()).collect();
        statuses.sort_unstable();
        statuses.dedup();
        MetaResponses { responses: statuses.into_iter().map(response).collect() }
    }

    fn register(registry: &mut Registry) {
        Problem::register(registry);
    }
}

fn response(status: u16) -> MetaResponse {
    let retry_after = MetaHeader {
        name: "Retry-After".to_owned(),
        description: Some("Seconds after which to try again.".to_owned()),
        required: true,
        deprecated: false,
        schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new("integer"))),
    };
    MetaResponse {
        // The document puts the table of codes in its place.
        description: "",
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType { content_type: PROBLEM, schema: Problem::schema_ref() }],
        headers: if status == 503 { vec![retry_after] } else { Vec::new() },
    }
}
