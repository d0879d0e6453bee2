//! The thread beside the writer: it makes the next segment before it is needed, and removes files no longer
//! needed.
//!
//! When there is no space for the next segment, or no file descriptor, the log lives on in the one it has:
//! [`Room::Reserve`] tells the caller to stop sending what can be refused, and the thread tries again. Any
//! other failure poisons the log. A lack of space is over only once there is space for more than the next segment:
//! else one segment that became free would bring back all who write, for as long as it lasts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::disk::Disk;

use super::error::Error;
use super::head::path_of;
use super::segment::{Plan, Segment};
use super::values::Identity;

/// The pause between two tries to make a segment there is no room for.
const RETRY: Duration = Duration::from_millis(200);

/// How often an idle thread looks whether the disk was filled by somebody else.
const LOOKING: Duration = Duration::from_secs(1);

/// A lack of space is over once so many bytes are free: twice as many as may be under way to a follower, so that what the
/// log itself lets go (`wal.keep_bytes`) does not end it for a moment, over and over. On a small disk it is two fifths
/// of what the two segments leave that a log always has, or an eighth of the disk.
const HEADROOM_BYTES: u64 = 128 << 20;

/// Bytes that must be free on a disk of that size.
fn headroom(size_bytes: u64, segment_bytes: u64) -> u64 {
    let segments = 2 * segment_bytes;
    HEADROOM_BYTES.min((size_bytes.saturating_sub(segments) / 5 * 2).max(size_bytes / 8))
}

/// Whether the log has the next segment ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Room {
    /// Yes, or it is being made.
    #[default]
    Ample,
    /// No: the disk is full, or no more files can be opened. What remains in the present segment is for votes,
    /// membership and expiry.
    Reserve,
}

/// A resource that a log is short of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// Space on its disk.
    Space,
    /// File descriptors: the process, or the machine, may not open another file.
    Files,
}

/// Makes and removes segment files in the background.
#[derive(Debug)]
pub(super) struct Spares {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    identity: Identity,
    /// The usual length of a segment.
    segment_bytes: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    wanted: Option<Plan>,
    ready: Option<Arc<Segment>>,
    /// Why the last try found no room; `None` if it did.
    shortage: Option<Error>,
    /// The resource that is short, until there is enough of it again.
    lack: Option<Lack>,
    /// How often there was too little.
    lacks: u64,
    failed: Option<Error>,
    removals: Vec<u32>,
    /// Nobody waits for space any more.
    impatient: bool,
    /// The thread ends when nothing is left to remove.
    ending: bool,
}

impl Spares {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        identity: Identity,
        found: Option<Segment>,
        segment_bytes: u64,
    ) -> Spares {
        let state = State { ready: found.map(Arc::new), ..State::default() };
        Spares { disk, dir, identity, segment_bytes, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Asks for the next segment. One of the wrong length, found at the start or made before, is replaced.
    pub(super) fn request(&self, plan: Plan) {
        let mut state = self.state.lock();
        let serves =
            |ready: &Arc<Segment>| ready.head.sequence == plan.sequence && ready.head.length == plan.length;
        if !state.ready.as_ref().is_some_and(serves) {
            state.ready = None;
            state.wanted = Some(plan);
            self.changed.notify_all();
        }
    }

    /// Whether a segment that suffices for the plan is ready.
    pub(super) fn is_ready(&self, plan: Plan) -> bool {
        self.state.lock().has(plan)
    }

    /// Waits for the next segment and takes it, as long as it takes to find room for it. With `patient`
    /// false, and once the log is being closed, a lack of room is an error instead.
    pub(super) fn take(&self, plan: Plan, patient: bool) -> Result<Arc<Segment>, Error> {
        let mut state = self.state.lock();
        if !state.has(plan) && state.wanted.is_none_or(|wanted| wanted.length < plan.length) {
            state.ready = None;
            state.wanted = Some(plan);
            self.changed.notify_all();
        }
        loop {
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            if state.has(plan) {
                return Ok(state.ready.take().expect("it was there under the same lock"));
            }
            if let Some(error) = state.shortage.as_ref().filter(|_| state.impatient || !patient) {
                return Err(error.clone());
            }
            self.changed.wait(&mut state);
        }
    }

    pub(super) fn room(&self) -> Room {
        if self.lack().is_some() { Room::Reserve } else { Room::Ample }
    }

    pub(super) fn lack(&self) -> Option<Lack> {
        self.state.lock().lack
    }

    /// How often the log began to be short of something.
    pub(super) fn lacks(&self) -> u64 {
        self.state.lock().lacks
    }

    /// The length of the next segment if it is ready, and whether it cannot be made.
    pub(super) fn outlook(&self) -> (Option<u32>, bool) {
        let state = self.state.lock();
        (state.ready.as_ref().map(|ready| ready.head.length), state.shortage.is_some())
    }

    /// Lets these segments be removed. They must not be needed any more.
    pub(super) fn remove(&self, sequences: Vec<u32>) {
        if !sequences.is_empty() {
            self.state.lock().removals.extend(sequences);
            self.changed.notify_all();
        }
    }

    /// From now on a lack of room is an error to those who wait for a segment.
    pub(super) fn give_up_waiting(&self) {
        self.state.lock().impatient = true;
        self.changed.notify_all();
    }

    /// Ends the thread once the removals are done.
    pub(super) fn end(&self) {
        self.state.lock().ending = true;
        self.changed.notify_all();
    }

    /// The thread's body. `fail` is told of a failure that poisons the log.
    pub(super) fn run(&self, fail: impl Fn(Error)) {
        let mut state = self.state.lock();
        loop {
            if !state.removals.is_empty() {
                let sequences = std::mem::take(&mut state.removals);
                MutexGuard::unlocked(&mut state, || self.unlink(&sequences));
            } else if state.ending {
                return;
            } else if let (Some(plan), None) = (state.wanted, &state.failed) {
                self.make(&mut state, plan, &fail);
            } else if state.lack.is_some() && state.failed.is_none() {
                if !self.has_recovered(&mut state) {
                    self.changed.wait_for(&mut state, RETRY);
                }
            } else if self.changed.wait_for(&mut state, LOOKING).timed_out() {
                self.look(&mut state);
            }
        }
    }

    /// Looks whether the segment after the next one could be made: a disk that somebody else filled is better known before this
    /// log needs it.
    fn look(&self, state: &mut MutexGuard<'_, State>) {
        let Some(length) = state.ready.as_ref().map(|ready| u64::from(ready.head.length)) else { return };
        let space = MutexGuard::unlocked(state, || self.disk.space(&self.dir));
        let is_full = space.is_ok_and(|space| space.free_bytes < length.min(space.size_bytes / 16));
        if is_full && state.lack.is_none() {
            state.lack = Some(Lack::Space);
            MutexGuard::unlocked(state, || {
                tracing::warn!("the disk is full; the log goes on in what it has")
            });
        }
    }

    fn make(&self, state: &mut MutexGuard<'_, State>, plan: Plan, fail: &impl Fn(Error)) {
        let create = || Segment::create(self.disk.as_ref(), &self.dir, self.identity, plan);
        let made = MutexGuard::unlocked(state, create);
        match made {
            // A plan that changed meanwhile replaces this file by renaming another one over it.
            Ok(segment) if state.wanted == Some(plan) => {
                state.ready = Some(Arc::new(segment));
                state.wanted = None;
                state.shortage = None;
            }
            Ok(_) => {}
            Err(error) if error.is_shortage() => {
                let lack = if error.is_lack_of_files() { Lack::Files } else { Lack::Space };
                state.shortage = Some(error.clone());
                let began = state.lack.replace(lack).is_none();
                state.lacks += u64::from(began);
                self.changed.notify_all();
                if began {
                    let told = || tracing::warn!(%error, "no room for the next segment; this one goes on");
                    MutexGuard::unlocked(state, told);
                }
                self.changed.wait_for(state, RETRY);
            }
            Err(error) => {
                state.failed = Some(error.clone());
                MutexGuard::unlocked(state, || fail(error));
            }
        }
        self.changed.notify_all();
    }

    /// Looks whether the log is short no more, now that it has its next segment. `true` also if there is something else to do.
    fn has_recovered(&self, state: &mut MutexGuard<'_, State>) -> bool {
        let lacks_space = state.lack == Some(Lack::Space);
        let space = || self.disk.space(&self.dir);
        let has_room = !lacks_space
            || MutexGuard::unlocked(state, space)
                .is_ok_and(|space| space.free_bytes >= headroom(space.size_bytes, self.segment_bytes));
        // Another segment may have been asked for meanwhile.
        if has_room && state.shortage.is_none() && state.wanted.is_none() {
            state.lack = None;
            let told = || tracing::info!("there is room for the next segment again");
            MutexGuard::unlocked(state, told);
        }
        state.lack.is_none() || state.wanted.is_some() || !state.removals.is_empty() || state.ending
    }

    /// Removes files. One that cannot be removed is harmless and goes at the next start.
    fn unlink(&self, sequences: &[u32]) {
        for sequence in sequences {
            let path = path_of(&self.dir, *sequence);
            if let Err(error) = self.disk.remove(&path) {
                tracing::warn!(file = %path.display(), %error, "an old segment could not be removed");
            }
        }
        if let Err(error) = self.disk.sync_dir(&self.dir) {
            tracing::warn!(directory = %self.dir.display(), %error, "removals could not be synced");
        }
    }
}

impl State {
    fn has(&self, plan: Plan) -> bool {
        let serves =
            |ready: &Arc<Segment>| ready.head.sequence == plan.sequence && ready.head.length >= plan.length;
        self.ready.as_ref().is_some_and(serves)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::thread;

    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    use super::*;
    use crate::disk::{Faulty, Operation};

    /// Hears how loud each event is.
    #[derive(Clone, Default)]
    struct Ear(Arc<Mutex<Vec<Level>>>);

    impl Subscriber for Ear {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            self.0.lock().push(*event.metadata().level());
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..10_000 {
            if holds() {
                return;
            }
            thread::park_timeout(Duration::from_millis(1));
        }
        panic!("{what}: not within ten seconds");
    }

    /// Goal: the operator hears once that the disk is full, however often it is tried, and once that it is
    /// not any more.
    #[test]
    fn a_lack_of_room_and_its_end_are_told_once_each() {
        let (disk, dir, ear) = (Faulty::new(), Path::new("/data/wal"), Ear::default());
        disk.create_dir_all(dir).unwrap();
        disk.set_capacity(Some(0));
        let identity = Identity { cluster: 1, node: 1, incarnation: 1 };
        let spares = Spares::new(Arc::new(disk.clone()), dir.to_path_buf(), identity, None, 4_096);
        let plan = Plan { sequence: 1, previous_id: 0, length: 4096 };
        spares.request(plan);
        let tries = || disk.trace().iter().filter(|(operation, _)| *operation == Operation::Create).count();
        thread::scope(|scope| {
            scope.spawn(|| {
                let run = || spares.run(|error| panic!("{error}"));
                tracing::subscriber::with_default(ear.clone(), run);
            });
            eventually("some tries", || tries() > 2);
            assert_eq!(spares.room(), Room::Reserve);
            disk.set_capacity(None);
            eventually("the segment", || spares.is_ready(plan));
            eventually("room", || spares.room() == Room::Ample);
            spares.end();
        });
        assert_eq!(*ear.0.lock(), [Level::WARN, Level::INFO]);
    }
}
