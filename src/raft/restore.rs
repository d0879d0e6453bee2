//! A new cluster out of a backup.
//!
//! ```text
//! source verified -> restore.json -> leftovers removed -> join.json -> snapshot -> log -> node.json -> restore.json removed
//! ```
//!
//! Each step is durable before the next. Up to the first nothing is changed; from then on and before `node.json` the
//! directory holds no node: [`restore`] begins anew there, and so does a node that is to begin with a backup; the start of
//! any other node refuses it. From `node.json` on it is the directory of a node like any other.
//!
//! The new cluster has an id of its own, and its revision and all versions are those of the backup and 2^32 more: no
//! ETag, no fencing token and no member of the old cluster passes for one of the new. It has one voter; or, where several
//! nodes create it, all its founders, of which only the creator has the content: it brings the others their snapshot once
//! a quorum of them has elected it. Its log goes on where the backup was taken, empty, with a vote that is not below the
//! terms before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use openraft::Membership;

use super::OpenError;
use super::identity::{ADMIN_SOCKET, Directory, random_id};
use super::payload::encode_membership;
use super::snapshot::{self, Change, Deadlines, Folder, Rewrite};
use super::types::{GROUP, Member};
use crate::clock::Clock;
use crate::disk::Disk;
use crate::model::Level;
use crate::wal::{self, Durability, Identity, LogId, Vote, Wal};

/// What a restore adds to the revision and to every version.
pub(super) const REVISIONS: u64 = 1 << 32;

/// What may be in a directory that counts as empty. Log and snapshots are looked into.
const IN_EMPTY: [&str; 6] = ["lock", "lost+found", "join.json", "wal", "snapshots", ADMIN_SOCKET];

/// When the keys of a backup expire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifetimes {
    /// At the moments at which they would have: those whose moment has passed are gone.
    #[default]
    Deadline,
    /// Each has as long left as it had when the backup was taken.
    Remaining,
}

impl Lifetimes {
    /// Each choice with its name in configuration and command line, the default first.
    pub const ALL: [(&'static str, Lifetimes); 2] =
        [("deadline", Lifetimes::Deadline), ("remaining", Lifetimes::Remaining)];

    /// The choice of this name.
    pub fn named(name: &str) -> Option<Lifetimes> {
        Lifetimes::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, choice)| choice)
    }
}

/// What to restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// The backup, or any snapshot.
    pub file: PathBuf,
    /// When its keys expire.
    pub lifetimes: Lifetimes,
}

/// A cluster that was created from a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The new cluster.
    pub cluster: u128,
    /// The last entry whose effect is in it.
    pub index: u64,
    /// Its revision.
    pub revision: u64,
    /// Its keys, those included whose deadline has passed.
    pub keys: u64,
}

/// Makes the directory `data_dir`, which must be empty or not there, that of the sole voter of a new cluster with the
/// content of a backup. `progress` is told now and then how much is done, and of how much.
///
/// # Errors
/// [`OpenError::NotEmpty`], [`OpenError::Locked`]; [`OpenError::Damaged`] and [`OpenError::LevelTooHigh`] for the
/// backup: up to then the directory holds no more than a lock. Others may come under way; then it can be tried again.
pub fn restore(
    disk: Arc<dyn Disk>,
    data_dir: &Path,
    wal: wal::Config,
    clock: &dyn Clock,
    what: &Restore,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Restored, OpenError> {
    let directory = Directory::new(disk, data_dir);
    let _lock = directory.lock()?;
    expect_empty(&directory)?;
    create(&directory, (wal, clock), what, &BTreeMap::new(), progress)
}

/// What a cluster that is created begins with, and how it is written.
#[derive(Clone)]
pub(super) struct Beginning {
    pub(super) what: Restore,
    pub(super) wal: wal::Config,
    pub(super) clock: Arc<dyn Clock>,
}

impl Beginning {
    /// The level that is in the backup, as its header says.
    pub(super) fn level(&self, directory: &Directory) -> Result<Level, OpenError> {
        snapshot::level(directory.disk().as_ref(), &self.what.file).map_err(OpenError::from)
    }

    /// Makes the directory that of the first of the founders of a cluster with the content of the backup. Whatever another
    /// try has left there goes.
    pub(super) fn create(
        &self,
        directory: &Directory,
        founders: &BTreeMap<u64, Member>,
    ) -> Result<(), OpenError> {
        let (wal, clock, what) = (self.wal, self.clock.as_ref(), &self.what);
        let Restored { cluster, index, keys, .. } =
            create(directory, (wal, clock), what, founders, &mut |_, _| {})?;
        let (file, cluster) = (what.file.display(), format!("{cluster:032x}"));
        tracing::info!(%file, cluster, index, keys, "restored");
        Ok(())
    }
}

impl Directory {
    /// Removes what a restore has left that is not to be finished: the cluster is there already, and this node joins it.
    pub(super) fn abandon_restore(&self) -> Result<(), OpenError> {
        if !self.is_being_restored()? {
            return Ok(());
        }
        self.begin_restore()?;
        for directory in [self.wal(), self.snapshots()] {
            if self.disk().exists(&directory).map_err(|error| OpenError::io(&directory, error))? {
                self.disk().sync_dir(&directory).map_err(|error| OpenError::io(&directory, error))?;
            }
        }
        self.finish_restore()
    }
}

fn expect_empty(directory: &Directory) -> Result<(), OpenError> {
    let is_empty = if directory.is_being_restored()? {
        !directory.has_node()? && !directory.is_being_recovered()?
    } else {
        let names = directory.names(directory.root())?;
        names.iter().all(|name| IN_EMPTY.contains(&name.as_str()) || name.ends_with(crate::disk::TEMPORARY))
            && is_blank(directory)?
    };
    if is_empty { Ok(()) } else { Err(OpenError::NotEmpty(directory.root().to_owned())) }
}

/// Whether log and snapshots hold no more than what a first start leaves that was not finished.
fn is_blank(directory: &Directory) -> Result<bool, OpenError> {
    Ok(directory.names(&directory.snapshots())?.is_empty() && directory.log_is_blank()?)
}

/// As [`restore`], in a locked directory without looking whether it is empty. Without founders the node is alone.
pub(super) fn create(
    directory: &Directory,
    (wal, clock): (wal::Config, &dyn Clock),
    what: &Restore,
    founders: &BTreeMap<u64, Member>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Restored, OpenError> {
    let deadlines = match what.lifetimes {
        Lifetimes::Deadline => Deadlines::Kept,
        Lifetimes::Remaining => Deadlines::From(clock.wall()),
    };
    let change = Change { hash_seed: random_id(), revisions: REVISIONS, deadlines };
    let disk = directory.disk();
    let rewrite = Rewrite::survey(&**disk, &what.file, change, &mut |done, of| progress(done, 2 * of))?;
    directory.begin_restore()?;
    let identity = directory.begin()?;
    let folder = Folder::open(Arc::clone(disk), &directory.snapshots())?;
    let of = (identity.cluster, membership(&identity, founders));
    rewrite.write(&**disk, &folder, of, &mut |done, of| progress(of + done, 2 * of))?;
    begin_log(directory, identity, wal, rewrite.last_log())?;
    directory.finish(&identity)?;
    directory.finish_restore()?;
    let (index, globals) = (rewrite.last_log().index, rewrite.globals());
    Ok(Restored { cluster: identity.cluster, index, revision: globals.revision, keys: globals.keys })
}

/// The membership of a cluster in which all founders vote; without any it is this node alone.
fn membership(identity: &Identity, founders: &BTreeMap<u64, Member>) -> Bytes {
    let mut members = founders.clone();
    if members.is_empty() {
        members.insert(identity.node, Member { incarnation: identity.incarnation, ..Member::default() });
    }
    let voters: BTreeSet<u64> = members.keys().copied().collect();
    encode_membership(&Membership::new(vec![voters], members).expect("the voters are the members"))
}

/// A log that holds nothing and goes on behind `last_log`.
fn begin_log(
    directory: &Directory,
    identity: Identity,
    config: wal::Config,
    last_log: LogId,
) -> Result<(), OpenError> {
    let config = wal::Config { durability: Durability::Always, ..config };
    let wal = Wal::open(Arc::clone(directory.disk()), &directory.wal(), identity, config)?;
    let (sender, done) = mpsc::channel();
    let callback = || {
        let sender = sender.clone();
        // Whoever waits is gone only if the first of the two has failed.
        Box::new(move |result| drop(sender.send(result)))
    };
    // The next leader's term must be above all in the log.
    let vote = Vote { term: last_log.term, node: identity.node, committed: false };
    wal.save_vote(GROUP, vote, callback());
    wal.purge_upto(GROUP, last_log, callback());
    let results = done.iter().take(2).collect::<Result<(), wal::Error>>();
    results.and_then(|()| wal.close()).map_err(OpenError::from)
}
