//! The thread beside the writer: it makes the next segment before it is needed, and removes files no longer
//! needed.
//!
//! When there is no space for the next segment, the log lives on in the one it has: [`Room::Reserve`] tells
//! the caller to stop sending what can be refused, and the thread tries again. Any other failure poisons the
//! log.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::disk::Disk;

use super::error::Error;
use super::head::path_of;
use super::segment::{Plan, Segment};
use super::values::Identity;

/// The pause between two tries to make a segment on a full disk.
const RETRY: Duration = Duration::from_millis(200);

/// Whether the log has the next segment ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Room {
    /// Yes, or it is being made.
    #[default]
    Ample,
    /// No: the disk is full. What remains in the present segment is for votes, membership and expiry.
    Reserve,
}

/// Makes and removes segment files in the background.
#[derive(Debug)]
pub(super) struct Spares {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    identity: Identity,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    wanted: Option<Plan>,
    ready: Option<Arc<Segment>>,
    room: Room,
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
    ) -> Spares {
        let state = State { ready: found.map(Arc::new), ..State::default() };
        Spares { disk, dir, identity, state: Mutex::new(state), changed: Condvar::new() }
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

    /// Waits for the next segment and takes it, as long as it takes to find space for it. With `patient`
    /// false, and once the log is being closed, a full disk is an error instead.
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
            if state.room == Room::Reserve && (state.impatient || !patient) {
                return Err(Error::NoSpace { file: path_of(&self.dir, plan.sequence).display().to_string() });
            }
            self.changed.wait(&mut state);
        }
    }

    pub(super) fn room(&self) -> Room {
        self.state.lock().room
    }

    /// Lets these segments be removed. They must not be needed any more.
    pub(super) fn remove(&self, sequences: Vec<u32>) {
        if !sequences.is_empty() {
            self.state.lock().removals.extend(sequences);
            self.changed.notify_all();
        }
    }

    /// From now on a full disk is an error to those who wait for a segment.
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
            } else {
                self.changed.wait(&mut state);
            }
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
                state.room = Room::Ample;
            }
            Ok(_) => {}
            Err(Error::NoSpace { .. }) => {
                state.room = Room::Reserve;
                self.changed.notify_all();
                self.changed.wait_for(state, RETRY);
            }
            Err(error) => {
                state.failed = Some(error.clone());
                MutexGuard::unlocked(state, || fail(error));
            }
        }
        self.changed.notify_all();
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
