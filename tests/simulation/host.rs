//! One machine of the simulation: its disk, its clocks, and the process on it, which comes and goes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kvorum::disk::{Disk, Faulty};
use kvorum::model::{Level, Settings};
use kvorum::raft::{Config, Failure, Node, OpenError, Options, PeerConfig, Retired, SnapshotConfig, Turns};
use kvorum::wal;
use parking_lot::Mutex;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use crate::clock::SimClock;
use crate::disk::SlowDisk;
use crate::history::History;
use crate::net::Net;
use crate::processor::Processor;
use crate::quiet::Threads;
use crate::random::Random;

/// Where every data directory is, each on the disk of its own host.
pub(crate) const DATA: &str = "/data";

/// The port of host 0.
const PORT: u16 = 7_000;

/// Longest time of a sync on a healthy disk, in microseconds.
pub(crate) const SYNC_US: u64 = 2_000;

/// How a process ends without having been asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// Killed: what it had written stays, synced or not. Its peers are told by the system.
    Kill,
    /// The machine lost its power: what was not synced is lost at random, and nobody is told.
    Power,
}

/// A process that is alive.
pub(crate) struct Life {
    pub(crate) disk: SlowDisk,
    /// The node, once it has opened.
    pub(crate) node: Arc<Mutex<Option<Node>>>,
    /// Its end: nothing that it says afterwards is heard.
    pub(crate) over: CancellationToken,
    pub(crate) since: Instant,
}

/// A machine.
pub(crate) struct Host {
    pub(crate) number: usize,
    pub(crate) clock: SimClock,
    pub(crate) processor: Arc<Processor>,
    pub(crate) latency_us: Arc<AtomicU64>,
    pub(crate) seeds: Vec<String>,
    pub(crate) learner: bool,
    /// What is on the disk while no process runs.
    image: Mutex<Faulty>,
    life: Mutex<Option<Life>>,
    random: Mutex<Random>,
    net: Net,
    threads: Threads,
    history: History,
}

/// What all hosts of a simulation share.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) net: Net,
    pub(crate) threads: Threads,
    pub(crate) history: History,
    pub(crate) begin: Instant,
}

/// Where host `number` listens.
pub(crate) fn address(number: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], PORT + number as u16))
}

fn number_of(address: SocketAddr) -> usize {
    usize::from(address.port() - PORT)
}

impl Host {
    pub(crate) fn new(
        number: usize,
        seeds: &[usize],
        learner: bool,
        world: &World,
        mut random: Random,
    ) -> Arc<Host> {
        let clock = SimClock::new(world.begin, random.millis(0, 10_000_000));
        Arc::new(Host {
            number,
            clock,
            processor: Arc::new(Processor::new(random.fork(2))),
            latency_us: Arc::new(AtomicU64::new(SYNC_US)),
            seeds: seeds.iter().map(|seed| address(*seed).to_string()).collect(),
            learner,
            image: Mutex::new(Faulty::new()),
            life: Mutex::new(None),
            random: Mutex::new(random),
            net: world.net.clone(),
            threads: world.threads.clone(),
            history: world.history.clone(),
        })
    }

    fn options(&self, disk: &SlowDisk) -> Options {
        Options {
            data_dir: DATA.into(),
            raft: Config::default(),
            wal: wal::Config { segment_bytes: 64 << 10, cache_bytes: 32 << 10, ..wal::Config::default() },
            wal_keep_bytes: 0,
            snapshot: SnapshotConfig { every_s: 1_000_000, ..SnapshotConfig::default() },
            peer: PeerConfig {
                listen: Some(address(self.number)),
                seeds: self.seeds.clone(),
                learner: self.learner,
                replace_after: Duration::from_secs(3),
                ..PeerConfig::default()
            },
            seed: Settings::default(),
            restore_from: None,
            max_level: Level::LATEST,
            state_hash_every: 8,
            clock: Arc::new(self.clock.clone()),
            disk: Arc::new(disk.clone()),
            turns: Arc::clone(&self.processor) as Arc<dyn Turns>,
        }
    }

    /// The node, if it serves.
    pub(crate) fn node(&self) -> Option<(Node, CancellationToken)> {
        let life = self.life.lock();
        let life = life.as_ref()?;
        let node = life.node.lock().clone()?;
        Some((node, life.over.clone()))
    }

    pub(crate) fn is_up(&self) -> bool {
        self.life.lock().is_some()
    }

    /// For how long the present process has lived.
    pub(crate) fn age(&self) -> Duration {
        self.life.lock().as_ref().map_or(Duration::ZERO, |life| life.since.elapsed())
    }

    /// Starts a process on what the disk holds.
    pub(crate) fn start(self: &Arc<Self>) {
        let faulty = self.image.lock().clone();
        let random = self.random.lock().fork(1);
        let disk = SlowDisk::new(faulty, self.threads.clone(), random, Arc::clone(&self.latency_us));
        let (node, over) = (Arc::new(Mutex::new(None)), CancellationToken::new());
        let socket = Arc::new(self.net.boot(self.number, number_of));
        let opening = Node::open_over(self.options(&disk), Some(socket));
        self.history.note(format!("host {} starts", self.number));
        let (host, place, end) = (Arc::clone(self), Arc::clone(&node), over.clone());
        tokio::spawn(async move {
            let opened = tokio::select! {
                opened = opening => opened,
                () = end.cancelled() => return,
            };
            match opened {
                Ok(opened) => host.live(opened, &place, &end).await,
                Err(error) => host.refused(&error, &end),
            }
        });
        *self.life.lock() = Some(Life { disk, node, over, since: Instant::now() });
    }

    async fn live(&self, node: Node, place: &Mutex<Option<Node>>, end: &CancellationToken) {
        self.history.note(format!("host {} serves as node {}", self.number, node.status().node.0));
        *place.lock() = Some(node.clone());
        let failure = tokio::select! {
            biased;
            () = end.cancelled() => None,
            failure = node.failed() => Some(failure),
        };
        match failure {
            Some(Failure::Retired(why)) => self.retire(why),
            Some(failure) => {
                self.history.wrong("alive", format!("host {} cannot go on: {failure}", self.number));
                end.cancelled().await;
            }
            None => {}
        }
        *place.lock() = None;
        // What it says on a disk that is off does not matter; its tasks and threads are to end.
        let _ = node.close().await;
    }

    fn refused(&self, error: &OpenError, end: &CancellationToken) {
        match error {
            _ if end.is_cancelled() => {}
            OpenError::Retired(_, why) => self.retire(*why),
            _ => self.history.wrong("starts", format!("host {} refuses to start: {error}", self.number)),
        }
    }

    /// The node is no member any more. Somebody empties the directory: one that left would set aside what it has by itself,
    /// but the faulty disk does not move directories.
    fn retire(&self, why: Retired) {
        self.crash(Crash::Kill);
        self.history.note(format!("host {} is no member any more: {why}", self.number));
        self.wipe();
    }

    /// Ends the process at once.
    pub(crate) fn crash(&self, crash: Crash) {
        let Some(life) = self.life.lock().take() else { return };
        self.history.note(format!("host {} crashes: {crash:?}", self.number));
        self.net.kill(self.number, crash == Crash::Power);
        life.over.cancel();
        *life.node.lock() = None;
        let image = match crash {
            Crash::Kill => life.disk.faulty.after_kill(),
            Crash::Power => life.disk.faulty.after_power_cut(self.random.lock().next()),
        };
        *self.image.lock() = image;
        life.disk.cut();
    }

    /// Stops the process as it should be stopped. What was on its disk then stays.
    pub(crate) async fn stop(&self) {
        let Some((node, _)) = self.node() else { return };
        self.history.note(format!("host {} stops", self.number));
        let Some(life) = self.life.lock().take() else { return };
        life.disk.free();
        if let Err(failure) = node.close().await {
            self.history.wrong("stops", format!("host {}: {failure}", self.number));
        }
        *self.image.lock() = life.disk.faulty.after_kill();
        *life.node.lock() = None;
        life.over.cancel();
    }

    /// The disk is lost, while no process runs.
    pub(crate) fn wipe(&self) {
        self.history.note(format!("the disk of host {} is lost", self.number));
        *self.image.lock() = Faulty::new();
    }

    /// What is on the disk while no process runs.
    pub(crate) fn image(&self) -> Faulty {
        self.image.lock().clone()
    }

    pub(crate) fn set_latency(&self, most_us: u64) {
        self.latency_us.store(most_us, Ordering::SeqCst);
    }

    /// Somebody else takes all the space that is left on the disk.
    pub(crate) fn fill_disk(&self) {
        if let Some(life) = self.life.lock().as_ref() {
            let space = life.disk.space(Path::new(DATA)).expect("the faulty disk knows");
            life.disk.faulty.set_capacity(Some(space.size_bytes - space.free_bytes));
        }
    }

    /// There is space again, whatever process runs by now.
    pub(crate) fn free_disk(&self) {
        self.history.note(format!("the disk of host {} has space again", self.number));
        if let Some(life) = self.life.lock().as_ref() {
            life.disk.faulty.set_capacity(None);
        }
        self.image.lock().set_capacity(None);
    }

    /// The directory of the log.
    pub(crate) fn wal_dir() -> &'static Path {
        Path::new("/data/wal")
    }
}
