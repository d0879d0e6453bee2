//! What is proposed to raft: the encoded entry, and on the proposer those who wait for its outcomes.
//!
//! The callers travel beside the bytes, never in them: the log store hands them over at append to [`Pending`],
//! from where the state machine takes them when it applies the entry. So an outcome goes from apply to its
//! caller without another hop. A batch that is dropped unanswered (its entry was cut off the log, the core
//! died) answers `UnknownOutcome`, so that no caller waits for ever.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::WriteError;
use super::budget;
use super::packing::Place;
use crate::model::{Answer, FailedCheck, Outcome, Query, Timestamp};
use crate::wal::Grant;

/// What a caller gets for a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// One per command, in order.
    pub outcomes: Vec<Outcome>,
    /// One per query, in order.
    pub answers: Vec<Answer>,
    /// The first check that did not hold. Then nothing was done.
    pub failed_check: Option<FailedCheck>,
    /// Cluster time at which the transaction was applied: what deadlines in the reply are counted from.
    pub now: Timestamp,
}

/// Who waits for a transaction.
pub(super) struct Caller {
    /// Queries to answer before the command of that number.
    pub(super) reads: Vec<(usize, Query)>,
    pub(super) sender: oneshot::Sender<Result<Reply, WriteError>>,
    /// Its place in the batcher's budget of bytes.
    pub(super) budget: budget::Place,
}

/// Those who wait for one entry, in the order of its transactions.
pub(super) struct Batch {
    pub(super) callers: Vec<Caller>,
    /// Its place among the entries under way.
    pub(super) _place: Place,
}

impl Batch {
    /// Tells every caller the same error.
    pub(super) fn fail(mut self, error: WriteError) {
        self.fail_all(error);
    }

    fn fail_all(&mut self, error: WriteError) {
        for caller in self.callers.drain(..) {
            // A caller that went away wants no answer.
            let _ = caller.sender.send(Err(error));
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.fail_all(WriteError::UnknownOutcome);
    }
}

/// An entry as raft sees it: cheap to clone, encoded once.
#[derive(Clone)]
pub(super) struct Proposal(Arc<Inner>);

struct Inner {
    bytes: Bytes,
    batch: Mutex<Option<Batch>>,
    /// Its room in the log, until it is handed to the log: who waits may be told before it is on this disk, or long after.
    grant: Mutex<Option<Grant>>,
}

impl Proposal {
    /// An entry that nobody here waits for.
    pub(super) fn replicated(bytes: Bytes) -> Proposal {
        Proposal(Arc::new(Inner { bytes, batch: Mutex::new(None), grant: Mutex::new(None) }))
    }

    pub(super) fn waited_for(bytes: Bytes, batch: Batch, grant: Grant) -> Proposal {
        Proposal(Arc::new(Inner { bytes, batch: Mutex::new(Some(batch)), grant: Mutex::new(Some(grant)) }))
    }

    /// Gives it the room of an append whose first entry it is.
    pub(super) fn hold(&self, grant: Grant) {
        *self.0.grant.lock() = Some(grant);
    }

    /// Its room in the log, for whoever appends it: to be held until it is on disk.
    pub(super) fn take_grant(&self) -> Option<Grant> {
        self.0.grant.lock().take()
    }

    /// The encoded entry.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// Those who wait, to the first who asks.
    pub(super) fn take_batch(&self) -> Option<Batch> {
        self.0.batch.lock().take()
    }

    fn is_waited_for(&self) -> bool {
        self.0.batch.lock().is_some()
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposal({} bytes)", self.0.bytes.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl PartialEq for Proposal {
    fn eq(&self, other: &Proposal) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for Proposal {}

/// The proposals in the log whose callers wait, by index, oldest first.
#[derive(Default)]
pub(super) struct Pending(Mutex<VecDeque<(u64, Proposal)>>);

impl Pending {
    /// Notes a proposal that was appended at `index`, if somebody waits for it.
    pub(super) fn appended(&self, index: u64, proposal: &Proposal) {
        if proposal.is_waited_for() {
            self.0.lock().push_back((index, proposal.clone()));
        }
    }

    /// Those who wait for the entry at `index`, which is being applied. Whoever waits for an earlier one has been
    /// overtaken by a snapshot: their outcome is unknown.
    pub(super) fn applied(&self, index: u64) -> Option<Batch> {
        let mut pending = self.0.lock();
        while pending.front().is_some_and(|(at, _)| *at < index) {
            drop(pending.pop_front().and_then(|(_, proposal)| proposal.take_batch()));
        }
        match pending.front() {
            Some((at, _)) if *at == index => {
                pending.pop_front().and_then(|(_, proposal)| proposal.take_batch())
            }
            _ => None,
        }
    }

    /// Nothing will be applied any more: all outcomes are unknown.
    pub(super) fn abandon(&self) {
        let abandoned = std::mem::take(&mut *self.0.lock());
        for (_, proposal) in abandoned {
            drop(proposal.take_batch());
        }
    }

    /// Entries after `index` were cut off: their outcome is unknown.
    pub(super) fn truncated_after(&self, index: Option<u64>) {
        let keep = index.map_or(0, |index| index + 1);
        self.0.lock().retain(|(at, proposal)| {
            let kept = *at < keep;
            if !kept {
                // Openraft may hold the proposal for longer than its caller should wait.
                drop(proposal.take_batch());
            }
            kept
        });
    }
}
