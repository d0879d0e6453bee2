//! Start-up: what is on disk becomes a node that serves.
//!
//! ```text
//! lock -> identity -> WAL -> newest snapshot -> raft core -> elected -> everything in the log applied
//!      -> cluster time -> batcher -> (new cluster: seeded) -> serving
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::time::{Duration, Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::batcher::Batcher;
use super::cluster_time::ClusterTime;
use super::identity::{Directory, random_id};
use super::log_store::LogStore;
use super::machine::Machine;
use super::maintenance::{LastSnapshot, Maintenance};
use super::node::{Node, Parts};
use super::payload::decode_membership;
use super::peer::Peers;
use super::proposal::Pending;
use super::replica::{Applied, Replica};
use super::snapshot::{self, Folder, Found};
use super::snapshots::Snapshots;
use super::touches::Touches;
use super::types::{GROUP, Member, TypeConfig, from_wal};
use super::{Config, Failure, OpenError, SnapshotConfig, config};
use crate::clock::Clock;
use crate::disk::{Disk, Lock};
use crate::model::{Command, Settings, Transaction};
use crate::store::Store;
use crate::wal::{self, Wal};

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
    store: Store,
    applied: Applied,
    current: Option<(snapshot::Meta, Found)>,
}

impl Node {
    /// Opens the node in `options.data_dir`; a new directory becomes the sole voter of a new cluster. Returns when
    /// the node serves. Must be called on the runtime on which raft is to live.
    ///
    /// # Errors
    /// See [`OpenError`]. A refusal changes neither log nor snapshots.
    pub async fn open(options: Options) -> Result<Node, OpenError> {
        let (disk, data_dir, wal_config) = (Arc::clone(&options.disk), options.data_dir.clone(), options.wal);
        let recovery = tokio::task::spawn_blocking(move || recover(disk, data_dir, wal_config));
        match recovery.await {
            Ok(recovered) => start(options, recovered?).await,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

fn recover(disk: Arc<dyn Disk>, data_dir: PathBuf, config: wal::Config) -> Result<Recovered, OpenError> {
    let directory = Directory::new(Arc::clone(&disk), &data_dir);
    let lock = directory.lock()?;
    let known = directory.known()?;
    directory.check_last_stop(&config)?;
    let identity = known.map_or_else(|| directory.begin(), Ok)?;
    let wal = Wal::open(Arc::clone(&disk), &directory.wal(), identity, config).map_err(OpenError::from)?;
    let state = wal.state(GROUP);
    if known.is_none() {
        if state != wal::GroupState::default() {
            return Err(directory.foreign("the log has content but there is no node.json: restore it"));
        }
        directory.finish(&identity)?;
    }
    let folder = Folder::open(disk, &directory.snapshots()).map_err(OpenError::from)?;
    let loaded = folder.load_newest(identity.cluster).map_err(OpenError::from)?;
    let snapshot_index = loaded.as_ref().map(|loaded| loaded.meta.last_log.index);
    if let Some(purged) = state.purged.filter(|purged| snapshot_index < Some(purged.index)) {
        let (from, to) = (purged.index + 1, snapshot_index.map_or("none".into(), |index| index.to_string()));
        let what = format!(
            "the log begins at entry {from} and the newest usable snapshot ends at {to}: entries between are lost. \
             Restore the directory from a backup"
        );
        return Err(directory.foreign(&what));
    }
    directory.mark_running(&config)?;
    let recovered = |store, applied, current| Recovered {
        directory,
        lock,
        identity,
        wal,
        folder,
        store,
        applied,
        current,
    };
    let Some(loaded) = loaded else { return Ok(recovered(Store::new(), Applied::default(), None)) };
    for error in &loaded.damaged {
        tracing::error!(%error, "a snapshot is damaged; an older one stands in");
    }
    let membership = decode_membership(loaded.meta.membership_log.map(from_wal), &loaded.meta.membership)
        .map_err(|error| OpenError::io(&loaded.path, error))?;
    let applied = Applied { last: Some(from_wal(loaded.meta.last_log)), membership };
    let found = Found { path: loaded.path, last_log: loaded.meta.last_log, bytes: loaded.bytes };
    Ok(recovered(loaded.store, applied, Some((loaded.meta, found))))
}

async fn start(options: Options, recovered: Recovered) -> Result<Node, OpenError> {
    let Recovered { directory, lock, identity, wal, folder, store, applied, current } = recovered;
    let pending = Arc::new(Pending::default());
    let replica = Arc::new(Replica::new(store, applied, Arc::clone(&pending), wal.clone()));
    let side_buffer = usize::try_from(options.snapshot.side_buffer_bytes).unwrap_or(usize::MAX);
    let snapshots = Snapshots::new(folder, identity.cluster, side_buffer, current)
        .map_err(|error| OpenError::io(directory.snapshots(), error))?;
    let snapshots = Arc::new(snapshots);
    let log = LogStore::new(wal.clone(), pending);
    let purged = log.watch_purged();
    let machine = Machine::new(Arc::clone(&replica), Arc::clone(&snapshots));
    let settings = Arc::new(config::openraft(&options.raft).validate().map_err(core)?);
    let built = openraft::Raft::build(identity.node, settings, Peers, log, machine).await;
    let raft = built.map_err(|error| match replica.refusal.get() {
        Some(Failure::LevelTooHigh(what)) => OpenError::LevelTooHigh(what.clone()),
        _ => core(error),
    })?;
    raft.run();
    lead(&raft, identity).await.map_err(|error| match replica.refusal.get() {
        Some(Failure::LevelTooHigh(what)) => OpenError::LevelTooHigh(what.clone()),
        _ => error,
    })?;

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
        last: LastSnapshot::new(snapshots.index().unwrap_or(0)),
        snapshots,
        wal: wal.clone(),
        purged,
        config: options.snapshot,
        keep_bytes: options.wal_keep_bytes,
    });
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    spawn_tasks(&tasks, &stop, &maintenance, &raft);
    seed(&replica, &batcher, options.seed).await?;
    Ok(Node::new(Parts {
        identity,
        raft,
        replica,
        batcher,
        touches,
        time,
        maintenance,
        wal,
        directory,
        lock: parking_lot::Mutex::new(Some(lock)),
        closing: AtomicBool::new(false),
        tasks,
        stop,
    }))
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

fn spawn_tasks(tasks: &TaskTracker, stop: &CancellationToken, maintenance: &Arc<Maintenance>, raft: &Raft) {
    let (node, raft) = (Arc::clone(maintenance), raft.clone());
    tasks.spawn(
        async move { node.batcher.run(raft, Arc::clone(&node.time), Arc::clone(&node.replica)).await },
    );
    let (node, token) = (Arc::clone(maintenance), stop.clone());
    tasks.spawn(async move { node.expire(token).await });
    let (node, token) = (Arc::clone(maintenance), stop.clone());
    tasks.spawn(async move { node.every_second(token).await });
}

/// The first command of a cluster: its hash seed and settings. In a cluster that has them, differences between its
/// settings and the configured ones are pointed out; the cluster's stand.
async fn seed(replica: &Replica, batcher: &Batcher, settings: Settings) -> Result<(), OpenError> {
    let (initialized, current) = {
        let store = replica.store.read();
        (store.is_initialized(), store.settings())
    };
    if initialized {
        if current != settings {
            tracing::warn!(
                configured = ?settings, in_force = ?current,
                "store settings in the configuration only seed a new cluster; those in force differ"
            );
        }
        return Ok(());
    }
    let command = Command::Initialize { hash_seed: random_id(), settings };
    let written = batcher.write(Transaction::single(command), Vec::new(), Instant::now() + SEEDING);
    match timeout(SEEDING, written).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(OpenError::Core(format!("seeding the cluster: {error}"))),
        Err(_) => Err(OpenError::Core("seeding the cluster took too long".into())),
    }
}

fn core(error: impl std::fmt::Display) -> OpenError {
    OpenError::Core(error.to_string())
}
