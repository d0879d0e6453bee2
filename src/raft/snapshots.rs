//! Taking snapshots, keeping them, and putting one in place of the store.
//!
//! Kvorum takes a snapshot by itself and then hands it to openraft, which only has to adopt it: a snapshot that
//! fails for want of space or because writers outran it is tried again later and kills no node.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openraft::type_config::alias::SnapshotOf;
use parking_lot::Mutex;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, TryAcquireError};

use super::AdminError;
use super::payload::{decode_membership, encode_membership};
use super::replica::Replica;
use super::snapshot::{self, Folder, Found, Meta, Progress, Receiving, Sending};
use super::types::{SnapshotMeta, TypeConfig, from_wal, to_wal};
use crate::disk::is_full;
use crate::store::Globals;

/// Snapshots that are kept: the newest, and one to fall back on should it be damaged.
const KEEP: usize = 2;

/// A snapshot file in the node's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SnapshotFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
}

/// What openraft knows of a snapshot.
pub(super) type Snapshot = SnapshotOf<TypeConfig, SnapshotFile>;

/// The node's snapshots. Cheap to clone; clones are the same.
#[derive(Clone)]
pub(super) struct Snapshots(Arc<Inner>);

struct Inner {
    folder: Folder,
    cluster: u128,
    side_buffer_bytes: usize,
    current: Mutex<Option<Snapshot>>,
    /// `current` was taken for openraft, which has not asked for it yet.
    to_adopt: AtomicBool,
    /// Held while one is taken or installed; closed when the node stops.
    turn: Arc<Semaphore>,
    /// Calls off the one that is being taken.
    progress: Mutex<Arc<Progress>>,
    /// No more are taken.
    stopping: AtomicBool,
}

/// The right to take or install a snapshot: one has it at a time.
pub(super) struct Turn(#[expect(dead_code, reason = "it is held, not looked at")] OwnedSemaphorePermit);

/// A place in the log at which the store was marked for a snapshot.
struct Marked {
    globals: Globals,
    meta: Meta,
}

impl Snapshots {
    /// The snapshots in `folder`, of which `current` is in use.
    pub(super) fn new(
        folder: Folder,
        cluster: u128,
        side_buffer_bytes: usize,
        current: Option<(Meta, Found)>,
    ) -> io::Result<Snapshots> {
        let current = current.map(|(meta, found)| openraft_snapshot(&meta, found)).transpose()?;
        Ok(Snapshots(Arc::new(Inner {
            folder,
            cluster,
            side_buffer_bytes,
            current: Mutex::new(current),
            to_adopt: AtomicBool::new(false),
            turn: Arc::new(Semaphore::new(1)),
            progress: Mutex::default(),
            stopping: AtomicBool::new(false),
        })))
    }

    /// The newest snapshot that is whole.
    pub(super) fn current(&self) -> Option<Snapshot> {
        self.0.current.lock().clone()
    }

    /// Index of the last entry in the newest snapshot.
    pub(super) fn index(&self) -> Option<u64> {
        self.0.current.lock().as_ref().and_then(|snapshot| snapshot.meta.last_log_id).map(|id| id.index)
    }

    /// Index of the last entry in the older snapshot that is kept, if there are two that are whole: the log behind it must
    /// stay.
    pub(super) async fn older_index(&self) -> Result<Option<u64>, snapshot::Error> {
        let folder = self.0.folder.clone();
        let kept = tokio::task::spawn_blocking(move || folder.retain(KEEP)).await;
        let kept = kept.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        Ok(kept.get(1).map(|found| found.last_log.index))
    }

    /// Removes all but the newest snapshot that is whole. Blocks.
    pub(super) fn drop_older(&self) -> Result<(), snapshot::Error> {
        self.0.folder.retain(1).map(drop)
    }

    /// Looks at the snapshots that the start did not need, beside everything else: a damaged one is better known while
    /// the newest is whole.
    pub(super) fn check_older(&self) {
        let newest = self.current().and_then(|snapshot| snapshot.meta.last_log_id);
        let (Some(newest), folder) = (newest, self.0.folder.clone()) else { return };
        // Nobody waits for it, and the end of the process may cut it: it changes nothing.
        drop(tokio::task::spawn_blocking(move || match folder.damaged_before(to_wal(&newest)) {
            Ok(damaged) => damaged.iter().for_each(|error| {
                tracing::error!(
                    %error,
                    "an older snapshot is damaged: the newest one has nothing to fall back on"
                );
            }),
            Err(error) => tracing::warn!(%error, "the older snapshots could not be looked at"),
        }));
    }

    /// The right to take a snapshot, if nobody else has it.
    pub(super) fn try_turn(&self) -> Result<Turn, TakeError> {
        Arc::clone(&self.0.turn).try_acquire_owned().map(Turn).map_err(|error| match error {
            TryAcquireError::NoPermits => TakeError::Busy,
            TryAcquireError::Closed => TakeError::Stopping,
        })
    }

    /// The right to take a snapshot, once whoever has it is done.
    pub(super) async fn turn(&self) -> Result<Turn, TakeError> {
        Arc::clone(&self.0.turn).acquire_owned().await.map(Turn).map_err(|_| TakeError::Stopping)
    }

    /// Takes a snapshot of the store as it is now, unless the newest one says the same; writes go on meanwhile. What was
    /// begun is finished even if the caller goes away.
    pub(super) async fn take(&self, replica: &Arc<Replica>) -> Result<Snapshot, TakeError> {
        self.in_turn(self.try_turn()?, replica, Snapshots::take_now).await
    }

    /// As [`Snapshots::take`], and opens what it took: before a newer one can have it removed.
    pub(super) async fn take_to_send(
        &self,
        turn: Turn,
        replica: &Arc<Replica>,
    ) -> Result<(Snapshot, Sending), TakeError> {
        let work = |snapshots: &Snapshots, replica: &Replica, between| {
            let taken = snapshots.take_now(replica, between)?;
            let sending = snapshots.0.folder.send(&taken.snapshot.path).map_err(TakeError::Failed)?;
            Ok((taken, sending))
        };
        self.in_turn(turn, replica, work).await
    }

    /// Does blocking work that nobody else may do at the same time, and that begins between two entries.
    async fn in_turn<T: Send + 'static>(
        &self,
        turn: Turn,
        replica: &Arc<Replica>,
        work: impl FnOnce(&Snapshots, &Replica, OwnedMutexGuard<()>) -> Result<T, TakeError> + Send + 'static,
    ) -> Result<T, TakeError> {
        // An entry that was broken off is never finished: the node is about to end.
        let between = replica.between_entries().await.ok_or(TakeError::Stopping)?;
        let (snapshots, replica) = (self.clone(), Arc::clone(replica));
        let task = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&snapshots, &replica, between)
        });
        task.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    fn take_now(&self, replica: &Replica, between: OwnedMutexGuard<()>) -> Result<Snapshot, TakeError> {
        let progress = Arc::new(Progress::default());
        *self.0.progress.lock() = Arc::clone(&progress);
        // Whoever closes says so before it calls off what it finds.
        if self.0.stopping.load(Ordering::SeqCst) {
            return Err(TakeError::Stopping);
        }
        let marked = self.mark(replica)?;
        drop(between);
        match marked {
            Some(marked) => self.build(replica, marked, &progress).map_err(TakeError::Failed),
            None => self.current().ok_or(TakeError::Busy),
        }
    }

    fn build(
        &self,
        replica: &Replica,
        marked: Marked,
        progress: &Progress,
    ) -> Result<Snapshot, snapshot::Error> {
        let Marked { globals, meta } = marked;
        let built = snapshot::build(&replica.store, globals, meta, &self.0.folder, progress)?;
        if let Err(error) = self.0.folder.retain(KEEP) {
            tracing::warn!(%error, "older snapshots could not be removed");
        }
        let found = Found { path: built.path, last_log: built.meta.last_log, bytes: built.bytes };
        let snapshot = openraft_snapshot(&built.meta, found).expect("the membership was encoded here");
        *self.0.current.lock() = Some(snapshot.clone());
        self.0.to_adopt.store(true, Ordering::Release);
        Ok(snapshot)
    }

    /// Marks the state that the snapshot will hold. Must be called between two entries. `None` if the newest one says the same.
    fn mark(&self, replica: &Replica) -> Result<Option<Marked>, TakeError> {
        let applied = replica.applied.lock();
        let Some(last) = applied.last.as_ref().filter(|last| self.index() != Some(last.index)) else {
            return Ok(None);
        };
        let cut = replica.store.write().begin_cut(self.0.side_buffer_bytes);
        let globals = cut.map_err(|_| TakeError::Busy)?;
        let meta = Meta {
            cluster: self.0.cluster,
            last_log: to_wal(last),
            membership: encode_membership(applied.membership.membership()),
            membership_log: applied.membership.log_id().as_ref().map(to_wal),
        };
        Ok(Some(Marked { globals, meta }))
    }

    /// What openraft asks for: the snapshot that was taken for it, or else a new one. Openraft takes an error here for
    /// the end of the node, so the newest that stands is given where none can be taken.
    pub(super) async fn adopt_or_take(&self, replica: &Arc<Replica>) -> io::Result<Snapshot> {
        if self.0.to_adopt.swap(false, Ordering::AcqRel)
            && let Some(current) = self.current()
        {
            return Ok(current);
        }
        if replica.applied.lock().last.is_none() {
            // The snapshot of nothing needs no file.
            let file = SnapshotFile { path: PathBuf::new(), bytes: 0 };
            return Ok(Snapshot { meta: SnapshotMeta::default(), snapshot: file });
        }
        let taken = self.take(replica).await;
        self.0.to_adopt.store(false, Ordering::Release);
        taken.or_else(|error| self.current().ok_or_else(|| io::Error::other(error)))
    }

    /// Calls off what is being taken and waits for its end; takes no more.
    pub(super) async fn close(&self) {
        self.0.stopping.store(true, Ordering::SeqCst);
        self.0.progress.lock().cancel();
        let _last = self.0.turn.acquire().await;
        self.0.turn.close();
    }

    /// Opens a snapshot to send it to a member.
    pub(super) async fn send(&self, file: &SnapshotFile) -> Result<Sending, String> {
        let (folder, path) = (self.0.folder.clone(), file.path.clone());
        let opened = tokio::task::spawn_blocking(move || folder.send(&path)).await;
        opened.map_err(|panic| panic.to_string())?.map_err(|error| error.to_string())
    }

    /// Makes room for a snapshot of that length, which a member is about to send. Blocks.
    pub(super) fn receive(&self, bytes: u64) -> Result<Receiving, snapshot::Error> {
        match self.0.folder.receive(bytes) {
            // It makes this node's own unneeded: first the space that is kept for one, then that of the older one.
            Err(snapshot::Error::NoSpace { .. }) => {
                self.0.folder.use_ballast()?;
                self.0.folder.receive(bytes).or_else(|_| {
                    self.drop_older()?;
                    self.0.folder.receive(bytes)
                })
            }
            received => received,
        }
    }

    /// Has the space that is kept for a snapshot be used for one. Blocks.
    pub(super) fn use_ballast(&self) -> Result<(), snapshot::Error> {
        self.0.folder.use_ballast()
    }

    /// All of it has arrived: verifies it and gives it its name. Blocks.
    pub(super) fn accept(&self, received: Receiving) -> Result<Snapshot, snapshot::Error> {
        let found = self.0.folder.accept(received, self.0.cluster)?;
        let meta = self.0.folder.send(&found.path)?.meta().clone();
        let corrupt = |error: io::Error| snapshot::Error::corrupt(&found.path, 0, error.to_string());
        openraft_snapshot(&meta, found.clone()).map_err(corrupt)
    }

    /// Puts the content of a snapshot, already whole and synced in the folder, in place of the store.
    pub(super) async fn install(
        &self,
        replica: &Arc<Replica>,
        meta: &SnapshotMeta,
        file: SnapshotFile,
    ) -> io::Result<()> {
        let _turn = self.0.turn.acquire().await.map_err(io::Error::other)?;
        let last = meta.last_log_id.ok_or_else(|| io::Error::other("a snapshot of nothing"))?;
        let found = Found { path: file.path.clone(), last_log: to_wal(&last), bytes: file.bytes };
        let (folder, cluster) = (self.0.folder.clone(), self.0.cluster);
        let loading = tokio::task::spawn_blocking(move || folder.load(&found, cluster));
        let loaded = loading.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        let old = replica.install(loaded.store, Some(last), meta.last_membership.clone());
        tokio::task::spawn_blocking(move || drop(old));
        *self.0.current.lock() = Some(Snapshot { meta: meta.clone(), snapshot: file });
        let folder = self.0.folder.clone();
        let retained = tokio::task::spawn_blocking(move || folder.retain(KEEP)).await;
        if let Err(error) = retained.map_err(io::Error::other)? {
            tracing::warn!(%error, "older snapshots could not be removed");
        }
        Ok(())
    }
}

/// Why no snapshot was taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum TakeError {
    /// One is being taken already.
    #[error("a snapshot is being taken already")]
    Busy,
    /// The node stops.
    #[error("the node stops")]
    Stopping,
    /// It was tried; the store and the older snapshots are as they were.
    #[error(transparent)]
    Failed(snapshot::Error),
}

impl From<TakeError> for AdminError {
    fn from(error: TakeError) -> AdminError {
        match error {
            TakeError::Busy => AdminError::Busy,
            TakeError::Stopping | TakeError::Failed(snapshot::Error::Cancelled) => AdminError::Unavailable,
            TakeError::Failed(snapshot::Error::NoSpace { .. }) => AdminError::OutOfDisk,
            TakeError::Failed(snapshot::Error::Io { source, .. }) if is_full(&source) => {
                AdminError::OutOfDisk
            }
            TakeError::Failed(snapshot::Error::Abandoned) => AdminError::Outrun,
            TakeError::Failed(error) => AdminError::Failed(error.to_string()),
        }
    }
}

fn openraft_snapshot(meta: &Meta, found: Found) -> io::Result<Snapshot> {
    let last_membership = decode_membership(meta.membership_log.map(from_wal), &meta.membership)?;
    let meta = SnapshotMeta { last_log_id: Some(from_wal(meta.last_log)), last_membership };
    Ok(Snapshot { meta, snapshot: SnapshotFile { path: found.path, bytes: found.bytes } })
}
