//! The types with which openraft is instantiated, and their plain counterparts in the log.

use std::fmt;

use openraft::impls::leader_id_std;
use openraft::raft::responder::Responder;
use openraft::type_config::alias;
use openraft::vote::RaftLeaderId;

use super::proposal::Proposal;
use crate::wal;

/// The raft group of all keys. Every record and message names its group, so that more can be added.
pub(super) const GROUP: u16 = 0;

/// What the membership knows of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Member {
    /// Random and constant for the life of its data directory.
    pub incarnation: u128,
    /// Where peers reach it; empty while it is alone and listens to no peer.
    pub advertise: String,
    /// It is never to vote: a read replica.
    pub learner: bool,
}

/// How Kvorum instantiates openraft: one leader a term, entries that share their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TypeConfig;

impl openraft::RaftTypeConfig for TypeConfig {
    type D = Proposal;
    type R = ();
    type NodeId = u64;
    type Node = Member;
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Proposal, u64, Member>;
    type Entry = openraft::Entry<<Self::LeaderId as RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = openraft::impls::TokioRuntime;
    type Responder<T>
        = Reply<T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub(super) type LogId = alias::LogIdOf<TypeConfig>;
pub(super) type Vote = alias::VoteOf<TypeConfig>;
pub(super) type Entry = alias::EntryOf<TypeConfig>;
pub(super) type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
pub(super) type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;

/// Calls back with what became of a proposal. If it is dropped uncalled, so is what it holds, and a proposal that
/// is dropped with callers waiting tells them that its outcome is unknown.
pub(super) struct Reply<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Reply<T> {
    /// Calls `done` once.
    pub(super) fn new(done: impl FnOnce(T) + Send + 'static) -> Reply<T> {
        Reply(Box::new(done))
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

impl<T: openraft::OptionalSend + 'static> Responder<TypeConfig, T> for Reply<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}

/// The leader of `term`, as a log id names it.
pub(super) fn committed_leader(term: u64) -> alias::CommittedLeaderIdOf<TypeConfig> {
    leader_id_std::LeaderId::new(term, 0).to_committed()
}

/// A log id as the WAL keeps it. There is one leader a term, so the term names the leader and the field is 0.
pub(super) fn to_wal(id: &LogId) -> wal::LogId {
    wal::LogId { term: id.leader_id.term, leader: 0, index: id.index }
}

/// A log id as openraft wants it.
pub(super) fn from_wal(id: wal::LogId) -> LogId {
    LogId::new(committed_leader(id.term), id.index)
}

/// A vote as the WAL keeps it.
pub(super) fn vote_to_wal(vote: &Vote) -> wal::Vote {
    wal::Vote { term: vote.leader_id.term(), node: *vote.leader_id.node_id(), committed: vote.committed }
}

/// A vote as openraft wants it.
pub(super) fn vote_from_wal(vote: wal::Vote) -> Vote {
    Vote { leader_id: leader_id_std::LeaderId::new(vote.term, vote.node), committed: vote.committed }
}
