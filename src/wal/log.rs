//! The handle of an open log.
//!
//! Every change is taken into memory at once, under one lock, and queued; the writer makes it durable and
//! tells the callback. So what was handed over can be read back at once, and two changes take effect in the
//! order in which they were handed over.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;

use crate::disk::Disk;

use super::admission::{self, Admission, Urgency};
use super::closed::Closed;
use super::config::Config;
use super::contents::Contents;
use super::error::Error;
use super::read::Reading;
use super::recover::recover;
use super::shared::{Callback, Inner, Listed, Op, Shared, Work};
use super::spares::{Lack, Room, Spares};
use super::stats::Stats;
use super::survey::Survey;
use super::tail::Tail;
use super::values::{Entry, GroupState, Identity, LogId, Vote};
use super::writer::Writer;

/// An open write-ahead log. Cheap to clone. The last clone closes it when dropped.
#[derive(Clone)]
pub struct Wal {
    handle: Arc<Handle>,
}

struct Handle {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    shared: Arc<Shared>,
    spares: Arc<Spares>,
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    writer: thread::JoinHandle<()>,
    spares: thread::JoinHandle<()>,
}

impl Wal {
    /// Opens the log in `dir`, or begins one there, and starts its two threads. When it returns, all that it
    /// shows is durable.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Identity`] and [`Error::Format`] refuse the log and have changed nothing;
    /// [`Error::NoSpace`] if not even the closing record of recovery finds room.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, identity: Identity, config: Config) -> Result<Wal, Error> {
        let survey = Survey::of(disk.as_ref(), dir, &identity)?;
        Wal::open_surveyed(disk, dir, identity, config, survey)
    }

    /// As [`Wal::open`], for a log that was looked at before, and that nobody has changed since.
    ///
    /// # Errors
    /// As [`Wal::open`].
    pub fn open_surveyed(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: Identity,
        config: Config,
        survey: Survey,
    ) -> Result<Wal, Error> {
        config.validate()?;
        let found = recover(disk.as_ref(), dir, identity, &config, survey)?;
        let states = found.survey.groups.iter().map(|(group, kept)| (*group, kept.state)).collect();
        let sequences = found.segments.iter().map(|(segment, _)| segment.head.sequence);
        let contents = Contents::new(sequences, &found.survey.groups);
        let (open, torn) = (found.survey.open, found.survey.torn);
        let shared = Arc::new(Shared::new(config, found.survey.groups, torn));
        let mut last = None;
        for (segment, end) in found.segments {
            let segment = Arc::new(segment);
            last = Some((Arc::clone(&segment), end));
            shared.inner.lock().segments.insert(segment.head.sequence, Listed { segment, end });
        }
        let (segment, end) = last.expect("recovery ends with a segment to write to");
        if torn {
            tracing::warn!(file = %segment.path.display(), offset = end, "a torn end was cut off");
        }
        let place = (Arc::clone(&disk), dir.to_path_buf());
        let usual = shared.config.segment_bytes;
        let spares = Arc::new(Spares::new(disk, dir.to_path_buf(), identity, found.spare, usual));
        spares.remove(found.survey.obsolete);
        let tail = Tail::new(segment, end, Vec::new());
        let writer = Writer::new(Arc::clone(&shared), Arc::clone(&spares), tail, states, contents);
        Wal::start(place, shared, spares, writer, open)
    }

    fn start(
        place: (Arc<dyn Disk>, PathBuf),
        shared: Arc<Shared>,
        spares: Arc<Spares>,
        mut writer: Writer,
        open: bool,
    ) -> Result<Wal, Error> {
        let (making, told) = (Arc::clone(&spares), Arc::clone(&shared));
        let maker = spawn("wal-spares", move || making.run(|error| told.poison(&error)))?;
        let begun = writer.begin(open).and_then(|()| {
            let guard = PoisonOnPanic(Arc::clone(&shared));
            spawn("wal-writer", move || {
                let _guard = guard;
                writer.run();
            })
        });
        match begun {
            Ok(writer) => {
                let threads = Mutex::new(Some(Threads { writer, spares: maker }));
                let (disk, dir) = place;
                Ok(Wal { handle: Arc::new(Handle { disk, dir, shared, spares, threads }) })
            }
            Err(error) => {
                spares.end();
                let _panicked = maker.join();
                Err(error)
            }
        }
    }

    /// What is known of a group, as far as it was handed over.
    pub fn state(&self, group: u16) -> GroupState {
        self.inner(|inner| inner.groups.get(&group).map(|group| group.state).unwrap_or_default())
    }

    /// Appends entries, the first of which must follow the group's last one. Never blocks; the entries can be
    /// read when it returns. `done` is told once they are synced, in interval mode once they are written.
    ///
    /// What is queued is bounded by nothing here: raft's own limits on unacknowledged entries do that.
    pub fn append(&self, group: u16, entries: Vec<Entry>, done: Callback) {
        self.append_with(group, entries, false, done);
    }

    /// As [`Wal::append`], but synced before it is answered in interval mode too. For changes of membership.
    pub fn append_synced(&self, group: u16, entries: Vec<Entry>, done: Callback) {
        self.append_with(group, entries, true, done);
    }

    fn append_with(&self, group: u16, entries: Vec<Entry>, synced: bool, done: Callback) {
        self.hand_over(synced, done, |inner| {
            let kept = inner.groups.entry(group).or_default();
            let mut state = kept.state;
            for Entry { id, payload } in &entries {
                if !state.admits(*id) {
                    return Err(Error::invalid("the entry does not follow the last one"));
                }
                if payload.len() > Entry::PAYLOAD_BYTES_MAX {
                    return Err(Error::invalid("the entry is too large"));
                }
                state.last = Some(*id);
            }
            for Entry { id, payload } in &entries {
                kept.push(*id, payload.len() as u32, Err(payload.clone()));
                inner.cached_bytes += payload.len();
                inner.appended_bytes += payload.len() as u64;
            }
            Ok(Work::Append { group, entries, generation: kept.generation() })
        });
    }

    /// Saves a vote; it is always synced before it is answered.
    pub fn save_vote(&self, group: u16, vote: Vote, done: Callback) {
        self.hand_over(true, done, |inner| {
            inner.groups.entry(group).or_default().state.vote = Some(vote);
            Ok(Work::Vote { group, vote })
        });
    }

    /// Notes up to where the group's log is committed. It rides the next write, or the next idle second.
    pub fn save_committed(&self, group: u16, id: LogId) {
        self.inner(|inner| {
            inner.groups.entry(group).or_default().state.committed = Some(id);
            inner.committed.insert(group, id);
        });
    }

    /// Removes the entries after this position; all of them if there is none.
    pub fn truncate_after(&self, group: u16, to: Option<LogId>, done: Callback) {
        self.hand_over(false, done, |inner| {
            let kept = inner.groups.entry(group).or_default();
            if !kept.state.admits_truncation(to) {
                return Err(Error::invalid("the truncation reaches below what was purged"));
            }
            let index = to.map(|id| id.index);
            if kept.state.last.map(|id| id.index) <= index {
                return Ok(Work::Nothing);
            }
            // Some(index) below the last is an entry here, or the purged position.
            let to = index.and_then(|index| kept.log_id(index));
            if to.is_none() && index.is_some() {
                return Err(Error::invalid("there is no entry to truncate after"));
            }
            inner.cached_bytes -= kept.truncate_after(to);
            inner.truncations += 1;
            Ok(Work::Truncate { group, to })
        });
    }

    /// Forgets the entries up to this position, which may lie beyond the last one. Their segments are removed
    /// once the purge is synced and nothing else needs them.
    pub fn purge_upto(&self, group: u16, upto: LogId, done: Callback) {
        self.hand_over(false, done, |inner| {
            let kept = inner.groups.entry(group).or_default();
            if kept.state.purged_index() >= Some(upto.index) {
                return Ok(Work::Nothing);
            }
            inner.cached_bytes -= kept.purge_upto(upto);
            Ok(Work::Purge { group, upto })
        });
    }

    /// The position of the entry with this index, or of the last one purged.
    pub fn log_id(&self, group: u16, index: u64) -> Option<LogId> {
        self.inner(|inner| inner.groups.get(&group).and_then(|group| group.log_id(index)))
    }

    /// The last index of a group that may be purged if segments with at least `keep_bytes` of records are to
    /// stay; `None` if there are not so many.
    pub fn index_behind(&self, group: u16, keep_bytes: u64) -> Option<u64> {
        self.inner(|inner| inner.index_behind(group, keep_bytes))
    }

    /// Reads the entries of a range without a gap, from its start or from the first entry there is, whichever
    /// is later. It stops before the payloads pass the budget, but carries at least one if there is one.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Corrupt`] if what is on disk does not verify any more.
    pub fn read(&self, group: u16, range: Range<u64>, budget_bytes: usize) -> Result<Vec<Entry>, Error> {
        let reading = self.inner(|inner| {
            let sources = inner.groups.get(&group).map(|group| group.sources(range, budget_bytes));
            let segment = |sequence| inner.segments.get(&sequence).map(|listed| Arc::clone(&listed.segment));
            Reading::new(sources.unwrap_or_default(), segment)
        })?;
        reading.run()
    }

    /// Says that entries up to this index were applied: once written, they may leave memory when there are
    /// too many.
    pub fn note_applied(&self, group: u16, index: u64) {
        let config = self.handle.shared.config;
        self.inner(|inner| {
            if let Some(group) = inner.groups.get_mut(&group) {
                group.note_applied(index);
            }
            inner.evict(&config);
        });
    }

    /// Seals the present segment and opens the next, so that a purge can free what stands in it. Does nothing
    /// if the present one is still empty.
    ///
    /// While there is no room for the next segment, `done` hears the reason, such as [`Error::NoSpace`], and
    /// nothing is changed. Nothing behind it waits for room.
    pub fn roll(&self, done: Callback) {
        self.hand_over(false, done, |_| Ok(Work::Roll));
    }

    /// Whether the next segment is ready, or the disk has no room for it.
    pub fn room(&self) -> Room {
        self.handle.spares.room()
    }

    /// The usual length of a segment.
    pub fn segment_bytes(&self) -> u64 {
        self.handle.shared.config.segment_bytes
    }

    /// The size of the disk that the log is on; 0 if that is not known.
    pub fn disk_bytes(&self) -> u64 {
        self.handle.disk.space(&self.handle.dir).map_or(0, |space| space.size_bytes)
    }

    /// Whether the next segment cannot be made.
    pub fn lacks_segment(&self) -> bool {
        self.handle.spares.outlook().1
    }

    /// How often the log began to be short of something since it was opened.
    pub fn lacks(&self) -> u64 {
        self.handle.spares.lacks()
    }

    /// What the log is short of, while [`Wal::room`] is [`Room::Reserve`].
    pub fn lack(&self) -> Option<Lack> {
        self.handle.spares.lack()
    }

    /// Asks whether an append of so many bytes ([`append_bytes`](super::append_bytes)) will find room. Whoever may refuse an
    /// append asks before he hands it over: what finds none holds up votes too.
    pub fn admit(&self, bytes: u64, urgency: Urgency) -> Admission {
        let Handle { disk, dir, shared, spares, .. } = &*self.handle;
        let is_free = |bytes| disk.space(dir).is_ok_and(|space| space.free_bytes >= bytes);
        admission::admit(shared, spares, bytes, urgency, is_free)
    }

    /// The failure that stopped the log, if any.
    pub fn poisoned(&self) -> Option<Error> {
        self.inner(|inner| inner.poisoned.clone())
    }

    /// The log's figures.
    pub fn stats(&self) -> Stats {
        self.inner(|inner| inner.stats(&self.handle.shared.config))
    }

    /// From now on what finds no space fails instead of waiting for it.
    pub fn give_up_waiting(&self) {
        self.handle.spares.give_up_waiting();
    }

    /// Finishes what was handed over, says on disk that all is synced, and ends the threads. What is handed
    /// over afterwards is refused. A second call does nothing.
    ///
    /// # Errors
    /// The failure that poisoned the log.
    pub fn close(&self) -> Result<(), Error> {
        self.handle.close();
        self.poisoned().map_or(Ok(()), Err)
    }

    fn inner<T>(&self, with: impl FnOnce(&mut Inner) -> T) -> T {
        with(&mut self.handle.shared.inner.lock())
    }

    /// Takes a change into memory and queues it, or tells the callback why not.
    fn hand_over(
        &self,
        synced: bool,
        done: Callback,
        change: impl FnOnce(&mut Inner) -> Result<Work, Error>,
    ) {
        let mut inner = self.handle.shared.inner.lock();
        let refused = match &inner.poisoned {
            Some(error) => Some(error.clone()),
            None if inner.closing => Some(Error::Closed),
            None => None,
        };
        let work = refused.map_or_else(|| change(&mut inner), Err);
        match work {
            Ok(work) => {
                inner.queue.push_back(Op { work, synced, done });
                let first = inner.queue.len() == 1;
                drop(inner);
                if first {
                    self.handle.shared.work.notify_one();
                }
            }
            Err(error) => {
                drop(inner);
                done(Err(error));
            }
        }
    }
}

impl Handle {
    fn close(&self) {
        self.shared.inner.lock().closing = true;
        self.shared.work.notify_all();
        self.spares.give_up_waiting();
        let Some(threads) = self.threads.lock().take() else { return };
        // A callback may drop the last handle; a thread cannot wait for itself, and ends by itself then.
        if threads.writer.thread().id() != thread::current().id() {
            let _panicked = threads.writer.join();
            self.mark_closed();
        }
        self.spares.end();
        if threads.spares.thread().id() != thread::current().id() {
            let _panicked = threads.spares.join();
        }
    }
}

impl Handle {
    /// The writer has ended. If it left everything synced, the log's end is noted.
    fn mark_closed(&self) {
        let last = {
            let inner = self.shared.inner.lock();
            let last = inner.segments.last_key_value().map(|(_, listed)| (listed.segment.head, listed.end));
            last.filter(|_| inner.poisoned.is_none())
        };
        let Some((head, end)) = last else { return };
        let mark = Closed { sequence: head.sequence, id: head.id, end };
        if let Err(error) = mark.write(self.disk.as_ref(), &self.dir) {
            tracing::warn!(%error, "the end of the closed log could not be noted");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

/// If the writer dies of a broken invariant, the log refuses instead of waiting for ever.
struct PoisonOnPanic(Arc<Shared>);

impl Drop for PoisonOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.poison(&Error::invalid("the writer met a broken invariant"));
        }
    }
}

impl fmt::Debug for Wal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Wal").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>, Error> {
    let spawned = thread::Builder::new().name(name.to_string()).spawn(body);
    spawned.map_err(|error| Error::io("start thread", Path::new(name), error))
}
