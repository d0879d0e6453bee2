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
    /// The node may have lost what it acknowledged, and takes no part under this identity any more.
    pub(super) doubted: Option<Doubted>,
}

/// A node that waits to be admitted anew.
pub(super) struct Doubted {
    pub(super) identity: wal::Identity,
    /// The error where no other member can admit it.
    pub(super) error: OpenError,
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
    directory.finish_replacement()?;
    directory.check_retired()?;
    // What an earlier try to begin with a backup has left is begun anew, once it is known again that this node is to.
    let again = options.restore_from.is_some()
        && directory.is_being_restored()?
        && !directory.has_node()?
        && !directory.is_being_recovered()?;
    let known = if again { None } else { directory.known()? };
    if let Err(error) = directory.check_last_stop(&options.wal) {
        return match (known, &error) {
            (Some(identity), OpenError::UncleanBoot(..)) => {
                let doubted = Some(Doubted { identity, error });
                Ok(Claimed { directory, lock, known: None, doubted })
            }
            _ => Err(error),
        };
    }
    if known.is_some() && options.restore_from.is_some() {
        tracing::info!("not restored: cluster.restore_from is for a new cluster, and a node is here already");
    }
    if known.is_none() && !again && !directory.log_is_blank()? {
        return Err(directory.foreign("the log has content but there is no node.json: restore it"));
    }
    Ok(Claimed { directory, lock, known, doubted: None })
}

pub(super) fn recover(
    options: &Options,
    claimed: Claimed,
    identity: wal::Identity,
) -> Result<Recovered, OpenError> {
    let (disk, config) = (Arc::clone(&options.disk), options.wal);
    let Claimed { directory, lock, known, .. } = claimed;
    if known.is_none() && !directory.has_node()? {
        directory.abandon_restore()?;
    }
    let folder = Folder::open(Arc::clone(&disk), &directory.snapshots()).map_err(OpenError::from)?;
    let survey = Survey::of(disk.as_ref(), &directory.wal(), &identity).map_err(OpenError::from)?;
    let log = survey.state(GROUP);
    let (loaded, damaged) = usable(&folder, identity.cluster, &log)?;
    let stand_in = if loaded.is_some() { "an older one" } else { "the log" };
    for error in &damaged {
        tracing::error!(%error, "a snapshot is damaged; {stand_in} stands in");
    }
    let snapshot = loaded.as_ref().map(|loaded| loaded.meta.last_log);
    if let Some(what) = gap(&log, snapshot) {
        // With a damaged snapshot in between it is that file which must be named.
        return Err(damaged.into_iter().next().map_or_else(|| directory.foreign(&what), unusable));
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
    let open = |survey| Wal::open_surveyed(Arc::clone(&disk), &directory.wal(), identity, config, survey);
    let wal = match open(survey) {
        // A full disk: what was kept for it is used now.
        Err(wal::Error::NoSpace { .. }) if directory.ballast().give(u64::MAX).unwrap_or(false) => {
            Survey::of(disk.as_ref(), &directory.wal(), &identity).and_then(open)
        }
        opened => opened,
    }
    .map_err(OpenError::from)?;
    if known.is_none() {
        directory.finish(&identity)?;
    }
    directory.finish_restore()?;
    directory.mark_running(&config)?;
    Ok(Recovered { directory, lock, identity, wal, folder, recovery })
}

/// The newest snapshot that is whole, and those that are damaged. Where all are, the log serves alone if it has everything
/// from its first entry to behind the last snapshot.
fn usable(
    folder: &Folder,
    cluster: u128,
    log: &wal::GroupState,
) -> Result<(Option<Loaded>, Vec<snapshot::Error>), OpenError> {
    match folder.load_newest(cluster) {
        Ok(None) => Ok((None, Vec::new())),
        Ok(Some(mut loaded)) => {
            let damaged = std::mem::take(&mut loaded.damaged);
            Ok((Some(loaded), damaged))
        }
        Err(snapshot::Error::NoneValid(damaged)) => {
            let newest = folder.list().map_err(OpenError::from)?.first().map(|found| found.last_log);
            if log.purged.is_none() && log.last >= newest {
                return Ok((None, damaged));
            }
            Err(unusable(snapshot::Error::NoneValid(damaged)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Refuses a snapshot that nothing stands in for, with the way out.
fn unusable(error: snapshot::Error) -> OpenError {
    match OpenError::from(error) {
        OpenError::Damaged { file, offset, what } => {
            let what = format!(
                "{what}. Nothing stands in for it. Move the data directory away: in a cluster the node then joins as a new \
                 member; a lone node is restored from a backup"
            );
            OpenError::Damaged { file, offset, what }
        }
        error => error,
    }
}

/// What is missing between the newest usable snapshot and the log, if anything.
fn gap(log: &wal::GroupState, snapshot: Option<wal::LogId>) -> Option<String> {
    let purged = log.purged.filter(|purged| snapshot.map(|id| id.index) < Some(purged.index))?;
    let end = snapshot.map_or("nowhere".to_owned(), |id| format!("at entry {}", id.index));
    Some(format!(
        "the log begins after entry {} and the newest usable snapshot ends {end}: what is between is lost. Move the data \
         directory away: in a cluster the node then joins as a new member; a lone node is restored from a backup",
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
