//! Wires a node together, and takes it apart in order.
//!
//! ```text
//!   front runtime                              raft runtime (at least two workers)
//!   listeners - gate - service::Kv --handle--> raft::Node, wal, snapshots
//!   socket in the data directory, once it is this process's
//! ```
//!
//! The two runtimes are apart so that a flood of requests cannot keep heartbeats, votes or the log waiting.
//!
//! SIGHUP has the configuration read again: what can be changed under way is, the rest is named in the log.
//!
//! Start: signals, listeners (they answer probes while the node recovers), the node, then the gate opens. End: unready,
//! drain, listeners, node. The process ends with [`Error`] if the node fails under way, if a second signal comes, or
//! if the deadline passes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::clock::SystemClock;
use crate::config::{Config, Loaded, memory_limit_bytes};
use crate::disk::{Disk, Real, SocketName, listen_at};
use crate::history::History;
use crate::http::{Gate, Local, Server};
use crate::raft::{ADMIN_SOCKET, Failure, Node, OpenError, Options, Yielding};
use crate::service::{Kv, Past};
use crate::shutdown::{HangUps, Signals, Tasks};
use crate::telemetry;

/// Fewest workers of the raft runtime: one long apply must not stop everything else.
const RAFT_WORKERS_MIN: usize = 2;

/// The one setting that is taken over under way.
const LOG_LEVEL: &str = "log.level";

/// What the node keeps of the shutdown's time to close its log.
const CLOSING: Duration = Duration::from_secs(2);

/// How long requests may still take after the node failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Open files that are not for connections of the API: log, snapshots, history, listeners, probes, the runtimes.
const OWN_FILES: usize = 256;

/// Share of the memory limit that values may take; the rest is for keys' overhead, the log and requests.
const MEMORY_SHARE_PERCENT: u64 = 75;

/// Why a node ended otherwise than by one signal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system did not give what a process needs.
    #[error("the system refused")]
    System(#[from] std::io::Error),
    /// The listener cannot be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The node did not open.
    #[error("the node did not start")]
    Open(#[from] OpenError),
    /// The node cannot go on.
    #[error("the node cannot go on")]
    Node(#[from] Failure),
    /// A part of the process ended that must not.
    #[error("a part of the process ended before its time: {0}")]
    Broken(String),
    /// A second signal came.
    #[error("ended by a second signal")]
    Interrupted,
    /// Shutdown took too long.
    #[error("shutdown did not end before shutdown.deadline_ms")]
    Deadline,
}

/// Reads the configuration again. Its error is a text for the log.
pub type Reread = Box<dyn Fn() -> Result<Loaded, String> + Send + Sync>;

/// Runs a node until a signal ends it.
pub fn serve(loaded: Loaded, reread: Reread) -> Result<(), Error> {
    // Also for files that libraries create.
    umask(Mode::RWXG | Mode::RWXO);
    let config = loaded.config.clone();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let config = fit_open_files(config, raise_open_files());
    let front = runtime("front", cores)?;
    let raft = runtime("raft", (cores / 2).max(RAFT_WORKERS_MIN))?;
    let ended = front.block_on(run((loaded, reread), config, raft.handle().clone()));
    // Everything that must be waited for has been; what is left (a recovery that was called off) may be cut.
    front.shutdown_background();
    raft.shutdown_background();
    ended
}

fn runtime(name: &'static str, workers: usize) -> Result<Runtime, Error> {
    Ok(Builder::new_multi_thread().worker_threads(workers).thread_name(name).enable_all().build()?)
}

/// Answers probes and does nothing else until a signal ends it: the process lives and is not ready. Of the data directory it
/// needs nothing, so others may work in it.
pub fn maintain(config: &Config) -> Result<(), Error> {
    runtime("front", 1)?.block_on(async {
        let mut signals = Signals::listen()?;
        let tasks = Tasks::new();
        let gate = Arc::new(Gate::closed("the node is under maintenance: its data directory is left alone"));
        listen_to_probes(config, &gate, &tasks).await?;
        tracing::info!(data_dir = %config.data_dir.display(), "under maintenance; no node runs here");
        let signal = tokio::select! {
            signal = signals.next() => signal,
            () = tasks.broken() => return Err(Error::Broken("a listener".to_owned())),
        };
        tracing::info!(signal, "stopping");
        tasks.stop(Instant::now() + AFTER_FAILURE).await;
        Ok(())
    })
}

/// Lets the process have as many open files as the system allows it: each connection takes one. Returns how many; `None`
/// if they are not limited.
fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if let Err(error) = raised {
        tracing::warn!(%error, files = limit.current, "the limit of open files could not be raised");
    }
    getrlimit(Resource::Nofile).current
}

/// Takes no more connections than leave the log its files: one that cannot open its next segment stops the node.
fn fit_open_files(mut config: Config, files: Option<u64>) -> Config {
    let spare = files.map(|files| {
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        // With very few there is no right share.
        files - OWN_FILES.min(files / 2)
    });
    if let Some(spare) = spare.filter(|spare| *spare < config.http.max_connections) {
        tracing::warn!(
            max_connections = spare,
            wanted = config.http.max_connections,
            files,
            "the limit of open files allows fewer connections than http.max_connections"
        );
        config.http.max_connections = spare;
    }
    config
}

async fn run((loaded, reread): (Loaded, Reread), config: Config, raft: Handle) -> Result<(), Error> {
    let mut signals = Signals::listen()?;
    let gate = Arc::new(Gate::new());
    let tasks = Tasks::new();
    tasks.spawn("hang-ups", follow_hang_ups(HangUps::listen()?, loaded, reread, tasks.stopped()));
    listen(&config, &gate, &tasks).await?;
    let disk: Arc<dyn Disk> = Arc::new(Real);
    let mut opening = open(&config, &raft, &disk);
    let node = tokio::select! {
        node = &mut opening => node.map_err(|panic| Error::Broken(panic.to_string()))??,
        signal = signals.next() => {
            tracing::info!(signal, "stopping before the node has started");
            opening.abort();
            tasks.stop(Instant::now() + AFTER_FAILURE).await;
            return Ok(());
        }
    };
    report(&config, &node, disk.as_ref());
    let history = History::start(Arc::clone(&disk), Arc::new(SystemClock), config.data_dir.join("history"))?;
    let past = Past::new(history.clone(), Arc::new(SystemClock), config.history.slow);
    gate.open(Kv::new(node.clone(), config.service, Some(past)));
    tasks.spawn("sampler", sample(Arc::clone(&gate), config.history.sample, tasks.stopped()));
    let socket = administer(&config, &gate, &tasks);
    tracing::info!(data_dir = %config.data_dir.display(), "serving");
    let ended = tokio::select! {
        signal = signals.next() => Ok(signal),
        failure = node.failed() => Err(Error::from(failure)),
        () = tasks.broken() => Err(Error::Broken("a listener".to_owned())),
    };
    let signal = match ended {
        Ok(signal) => signal,
        Err(error) => {
            gate.drain();
            tasks.stop(Instant::now() + AFTER_FAILURE).await;
            return Err(error);
        }
    };
    // Before anybody is told, so that who hears of it finds it so.
    gate.drain();
    tracing::info!(signal, "stopping");
    tokio::select! {
        stopped = stop(&config, &tasks, node, history, socket) => stopped,
        _ = signals.another() => Err(Error::Interrupted),
    }
}

/// Reads the configuration again at each SIGHUP. Secrets and certificates need none: they are read again each second.
async fn follow_hang_ups(
    mut hang_ups: HangUps,
    mut loaded: Loaded,
    reread: Reread,
    stopped: impl Future<Output = ()>,
) {
    let reread = Arc::new(reread);
    let mut stopped = std::pin::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => return,
            () = hang_ups.next() => {}
        }
        let again = Arc::clone(&reread);
        match tokio::task::spawn_blocking(move || again()).await {
            Ok(Ok(new)) => {
                change(&loaded, &new);
                loaded = new;
            }
            Ok(Err(error)) => {
                tracing::warn!(error, "SIGHUP: the configuration is wrong, and nothing of it is used");
            }
            Err(panic) => tracing::warn!(error = %panic, "SIGHUP: the configuration was not read again"),
        }
    }
}

/// Takes over what can be changed under way, and names what cannot.
fn change(old: &Loaded, new: &Loaded) {
    let level = &new.config.telemetry.level;
    if let Err(error) = telemetry::set_level(level) {
        tracing::warn!(error, "SIGHUP: the log level stays as it was");
    }
    let mut waiting = old.differences(new);
    waiting.retain(|key| *key != LOG_LEVEL);
    let waiting = waiting.join(", ");
    tracing::info!(level, at_the_next_start = waiting, "SIGHUP: the configuration was read again");
}

/// Notes the node's figures now and then.
async fn sample(gate: Arc<Gate>, every: Duration, stopped: impl Future<Output = ()>) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut stopped = std::pin::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => return,
            _ = ticks.tick() => {}
        }
        if let Ok(kv) = gate.kv() {
            kv.sample();
        }
    }
}

/// Binds the listeners; they answer from now on.
async fn listen(config: &Config, gate: &Arc<Gate>, tasks: &Tasks) -> Result<(), Error> {
    let address = config.http.listen;
    let mut http = config.http.clone();
    // A page of another site cannot have the name of this machine: nobody else has it.
    http.hosts.add(&rustix::system::uname().nodename().to_string_lossy());
    let server = Server::bind(http).await.map_err(|source| Error::Listen { address, source })?;
    tracing::info!(address = %server.address(), version = env!("CARGO_PKG_VERSION"), "http listens");
    listen_to_probes(config, gate, tasks).await?;
    let (gate, stopped, patience) = (Arc::clone(gate), tasks.stopped(), config.shutdown.deadline);
    tasks.spawn("http", server.serve(gate, stopped, patience));
    Ok(())
}

async fn listen_to_probes(config: &Config, gate: &Arc<Gate>, tasks: &Tasks) -> Result<(), Error> {
    let Some(address) = config.http.ops_listen else { return Ok(()) };
    let probes = Server::bind_probes(address, config.http.clone()).await;
    let probes = probes.map_err(|source| Error::Listen { address, source })?;
    tracing::info!(address = %probes.address(), "ops listens");
    let (gate, stopped) = (Arc::clone(gate), tasks.stopped());
    tasks.spawn("ops", probes.serve_probes(gate, stopped, Duration::ZERO));
    Ok(())
}

/// Lets the node be administered from its own machine. Called when the directory is this process's. Without it a node serves all
/// the same: not every file system knows sockets.
fn administer(config: &Config, gate: &Arc<Gate>, tasks: &Tasks) -> Option<SocketName> {
    let (listener, name) = match listen_at(&config.data_dir, ADMIN_SOCKET) {
        Ok(listening) => listening,
        Err(error) => {
            let socket = config.data_dir.join(ADMIN_SOCKET);
            tracing::warn!(%error, socket = %socket.display(), "cannot be administered over a socket, only over the API");
            return None;
        }
    };
    let (local, stopped, patience) =
        (Local::new(Arc::clone(gate)), tasks.stopped(), config.shutdown.deadline);
    tasks.spawn("local", local.serve(listener, config.http.clone(), stopped, patience));
    Some(name)
}

fn open(config: &Config, raft: &Handle, disk: &Arc<dyn Disk>) -> JoinHandle<Result<Node, OpenError>> {
    raft.spawn(Node::open(Options {
        data_dir: config.data_dir.clone(),
        raft: config.raft,
        wal: config.wal,
        wal_keep_bytes: config.wal_keep_bytes,
        snapshot: config.snapshot,
        peer: config.peer.clone(),
        max_level: config.max_level,
        state_hash_every: config.state_hash_every,
        seed: config.seed,
        restore_from: config.restore_from.clone(),
        clock: Arc::new(SystemClock),
        disk: Arc::clone(disk),
        turns: Arc::new(Yielding),
    }))
}

async fn stop(
    config: &Config,
    tasks: &Tasks,
    node: Node,
    history: History,
    socket: Option<SocketName>,
) -> Result<(), Error> {
    let deadline = Instant::now() + config.shutdown.deadline;
    tokio::time::sleep(config.shutdown.drain).await;
    let requests = deadline - CLOSING.min(config.shutdown.deadline / 2);
    if !tasks.stop(requests).await {
        tracing::warn!("some requests did not end in time and were cut off");
    }
    // While the directory is locked: afterwards it may be another's.
    drop(socket);
    tokio::time::timeout_at(deadline, node.close()).await.map_err(|_| Error::Deadline)??;
    // It is not worth a late end.
    let _ = tokio::time::timeout_at(deadline, tokio::task::spawn_blocking(move || history.close())).await;
    tracing::info!("stopped");
    Ok(())
}

/// Says at the start what an operator should know.
fn report(config: &Config, node: &Node, disk: &dyn Disk) {
    let store = node.store_status();
    if !store.is_initialized {
        // It joins, and has no settings yet.
        return;
    }
    let (seed, is) = (config.seed, (store.max_bytes, store.max_keys, store.eviction, store.max_value_bytes));
    if is != (seed.max_bytes, seed.max_keys, seed.eviction, seed.max_value_bytes) {
        tracing::warn!(
            max_bytes = store.max_bytes,
            max_keys = store.max_keys,
            eviction = store.eviction.name(),
            max_value_bytes = store.max_value_bytes,
            "the configuration's store.* differ from the cluster's settings, which count; store.* only seed a new one"
        );
    }
    let Some(limit) = memory_limit_bytes(disk) else { return };
    let most = limit / 100 * MEMORY_SHARE_PERCENT;
    if store.max_bytes == 0 {
        tracing::warn!(
            limit_bytes = limit,
            "memory is limited by a control group, and store.max_bytes is not set"
        );
    } else if store.max_bytes > most {
        tracing::warn!(
            limit_bytes = limit,
            max_bytes = store.max_bytes,
            advised_bytes = most,
            "store.max_bytes leaves too little of the control group's memory limit for everything else"
        );
    }
}
