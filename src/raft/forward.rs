//! Writes on their way to the leader.
//!
//! ```text
//!  caller --> queue --(what waits travels together)--> leader's batcher --> outcomes, in frames --> callers
//! ```
//!
//! A transaction is sent at most once. What was not sent was certainly not applied; once it was sent and no answer came,
//! its outcome is unknown, and nothing here tries again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Duration, Instant, timeout_at};

use super::budget::{self, Budget};
use super::packing::{Flight, Packing, Place, Ticket};
use super::peer::{AskStore, CallError, Forward, Parts, ReadAt, Refusal, Way};
use super::{Reply, WriteError};
use crate::model::{Level, LogEntry, Query, Timestamp, Transaction, codec};

/// Longer than the deadline of what it carries a message is not waited for.
const AFTER_DEADLINE: Duration = Duration::from_millis(500);

/// Share of a transaction's time that is left for the answer, at most. A leader that refuses one at its deadline tells a
/// caller that has given up, and an outcome that was certain is unknown.
const FOR_THE_ANSWER: Duration = Duration::from_millis(500);

/// Sends transactions to the leader.
pub(super) struct Forwarder {
    queue: Mutex<Queue>,
    /// Something waits, or has come back.
    changed: Arc<Notify>,
    budget: Budget,
    runtime: Handle,
    /// The level in force, at which transactions are encoded.
    level: Arc<AtomicU16>,
}

#[derive(Default)]
struct Queue {
    /// What waits for the leader that was last known.
    packing: Packing<Waiting>,
    lane: Option<Lane>,
    closed: bool,
}

/// The way to a leader. What is under way to another does not hold it up.
struct Lane {
    leader: u64,
    way: Way,
    flight: Flight,
}

/// A transaction that is to be sent.
struct Waiting {
    transaction: Transaction,
    reads: Vec<(usize, Query)>,
    deadline: Instant,
    sender: oneshot::Sender<Result<Reply, WriteError>>,
    budget: budget::Place,
}

impl Forwarder {
    pub(super) fn new(level: Arc<AtomicU16>) -> Forwarder {
        Forwarder {
            queue: Mutex::default(),
            changed: Arc::default(),
            budget: Budget::new(),
            runtime: Handle::current(),
            level,
        }
    }

    /// Hands a transaction to `leader` and waits for its reply, at most until `deadline`.
    pub(super) async fn write(
        &self,
        to: (u64, Way),
        transaction: Transaction,
        reads: Vec<(usize, Query)>,
        deadline: Instant,
    ) -> Result<Reply, WriteError> {
        if transaction.validate().is_err() {
            return Err(WriteError::TooLarge);
        }
        let bytes = transaction.size();
        let budget = self.budget.admit(bytes, deadline).await?;
        let (sender, mut receiver) = oneshot::channel();
        let commands = transaction.commands.len();
        let waiting = Waiting { transaction, reads, deadline, sender, budget };
        let ticket = self.enqueue(to, waiting, commands, bytes)?;
        match timeout_at(deadline, &mut receiver).await {
            Ok(answer) => answer.unwrap_or(Err(WriteError::UnknownOutcome)),
            Err(_) => Err(self.withdraw(ticket)),
        }
    }

    /// Queues a transaction. What waits for another leader comes back: it was not sent, and may be sent to this one.
    fn enqueue(
        &self,
        (leader, way): (u64, Way),
        waiting: Waiting,
        commands: usize,
        bytes: usize,
    ) -> Result<Ticket, WriteError> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(WriteError::Unavailable);
        }
        let former = queue.lane.take_if(|lane| lane.leader != leader);
        let returned = former.map(|_| queue.packing.take_all()).unwrap_or_default();
        let ticket = queue.packing.push(waiting, commands, bytes);
        let flight = || Flight::new(Arc::clone(&self.changed));
        let Queue { packing, lane, .. } = &mut *queue;
        let lane = lane.get_or_insert_with(|| Lane { leader, way: way.clone(), flight: flight() });
        lane.way = way;
        let may_go = packing.may_go(&lane.flight);
        drop(queue);
        refuse(returned, WriteError::NoLeader);
        if may_go {
            self.changed.notify_one();
        }
        Ok(ticket)
    }

    /// The deadline has passed. Only what is still in the queue has certainly not been sent.
    fn withdraw(&self, ticket: Ticket) -> WriteError {
        match self.queue.lock().packing.withdraw(ticket) {
            true => WriteError::Overloaded,
            false => WriteError::UnknownOutcome,
        }
    }

    /// Takes no more; what waits is refused.
    pub(super) fn close(&self) {
        self.budget.close();
        let returned = {
            let mut queue = self.queue.lock();
            queue.closed = true;
            queue.packing.take_all()
        };
        refuse(returned, WriteError::Unavailable);
        self.changed.notify_one();
    }

    /// Sends until closed. One task runs this.
    pub(super) async fn run(&self) {
        while let Some((way, parcel, place)) = self.next().await {
            let level = Level(self.level.load(Ordering::Acquire));
            self.runtime.spawn(async move {
                send(way, parcel, level).await;
                drop(place);
            });
        }
    }

    /// What goes into the next message; `None` when closed.
    async fn next(&self) -> Option<(Way, Vec<Waiting>, Place)> {
        loop {
            let changed = self.changed.notified();
            {
                let mut queue = self.queue.lock();
                if queue.closed {
                    return None;
                }
                let Queue { packing, lane, .. } = &mut *queue;
                if let Some(lane) = lane
                    && let Some((parcel, place)) = packing.take(&lane.flight)
                {
                    return Some((lane.way.clone(), parcel, place));
                }
            }
            changed.await;
        }
    }
}

/// Hands back what was not sent.
fn refuse(returned: Vec<Waiting>, error: WriteError) {
    for waiting in returned {
        // A caller that went away wants no answer.
        let _ = waiting.sender.send(Err(error));
    }
}

/// Sends one message and hands out what comes back.
async fn send(way: Way, mut parcel: Vec<Waiting>, level: Level) {
    // Who has given up is not sent for.
    parcel.retain(|waiting| !waiting.sender.is_closed());
    let Some(latest) = parcel.iter().map(|waiting| waiting.deadline).max() else { return };
    let (message, callers) = message(parcel, level);
    let mut callers: Vec<_> = callers.into_iter().map(|caller| Some((caller, Parts::default()))).collect();
    let until = latest + AFTER_DEADLINE;
    let opened = timeout_at(until, way.link().forward(&way.envelope, message)).await;
    let error = match opened {
        Ok(Ok(mut frames)) => {
            let mut is_refused = false;
            while let Ok(Some(answered)) = timeout_at(until, frames.next()).await {
                is_refused = Refusal::named(&answered.refused).is_some();
                for frame in answered.forwarded {
                    let Some(slot) = callers.get_mut(frame.transaction as usize) else { continue };
                    let done = slot.as_mut().and_then(|(_, parts)| parts.take(frame));
                    if let Some(result) = done
                        && let Some(((sender, budget), _)) = slot.take()
                    {
                        if result.is_ok() {
                            budget.came_through();
                        }
                        let _ = sender.send(result);
                    }
                }
                if answered.last {
                    break;
                }
            }
            // What was not looked at was not proposed.
            if is_refused { WriteError::NoLeader } else { WriteError::UnknownOutcome }
        }
        Ok(Err(CallError::Unsent(_) | CallError::Refused(_))) => WriteError::NoLeader,
        Ok(Err(CallError::Lost(_))) | Err(_) => WriteError::UnknownOutcome,
    };
    for ((sender, _), _) in callers.into_iter().flatten() {
        let _ = sender.send(Err(error));
    }
}

/// A caller that waits for an answer, and its place in the budget until then.
type Caller = (oneshot::Sender<Result<Reply, WriteError>>, budget::Place);

fn message(parcel: Vec<Waiting>, level: Level) -> (Forward, Vec<Caller>) {
    let now = Instant::now();
    let (mut transactions, mut reads, mut left_ms, mut callers) = (vec![], vec![], vec![], vec![]);
    for (n, waiting) in parcel.into_iter().enumerate() {
        for (before, query) in &waiting.reads {
            let (transaction, before) = (n as u32, *before as u32);
            reads.push(ReadAt { transaction, before, query: AskStore::from(query) });
        }
        transactions.push(waiting.transaction);
        let left = waiting.deadline.saturating_duration_since(now);
        left_ms.push((left - (left / 8).min(FOR_THE_ANSWER)).as_millis() as u64);
        callers.push((waiting.sender, waiting.budget));
    }
    let entry = LogEntry { level, at: Timestamp(0), touches: Vec::new(), transactions };
    (Forward { entry: codec::encode(&entry), reads, left_ms }, callers)
}
