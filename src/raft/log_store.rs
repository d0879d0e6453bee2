//! openraft's log on the WAL.
//!
//! Order is the WAL's: votes, entries and truncations enter one queue in the order in which openraft calls.
//! Only a vote and a truncation are waited for here, because openraft awaits these calls inside its core.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use futures_util::Stream;
use futures_util::stream;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend, RaftLogReader};
use tokio::sync::{oneshot, watch};

use super::ledger::Ledger;
use super::payload::{from_record, to_record};
use super::proposal::Pending;
use super::types::{Entry, GROUP, LogId, TypeConfig, Vote, from_wal, to_wal, vote_from_wal, vote_to_wal};
use crate::wal::{self, Wal};

/// Most bytes of entries read at a time for applying.
const APPLY_READ_BYTES: usize = 1 << 20;

/// Most bytes of entries in one message to a follower; one entry may be larger.
const REPLICATE_READ_BYTES: usize = 1 << 20;

/// The log of one group. Clones share it.
#[derive(Clone)]
pub(super) struct LogStore {
    wal: Wal,
    pending: Arc<Pending>,
    ledger: Arc<Ledger>,
    /// Index up to which purging is durable; `None` once the log has failed.
    purged: Arc<watch::Sender<Option<u64>>>,
}

impl LogStore {
    pub(super) fn new(wal: Wal, pending: Arc<Pending>) -> LogStore {
        let purged = wal.state(GROUP).purged.map_or(0, |id| id.index);
        let ledger = Arc::new(Ledger::new(wal.state(GROUP).vote.map(vote_from_wal)));
        LogStore { wal, pending, ledger, purged: Arc::new(watch::Sender::new(Some(purged))) }
    }

    /// What this node has promised, and who may decide.
    pub(super) fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.ledger)
    }

    /// Follows the index up to which purging is durable; `None` once the log has failed.
    pub(super) fn watch_purged(&self) -> watch::Receiver<Option<u64>> {
        self.purged.subscribe()
    }

    /// Hands something to the WAL and waits until it is durable.
    async fn durable(&self, hand_over: impl FnOnce(&Wal, wal::Callback)) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        hand_over(&self.wal, Box::new(move |result| drop(sender.send(result))));
        match receiver.await {
            Ok(result) => result.map_err(io::Error::other),
            Err(_) => Err(io::Error::other("the log was closed")),
        }
    }

    fn read(&self, start: u64, end: u64, budget_bytes: usize) -> io::Result<Vec<Entry>> {
        if start >= end {
            return Ok(Vec::new());
        }
        let records = self.wal.read(GROUP, start..end, budget_bytes).map_err(io::Error::other)?;
        records.into_iter().map(from_record).collect()
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let state = self.wal.state(GROUP);
        let purged = state.purged.map(from_wal);
        Ok(LogState { last_log_id: state.last.map(from_wal).max(purged), last_purged_log_id: purged })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.ledger.vote(*vote);
        let vote = vote_to_wal(vote);
        self.durable(|wal, done| wal.save_vote(GROUP, vote, done)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(id) = committed {
            self.wal.save_committed(GROUP, to_wal(&id));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.wal.state(GROUP).committed.map(from_wal))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let (mut records, mut grants) = (Vec::new(), Vec::new());
        // Who votes must survive a power cut in every durability mode.
        let mut synced = false;
        for entry in entries {
            match &entry.payload {
                EntryPayload::Normal(proposal) => {
                    self.pending.appended(entry.index(), proposal);
                    grants.extend(proposal.take_grant());
                }
                EntryPayload::Membership(membership) => {
                    self.ledger.appended(entry.index(), membership);
                    synced = true;
                }
                EntryPayload::Blank => {}
            }
            records.push(to_record(&entry));
        }
        let pending = Arc::clone(&self.pending);
        let done = Box::new(move |result: Result<(), wal::Error>| {
            drop(grants);
            if result.is_err() {
                pending.abandon();
            }
            callback.io_completed(result.map_err(io::Error::other));
        });
        if synced {
            self.wal.append_synced(GROUP, records, done);
        } else {
            self.wal.append(GROUP, records, done);
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.pending.truncated_after(last.as_ref().map(|id| id.index));
        self.ledger.truncated_after(last.as_ref().map(|id| id.index));
        let last = last.as_ref().map(to_wal);
        self.durable(|wal, done| wal.truncate_after(GROUP, last, done)).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let purged = Arc::clone(&self.purged);
        let index = upto.index;
        let done = Box::new(move |result: Result<(), wal::Error>| {
            purged.send_modify(|at| *at = at.filter(|_| result.is_ok()).map(|at| at.max(index)));
        });
        self.wal.purge_upto(GROUP, to_wal(&upto), done);
        Ok(())
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (mut start, end) = self.present(&range)?;
        let mut entries = Vec::new();
        while start < end {
            let part = self.read(start, end, APPLY_READ_BYTES)?;
            start = after(&part, start)?;
            entries.extend(part);
        }
        Ok(entries)
    }

    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (part, log) = (Vec::new().into_iter(), self.clone());
        let (failed, parts) = match self.present(&range) {
            Ok((next, end)) => (None, Some(Parts { log, next, end, part })),
            Err(error) => (Some(Err(error)), None),
        };
        stream::iter(failed.into_iter().chain(parts.into_iter().flatten()))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let (start, end) = self.present(&(start..end))?;
        let entries = self.read(start, end, REPLICATE_READ_BYTES)?;
        match entries.first() {
            Some(first) if first.index() != start => Err(missing(start)),
            _ => Ok(entries),
        }
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.wal.state(GROUP).vote.map(vote_from_wal))
    }
}

impl LogStore {
    /// The part of `range` that the log holds, as `start..end`.
    fn present(&self, range: &impl RangeBounds<u64>) -> io::Result<(u64, u64)> {
        let state = self.wal.state(GROUP);
        let start = match range.start_bound() {
            Bound::Included(at) => *at,
            Bound::Excluded(at) => at.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(at) => at.saturating_add(1),
            Bound::Excluded(at) => *at,
            Bound::Unbounded => u64::MAX,
        };
        let end = end.min(state.last.map_or(0, |id| id.index + 1));
        let first = match state.purged {
            Some(purged) => purged.index + 1,
            // A log may begin anywhere: what it has first is where it begins.
            None => self.read(start, end, 0)?.first().map_or(end, RaftEntry::index),
        };
        Ok((start.max(first), end))
    }
}

/// The index after `part`, which was read from `start` on. The log has no holes: nothing there is damage.
fn after(part: &[Entry], start: u64) -> io::Result<u64> {
    match (part.first(), part.last()) {
        (Some(first), Some(last)) if first.index() == start => Ok(last.index() + 1),
        _ => Err(missing(start)),
    }
}

fn missing(index: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("log entry {index} is missing"))
}

/// Entries of a range, read in parts so that a long range does not stand in memory at once.
struct Parts {
    log: LogStore,
    next: u64,
    end: u64,
    part: std::vec::IntoIter<Entry>,
}

impl Iterator for Parts {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<io::Result<Entry>> {
        if let Some(entry) = self.part.next() {
            return Some(Ok(entry));
        }
        if self.next >= self.end {
            return None;
        }
        let read = self.log.read(self.next, self.end, APPLY_READ_BYTES);
        match read.and_then(|part| Ok((after(&part, self.next)?, part))) {
            Ok((next, part)) => {
                self.next = next;
                self.part = part.into_iter();
                self.part.next().map(Ok)
            }
            Err(error) => {
                self.next = self.end;
                Some(Err(error))
            }
        }
    }
}
