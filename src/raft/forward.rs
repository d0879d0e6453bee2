//! Writes on their way to the leader.
//!
//! ```text
//!  caller --> queue --(what waits travels together)--> leader's batcher --> outcomes, in frames --> callers
//! ```
//!
//! A transaction is sent at most once. What was not sent was certainly not applied; once it was sent and no answer came,
//! its outcome is unknown, and nothing here tries again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Duration, Instant, timeout_at};

use super::peer::{AskStore, CallError, Forward, Parts, ReadAt, Way};
use super::{Reply, WriteError};
use crate::model::{Level, LogEntry, Query, Timestamp, Transaction, codec};

/// Commands after which a message is full. A larger transaction travels alone.
const MESSAGE_COMMANDS: usize = 512;

/// Bytes of keys and values after which a message is full.
const MESSAGE_BYTES: usize = 256 << 10;

/// Messages under way.
const WINDOW_MESSAGES: usize = 16;

/// Bytes of transactions waiting or under way; callers beyond wait for room.
const BUDGET_BYTES: usize = 64 << 20;

/// What a transaction costs of the budget beside its keys and values.
const TRANSACTION_OVERHEAD: usize = 256;

/// Longer than the deadline of what it carries a message is not waited for.
const AFTER_DEADLINE: Duration = Duration::from_millis(500);

/// Sends transactions to the leader.
pub(super) struct Forwarder {
    queue: Mutex<Queue>,
    filled: Notify,
    budget: Arc<Semaphore>,
    window: Arc<Semaphore>,
    runtime: Handle,
    /// The level in force, at which transactions are encoded.
    level: Arc<AtomicU16>,
}

#[derive(Default)]
struct Queue {
    /// Oldest first, so tickets ascend.
    waiting: VecDeque<Parcel>,
    next_ticket: u64,
}

/// A transaction that is to be sent.
struct Parcel {
    ticket: u64,
    leader: u64,
    way: Way,
    transaction: Transaction,
    reads: Vec<(usize, Query)>,
    bytes: usize,
    deadline: Instant,
    sender: oneshot::Sender<Result<Reply, WriteError>>,
    _budget: OwnedSemaphorePermit,
}

impl Forwarder {
    pub(super) fn new(level: Arc<AtomicU16>) -> Forwarder {
        Forwarder {
            queue: Mutex::default(),
            filled: Notify::new(),
            budget: Arc::new(Semaphore::new(BUDGET_BYTES)),
            window: Arc::new(Semaphore::new(WINDOW_MESSAGES)),
            runtime: Handle::current(),
            level,
        }
    }

    /// Hands a transaction to `leader` and waits for its reply, at most until `deadline`.
    pub(super) async fn write(
        &self,
        (leader, way): (u64, Way),
        transaction: Transaction,
        reads: Vec<(usize, Query)>,
        deadline: Instant,
    ) -> Result<Reply, WriteError> {
        if transaction.validate().is_err() {
            return Err(WriteError::TooLarge);
        }
        let bytes = transaction.size();
        let cost = u32::try_from((bytes + TRANSACTION_OVERHEAD).min(BUDGET_BYTES)).unwrap_or(u32::MAX);
        let budget = timeout_at(deadline, Arc::clone(&self.budget).acquire_many_owned(cost)).await;
        let budget = budget.map_err(|_| WriteError::Overloaded)?.map_err(|_| WriteError::Unavailable)?;
        let (sender, mut receiver) = oneshot::channel();
        let ticket = {
            let mut queue = self.queue.lock();
            let ticket = queue.next_ticket;
            queue.next_ticket += 1;
            queue.waiting.push_back(Parcel {
                ticket,
                leader,
                way,
                transaction,
                reads,
                bytes,
                deadline,
                sender,
                _budget: budget,
            });
            ticket
        };
        self.filled.notify_one();
        match timeout_at(deadline, &mut receiver).await {
            Ok(answer) => answer.unwrap_or(Err(WriteError::UnknownOutcome)),
            Err(_) => Err(self.withdraw(ticket)),
        }
    }

    /// The deadline has passed. Only what is still in the queue has certainly not been sent.
    fn withdraw(&self, ticket: u64) -> WriteError {
        let mut queue = self.queue.lock();
        match queue.waiting.binary_search_by_key(&ticket, |parcel| parcel.ticket) {
            Ok(at) => {
                queue.waiting.remove(at);
                WriteError::Overloaded
            }
            Err(_) => WriteError::UnknownOutcome,
        }
    }

    /// Takes no more; what waits is refused.
    pub(super) fn close(&self) {
        self.budget.close();
        self.window.close();
        let waiting = std::mem::take(&mut self.queue.lock().waiting);
        for parcel in waiting {
            let _ = parcel.sender.send(Err(WriteError::Unavailable));
        }
    }

    /// Sends until closed. One task runs this.
    pub(super) async fn run(&self) {
        loop {
            let Ok(place) = Arc::clone(&self.window).acquire_owned().await else { return };
            let parcels = self.filled().await;
            let level = Level(self.level.load(Ordering::Acquire));
            self.runtime.spawn(async move {
                send(parcels, level).await;
                drop(place);
            });
        }
    }

    /// What goes into the next message: all to the same leader, in the order in which it came.
    async fn filled(&self) -> Vec<Parcel> {
        loop {
            let filled = self.filled.notified();
            let parcels = take_message(&mut self.queue.lock().waiting);
            if !parcels.is_empty() {
                return parcels;
            }
            filled.await;
        }
    }
}

fn take_message(queue: &mut VecDeque<Parcel>) -> Vec<Parcel> {
    let Some(leader) = queue.front().map(|parcel| parcel.leader) else { return Vec::new() };
    let (mut commands, mut bytes) = (0, 0);
    let fits = queue.iter().take_while(|parcel| {
        let is_first = commands == 0;
        commands += parcel.transaction.commands.len().max(1);
        bytes += parcel.bytes;
        parcel.leader == leader && (is_first || commands <= MESSAGE_COMMANDS && bytes <= MESSAGE_BYTES)
    });
    let count = fits.count();
    queue.drain(..count).collect()
}

/// Sends one message and hands out what comes back.
async fn send(mut parcels: Vec<Parcel>, level: Level) {
    // Who has given up is not sent for.
    parcels.retain(|parcel| !parcel.sender.is_closed());
    let Some(Parcel { way, .. }) = parcels.first() else { return };
    let way = way.clone();
    let latest = parcels.iter().map(|parcel| parcel.deadline).max().unwrap_or_else(Instant::now);
    let (message, callers) = message(parcels, level);
    let mut callers: Vec<_> = callers.into_iter().map(|sender| Some((sender, Parts::default()))).collect();
    let until = latest + AFTER_DEADLINE;
    let opened = timeout_at(until, way.link().forward(&way.envelope, message)).await;
    let error = match opened {
        Ok(Ok(mut frames)) => {
            while let Ok(Some(Ok(frame))) = timeout_at(until, frames.next()).await {
                let place = callers.get_mut(frame.transaction as usize);
                let Some(slot) = place else { break };
                let done = slot.as_mut().and_then(|(_, parts)| parts.take(frame));
                if let Some(result) = done
                    && let Some((sender, _)) = slot.take()
                {
                    let _ = sender.send(result);
                }
            }
            WriteError::UnknownOutcome
        }
        Ok(Err(CallError::Unsent(_) | CallError::Refused(_))) => WriteError::NoLeader,
        Ok(Err(CallError::Lost(_))) | Err(_) => WriteError::UnknownOutcome,
    };
    for (sender, _) in callers.into_iter().flatten() {
        let _ = sender.send(Err(error));
    }
}

type Caller = oneshot::Sender<Result<Reply, WriteError>>;

fn message(parcels: Vec<Parcel>, level: Level) -> (Forward, Vec<Caller>) {
    let now = Instant::now();
    let (mut transactions, mut reads, mut left_ms, mut callers) = (vec![], vec![], vec![], vec![]);
    for (n, parcel) in parcels.into_iter().enumerate() {
        for (before, query) in &parcel.reads {
            let (transaction, before) = (n as u32, *before as u32);
            reads.push(ReadAt { transaction, before, query: AskStore::from(query) });
        }
        transactions.push(parcel.transaction);
        left_ms.push(parcel.deadline.saturating_duration_since(now).as_millis() as u64);
        callers.push(parcel.sender);
    }
    let entry = LogEntry { level, at: Timestamp(0), touches: Vec::new(), transactions };
    (Forward { entry: codec::encode(&entry), reads, left_ms }, callers)
}
