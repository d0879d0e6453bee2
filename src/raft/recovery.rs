//! What is found on disk when a node starts: whose it is, and whether it is whole.
//!
//! All that can be refused is looked at before the log is written to: a refusal leaves everything as it is.

use std::sync::Arc;

use super::OpenError;
use super::identity::Directory;
use super::options::Options;
use super::payload::decode_membership;
use super::replica::Applied;
use super::snapshot::{self, Folder, Found, Loaded};
use super::types::{GROUP, from_wal};
use crate::disk::Lock;
use crate::store::Store;
use crate::wal::{self, Survey, Wal};

/// A data directory that is this process's, and the node in it, if there is one.
pub(super) struct Claimed {
    pub(super) directory: Directory,
    pub(super) lock: Lock,
    pub(super) known: Option<wal::Identity>,
}

/// What was found on disk.
pub(super) struct Recovered {
    pub(super) directory: Directory,
    pub(super) lock: Lock,
    pub(super) identity: wal::Identity,
    pub(super) wal: Wal,
    pub(super) folder: Folder,
    pub(super) recovery: Recovery,
}

pub(super) fn claim(options: &Options) -> Result<Claimed, OpenError> {
    let directory = Directory::new(Arc::clone(&options.disk), &options.data_dir);
    let lock = directory.lock()?;
    directory.check_retired()?;
    // What an earlier try to begin with a backup has left is begun anew, once it is known again that this node is to.
    let again = options.restore_from.is_some()
        && directory.is_being_restored()?
        && !directory.has_node()?
        && !directory.is_being_recovered()?;
    let known = if again { None } else { directory.known()? };
    directory.check_last_stop(&options.wal)?;
    if known.is_some() && options.restore_from.is_some() {
        tracing::info!("not restored: cluster.restore_from is for a new cluster, and a node is here already");
    }
    if known.is_none() && !again && !directory.log_is_blank()? {
        return Err(directory.foreign("the log has content but there is no node.json: restore it"));
    }
    Ok(Claimed { directory, lock, known })
}

pub(super) fn recover(
    options: &Options,
    claimed: Claimed,
    identity: wal::Identity,
) -> Result<Recovered, OpenError> {
    let (disk, config) = (Arc::clone(&options.disk), options.wal);
    let Claimed { directory, lock, known } = claimed;
    if known.is_none() && !directory.has_node()? {
        directory.abandon_restore()?;
    }
    let folder = Folder::open(Arc::clone(&disk), &directory.snapshots()).map_err(OpenError::from)?;
    let mut loaded = folder.load_newest(identity.cluster).map_err(OpenError::from)?;
    let survey = Survey::of(disk.as_ref(), &directory.wal(), &identity).map_err(OpenError::from)?;
    let log = survey.state(GROUP);
    let damaged = loaded.as_mut().map(|loaded| std::mem::take(&mut loaded.damaged)).unwrap_or_default();
    for error in &damaged {
        tracing::error!(%error, "a snapshot is damaged; an older one stands in");
    }
    let snapshot = loaded.as_ref().map(|loaded| loaded.meta.last_log);
    if let Some(what) = gap(&log, snapshot) {
        // With a damaged snapshot in between it is that file which must be named.
        return Err(damaged.into_iter().next().map_or_else(|| directory.foreign(&what), OpenError::from));
    }
    let recovery = recovery(loaded)?;
    let (level, max_level) = (recovery.store.level(), options.max_level);
    if level > max_level {
        return Err(OpenError::LevelTooHigh(format!(
            "{} is at level {level}, and this node understands levels up to {max_level} only",
            directory.root().display()
        )));
    }
    if is_sole_voter(&recovery.applied, identity.node)
        && config.durability == wal::Durability::Always
        && log.last < snapshot
    {
        return Err(directory.foreign("the log ends before the newest snapshot: a part of it is missing"));
    }
    // From here on the directory is written to.
    let wal =
        Wal::open_surveyed(disk, &directory.wal(), identity, config, survey).map_err(OpenError::from)?;
    if known.is_none() {
        directory.finish(&identity)?;
    }
    directory.finish_restore()?;
    directory.mark_running(&config)?;
    Ok(Recovered { directory, lock, identity, wal, folder, recovery })
}

/// What is missing between the newest usable snapshot and the log, if anything.
fn gap(log: &wal::GroupState, snapshot: Option<wal::LogId>) -> Option<String> {
    let purged = log.purged.filter(|purged| snapshot.map(|id| id.index) < Some(purged.index))?;
    let end = snapshot.map_or("nowhere".to_owned(), |id| format!("at entry {}", id.index));
    Some(format!(
        "the log begins after entry {} and the newest usable snapshot ends {end}: what is between is lost. Restore the \
         directory from a backup",
        purged.index
    ))
}

/// The store as the newest snapshot left it, and where that is in the log.
#[derive(Default)]
pub(super) struct Recovery {
    pub(super) store: Store,
    pub(super) applied: Applied,
    pub(super) current: Option<(snapshot::Meta, Found)>,
}

fn recovery(loaded: Option<Loaded>) -> Result<Recovery, OpenError> {
    let Some(Loaded { meta, store, path, bytes, .. }) = loaded else { return Ok(Recovery::default()) };
    let membership = decode_membership(meta.membership_log.map(from_wal), &meta.membership);
    let membership = membership.map_err(|error| OpenError::io(&path, error))?;
    let applied = Applied { last: Some(from_wal(meta.last_log)), membership };
    let found = Found { path, last_log: meta.last_log, bytes };
    Ok(Recovery { store, applied, current: Some((meta, found)) })
}

/// Such a node has synced every entry before it was applied, so its log reaches at least as far as its snapshots. (A
/// member of several may have got a snapshot from the leader.)
fn is_sole_voter(applied: &Applied, node: u64) -> bool {
    applied.membership.voter_ids().eq([node])
}
