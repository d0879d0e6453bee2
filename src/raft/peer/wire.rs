//! What members say to each other, as it travels: Protocol Buffers messages of gRPC.
//!
//! One service, `kvorum.Peer`, of four methods:
//!
//! ```text
//! Call      Request  -> Response             votes, heartbeats, confirmations, read indexes, formation, admission
//! Append    stream Append -> stream Appended    entries, in order; one stream to each follower
//! Install   stream Piece  -> Installed          a snapshot, front to back
//! Forward   Forward  -> stream Forwarded     transactions for the leader, and what came of each
//! ```
//!
//! Who sends to whom stands in the [`Envelope`], which is metadata of every call and stream: it is looked at before
//! anything of the message is. Tags never change their meaning; unknown fields are skipped, as Protocol Buffers does.

use bytes::Bytes;

/// 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Id {
    #[prost(fixed64, tag = "1")]
    high: u64,
    #[prost(fixed64, tag = "2")]
    low: u64,
}

impl From<u128> for Id {
    fn from(id: u128) -> Id {
        Id { high: (id >> 64) as u64, low: id as u64 }
    }
}

impl From<Id> for u128 {
    fn from(id: Id) -> u128 {
        u128::from(id.high) << 64 | u128::from(id.low)
    }
}

/// One end of a conversation.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Party {
    /// Its id in the cluster; 0 before it has one.
    #[prost(uint64, tag = "1")]
    pub(crate) node: u64,
    /// Constant for the life of its data directory.
    #[prost(message, required, tag = "2")]
    pub(crate) incarnation: Id,
}

/// Who sends to whom.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Envelope {
    /// The cluster; 0 before there is one.
    #[prost(message, required, tag = "1")]
    pub(crate) cluster: Id,
    #[prost(uint32, tag = "2")]
    pub(crate) group: u32,
    /// The level in force at the sender.
    #[prost(uint32, tag = "3")]
    pub(crate) level: u32,
    #[prost(message, required, tag = "4")]
    pub(crate) from: Party,
    #[prost(message, required, tag = "5")]
    pub(crate) to: Party,
    /// Random for each process: tells a copied directory.
    #[prost(message, required, tag = "6")]
    pub(crate) boot: Id,
}

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

/// A node introduces itself to a seed and asks what that is.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Meet {
    /// Its address for peers.
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    /// Its seeds, in order.
    #[prost(string, repeated, tag = "2")]
    pub(crate) seeds: Vec<String>,
}

/// The answer to a [`Meet`].
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Met {
    /// The address for peers of who answers.
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) seeds: Vec<String>,
    /// The cluster it is a member of.
    #[prost(message, optional, tag = "3")]
    pub(crate) cluster: Option<Id>,
    #[prost(message, required, tag = "4")]
    pub(crate) incarnation: Id,
}

/// A seed that is going to create a cluster asks another for the promise to let no other one do so.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Promise {
    /// The cluster to be.
    #[prost(message, required, tag = "1")]
    pub(crate) cluster: Id,
    /// The creator's address for peers.
    #[prost(string, tag = "2")]
    pub(crate) creator: String,
    #[prost(string, repeated, tag = "3")]
    pub(crate) seeds: Vec<String>,
}

/// The answer to a [`Promise`].
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Promised {
    #[prost(bool, tag = "1")]
    pub(crate) granted: bool,
    #[prost(message, required, tag = "2")]
    pub(crate) incarnation: Id,
    /// Why not.
    #[prost(string, tag = "3")]
    pub(crate) reason: String,
}

/// A node asks to be a member.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Join {
    /// Its address for peers.
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, required, tag = "2")]
    pub(crate) incarnation: Id,
    /// It is never to vote.
    #[prost(bool, tag = "3")]
    pub(crate) learner: bool,
    /// It came to a member that did not lead, and is passed on once.
    #[prost(bool, tag = "4")]
    pub(crate) relayed: bool,
}

/// The answer to a [`Join`].
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Joined {
    /// The cluster; without it, it was not admitted.
    #[prost(message, optional, tag = "1")]
    pub(crate) cluster: Option<Id>,
    #[prost(uint64, tag = "2")]
    pub(crate) node: u64,
    /// Why not.
    #[prost(string, tag = "3")]
    pub(crate) reason: String,
}

/// One call.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Request {
    #[prost(oneof = "Ask", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10")]
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
}

/// The answer to one call.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Response {
    #[prost(oneof = "Say", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
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
