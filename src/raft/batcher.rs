//! Packs waiting transactions into log entries and proposes them.
//!
//! ```text
//! submit --(budget of bytes)--> queue --(window of entries)--> entry --> raft --> apply --> caller
//! ```
//!
//! There is no timer: whatever waits when a place in the window is free travels together, so a lone write goes
//! at once and a crowd is packed. Entries are proposed one after the other by one task, so their order in the
//! log is the order of the queue. Only a leader takes transactions, and an entry is bound to the term in which its time
//! was stamped: in another one raft refuses it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::errors::ClientWriteError;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use super::WriteError;
use super::cluster_time::ClusterTime;
use super::machine::Machine;
use super::proposal::{Batch, Caller, Proposal, Reply};
use super::replica::Replica;
use super::touches::Touches;
use super::types::{self, TypeConfig, committed_leader};
use crate::model::{Command, LogEntry, Query, Transaction, codec};
use crate::wal::{Room, Wal};

/// Commands after which an entry is full. A larger transaction travels alone.
const ENTRY_COMMANDS: usize = 512;

/// Bytes of keys and values after which an entry is full. A larger transaction travels alone.
const ENTRY_BYTES: usize = 256 << 10;

/// Touches taken along in one entry: apply does a bounded amount of work.
const ENTRY_TOUCHES: usize = 1_024;

/// Entries proposed and not yet applied.
const WINDOW_ENTRIES: usize = 8;

/// Bytes of transactions waiting or in flight; callers beyond wait for room.
const BUDGET_BYTES: usize = 64 << 20;

/// What a transaction costs of the budget beside its keys and values.
const TRANSACTION_OVERHEAD: usize = 256;

type Raft = openraft::Raft<TypeConfig, Machine>;

/// Takes transactions of callers and proposes entries.
pub(super) struct Batcher {
    queue: Mutex<Queue>,
    /// The term in which this node leads, 0 for none: every read looks at it, and must not wait for the queue.
    leads: AtomicU64,
    filled: Notify,
    budget: Arc<Semaphore>,
    window: Arc<Semaphore>,
    touches: Arc<Touches>,
    wal: Wal,
}

#[derive(Default)]
struct Queue {
    /// Oldest first, so tickets ascend.
    waiting: VecDeque<Waiting>,
    next_ticket: u64,
    /// An empty entry is wanted, for the sake of time or touches.
    tick: bool,
    phase: Phase,
    closed: bool,
}

/// What this node may propose, and in which term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Nothing: another one leads, or nobody.
    #[default]
    Follows,
    /// What a new cluster begins with.
    Seeds(u64),
    /// What callers bring.
    Leads(u64),
}

impl Phase {
    fn term(self) -> Option<u64> {
        match self {
            Phase::Follows => None,
            Phase::Seeds(term) | Phase::Leads(term) => Some(term),
        }
    }
}

impl Queue {
    fn push(&mut self, transaction: Transaction, bytes: usize, caller: Caller) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.push_back(Waiting { ticket, transaction, bytes, caller });
        ticket
    }
}

/// A transaction that is not proposed yet.
struct Waiting {
    ticket: u64,
    transaction: Transaction,
    /// Bytes of its keys and values.
    bytes: usize,
    caller: Caller,
}

impl Batcher {
    pub(super) fn new(touches: Arc<Touches>, wal: Wal) -> Batcher {
        Batcher {
            queue: Mutex::default(),
            leads: AtomicU64::new(0),
            filled: Notify::new(),
            budget: Arc::new(Semaphore::new(BUDGET_BYTES)),
            window: Arc::new(Semaphore::new(WINDOW_ENTRIES)),
            touches,
            wal,
        }
    }

    /// Queues a transaction and waits for its reply, at most until `deadline`.
    pub(super) async fn write(
        &self,
        transaction: Transaction,
        reads: Vec<(usize, Query)>,
        deadline: Instant,
    ) -> Result<Reply, WriteError> {
        if transaction.validate().is_err() {
            return Err(WriteError::TooLarge);
        }
        if self.wal.room() == Room::Reserve {
            return Err(WriteError::OutOfDisk);
        }
        let bytes = transaction.size();
        let budget = self.admit(bytes, deadline).await?;
        let (sender, mut receiver) = oneshot::channel();
        let ticket = self.enqueue(transaction, bytes, Caller { reads, sender, _budget: budget })?;
        match timeout_at(deadline, &mut receiver).await {
            Ok(answer) => answer.unwrap_or(Err(WriteError::UnknownOutcome)),
            Err(_) => Err(self.withdraw(ticket)),
        }
    }

    /// This node leads in `term` and may propose what a new cluster begins with, and nothing else yet.
    pub(super) fn seed(&self, term: u64) {
        self.queue.lock().phase = Phase::Seeds(term);
    }

    /// This node leads in `term` and takes what callers bring.
    pub(super) fn lead(&self, term: u64) {
        self.queue.lock().phase = Phase::Leads(term);
        self.leads.store(term, Ordering::Release);
        self.filled.notify_one();
    }

    /// This node does not lead any more: what waits was not proposed.
    pub(super) fn follow(&self) {
        self.leads.store(0, Ordering::Release);
        let waiting = {
            let mut queue = self.queue.lock();
            queue.phase = Phase::Follows;
            queue.tick = false;
            std::mem::take(&mut queue.waiting)
        };
        for Waiting { caller, .. } in waiting {
            let _ = caller.sender.send(Err(WriteError::NoLeader));
        }
    }

    /// The term in which this node leads and takes what callers bring, if it does.
    pub(super) fn term(&self) -> Option<u64> {
        Some(self.leads.load(Ordering::Acquire)).filter(|term| *term > 0)
    }

    /// Asks for an entry soon, even if there is nothing to write.
    pub(super) fn tick(&self) {
        self.queue.lock().tick = true;
        self.filled.notify_one();
    }

    /// Takes no more; what waits is refused, for a place in the queue or in the window too.
    pub(super) fn close(&self) {
        self.budget.close();
        self.window.close();
        let waiting = {
            let mut queue = self.queue.lock();
            queue.closed = true;
            std::mem::take(&mut queue.waiting)
        };
        for Waiting { caller, .. } in waiting {
            let _ = caller.sender.send(Err(WriteError::Unavailable));
        }
        self.filled.notify_one();
    }

    async fn admit(&self, bytes: usize, deadline: Instant) -> Result<OwnedSemaphorePermit, WriteError> {
        let cost = (bytes + TRANSACTION_OVERHEAD).min(BUDGET_BYTES);
        let cost = u32::try_from(cost).expect("the budget is far below 2^32 bytes");
        if let Ok(permit) = Arc::clone(&self.budget).try_acquire_many_owned(cost) {
            return Ok(permit);
        }
        match timeout_at(deadline, Arc::clone(&self.budget).acquire_many_owned(cost)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(WriteError::Unavailable),
            Err(_) => Err(WriteError::Overloaded),
        }
    }

    fn enqueue(&self, transaction: Transaction, bytes: usize, caller: Caller) -> Result<u64, WriteError> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(WriteError::Unavailable);
        }
        let is_seed = matches!(transaction.commands.first(), Some(Command::Initialize { .. }));
        match queue.phase {
            Phase::Leads(_) => {}
            Phase::Seeds(_) if is_seed => {}
            Phase::Follows | Phase::Seeds(_) => return Err(WriteError::NoLeader),
        }
        let ticket = queue.push(transaction, bytes, caller);
        drop(queue);
        self.filled.notify_one();
        Ok(ticket)
    }

    /// The caller's deadline has passed. Only what is still in the queue has certainly not been applied.
    fn withdraw(&self, ticket: u64) -> WriteError {
        let mut queue = self.queue.lock();
        match queue.waiting.binary_search_by_key(&ticket, |waiting| waiting.ticket) {
            Ok(at) => {
                queue.waiting.remove(at);
                WriteError::Overloaded
            }
            Err(_) => WriteError::UnknownOutcome,
        }
    }

    /// Proposes until closed. One task runs this.
    pub(super) async fn run(&self, raft: Raft, time: Arc<ClusterTime>, replica: Arc<Replica>) {
        while let Some(()) = self.wanted().await {
            let Ok(place) = Arc::clone(&self.window).acquire_owned().await else { return };
            let Some(Drained { mut transactions, mut callers, tick, term }) = self.drain() else { continue };
            let mut touches = Vec::new();
            if self.wal.room() == Room::Ample {
                touches = self.touches.take(ENTRY_TOUCHES);
            } else {
                // What is left of the log is for votes, membership and expiry.
                transactions.clear();
                refuse(&mut callers, WriteError::OutOfDisk);
                if !tick {
                    continue;
                }
            }
            let entry = LogEntry { level: replica.level(), at: time.now(), touches, transactions };
            let proposal = Proposal::waited_for(codec::encode(&entry), Batch { callers, _window: place });
            let refused = proposal.clone();
            let reply = types::Reply::new(move |result: openraft::raft::ClientWriteResult<TypeConfig>| {
                if let (Err(error), Some(batch)) = (result, refused.take_batch()) {
                    batch.fail(refusal(&error));
                }
            });
            let write = raft.write(proposal).with_leader(committed_leader(term)).responder(reply);
            if write.await.is_err() {
                return;
            }
        }
    }

    /// Returns when there is something to propose; `None` when closed.
    async fn wanted(&self) -> Option<()> {
        loop {
            let filled = self.filled.notified();
            {
                let queue = self.queue.lock();
                if queue.closed {
                    return None;
                }
                if queue.phase.term().is_some() && (!queue.waiting.is_empty() || queue.tick) {
                    return Some(());
                }
            }
            filled.await;
        }
    }

    /// The transactions of the next entry, as many as fit, and who waits for each; `None` if this node does not lead.
    fn drain(&self) -> Option<Drained> {
        let mut queue = self.queue.lock();
        let term = queue.phase.term()?;
        let tick = std::mem::take(&mut queue.tick);
        let (mut commands, mut total_bytes) = (0, 0);
        let most = queue.waiting.len().min(ENTRY_COMMANDS);
        let (mut transactions, mut callers) = (Vec::with_capacity(most), Vec::with_capacity(most));
        while let Some(Waiting { transaction, bytes, .. }) = queue.waiting.front() {
            commands += transaction.commands.len();
            total_bytes += bytes;
            if !callers.is_empty() && (commands > ENTRY_COMMANDS || total_bytes > ENTRY_BYTES) {
                break;
            }
            let Some(Waiting { transaction, caller, .. }) = queue.waiting.pop_front() else { break };
            transactions.push(transaction);
            callers.push(caller);
        }
        Some(Drained { transactions, callers, tick, term })
    }
}

/// What was taken out of the queue for one entry.
struct Drained {
    transactions: Vec<Transaction>,
    /// One for each transaction.
    callers: Vec<Caller>,
    /// An entry is wanted even if there is no transaction.
    tick: bool,
    /// The term in which it may be proposed.
    term: u64,
}

/// Tells callers whose transactions were not proposed.
fn refuse(callers: &mut Vec<Caller>, error: WriteError) {
    for caller in callers.drain(..) {
        // A caller that went away wants no answer.
        let _ = caller.sender.send(Err(error));
    }
}

/// Only `ForwardToLeader` says for certain that the entry was never appended.
fn refusal(error: &ClientWriteError<TypeConfig>) -> WriteError {
    match error {
        ClientWriteError::ForwardToLeader(_) => WriteError::NoLeader,
        _ => WriteError::UnknownOutcome,
    }
}
