//! openraft's messages to what travels, and back. Nothing is decided here, but a commit is noted before it travels.

use std::io;

use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::wire;
use crate::raft::checkpoints::Checkpoint;
use crate::raft::ledger::Ledger;
use crate::raft::payload::{from_record, to_record};
use crate::raft::types::{self, LogId, TypeConfig, Vote, from_wal, to_wal, vote_from_wal, vote_to_wal};
use crate::store::StateHash;
use crate::wal;

/// A position in the log.
pub(crate) fn log_id(id: &LogId) -> wire::LogId {
    let id = to_wal(id);
    wire::LogId { term: id.term, index: id.index }
}

pub(crate) fn from_log_id(id: wire::LogId) -> LogId {
    from_wal(wal::LogId { term: id.term, leader: 0, index: id.index })
}

/// A vote.
pub(crate) fn vote(vote: &Vote) -> wire::Vote {
    let vote = vote_to_wal(vote);
    wire::Vote { term: vote.term, node: vote.node, committed: vote.committed }
}

pub(crate) fn from_vote(vote: wire::Vote) -> Vote {
    vote_from_wal(wal::Vote { term: vote.term, node: vote.node, committed: vote.committed })
}

/// The hash of a member's state.
pub(crate) fn checkpoint(said: wire::Checkpoint) -> Checkpoint {
    let wire::Checkpoint { index, contents, order, globals } = said;
    Checkpoint { index, hash: StateHash { contents, order, globals } }
}

/// The hash of this node's state.
pub(crate) fn from_checkpoint(Checkpoint { index, hash }: Checkpoint) -> wire::Checkpoint {
    wire::Checkpoint { index, contents: hash.contents, order: hash.order, globals: hash.globals }
}

/// A vote that is asked for.
pub(crate) fn ballot(request: &VoteRequest<TypeConfig>) -> wire::Ballot {
    wire::Ballot {
        vote: vote(&request.vote),
        last: request.last_log_id.as_ref().map(log_id),
        transfer: request.leadership_transfer,
    }
}

pub(crate) fn vote_request(ballot: wire::Ballot) -> VoteRequest<TypeConfig> {
    let mut request = VoteRequest::new(from_vote(ballot.vote), ballot.last.map(from_log_id));
    request.leadership_transfer = ballot.transfer;
    request
}

pub(crate) fn verdict(
    response: &VoteResponse<TypeConfig>,
    clocks: wire::Clocks,
    out_of_disk: bool,
) -> wire::Verdict {
    wire::Verdict {
        vote: vote(&response.vote),
        granted: response.vote_granted,
        last: response.last_log_id.as_ref().map(log_id),
        clocks,
        out_of_disk,
    }
}

pub(crate) fn vote_response(verdict: wire::Verdict) -> VoteResponse<TypeConfig> {
    VoteResponse::new(from_vote(verdict.vote), verdict.last.map(from_log_id), verdict.granted)
}

/// Entries for a follower. Their bytes are shared with the log, not copied.
///
/// Every commit that leaves this node leaves in an append. It is noted in the ledger here, while nobody else can know of
/// it: the follower may apply the entry before this leader does, and the leader's barrier must count it.
pub(crate) fn append(
    request: &AppendEntriesRequest<TypeConfig>,
    stamp_ms: Option<u64>,
    ledger: &Ledger,
) -> wire::Append {
    if let Some(commit) = &request.leader_commit {
        ledger.note_committed(commit.index);
    }
    let entries = request.entries.iter().map(|entry| {
        let wal::Entry { id, payload } = to_record(entry);
        wire::Entry { id: wire::LogId { term: id.term, index: id.index }, payload }
    });
    wire::Append {
        vote: vote(&request.vote),
        prev: request.prev_log_id.as_ref().map(log_id),
        commit: request.leader_commit.as_ref().map(log_id),
        entries: entries.collect(),
        stamp_ms,
        quorum_lost: false,
    }
}

/// # Errors
/// An entry whose payload this version cannot read.
pub(crate) fn append_request(append: wire::Append) -> io::Result<AppendEntriesRequest<TypeConfig>> {
    let entries = append.entries.into_iter().map(|wire::Entry { id, payload }| {
        let id = wal::LogId { term: id.term, leader: 0, index: id.index };
        from_record(wal::Entry { id, payload })
    });
    Ok(AppendEntriesRequest {
        vote: from_vote(append.vote),
        prev_log_id: append.prev.map(from_log_id),
        entries: entries.collect::<io::Result<Vec<types::Entry>>>()?,
        leader_commit: append.commit.map(from_log_id),
    })
}

pub(crate) fn appended(
    result: &StreamAppendResult<TypeConfig>,
    clocks: Option<wire::Clocks>,
) -> wire::Appended {
    let mut appended = wire::Appended { clocks, ..wire::Appended::default() };
    match result {
        Ok(matching) => appended.matching = matching.as_ref().map(log_id),
        Err(StreamAppendError::Conflict(id)) => appended.conflict = Some(log_id(id)),
        Err(StreamAppendError::HigherVote(higher)) => appended.higher = Some(vote(higher)),
    }
    appended
}

pub(crate) fn append_result(appended: &wire::Appended) -> StreamAppendResult<TypeConfig> {
    match (appended.higher, appended.conflict) {
        (Some(higher), _) => Err(StreamAppendError::HigherVote(from_vote(higher))),
        (None, Some(id)) => Err(StreamAppendError::Conflict(from_log_id(id))),
        (None, None) => Ok(appended.matching.map(from_log_id)),
    }
}

pub(crate) fn transfer(request: &TransferLeaderRequest<TypeConfig>) -> wire::Transfer {
    wire::Transfer {
        from: vote(request.from_leader()),
        to: *request.to_node_id(),
        last: request.last_log_id().map(log_id),
    }
}

pub(crate) fn transfer_request(transfer: wire::Transfer) -> TransferLeaderRequest<TypeConfig> {
    TransferLeaderRequest::new(from_vote(transfer.from), transfer.to, transfer.last.map(from_log_id))
}

pub(crate) fn transferred(response: &TransferLeaderResponse<TypeConfig>) -> wire::Transferred {
    let (higher, last) = match response {
        Ok(()) => return wire::Transferred { accepted: true, vote: None, last: None },
        Err(TransferLeaderError::VoteChanged { actual, .. }) => (Some(vote(actual)), None),
        Err(TransferLeaderError::LogNotFlushed { actual, .. }) => (None, actual.as_ref().map(log_id)),
    };
    wire::Transferred { accepted: false, vote: higher, last }
}

/// What became of a transfer that `request` asked for.
pub(crate) fn transfer_response(
    answer: wire::Transferred,
    request: &TransferLeaderRequest<TypeConfig>,
) -> TransferLeaderResponse<TypeConfig> {
    match answer {
        wire::Transferred { accepted: true, .. } => Ok(()),
        wire::Transferred { vote: Some(actual), .. } => Err(TransferLeaderError::VoteChanged {
            expected: *request.from_leader(),
            actual: from_vote(actual),
        }),
        wire::Transferred { last, .. } => Err(TransferLeaderError::LogNotFlushed {
            expected: request.last_log_id().copied(),
            actual: last.map(from_log_id),
        }),
    }
}
