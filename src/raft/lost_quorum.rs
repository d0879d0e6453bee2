//! The way back when most voters are lost for good: one of the others becomes a cluster of its own.
//!
//! ```text
//! snapshot and log read -> recovery/ (a snapshot of all that) -> restore.json -> old files moved aside -> as a restore
//! ```
//!
//! What counts is everything that is on this node's disk: entries that were never acknowledged may come to be, and
//! acknowledged ones that only the lost nodes had are gone. So it is a last resort, and never happens by itself. The new
//! cluster has an id of its own, as after a restore, so that nobody of the old one can take part by mistake. Nothing is
//! deleted: what was there is moved into `lost-<cluster>-<node>/`. A run that was cut off is begun anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::EntryPayload;
use parking_lot::RwLock;

use super::OpenError;
use super::identity::{ADMIN_SOCKET, Directory, RECOVERY, hex};
use super::payload::{decode_membership, encode_membership, from_record};
use super::restore::{Lifetimes, Restore, Restored, create};
use super::snapshot::{self, Folder, Progress};
use super::types::{GROUP, from_wal};
use crate::clock::Clock;
use crate::disk::Disk;
use crate::model::codec;
use crate::store::{Effects, Store};
use crate::wal::{self, Identity, Survey, Wal};

/// What the name of the directory begins with into which the old files are moved.
const ASIDE: &str = "lost-";

/// What stays where it is.
const STAYING: [&str; 5] = ["lock", "history", ADMIN_SOCKET, RECOVERY, "restore.json"];

/// Bytes of log that are read at a time.
const READ_BYTES: usize = 4 << 20;

/// Memory for displaced states: nobody writes while the snapshot is taken.
const SIDE_BYTES: usize = 1 << 20;

/// Makes the node in `data_dir` the sole voter of a new cluster with everything that is on its disk. `progress` is told now
/// and then how much of the last step is done, and of how much.
///
/// # Errors
/// [`OpenError::Foreign`] if there is no node; otherwise those of a start and of a restore. Until the old files are moved the
/// directory is as it was.
pub fn recover(
    disk: Arc<dyn Disk>,
    data_dir: &Path,
    wal: wal::Config,
    clock: &dyn Clock,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Restored, OpenError> {
    let directory = Directory::new(disk, data_dir);
    let _lock = directory.lock()?;
    let (file, aside) = match begun(&directory)? {
        Some(begun) => begun,
        None => {
            let identity =
                directory.known()?.ok_or_else(|| directory.foreign("there is no node in it to recover"))?;
            let file = gather(&directory, identity, wal)?;
            directory.mark_restore()?;
            (file, format!("{}{}", aside_of(identity.cluster), identity.node))
        }
    };
    directory.set_aside(&aside, &STAYING)?;
    let what = Restore { file, lifetimes: Lifetimes::Deadline };
    let restored = create(&directory, (wal, clock), &what, &BTreeMap::new(), progress)?;
    let recovery = directory.root().join(RECOVERY);
    directory.disk().remove_dir_all(&recovery).map_err(|error| OpenError::io(recovery, error))?;
    Ok(restored)
}

/// What the directory's name begins with into which what is left of a node of this cluster is moved.
fn aside_of(cluster: u128) -> String {
    format!("{ASIDE}{}-", hex(cluster))
}

/// The snapshot that a run before this one has made, and where it was moving the old files, or had moved them already.
fn begun(directory: &Directory) -> Result<Option<(PathBuf, String)>, OpenError> {
    if directory.has_node()? || !directory.is_being_restored()? || !directory.is_being_recovered()? {
        return Ok(None);
    }
    let folder = Folder::open(Arc::clone(directory.disk()), &directory.root().join(RECOVERY))?;
    let Some(found) = folder.list()?.into_iter().next() else { return Ok(None) };
    let cluster = snapshot::verify(directory.disk().as_ref(), &found.path)?.meta.cluster;
    let mut names = directory.names(directory.root())?.into_iter();
    let aside = names.find(|name| name.starts_with(&aside_of(cluster)));
    Ok(aside.map(|aside| (found.path, aside)))
}

/// Takes a snapshot of everything on the disk.
fn gather(directory: &Directory, identity: Identity, config: wal::Config) -> Result<PathBuf, OpenError> {
    let disk = directory.disk();
    let snapshots = Folder::open(Arc::clone(disk), &directory.snapshots())?;
    let survey = Survey::of(disk.as_ref(), &directory.wal(), &identity)?;
    let loaded = snapshots.load_newest(identity.cluster)?;
    let (mut store, mut last, mut membership) = match loaded {
        Some(loaded) => {
            let membership =
                decode_membership(loaded.meta.membership_log.map(from_wal), &loaded.meta.membership);
            let membership = membership.map_err(|error| OpenError::io(&loaded.path, error))?;
            (loaded.store, Some(loaded.meta.last_log), membership.membership().clone())
        }
        None => (Store::new(), None, Default::default()),
    };
    let log = Wal::open_surveyed(Arc::clone(disk), &directory.wal(), identity, config, survey)?;
    let end = log.state(GROUP).last.map_or(0, |id| id.index);
    let mut effects = Effects::default();
    let mut next = last.map_or(0, |id| id.index + 1);
    while next <= end {
        let entries = log.read(GROUP, next..end + 1, READ_BYTES)?;
        for record in entries {
            let id = record.id;
            let entry = from_record(record).map_err(|error| OpenError::io(directory.wal(), error))?;
            match &entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Membership(changed) => membership = changed.clone(),
                EntryPayload::Normal(proposal) => {
                    let entry = codec::decode(proposal.bytes());
                    let entry = entry.map_err(|error| OpenError::LevelTooHigh(error.to_string()))?;
                    effects.begin(id.index, false);
                    store.open_entry(entry.at, &entry.touches, &mut effects);
                    entry.transactions.iter().for_each(|t| store.transact(t, &[], &mut effects));
                    effects.clear();
                    effects.garbage.clear();
                }
            }
            last = Some(id);
            next = id.index + 1;
        }
    }
    log.close()?;
    let last_log = last.ok_or_else(|| directory.foreign("the node in it holds nothing"))?;
    let meta = snapshot::Meta {
        cluster: identity.cluster,
        last_log,
        membership: encode_membership(&membership),
        membership_log: Some(last_log),
    };
    let folder = Folder::open(Arc::clone(disk), &directory.root().join(RECOVERY))?;
    let globals = store.begin_cut(SIDE_BYTES).map_err(|_| directory.foreign("a snapshot is under way"))?;
    let built = snapshot::build(&RwLock::new(store), globals, meta, &folder, &Progress::default())?;
    Ok(built.path)
}
