//! Taking snapshots, keeping them, and putting one in place of the store.
//!
//! Kvorum takes a snapshot by itself and then hands it to openraft, which only has to adopt it: a snapshot that
//! fails for want of space or because writers outran it is tried again later and kills no node.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use openraft::type_config::alias::SnapshotOf;
use parking_lot::Mutex;

use super::payload::{decode_membership, encode_membership};
use super::replica::Replica;
use super::snapshot::{self, Folder, Found, Meta};
use super::types::{SnapshotMeta, TypeConfig, from_wal, to_wal};

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

/// The node's snapshots.
pub(super) struct Snapshots {
    folder: Folder,
    cluster: u128,
    side_buffer_bytes: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Snapshot>,
    /// `current` was taken for openraft, which has not adopted it yet.
    to_adopt: bool,
    /// One is being taken.
    busy: bool,
}

/// Taking a snapshot ends with this, however it ends.
struct Busy<'a>(&'a Mutex<State>);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.lock().busy = false;
    }
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
        let state = Mutex::new(State { current, ..State::default() });
        Ok(Snapshots { folder, cluster, side_buffer_bytes, state })
    }

    /// The newest snapshot that is whole.
    pub(super) fn current(&self) -> Option<Snapshot> {
        self.state.lock().current.clone()
    }

    /// Index of the last entry in the newest snapshot.
    pub(super) fn index(&self) -> Option<u64> {
        self.state.lock().current.as_ref().and_then(|snapshot| snapshot.meta.last_log_id).map(|id| id.index)
    }

    /// Index of the last entry in the oldest snapshot that is kept: the log behind it must stay.
    pub(super) fn oldest_index(&self) -> Result<Option<u64>, snapshot::Error> {
        Ok(self.folder.list()?.last().map(|found| found.last_log.index))
    }

    /// Takes a snapshot of the store as it is now, unless the newest one says the same; writes go on meanwhile.
    /// `None`: one is being taken already, or nothing was ever applied.
    pub(super) async fn take(&self, replica: &Arc<Replica>) -> Result<Option<Snapshot>, snapshot::Error> {
        let Some(_busy) = self.begin() else { return Ok(None) };
        let Some((globals, meta)) = self.cut(replica) else { return Ok(self.current()) };
        let (folder, progress) = (self.folder.clone(), snapshot::Progress::default());
        let for_thread = Arc::clone(replica);
        let meta_of_file = meta.clone();
        let task = tokio::task::spawn_blocking(move || {
            let built = snapshot::build(&for_thread.store, globals, meta, &folder, &progress);
            if built.is_ok()
                && let Err(error) = folder.retain(KEEP)
            {
                tracing::warn!(%error, "older snapshots could not be removed");
            }
            built
        });
        let built = match task.await {
            Ok(built) => built?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        let found = Found { path: built.path, last_log: meta_of_file.last_log, bytes: built.bytes };
        let snapshot = openraft_snapshot(&meta_of_file, found).expect("the membership was encoded here");
        let mut state = self.state.lock();
        state.current = Some(snapshot.clone());
        state.to_adopt = true;
        Ok(Some(snapshot))
    }

    fn begin(&self) -> Option<Busy<'_>> {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.busy, true) { None } else { Some(Busy(&self.state)) }
    }

    /// Marks the place in time whose state the snapshot will hold: between two entries.
    fn cut(&self, replica: &Replica) -> Option<(crate::store::Globals, Meta)> {
        let applied = replica.applied.lock();
        let last = applied.last.as_ref()?;
        if self.index() == Some(last.index) {
            return None;
        }
        let globals = replica.store.write().begin_cut(self.side_buffer_bytes).ok()?;
        let meta = Meta {
            cluster: self.cluster,
            last_log: to_wal(last),
            membership: encode_membership(applied.membership.membership()),
            membership_log: applied.membership.log_id().as_ref().map(to_wal),
        };
        Some((globals, meta))
    }

    /// What openraft asks for: the snapshot taken for it, or else a new one.
    pub(super) async fn adopt_or_take(&self, replica: &Arc<Replica>) -> io::Result<Snapshot> {
        {
            let mut state = self.state.lock();
            if std::mem::take(&mut state.to_adopt)
                && let Some(snapshot) = &state.current
            {
                return Ok(snapshot.clone());
            }
        }
        if replica.applied.lock().last.is_none() {
            // The snapshot of nothing needs no file.
            let file = SnapshotFile { path: PathBuf::new(), bytes: 0 };
            return Ok(Snapshot { meta: SnapshotMeta::default(), snapshot: file });
        }
        let taken = self.take(replica).await.map_err(io::Error::other)?;
        self.state.lock().to_adopt = false;
        taken.ok_or_else(|| io::Error::other("a snapshot is being taken already"))
    }

    /// Puts the content of a snapshot, already whole and synced in the folder, in place of the store.
    pub(super) async fn install(
        &self,
        replica: &Arc<Replica>,
        meta: &SnapshotMeta,
        file: SnapshotFile,
    ) -> io::Result<()> {
        let last = meta.last_log_id.ok_or_else(|| io::Error::other("a snapshot of nothing"))?;
        let found = Found { path: file.path.clone(), last_log: to_wal(&last), bytes: file.bytes };
        let (folder, cluster) = (self.folder.clone(), self.cluster);
        let loading = tokio::task::spawn_blocking(move || folder.load(&found, cluster));
        let loaded = loading.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        let old = replica.install(loaded.store, Some(last), meta.last_membership.clone());
        tokio::task::spawn_blocking(move || drop(old));
        let mut state = self.state.lock();
        state.current = Some(Snapshot { meta: meta.clone(), snapshot: file });
        state.to_adopt = false;
        Ok(())
    }
}

fn openraft_snapshot(meta: &Meta, found: Found) -> io::Result<Snapshot> {
    let last_membership = decode_membership(meta.membership_log.map(from_wal), &meta.membership)?;
    let meta = SnapshotMeta { last_log_id: Some(from_wal(meta.last_log)), last_membership };
    Ok(Snapshot { meta, snapshot: SnapshotFile { path: found.path, bytes: found.bytes } })
}
