//! What a node is opened with.

use std::path::PathBuf;
use std::sync::Arc;

use super::peer::{Secret, Tls};
use super::restore::Restore;
use super::turns::Turns;
use super::{Config, PeerConfig, SnapshotConfig, snapshot};
use crate::clock::{Clock, SystemClock};
use crate::disk::Disk;
use crate::model::{Level, Settings};
use crate::wal;

/// What a node is opened with.
pub struct Options {
    /// The data directory.
    pub data_dir: PathBuf,
    /// How raft keeps time.
    pub raft: Config,
    /// The log.
    pub wal: wal::Config,
    /// Bytes of log kept behind the snapshots for those who lag.
    pub wal_keep_bytes: u64,
    /// When snapshots are taken.
    pub snapshot: SnapshotConfig,
    /// How the node meets others.
    pub peer: PeerConfig,
    /// Settings of a cluster that is created; an existing one keeps its own.
    pub seed: Settings,
    /// What a cluster that is created begins with, if not with nothing.
    pub restore_from: Option<Restore>,
    /// The highest level that this node is to understand: at most [`Level::LATEST`].
    pub max_level: Level,
    /// After how many entries the hash of the state is noted, to be compared among members.
    pub state_hash_every: u64,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where files are.
    pub disk: Arc<dyn Disk>,
    /// When apply rests.
    pub turns: Arc<dyn Turns>,
}

/// Looks whether the files that a configuration names can be read and used, as a start would.
///
/// # Errors
/// The key that names the first that cannot, and what is wrong with it.
pub fn check_files(
    disk: &Arc<dyn Disk>,
    peer: &PeerConfig,
    restore_from: Option<&Restore>,
) -> Result<(), (&'static str, String)> {
    Secret::load(disk, peer.secret_file.clone()).map_err(|what| ("cluster.secret_file", what))?;
    if let Some(files) = &peer.tls {
        let tls = Tls::load(disk, files.clone(), Arc::new(SystemClock));
        tls.map_err(|what| ("peer.tls_cert_file", what))?;
    }
    if let Some(Restore { file, .. }) = restore_from {
        let level = snapshot::level(disk.as_ref(), file);
        level.map_err(|error| ("cluster.restore_from", error.to_string()))?;
    }
    Ok(())
}
