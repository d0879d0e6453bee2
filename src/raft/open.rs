//! Start-up: what is on disk becomes a node that serves.
//!
//! ```text
//! lock -> identity -> newest snapshot -> WAL -> raft core -> elected -> everything in the log applied
//!      -> cluster time -> batcher -> (new cluster: seeded) -> serving
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Duration, Instant};

use super::backup::Readers;
use super::batcher::Batcher;
use super::cluster_time::ClusterTime;
use super::health::{Health, dead};
use super::identity::{Directory, random_id};
use super::log_store::LogStore;
use super::machine::Machine;
use super::maintenance::{LastSnapshot, Maintenance};
use super::node::{Node, Parts};
use super::payload::decode_membership;
use super::peer::Peers;
use super::proposal::Pending;
use super::replica::{Applied, Replica};
use super::restore::{Restore, restore_if_new};
use super::snapshot::{self, Folder, Found, Loaded};
use super::snapshots::Snapshots;
use super::touches::Touches;
use super::types::{GROUP, Member, TypeConfig, from_wal};
use super::{Config, Failure, OpenError, SnapshotConfig, WriteError, config};
use crate::clock::Clock;
use crate::disk::{Disk, Lock};
use crate::model::{Command, Settings, Transaction};
use crate::shutdown::Tasks;
use crate::store::Store;
use crate::wal::{self, Survey, Wal};

/// How long the seeding of a new cluster may take.
const SEEDING: Duration = Duration::from_secs(30);

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
    /// Settings of a cluster that is created; an existing one keeps its own.
    pub seed: Settings,
    /// What a cluster that is created begins with, if not with nothing.
    pub restore_from: Option<Restore>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where files are.
    pub disk: Arc<dyn Disk>,
}

/// What was found on disk.
struct Recovered {
    directory: Directory,
    lock: Lock,
    identity: wal::Identity,
    wal: Wal,
    folder: Folder,
    recovery: Recovery,
}

impl Node {
    /// Opens the node in `options.data_dir`; a new directory becomes the sole voter of a new cluster. Returns when
    /// the node serves. Must be called on the runtime on which raft is to live.
    ///
    /// # Errors
    /// See [`OpenError`]. A refusal changes neither log nor snapshots.
    pub async fn open(options: Options) -> Result<Node, OpenError> {
        match tokio::task::spawn_blocking(move || (recover(&options), options)).await {
            Ok((recovered, options)) => start(options, recovered?).await,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

fn recover(options: &Options) -> Result<Recovered, OpenError> {
    let (disk, config) = (Arc::clone(&options.disk), options.wal);
    let directory = Directory::new(Arc::clone(&disk), &options.data_dir);
    let lock = directory.lock()?;
    if let Some(what) = &options.restore_from {
        restore_if_new(&directory, config, options.clock.as_ref(), what)?;
    }
    let known = directory.known()?;
    directory.check_last_stop(&config)?;
    if known.is_none() && !directory.log_is_blank()? {
        return Err(directory.foreign("the log has content but there is no node.json: restore it"));
    }
    let identity = known.map_or_else(|| directory.begin(), Ok)?;
    // All that can be refused is looked at before the log is written to: a refusal leaves it as it is.
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
struct Recovery {
    store: Store,
    applied: Applied,
    current: Option<(snapshot::Meta, Found)>,
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

/// A raft core that leads and has applied its log.
struct Core {
    raft: Raft,
    replica: Arc<Replica>,
    snapshots: Snapshots,
    purged: watch::Receiver<Option<u64>>,
}

async fn start_core(options: &Options, recovered: &mut Recovered) -> Result<Core, OpenError> {
    let (identity, wal) = (recovered.identity, &recovered.wal);
    let Recovery { store, applied, current } = std::mem::take(&mut recovered.recovery);
    let pending = Arc::new(Pending::default());
    let replica = Arc::new(Replica::new(store, applied, Arc::clone(&pending), wal.clone()));
    let side_buffer = usize::try_from(options.snapshot.side_buffer_bytes).unwrap_or(usize::MAX);
    let snapshots = Snapshots::new(recovered.folder.clone(), identity.cluster, side_buffer, current)
        .map_err(|error| OpenError::io(recovered.directory.snapshots(), error))?;
    let log = LogStore::new(wal.clone(), pending);
    let purged = log.watch_purged();
    let machine = Machine::new(Arc::clone(&replica), snapshots.clone());
    let settings = Arc::new(config::openraft(&options.raft).validate().map_err(core)?);
    let built = openraft::Raft::build(identity.node, settings, Peers, log, machine).await;
    let raft = built.map_err(|error| replica.refusal.get().cloned().map_or(core(error), died))?;
    raft.run();
    let led = tokio::select! {
        biased;
        failure = dead(&raft, &replica) => Err(died(failure)),
        led = lead(&raft, identity) => led,
    };
    if let Err(error) = led {
        stop_early(&raft, wal).await;
        return Err(error);
    }
    Ok(Core { raft, replica, snapshots, purged })
}

async fn start(options: Options, mut recovered: Recovered) -> Result<Node, OpenError> {
    let Core { raft, replica, snapshots, purged } = start_core(&options, &mut recovered).await?;
    let Recovered { directory, lock, identity, wal, .. } = recovered;
    let floor = replica.store.read().now();
    let time = Arc::new(ClusterTime::cold_start(Arc::clone(&options.clock), floor));
    let touches = Arc::new(Touches::default());
    let batcher = Arc::new(Batcher::new(Arc::clone(&touches), wal.clone()));
    let maintenance = Arc::new(Maintenance {
        raft: raft.clone(),
        replica: Arc::clone(&replica),
        batcher: Arc::clone(&batcher),
        touches: Arc::clone(&touches),
        time: Arc::clone(&time),
        last: LastSnapshot::new(
            snapshots.index().unwrap_or(0),
            wal.stats().bytes.saturating_sub(options.wal_keep_bytes),
        ),
        snapshots: snapshots.clone(),
        readers: Readers::new(),
        tasks: Tasks::new(),
        wal: wal.clone(),
        purged,
        config: options.snapshot,
        keep_bytes: options.wal_keep_bytes,
    });
    let health = Arc::new(Health::default());
    spawn_tasks(&maintenance, &health);
    let seeded = seed(&replica, &batcher, options.seed).await;
    if let Err(error) = seeded {
        batcher.close();
        maintenance.tasks.stop(Instant::now() + SEEDING).await;
        stop_early(&maintenance.raft, &wal).await;
        return Err(match error {
            WriteError::OutOfDisk => OpenError::NoSpace(options.data_dir),
            other => OpenError::Core(format!("seeding the cluster: {other}")),
        });
    }
    Ok(Node::new(Parts {
        identity,
        raft,
        replica,
        batcher,
        touches,
        time,
        tasks: maintenance.tasks.clone(),
        maintenance,
        snapshots,
        health,
        wal,
        directory,
        lock: parking_lot::Mutex::new(Some(lock)),
        closing: AtomicBool::new(false),
        runtime: Handle::current(),
    }))
}

/// Lets go of what a start that failed has begun.
async fn stop_early(raft: &Raft, wal: &Wal) {
    wal.give_up_waiting();
    if let Err(error) = raft.shutdown().await {
        tracing::warn!(%error, "the raft core did not stop cleanly");
    }
    let wal = wal.clone();
    // What it says was said already, or does not matter: nothing was acknowledged.
    let _ = tokio::task::spawn_blocking(move || wal.close()).await;
}

type Raft = openraft::Raft<TypeConfig, Machine>;

/// Forms the cluster of this voter if there is none, has it elected, and waits until its store has everything that
/// is in its log.
async fn lead(raft: &Raft, identity: wal::Identity) -> Result<(), OpenError> {
    if raft.is_initialized().await.map_err(core)? {
        raft.trigger().elect(false).await.map_err(core)?;
    } else {
        let member = Member { incarnation: identity.incarnation, advertise: String::new() };
        raft.initialize(BTreeMap::from([(identity.node, member)])).await.map_err(core)?;
    }
    let wait = raft.wait(None);
    let leads = wait.metrics(
        |metrics| {
            let applied_term = metrics.last_applied.map(|id| id.leader_id.term);
            metrics.running_state.is_err()
                || metrics.current_leader == Some(identity.node) && applied_term == Some(metrics.current_term)
        },
        "this node leads and has applied its log",
    );
    leads.await.map_err(core)?.running_state.map_err(core)
}

fn spawn_tasks(maintenance: &Arc<Maintenance>, health: &Arc<Health>) {
    let tasks = &maintenance.tasks;
    let node = Arc::clone(maintenance);
    tasks.spawn("raft-batcher", async move {
        node.batcher.run(node.raft.clone(), Arc::clone(&node.time), Arc::clone(&node.replica)).await;
        // It ends with the core, which the health task reports with its reason.
        node.tasks.stopped().await;
    });
    let node = Arc::clone(maintenance);
    tasks.spawn("raft-expiry", async move { node.expire().await });
    let node = Arc::clone(maintenance);
    tasks.spawn("raft-seconds", async move { node.every_second().await });
    let node = Arc::clone(maintenance);
    tasks.spawn("raft-snapshots", async move { node.keep_snapshots().await });
    let (node, health) = (Arc::clone(maintenance), Arc::clone(health));
    tasks.spawn("raft-health", async move {
        let (replica, batcher) = (Arc::clone(&node.replica), Arc::clone(&node.batcher));
        health.watch(node.raft.clone(), node.wal.clone(), replica, batcher, node.tasks.clone()).await;
    });
}

/// The first command of a cluster: its hash seed and settings. A cluster that has them keeps its own.
async fn seed(replica: &Replica, batcher: &Batcher, settings: Settings) -> Result<(), WriteError> {
    if replica.store.read().is_initialized() {
        return Ok(());
    }
    let command = Command::Initialize { hash_seed: random_id(), settings };
    batcher.write(Transaction::single(command), Vec::new(), Instant::now() + SEEDING).await.map(|_| ())
}

/// What did not live long enough to serve.
fn died(failure: Failure) -> OpenError {
    match failure {
        Failure::LevelTooHigh(what) => OpenError::LevelTooHigh(what),
        Failure::Core(what) => OpenError::Core(what),
        other => core(other),
    }
}

fn core(error: impl std::fmt::Display) -> OpenError {
    OpenError::Core(error.to_string())
}
