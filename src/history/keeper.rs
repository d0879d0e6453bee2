//! The thread that keeps history, and the handle on it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::database::Database;
use super::sample::Sample;
use super::slow::Slow;
use crate::clock::{Clock, Stopwatch};
use crate::disk::{Disk, is_full};
use crate::model::Timestamp;

/// Notes that wait to be written. More are dropped.
const QUEUE: usize = 1_024;

/// How often what is too old is removed, and a database that could not be opened is tried again.
const UPKEEP: Duration = Duration::from_secs(60);

/// Databases that were set aside and are kept for a look.
const SET_ASIDE: u32 = 2;

/// Something for the keeper to do.
enum Note {
    Sample(Sample),
    Slow(Slow),
    Samples(Timestamp, oneshot::Sender<Vec<Sample>>),
    SlowLog(usize, oneshot::Sender<Vec<Slow>>),
}

/// Why a question has no answer: there is no database at the moment, or too much is waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node's history cannot be read at the moment")]
pub struct Ask;

/// A node's history. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct History(Arc<Inner>);

struct Inner {
    notes: Mutex<Option<SyncSender<Note>>>,
    dropped: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl History {
    /// Keeps history in `dir` from now on. A database that is not there, or cannot be used, is begun anew; if that fails
    /// too, the node goes without until it succeeds.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, dir: PathBuf) -> io::Result<History> {
        let (sender, receiver) = sync_channel(QUEUE);
        let keeper = Keeper { disk, clock, dir, database: None };
        let thread = Builder::new().name("history".to_owned()).spawn(move || keeper.run(&receiver))?;
        Ok(History(Arc::new(Inner {
            notes: Mutex::new(Some(sender)),
            dropped: AtomicU64::new(0),
            thread: Mutex::new(Some(thread)),
        })))
    }

    /// Notes a sample. Never waits.
    pub fn add_sample(&self, sample: Sample) {
        self.note(Note::Sample(sample));
    }

    /// Notes a request that took long. Never waits.
    pub fn add_slow(&self, slow: Slow) {
        self.note(Note::Slow(slow));
    }

    /// The samples from `since` on and the last one before, oldest first.
    pub async fn samples(&self, since: Timestamp) -> Result<Vec<Sample>, Ask> {
        let (sender, receiver) = oneshot::channel();
        self.note(Note::Samples(since, sender));
        receiver.await.map_err(|_| Ask)
    }

    /// The newest slow requests, newest first.
    pub async fn slow(&self, most: usize) -> Result<Vec<Slow>, Ask> {
        let (sender, receiver) = oneshot::channel();
        self.note(Note::SlowLog(most, sender));
        receiver.await.map_err(|_| Ask)
    }

    /// Notes and questions that were dropped because too many were waiting.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Takes no more, and waits until what was taken is written. Blocks.
    pub fn close(&self) {
        drop(self.0.notes.lock().take());
        if let Some(thread) = self.0.thread.lock().take() {
            let _panicked = thread.join();
        }
    }

    fn note(&self, note: Note) {
        let notes = self.0.notes.lock();
        if notes.as_ref().is_none_or(|notes| notes.try_send(note).is_err()) {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the thread owns.
struct Keeper {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    database: Option<Database>,
}

impl Keeper {
    fn run(mut self, notes: &Receiver<Note>) {
        self.upkeep();
        let mut since = Stopwatch::start();
        loop {
            match notes.recv_timeout(UPKEEP.saturating_sub(since.elapsed())) {
                Ok(note) => self.carry_out(note),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if since.elapsed() >= UPKEEP {
                since = Stopwatch::start();
                self.upkeep();
            }
        }
        if let Some(Err(error)) = self.database.take().map(Database::close) {
            tracing::warn!(%error, "the history did not close in order");
        }
    }

    fn carry_out(&mut self, note: Note) {
        if matches!(note, Note::Sample(_)) {
            self.notice_removal();
        }
        let Some(database) = &mut self.database else { return };
        // Whoever asked may have gone away.
        let done = match note {
            Note::Sample(sample) => database.add_sample(&sample),
            Note::Slow(slow) => database.add_slow(&slow),
            Note::Samples(since, answer) => database.samples(since).map(|samples| drop(answer.send(samples))),
            Note::SlowLog(most, answer) => database.slow(most).map(|slow| drop(answer.send(slow))),
        };
        if let Err(error) = done {
            self.give_up(&error);
        }
    }

    fn upkeep(&mut self) {
        self.notice_removal();
        if self.database.is_none() {
            self.open();
        }
        let thinned = self.database.as_ref().map(|database| database.thin(self.clock.wall()));
        if let Some(Err(error)) = thinned {
            self.give_up(&error);
        }
    }

    /// A database whose files were removed is written to no end, and nobody would ever read it.
    fn notice_removal(&mut self) {
        if self.database.is_some() && !self.disk.exists(&self.dir.join("db")).unwrap_or(true) {
            tracing::warn!(dir = %self.dir.display(), "the history was removed and is begun anew");
            self.close();
            self.open();
        }
    }

    fn open(&mut self) {
        let opened = Database::open(&self.dir).or_else(|error| {
            if is_full(&error) {
                return Err(error);
            }
            self.set_aside(&error)?;
            Database::open(&self.dir)
        });
        match opened {
            Ok(database) => self.database = Some(database),
            Err(error) => tracing::warn!(%error, "the node goes without history"),
        }
    }

    /// The database failed. On a full disk it is closed until there is space, otherwise it is set aside.
    fn give_up(&mut self, error: &io::Error) {
        self.close();
        if is_full(error) {
            tracing::warn!(%error, "the history is closed until there is space");
            return;
        }
        match self.set_aside(error) {
            Ok(()) => self.open(),
            Err(error) => tracing::warn!(%error, "the node goes without history"),
        }
    }

    fn close(&mut self) {
        if let Some(database) = self.database.take() {
            // Of a database that is given up nothing more is expected.
            let _ = database.close();
        }
    }

    /// Gives a database that cannot be used another name; the oldest of those is removed.
    fn set_aside(&self, error: &io::Error) -> io::Result<()> {
        if !self.disk.exists(&self.dir)? {
            return Ok(());
        }
        let name = |number: u32| numbered(&self.dir, number);
        if self.disk.exists(&name(SET_ASIDE))? {
            self.disk.remove_dir_all(&name(SET_ASIDE))?;
        }
        for number in (1..SET_ASIDE).rev() {
            if self.disk.exists(&name(number))? {
                self.disk.rename(&name(number), &name(number + 1))?;
            }
        }
        self.disk.rename(&self.dir, &name(1))?;
        tracing::warn!(%error, aside = %name(1).display(), "the history cannot be used: it is set aside and begun anew");
        Ok(())
    }
}

/// `history.damaged-1` is the last that was set aside.
fn numbered(dir: &Path, number: u32) -> PathBuf {
    dir.with_extension(format!("damaged-{number}"))
}
