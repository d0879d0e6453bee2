//! What members say to each other, as it travels: Protocol Buffers messages of gRPC.
//!
//! One service, `kvorum.Peer`, of four methods:
//!
//! ```text
//! Call      Request  -> Response             votes, heartbeats, confirmations, read indexes, formation, admission
//! Append    stream Append -> stream Appended    entries, in order; one stream to each follower
//! Install   stream Piece  -> Installed          a snapshot, front to back
//! Converse  stream Asked -> stream Answered   read indexes, confirmations, and forwarded transactions with what came of each:
//!                                             what is asked all the time. Numbered; answers come when they can
//! ```
//!
//! Who sends to whom stands in the [`Envelope`], which is metadata of every call and stream: it is looked at before
//! anything of the message is. Tags never change their meaning; unknown fields are skipped, as Protocol Buffers does.

use bytes::Bytes;

pub(crate) use super::affairs::{
    Administer, Administered, Diverged, Invite, Join, Joined, Meet, Met, Promise, Promised, Standing, Stands,
    Survey, Surveyed, Surveyee, Task,
};
use super::exchange::{Forward, Forwarded};
pub(crate) use super::party::{Envelope, Id, Party};

/// A position in the log.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct LogId {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) index: u64,
}

/// A vote, granted by a quorum if committed.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Vote {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) node: u64,
    #[prost(bool, tag = "3")]
    pub(crate) committed: bool,
}

/// A candidate asks for a vote, or whether it would get one.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Ballot {
    #[prost(message, required, tag = "1")]
    pub(crate) vote: Vote,
    #[prost(message, optional, tag = "2")]
    pub(crate) last: Option<LogId>,
    /// The leader has asked this candidate to take over.
    #[prost(bool, tag = "3")]
    pub(crate) transfer: bool,
}

/// What a member's clocks say.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Clocks {
    /// Cluster time as it estimates it, in unix milliseconds.
    #[prost(uint64, optional, tag = "1")]
    pub(crate) estimate_ms: Option<u64>,
    /// Its wall clock, in unix milliseconds.
    #[prost(uint64, tag = "2")]
    pub(crate) wall_ms: u64,
}

/// The answer to a [`Ballot`].
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Verdict {
    #[prost(message, required, tag = "1")]
    pub(crate) vote: Vote,
    #[prost(bool, tag = "2")]
    pub(crate) granted: bool,
    #[prost(message, optional, tag = "3")]
    pub(crate) last: Option<LogId>,
    #[prost(message, required, tag = "4")]
    pub(crate) clocks: Clocks,
    /// Its disk is full.
    #[prost(bool, tag = "5")]
    pub(crate) out_of_disk: bool,
}

/// An entry: position, and payload as the log has it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Entry {
    #[prost(message, required, tag = "1")]
    pub(crate) id: LogId,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) payload: Bytes,
}

/// Entries for a follower; without any it is a heartbeat.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Append {
    #[prost(message, required, tag = "1")]
    pub(crate) vote: Vote,
    #[prost(message, optional, tag = "2")]
    pub(crate) prev: Option<LogId>,
    #[prost(message, optional, tag = "3")]
    pub(crate) commit: Option<LogId>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) entries: Vec<Entry>,
    /// Cluster time at the leader, in unix milliseconds.
    #[prost(uint64, optional, tag = "5")]
    pub(crate) stamp_ms: Option<u64>,
    /// Too few voters answer the leader: it can decide nothing.
    #[prost(bool, tag = "6")]
    pub(crate) quorum_lost: bool,
}

/// The answer to an [`Append`]: the last entry that is stored and agrees, or why not.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Appended {
    /// Up to where the follower's log is the leader's.
    #[prost(message, optional, tag = "1")]
    pub(crate) matching: Option<LogId>,
    /// The follower does not have this entry.
    #[prost(message, optional, tag = "2")]
    pub(crate) conflict: Option<LogId>,
    /// The follower knows a higher vote.
    #[prost(message, optional, tag = "3")]
    pub(crate) higher: Option<Vote>,
    #[prost(message, optional, tag = "4")]
    pub(crate) clocks: Option<Clocks>,
    /// A part of the entries only is stored: up to `matching`.
    #[prost(bool, tag = "5")]
    pub(crate) partial: bool,
    /// How the follower is; in answers to heartbeats.
    #[prost(message, optional, tag = "6")]
    pub(crate) report: Option<Report>,
}

/// What a member says of itself with each answer to a heartbeat.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Report {
    /// Last entry in its store.
    #[prost(uint64, tag = "1")]
    pub(crate) applied: u64,
    /// The highest level that it understands.
    #[prost(uint32, tag = "2")]
    pub(crate) max_level: u32,
    /// Its process.
    #[prost(message, required, tag = "3")]
    pub(crate) boot: Id,
    /// The hash of its state, where it last noted one.
    #[prost(message, optional, tag = "4")]
    pub(crate) checkpoint: Option<Checkpoint>,
    /// It has asked whether it may stop.
    #[prost(bool, tag = "5")]
    pub(crate) asks_to_stop: bool,
    /// It was told that it may.
    #[prost(bool, tag = "6")]
    pub(crate) may_stop: bool,
    /// What 99 of 100 of its last syncs took at most, if there were any.
    #[prost(uint64, optional, tag = "7")]
    pub(crate) fsync_p99_us: Option<u64>,
    /// Its disk is full.
    #[prost(bool, tag = "8")]
    pub(crate) out_of_disk: bool,
}

/// The hash of a member's state after an entry.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Checkpoint {
    #[prost(uint64, tag = "1")]
    pub(crate) index: u64,
    #[prost(fixed64, tag = "2")]
    pub(crate) contents: u64,
    #[prost(fixed64, tag = "3")]
    pub(crate) order: u64,
    #[prost(fixed64, tag = "4")]
    pub(crate) globals: u64,
}

/// Is this still the leader for you?
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Confirm {
    #[prost(message, required, tag = "1")]
    pub(crate) vote: Vote,
}

/// The answer to a [`Confirm`].
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Confirmed {
    /// Whether the member has promised nothing to a later vote.
    #[prost(bool, tag = "1")]
    pub(crate) confirmed: bool,
    #[prost(message, required, tag = "2")]
    pub(crate) clocks: Clocks,
}

/// The leader asks a member to take over.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Transfer {
    #[prost(message, required, tag = "1")]
    pub(crate) from: Vote,
    #[prost(uint64, tag = "2")]
    pub(crate) to: u64,
    #[prost(message, optional, tag = "3")]
    pub(crate) last: Option<LogId>,
}

/// Whether the member takes over.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Transferred {
    #[prost(bool, tag = "1")]
    pub(crate) accepted: bool,
    /// What it knows, if not.
    #[prost(message, optional, tag = "2")]
    pub(crate) vote: Option<Vote>,
    #[prost(message, optional, tag = "3")]
    pub(crate) last: Option<LogId>,
}

/// Up to where must be applied to see every write acknowledged so far? Asked of the leader.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ReadIndex {
    /// A leader's lease is enough.
    #[prost(bool, tag = "1")]
    pub(crate) lease: bool,
    /// Time left, in milliseconds.
    #[prost(uint64, tag = "2")]
    pub(crate) left_ms: u64,
    /// The vote that who asks has last promised. If it is not above the leader's, that is a confirmation as of when it asks.
    #[prost(message, optional, tag = "3")]
    pub(crate) promised: Option<Vote>,
}

/// The answer to a [`ReadIndex`].
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ReadableFrom {
    /// 0: who was asked does not lead, or cannot tell. (A leader has applied an entry of its own, which is never number 0.)
    #[prost(uint64, tag = "1")]
    pub(crate) index: u64,
    /// Cluster time at the leader, in unix milliseconds.
    #[prost(uint64, tag = "2")]
    pub(crate) stamp_ms: u64,
}

/// Notes for the leader: keys that were read (slot, version, slot, version, ..), and whether an empty entry is wanted.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Notes {
    #[prost(uint64, repeated, tag = "1")]
    pub(crate) touches: Vec<u64>,
    #[prost(bool, tag = "2")]
    pub(crate) tick: bool,
}

/// Nothing to say but that it was heard.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Heard {}

/// One call.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Request {
    #[prost(oneof = "Ask", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15")]
    pub(crate) ask: Option<Ask>,
}

/// What a call is about.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Ask {
    #[prost(message, tag = "1")]
    Vote(Ballot),
    #[prost(message, tag = "2")]
    PreVote(Ballot),
    #[prost(message, tag = "3")]
    Append(Append),
    #[prost(message, tag = "4")]
    Confirm(Confirm),
    #[prost(message, tag = "5")]
    Transfer(Transfer),
    #[prost(message, tag = "6")]
    ReadIndex(ReadIndex),
    #[prost(message, tag = "7")]
    Notes(Notes),
    #[prost(message, tag = "8")]
    Meet(Meet),
    #[prost(message, tag = "9")]
    Promise(Promise),
    #[prost(message, tag = "10")]
    Join(Join),
    #[prost(message, tag = "11")]
    Invite(Invite),
    #[prost(message, tag = "12")]
    Standing(Standing),
    #[prost(message, tag = "13")]
    Administer(Administer),
    #[prost(message, tag = "14")]
    Survey(Survey),
    #[prost(message, tag = "15")]
    Diverged(Diverged),
}

/// The answer to one call.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Response {
    #[prost(oneof = "Say", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12")]
    pub(crate) say: Option<Say>,
}

/// What an answer says.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Say {
    #[prost(message, tag = "1")]
    Verdict(Verdict),
    #[prost(message, tag = "2")]
    Appended(Appended),
    #[prost(message, tag = "3")]
    Confirmed(Confirmed),
    #[prost(message, tag = "4")]
    Transferred(Transferred),
    #[prost(message, tag = "5")]
    ReadableFrom(ReadableFrom),
    #[prost(message, tag = "6")]
    Heard(Heard),
    #[prost(message, tag = "7")]
    Met(Met),
    #[prost(message, tag = "8")]
    Promised(Promised),
    #[prost(message, tag = "9")]
    Joined(Joined),
    #[prost(message, tag = "10")]
    Stands(Stands),
    #[prost(message, tag = "11")]
    Administered(Administered),
    #[prost(message, tag = "12")]
    Surveyed(Surveyed),
}

/// A question on a stream of many: one of both.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Asked {
    /// No other question on this stream has it.
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    #[prost(message, optional, tag = "2")]
    pub(crate) request: Option<Request>,
    #[prost(message, optional, tag = "3")]
    pub(crate) forward: Option<Forward>,
}

/// A part of the answer to the question of that number.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Answered {
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    #[prost(message, optional, tag = "2")]
    pub(crate) response: Option<Response>,
    /// The name of the reason why it was not looked at; empty if it was.
    #[prost(string, tag = "4")]
    pub(crate) refused: String,
    /// There is no further part.
    #[prost(bool, tag = "5")]
    pub(crate) last: bool,
    /// What came of transactions that were forwarded. (It was a single one, with tag 3, before anything was released.)
    #[prost(message, repeated, tag = "6")]
    pub(crate) forwarded: Vec<Forwarded>,
}

/// A piece of a snapshot. The first one tells how long the whole is, and whose it is.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Piece {
    #[prost(message, optional, tag = "1")]
    pub(crate) vote: Option<Vote>,
    #[prost(uint64, tag = "2")]
    pub(crate) length: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) bytes: Bytes,
}

/// The snapshot is in place, or a higher vote is known.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Installed {
    #[prost(message, required, tag = "1")]
    pub(crate) vote: Vote,
}
