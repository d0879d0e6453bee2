//! Packs waiting transactions into log entries and proposes them.
//!
//! ```text
//! submit --(budget of bytes)--> packing --> entry --> raft --> apply --> caller
//! ```
//!
//! How much is packed together is in [`packing`](super::packing).
//! Entries are proposed one after the other by one task, so their order in the
//! log is the order of the queue. Only a leader takes transactions, and an entry is bound to the term in which its time
//! was stamped: in another one raft refuses it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use openraft::errors::ClientWriteError;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use super::WriteError;
use super::budget::Budget;
use super::cluster_time::ClusterTime;
use super::machine::Machine;
use super::packing::{Flight, Load, Packing, Place, Ticket};
use super::proposal::{Batch, Caller, Proposal, Reply};
use super::replica::Replica;
use super::touches::Touches;
use super::types::{self, TypeConfig, committed_leader};
use crate::model::{Command, LogEntry, Query, Transaction, codec};
use crate::wal::{Admission, Grant, Lack, Urgency, Wal, append_bytes};

/// Touches taken along in one entry: apply does a bounded amount of work.
const ENTRY_TOUCHES: usize = 1_024;

/// How often those who wait for room on a disk look again.
const ROOM_INTERVAL: Duration = Duration::from_millis(10);

/// A disk on which something was freed just now may still seem to have no room for an entry.
const JUST_FREED: Duration = Duration::from_millis(250);

/// How long an entry that is packed already waits for room on the disk.
const ENTRY_PATIENCE: Duration = Duration::from_secs(2);

type Raft = openraft::Raft<TypeConfig, Machine>;

/// Takes transactions of callers and proposes entries.
pub(super) struct Batcher {
    queue: Mutex<Queue>,
    /// The term in which this node leads, 0 for none: every read looks at it, and must not wait for the queue.
    leads: AtomicU64,
    /// Something waits, or has come back.
    changed: Arc<Notify>,
    budget: Budget,
    flight: Flight,
    touches: Arc<Touches>,
    wal: Wal,
    /// Nothing more can be freed on a disk that is full.
    gave_up: AtomicBool,
    /// Of the members that answer, too few for a quorum have room.
    quorum_is_full: AtomicBool,
}

/// Whether the disks take what is proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disks {
    Open,
    /// This node's is full, and room is being made.
    MakeRoom,
    Closed(WriteError),
}

#[derive(Default)]
struct Queue {
    packing: Packing<Waiting>,
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

/// A transaction that is not proposed yet.
struct Waiting {
    transaction: Transaction,
    caller: Caller,
}

impl Batcher {
    pub(super) fn new(touches: Arc<Touches>, wal: Wal) -> Batcher {
        let changed = Arc::new(Notify::new());
        Batcher {
            queue: Mutex::default(),
            leads: AtomicU64::new(0),
            flight: Flight::new(Arc::clone(&changed)),
            changed,
            budget: Budget::new(),
            touches,
            wal,
            gave_up: AtomicBool::new(false),
            quorum_is_full: AtomicBool::new(false),
        }
    }

    /// Nothing more can be freed on this node's disk, or that is not so any more.
    pub(super) fn give_up(&self, gave_up: bool) {
        self.gave_up.store(gave_up, Ordering::Release);
    }

    /// Whether the disk of this node is full, and stays so until somebody else makes room.
    pub(super) fn is_out_of_disk(&self) -> bool {
        self.gave_up.load(Ordering::Acquire) && self.wal.lack() == Some(Lack::Space)
    }

    /// Whether too few of the members that answer this leader have room on their disks.
    pub(super) fn note_quorum(&self, is_full: bool) {
        self.quorum_is_full.store(is_full, Ordering::Release);
    }

    /// What is left of a full disk is for what the cluster needs to go on, so writes are refused before they are proposed: by a
    /// leader whose disk is full, and by one that would find no quorum to store them. While room is being made they wait.
    fn disks(&self) -> Disks {
        match self.wal.lack() {
            Some(Lack::Files) => Disks::Closed(WriteError::Overloaded),
            Some(Lack::Space) if self.gave_up.load(Ordering::Acquire) => Disks::Closed(WriteError::OutOfDisk),
            Some(Lack::Space) => Disks::MakeRoom,
            None if self.quorum_is_full.load(Ordering::Acquire) => Disks::Closed(WriteError::OutOfDisk),
            None => Disks::Open,
        }
    }

    async fn wait_for_room(&self, deadline: Instant) -> Result<(), WriteError> {
        loop {
            match self.disks() {
                Disks::Open => return Ok(()),
                Disks::Closed(error) => return Err(error),
                Disks::MakeRoom if Instant::now() >= deadline => return Err(WriteError::OutOfDisk),
                Disks::MakeRoom => sleep(ROOM_INTERVAL).await,
            }
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
        self.wait_for_room(deadline).await?;
        let bytes = transaction.size();
        let budget = self.budget.admit(bytes, deadline).await?;
        let (sender, mut receiver) = oneshot::channel();
        let ticket = self.enqueue(transaction, bytes, Caller { reads, sender, budget })?;
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
        self.changed.notify_one();
    }

    /// This node does not lead any more: what waits was not proposed.
    pub(super) fn follow(&self) {
        self.leads.store(0, Ordering::Release);
        self.note_quorum(false);
        let waiting = {
            let mut queue = self.queue.lock();
            queue.phase = Phase::Follows;
            queue.tick = false;
            queue.packing.take_all()
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
        self.changed.notify_one();
    }

    /// Takes no more; what waits is refused, for a place in the queue or in the window too.
    pub(super) fn close(&self) {
        self.budget.close();
        let waiting = {
            let mut queue = self.queue.lock();
            queue.closed = true;
            queue.packing.take_all()
        };
        for Waiting { caller, .. } in waiting {
            let _ = caller.sender.send(Err(WriteError::Unavailable));
        }
        self.changed.notify_one();
    }

    fn enqueue(&self, transaction: Transaction, bytes: usize, caller: Caller) -> Result<Ticket, WriteError> {
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
        let commands = transaction.commands.len();
        let ticket = queue.packing.push(Waiting { transaction, caller }, commands, bytes);
        let may_go = queue.packing.may_go(&self.flight);
        drop(queue);
        if may_go {
            self.changed.notify_one();
        }
        Ok(ticket)
    }

    /// The caller's deadline has passed. Only what is still in the queue has certainly not been applied.
    fn withdraw(&self, ticket: Ticket) -> WriteError {
        match self.queue.lock().packing.withdraw(ticket) {
            true => WriteError::Overloaded,
            false => WriteError::UnknownOutcome,
        }
    }

    /// Proposes until closed. One task runs this.
    pub(super) async fn run(&self, raft: Raft, time: Arc<ClusterTime>, replica: Arc<Replica>) {
        while let Some(parcel) = self.next().await {
            let Parcel { mut transactions, mut callers, tick, term, place } = parcel;
            let mut touches = Vec::new();
            match self.disks() {
                Disks::Open => touches = self.touches.take(ENTRY_TOUCHES),
                Disks::MakeRoom => {}
                Disks::Closed(error) => {
                    transactions.clear();
                    refuse(&mut callers, error);
                    if !tick {
                        continue;
                    }
                }
            }
            let urgency = if transactions.is_empty() { Urgency::Needed } else { Urgency::Ordinary };
            let entry = LogEntry { level: replica.level(), at: time.now(), touches, transactions };
            let bytes = codec::encode(&entry);
            let grant = match self.room(bytes.len(), urgency).await {
                Ok(grant) => grant,
                Err(error) => {
                    refuse(&mut callers, error);
                    continue;
                }
            };
            let proposal = Proposal::waited_for(bytes, Batch { callers, _place: place }, grant);
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

    /// Room in this node's log for an entry.
    async fn room(&self, payload_bytes: usize, urgency: Urgency) -> Result<Grant, WriteError> {
        let begun = Instant::now();
        let deadline = begun + ENTRY_PATIENCE;
        loop {
            match self.wal.admit(append_bytes(1, payload_bytes), urgency) {
                Admission::Granted(grant) => return Ok(grant),
                Admission::Later => sleep(ROOM_INTERVAL / 5).await,
                Admission::Refused => {
                    if urgency == Urgency::Needed || Instant::now() >= deadline {
                        return Err(WriteError::OutOfDisk);
                    }
                    match self.disks() {
                        Disks::Closed(error) => return Err(error),
                        // Too large for what the disk has left.
                        Disks::Open if begun.elapsed() > JUST_FREED => return Err(WriteError::OutOfDisk),
                        Disks::Open | Disks::MakeRoom => sleep(ROOM_INTERVAL).await,
                    }
                }
            }
        }
    }

    /// What the next entry is to hold; `None` when closed.
    async fn next(&self) -> Option<Parcel> {
        loop {
            let changed = self.changed.notified();
            // While room is being made transactions stay in the queue, where they can be withdrawn.
            let must_wait = self.disks() == Disks::MakeRoom;
            {
                let mut queue = self.queue.lock();
                if queue.closed {
                    return None;
                }
                if let Some(parcel) = self.pack(&mut queue, must_wait) {
                    return Some(parcel);
                }
            }
            if must_wait {
                // Nobody tells when there is room.
                sleep(ROOM_INTERVAL).await;
                continue;
            }
            changed.await;
        }
    }

    /// The transactions of the next entry, if there is something to propose and an entry may go.
    fn pack(&self, queue: &mut Queue, must_wait: bool) -> Option<Parcel> {
        let term = queue.phase.term()?;
        let parcel = if must_wait { None } else { queue.packing.take(&self.flight) };
        let (waiting, place) = match parcel {
            Some(parcel) => parcel,
            None if queue.tick => (Vec::new(), self.flight.enter(Load::Part)?),
            None => return None,
        };
        let tick = std::mem::take(&mut queue.tick);
        let waiting = waiting.into_iter();
        let (transactions, callers) = waiting.map(|waiting| (waiting.transaction, waiting.caller)).unzip();
        Some(Parcel { transactions, callers, tick, term, place })
    }
}

/// What one entry is to hold.
struct Parcel {
    transactions: Vec<Transaction>,
    /// One for each transaction.
    callers: Vec<Caller>,
    /// An entry is wanted even if there is no transaction.
    tick: bool,
    /// The term in which it may be proposed.
    term: u64,
    place: Place,
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
