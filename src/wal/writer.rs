//! The one thread that writes: it takes all that is queued, writes it at once, syncs once, and answers in
//! order.
//!
//! ```text
//!   queue --take all--> encode into the buffer --> pwrite --> fdatasync --> places, callbacks
//!                            '--segment full--> SegmentEnd, sync, next segment, GroupStates --'
//! ```
//!
//! Invariants: operations reach the disk in the order in which they were handed over; a callback hears Ok
//! only after the sync that covers it (or, in interval mode, the write); after the first failure nothing is
//! written or synced any more, and everybody hears an error.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Stopwatch;

use super::config::Durability;
use super::contents::Contents;
use super::error::Error;
use super::index::Place;
use super::layout::HEAD;
use super::record::{self, Record};
use super::segment::{Plan, Segment};
use super::shared::{Callback, Listed, Op, Placed, Shared, Wake, Work};
use super::spares::Spares;
use super::tail::Tail;
use super::values::{Entry, GroupState, LogId};

/// After this much silence the writer says on disk what is synced.
const IDLE: Duration = Duration::from_secs(1);

/// So many bytes are encoded before they are written; a longer batch takes several writes and still one sync.
const WRITE_BYTES: usize = 4 << 20;

/// The writer's own state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    spares: Arc<Spares>,
    tail: Tail,
    /// The groups as far as they were encoded.
    states: BTreeMap<u16, GroupState>,
    contents: Contents,
    /// Whether a purge or a new segment may have made old segments unneeded.
    sweep: bool,
    /// Whether the last record says that all before it is synced.
    settled: bool,
    /// Since when there is something unsynced.
    dirty_since: Option<Stopwatch>,
    /// Whether room for the next segment is waited for; at the start its lack is an error.
    patient: bool,
    /// Entries and callbacks of the present batch.
    placed: Vec<Placed>,
    answers: Vec<Callback>,
    /// Of the operation being encoded.
    current: Option<Callback>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        spares: Arc<Spares>,
        tail: Tail,
        states: BTreeMap<u16, GroupState>,
        contents: Contents,
    ) -> Writer {
        Writer {
            shared,
            spares,
            tail,
            states,
            contents,
            sweep: true,
            settled: false,
            dirty_since: None,
            patient: false,
            placed: Vec::new(),
            answers: Vec::new(),
            current: None,
        }
    }

    /// Makes durable that all found so far is synced, before anyone sees it. `open` says whether the
    /// segment's opening stands.
    pub(super) fn begin(&mut self, open: bool) -> Result<(), Error> {
        if !open {
            self.put_opening();
        }
        self.request_spare();
        self.put(&Record::Synced, &[])?;
        self.tail.write()?;
        self.sync()?;
        self.settled = true;
        self.patient = true;
        self.list_tail();
        self.sweep();
        Ok(())
    }

    /// The thread's body.
    pub(super) fn run(mut self) {
        let mut batch = VecDeque::new();
        let mut committed = BTreeMap::new();
        loop {
            let wake = self.shared.take(&mut batch, &mut committed, self.patience());
            let done = match wake {
                Wake::Work => self.commit(&mut batch, &mut committed),
                Wake::Idle => self.idle(&mut committed),
                Wake::Close => self.settle(&mut committed),
                Wake::Poisoned => return,
            };
            if let Err(error) = done {
                self.fail(&error, batch);
                return;
            }
            if wake == Wake::Close {
                return;
            }
        }
    }

    /// How long to wait for work.
    fn patience(&self) -> Duration {
        match self.dirty_since {
            Some(since) => self.shared.config.interval.saturating_sub(since.elapsed()),
            None => IDLE,
        }
    }

    /// Answers everybody with the failure, and poisons the log.
    fn fail(&mut self, error: &Error, batch: VecDeque<Op>) {
        tracing::error!(%error, "the log is poisoned");
        // First the flag, so that whoever hears of the failure finds the log refusing.
        self.shared.inner.lock().poisoned.get_or_insert_with(|| error.poisoning());
        let answers = std::mem::take(&mut self.answers).into_iter().chain(self.current.take());
        for done in answers.chain(batch.into_iter().map(|op| op.done)) {
            done(Err(error.clone()));
        }
        self.shared.poison(error);
    }

    /// Writes a batch, syncs it as promised, and answers it.
    fn commit(
        &mut self,
        batch: &mut VecDeque<Op>,
        committed: &mut BTreeMap<u16, LogId>,
    ) -> Result<(), Error> {
        let mut synced = self.shared.config.durability == Durability::Always;
        let mut entries = 0;
        while let Some(Op { work, synced: wanted, done }) = batch.pop_front() {
            self.current = Some(done);
            synced |= wanted;
            entries += self.encode(work)?;
            self.answers.extend(self.current.take());
        }
        self.put_committed(committed)?;
        self.tail.write()?;
        if self.tail.is_dirty() {
            self.dirty_since.get_or_insert_with(Stopwatch::start);
            if synced || self.patience().is_zero() {
                self.sync()?;
            }
        }
        // First, so that whoever asked for a purge finds the segments gone when it hears of it.
        self.sweep();
        self.publish(entries);
        Ok(())
    }

    /// Syncs what the interval mode left, or says on disk what is synced.
    fn idle(&mut self, committed: &mut BTreeMap<u16, LogId>) -> Result<(), Error> {
        if self.tail.is_dirty() && committed.is_empty() {
            self.sync()?;
            self.sweep();
            return Ok(());
        }
        self.settle(committed)
    }

    /// Leaves the log so that damage to anything somebody was told of is told from a torn end.
    ///
    /// What is still unsynced needs a sync of its own, before a Synced record may claim it. Commit positions
    /// need none: nobody is told when they are durable, so they share the Synced record's write and sync
    /// without being claimed by it.
    fn settle(&mut self, committed: &mut BTreeMap<u16, LogId>) -> Result<(), Error> {
        if self.tail.is_dirty() {
            self.sync()?;
        }
        if !self.settled || !committed.is_empty() {
            self.put_committed(committed)?;
            self.put(&Record::Synced, &[])?;
            self.tail.write()?;
            self.sync()?;
            self.settled = true;
            self.list_tail();
        }
        self.sweep();
        Ok(())
    }

    /// Encodes one operation; returns how many entries it had.
    fn encode(&mut self, work: Work) -> Result<u64, Error> {
        match work {
            Work::Append { group, entries, generation } => {
                for Entry { id, payload } in &entries {
                    let offset = self.put(&Record::Entry { group, id: *id }, payload)?;
                    let place = Place { segment: self.sequence(), offset };
                    self.placed.push(Placed { group, index: id.index, generation, place });
                    self.contents.note(place.segment, group, id.index);
                    self.state(group).last = Some(*id);
                }
                return Ok(entries.len() as u64);
            }
            Work::Vote { group, vote } => {
                self.put(&Record::Vote { group, vote }, &[])?;
                self.state(group).vote = Some(vote);
            }
            Work::Truncate { group, to } => {
                self.put(&Record::Truncate { group, to }, &[])?;
                self.state(group).last = to;
            }
            Work::Purge { group, upto } => {
                self.put(&Record::Purge { group, upto }, &[])?;
                self.state(group).purge(upto);
                self.sweep = true;
            }
            Work::Roll => {
                if self.tail.position() > HEAD + self.opening_bytes() as u32 {
                    self.roll_if_room()?;
                }
            }
            Work::Nothing => {}
        }
        Ok(0)
    }

    fn state(&mut self, group: u16) -> &mut GroupState {
        self.states.entry(group).or_default()
    }

    fn put_committed(&mut self, committed: &mut BTreeMap<u16, LogId>) -> Result<(), Error> {
        while let Some((group, id)) = committed.pop_first() {
            self.put(&Record::Committed { group, id }, &[])?;
            self.state(group).committed = Some(id);
        }
        Ok(())
    }

    /// Encodes a record into the present segment or, if it does not fit there, into the next.
    fn put(&mut self, record: &Record, payload: &[u8]) -> Result<u32, Error> {
        let bytes =
            if matches!(record, Record::Entry { .. }) { payload.len() } else { record::OWN_PAYLOAD_MAX };
        if !self.tail.fits(bytes) {
            self.roll(bytes)?;
        }
        if self.tail.buffered() >= WRITE_BYTES {
            self.tail.write()?;
        }
        Ok(self.tail.put(record, payload))
    }

    /// Seals the present segment and opens the next one, with room for a record of this payload.
    fn roll(&mut self, payload: usize) -> Result<(), Error> {
        let plan = self.plan(payload);
        self.finish_before(plan)?;
        let next = self.spares.take(plan, self.patient)?;
        self.go_on_in(next)
    }

    /// As [`Writer::roll`], but if there is no room for the next segment, only the present operation fails.
    fn roll_if_room(&mut self) -> Result<(), Error> {
        let plan = self.plan(0);
        self.finish_before(plan)?;
        match self.spares.take(plan, false) {
            Ok(next) => self.go_on_in(next),
            Err(error) if error.is_shortage() => {
                // In its turn: whoever came before was answered before the next segment was waited for.
                if let Some(done) = self.current.take() {
                    done(Err(error));
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Writes, syncs and answers what came before, unless the next segment is ready.
    fn finish_before(&mut self, plan: Plan) -> Result<(), Error> {
        if !self.spares.is_ready(plan) {
            // It need not wait for the next segment.
            self.tail.write()?;
            if self.tail.is_dirty() {
                self.sync()?;
            }
            self.publish(0);
        }
        Ok(())
    }

    /// Seals the present segment and opens this one.
    fn go_on_in(&mut self, next: Arc<Segment>) -> Result<(), Error> {
        let (length, next_id) = (u64::from(self.tail.position()), next.head.id);
        self.tail.put(&Record::SegmentEnd { length, next_id }, &[]);
        self.tail.write()?;
        self.sync()?;
        self.list_tail();
        self.tail = Tail::new(next, HEAD, self.tail.take_buffer());
        self.contents.begin(self.sequence());
        self.put_opening();
        self.list_tail();
        self.request_spare();
        self.sweep = true;
        Ok(())
    }

    fn sequence(&self) -> u32 {
        self.tail.segment.head.sequence
    }

    /// The next segment, for a record of this payload.
    fn plan(&self, payload: usize) -> Plan {
        let head = &self.tail.segment.head;
        let length = Plan::length_for(self.shared.config.segment_bytes, self.opening_bytes(), payload);
        Plan { sequence: head.sequence + 1, previous_id: head.id, length }
    }

    fn request_spare(&self) {
        self.spares.request(self.plan(0));
    }

    fn opening_bytes(&self) -> u64 {
        self.states.len() as u64 * record::size(record::OWN_PAYLOAD_MAX)
    }

    /// States every group, as each segment must begin.
    fn put_opening(&mut self) {
        let mut following = self.states.len();
        for (group, state) in &self.states {
            following -= 1;
            let following = u16::try_from(following).unwrap_or(u16::MAX);
            self.tail.put(&Record::GroupState { group: *group, state: *state, following }, &[]);
        }
    }

    fn sync(&mut self) -> Result<(), Error> {
        let stopwatch = Stopwatch::start();
        self.tail.sync()?;
        self.settled = false;
        self.dirty_since = None;
        self.shared.inner.lock().fsync_us.record_micros(stopwatch.elapsed());
        Ok(())
    }

    /// Lets readers find what was written, and answers who waited for it.
    fn publish(&mut self, entries: u64) {
        let mut inner = self.shared.inner.lock();
        inner.publish(&self.placed, &self.shared.config);
        if entries > 0 {
            inner.batch_entries.record(entries);
        }
        drop(inner);
        self.placed.clear();
        self.list_tail();
        for done in self.answers.drain(..) {
            done(Ok(()));
        }
    }

    /// Lists the present segment with the length it has.
    fn list_tail(&self) {
        let segment = Arc::clone(&self.tail.segment);
        let listed = Listed { segment, end: self.tail.position() };
        self.shared.inner.lock().segments.insert(self.sequence(), listed);
    }

    /// Lets segments go that nothing needs. Only after a sync: what covers them must be durable.
    fn sweep(&mut self) {
        if self.sweep && !self.tail.is_dirty() && self.tail.buffered() == 0 {
            self.sweep = false;
            let unneeded = self.contents.take_unneeded(self.sequence(), &self.states);
            let mut inner = self.shared.inner.lock();
            unneeded.iter().for_each(|sequence| drop(inner.segments.remove(sequence)));
            drop(inner);
            self.spares.remove(unneeded);
        }
    }
}
