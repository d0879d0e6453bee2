//! Start-up: what is on disk becomes a node that serves.
//!
//! ```text
//! lock -> listening to peers -> identity (new: formed or admitted) -> newest snapshot -> WAL -> raft core -> serving
//!      alone: -> elected -> everything in the log applied -> (new cluster: seeded) -> serving
//! ```

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Duration, Instant};

use super::backup::Readers;
use super::barrier::Barrier;
use super::batcher::Batcher;
use super::cluster_time::ClusterTime;
use super::formation::{Formation, Lobby, PeerName};
use super::forward::Forwarder;
use super::health::{Health, dead};
use super::identity::random_id;
use super::ignition::{Unled, begin, core, died, led, spawn_tasks};
use super::lead::Lead;
use super::leader::Leader;
use super::ledger::Ledger;
use super::log_store::LogStore;
use super::machine::Machine;
use super::maintenance::{LastSnapshot, Maintenance};
use super::members::{Members, MembersConfig};
use super::node::{Node, Parts};
use super::options::Options;
use super::peer::{Desk, Guard, Listener, Me, Peers, Reception, Roster, Secret, Tls};
use super::proposal::Pending;
use super::recovery::{Claimed, Recovered, Recovery, claim, recover};
use super::replica::Replica;
use super::restore::Beginning;
use super::snapshots::Snapshots;
use super::time_note::{TimeNote, noted};
use super::touches::Touches;
use super::transport::Transport;
use super::types::TypeConfig;
use super::{OpenError, config};
use crate::disk::Ballast;
use crate::model::Level;
use crate::shutdown::Tasks;
use crate::wal::Wal;

/// How long tasks are waited for when a start has failed.
const STOPPING: Duration = Duration::from_secs(30);

/// How the node meets others.
struct Meeting {
    secret: Arc<Secret>,
    desk: Arc<Desk>,
    lobby: Arc<Lobby>,
    boot: u128,
    advertise: String,
    transport: Option<Arc<dyn Transport>>,
    tls: Option<Arc<Tls>>,
    tasks: Tasks,
}

impl Node {
    /// Opens the node in `options.data_dir`. A new directory becomes a member of the cluster that its seeds are in or
    /// create; without seeds the sole voter of a new one. Returns when the node can be asked. Must be called on the runtime on
    /// which raft is to live.
    ///
    /// # Errors
    /// See [`OpenError`]. A refusal changes neither log nor snapshots.
    pub async fn open(options: Options) -> Result<Node, OpenError> {
        Node::open_over(options, None).await
    }

    /// As [`Node::open`], with what carries connections to peers instead of TCP.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_over(
        options: Options,
        transport: Option<Arc<dyn Transport>>,
    ) -> Result<Node, OpenError> {
        let options = Arc::new(options);
        let mut claimed = blocking(&options, claim).await?;
        if let Some(doubted) = claimed.doubted.take_if(|_| !options.peer.has_others()) {
            return Err(doubted.error);
        }
        let meeting = meet(&options, &claimed, transport).await?;
        let tasks = meeting.tasks.clone();
        let opened = enter(&options, claimed, meeting).await;
        if opened.is_err() {
            // The address is free again for the next try.
            tasks.stop(Instant::now() + STOPPING).await;
        }
        opened
    }
}

/// Gets the node into a cluster, if it is in none yet, and starts it.
async fn enter(options: &Arc<Options>, claimed: Claimed, meeting: Meeting) -> Result<Node, OpenError> {
    let identity = match claimed.known {
        Some(identity) => identity,
        None => {
            let Meeting { lobby, secret, boot, transport, .. } = &meeting;
            let (lobby, secret, transport) = (Arc::clone(lobby), Arc::clone(secret), transport.clone());
            let beginning = beginning(options);
            let formation = Formation { lobby, secret, boot: *boot, transport, beginning };
            match &claimed.doubted {
                None => formation.run().await?.identity,
                Some(doubted) => {
                    let formed = formation.replace(doubted.identity).await;
                    let directory = claimed.directory.clone();
                    blocking(options, move |_| directory.replace()).await?;
                    formed.identity
                }
            }
        }
    };
    let recovered = blocking(options, move |options| recover(options, claimed, identity)).await?;
    meeting.lobby.entered(identity.cluster);
    start(options, recovered, meeting).await
}

/// What a cluster begins with that this node creates.
fn beginning(options: &Options) -> Option<Beginning> {
    let what = options.restore_from.clone()?;
    Some(Beginning { what, wal: options.wal, clock: Arc::clone(&options.clock) })
}

/// Does what waits for a disk away from the runtime.
async fn blocking<T: Send + 'static>(
    options: &Arc<Options>,
    work: impl FnOnce(&Options) -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    let options = Arc::clone(options);
    let done = tokio::task::spawn_blocking(move || work(&options)).await;
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// Listens to peers from now on, and tells them what this node is.
async fn meet(
    options: &Options,
    claimed: &Claimed,
    transport: Option<Arc<dyn Transport>>,
) -> Result<Meeting, OpenError> {
    let config = &options.peer;
    let secret = Secret::load(&options.disk, config.secret_file.clone()).map_err(OpenError::Secret)?;
    let secret = Arc::new(secret);
    let tls = match &config.tls {
        Some(files) => {
            let clock = Arc::clone(&options.clock);
            Some(Tls::load(&options.disk, files.clone(), clock).map_err(OpenError::Tls)?)
        }
        None => None,
    };
    let transport = tls.clone().map(|tls| -> Arc<dyn Transport> { tls }).or(transport);
    let listener = match config.listen {
        Some(address) => {
            let bound = Listener::bind(address, transport.as_ref()).await;
            Some(bound.map_err(|source| OpenError::Listen { address, source })?)
        }
        None => None,
    };
    let own = listener.as_ref().map(|listener| listener.address().to_string());
    let advertise = config.advertise.clone().or(own).unwrap_or_default();
    let incarnation = match &claimed.known {
        Some(identity) => identity.incarnation,
        None if claimed.doubted.is_some() => claimed.directory.begin_again()?,
        None => claimed.directory.begin()?.incarnation,
    };
    let name = PeerName {
        advertise: advertise.clone(),
        seeds: config.seeds.clone(),
        learner: config.learner,
        max_level: options.max_level,
    };
    let may_promise = claimed.doubted.is_none();
    let lobby = Lobby::new(name, incarnation, claimed.directory.clone(), may_promise);
    if let Some(identity) = claimed.known {
        lobby.entered(identity.cluster);
    }
    let desk = Arc::new(Desk::new(Arc::clone(&lobby)));
    let tasks = Tasks::new();
    if let Some(listener) = listener {
        tracing::info!(address = %listener.address(), advertise, "listens to peers");
        let stopped = tasks.stopped();
        tasks.spawn("peers", listener.serve(Arc::clone(&desk), Arc::clone(&secret), stopped));
    }
    Ok(Meeting { secret, desk, lobby, boot: random_id(), advertise, transport, tls, tasks })
}

/// A raft core, and what it stands on.
struct Core {
    raft: Raft,
    replica: Arc<Replica>,
    snapshots: Snapshots,
    purged: watch::Receiver<Option<u64>>,
    ledger: Arc<Ledger>,
    time: Arc<ClusterTime>,
    roster: Roster,
    /// The only voter, if this node is that.
    is_alone: bool,
    /// The level of a cluster that is created.
    first_level: Level,
}

async fn start_core(
    options: &Options,
    recovered: &mut Recovered,
    meeting: &Meeting,
) -> Result<Core, OpenError> {
    let (identity, wal) = (recovered.identity, &recovered.wal);
    let Recovery { store, applied, current } = std::mem::take(&mut recovered.recovery);
    let pending = Arc::new(Pending::default());
    let membership = applied.membership.clone();
    let bounds = (options.max_level, options.state_hash_every);
    let replica = Arc::new(Replica::new(store, applied, Arc::clone(&pending), wal.clone(), bounds));
    let side_buffer = usize::try_from(options.snapshot.side_buffer_bytes).unwrap_or(usize::MAX);
    let snapshots = Snapshots::new(recovered.folder.clone(), identity.cluster, side_buffer, current)
        .map_err(|error| OpenError::io(recovered.directory.snapshots(), error))?;
    let me = Me {
        cluster: identity.cluster,
        node: identity.node,
        incarnation: identity.incarnation,
        boot: meeting.boot,
    };
    let guard = Guard::new(me, Duration::from_millis(options.raft.election_max_ms));
    let levels = (options.max_level, replica.level_cell());
    let paths = (Arc::clone(&meeting.secret), meeting.transport.clone());
    let roster = Roster::new(me, levels, paths, guard);
    roster.learn(&membership);
    let noted = noted(&recovered.directory, identity.cluster);
    let time = Arc::new(ClusterTime::new(Arc::clone(&options.clock), noted));
    let log = LogStore::new(wal.clone(), pending);
    let (purged, ledger) = (log.watch_purged(), log.ledger());
    let machine = Machine::new(Arc::clone(&replica), snapshots.clone(), Arc::clone(&options.turns));
    let settings = Arc::new(config::openraft(&options.raft).validate().map_err(core)?);
    let peers = Peers {
        roster: roster.clone(),
        time: Arc::clone(&time),
        ledger: Arc::clone(&ledger),
        snapshots: snapshots.clone(),
    };
    let built = openraft::Raft::build(identity.node, settings, peers, log, machine).await;
    let raft = built.map_err(|error| replica.refusal.get().cloned().map_or(core(error), died))?;
    raft.run();
    let first_level = recovered.directory.first_level()?;
    let begun = tokio::select! {
        biased;
        failure = dead(&raft, &replica) => Err(died(failure)),
        begun = begin(&raft, &recovered.directory, identity, &meeting.advertise) => begun,
    };
    match begun {
        Ok(is_alone) => {
            Ok(Core { first_level, raft, replica, snapshots, purged, ledger, time, roster, is_alone })
        }
        Err(error) => {
            stop_early(&raft, wal).await;
            Err(error)
        }
    }
}

async fn start(options: &Options, mut recovered: Recovered, meeting: Meeting) -> Result<Node, OpenError> {
    let core = start_core(options, &mut recovered, &meeting).await?;
    let (raft, replica, snapshots) = (core.raft.clone(), Arc::clone(&core.replica), core.snapshots.clone());
    let (time, is_alone) = (Arc::clone(&core.time), core.is_alone);
    let Recovered { directory, lock, identity, wal, .. } = recovered;
    let Assembled { maintenance, barrier, closing, quiet_until } = assemble(options, core, &wal, meeting);
    let health = Arc::new(Health::default());
    let (of_note, replica_of_note) = (Arc::clone(&time), Arc::clone(&replica));
    let time_note = Arc::new(TimeNote::new(directory.clone(), identity.cluster, of_note, replica_of_note));
    spawn_tasks(&maintenance, &health, &directory, &time_note, quiet_until);
    if is_alone && let Err(error) = led(&maintenance, &health).await {
        maintenance.batcher.close();
        maintenance.tasks.stop(Instant::now() + STOPPING).await;
        stop_early(&maintenance.raft, &wal).await;
        return Err(match error {
            Unled::Full => OpenError::NoSpace(options.data_dir.clone()),
            Unled::Died(failure) => died(failure),
        });
    }
    Ok(Node::new(Parts {
        identity,
        raft,
        replica,
        batcher: Arc::clone(&maintenance.batcher),
        touches: Arc::clone(&maintenance.touches),
        time,
        time_note,
        tasks: maintenance.tasks.clone(),
        snapshots,
        health,
        wal,
        directory,
        lock: parking_lot::Mutex::new(Some(lock)),
        closing,
        leader: Arc::clone(&barrier.leader),
        barrier,
        forwarder: Arc::clone(&maintenance.forwarder),
        members: Arc::clone(&maintenance.members),
        maintenance,
        runtime: Handle::current(),
    }))
}

/// The parts of a node, put together and not running yet.
struct Assembled {
    maintenance: Arc<Maintenance>,
    barrier: Arc<Barrier>,
    closing: Arc<AtomicBool>,
    /// Until then this node votes for nobody.
    quiet_until: Option<Instant>,
}

/// Puts the parts together; peers are answered from now on.
fn assemble(options: &Options, core: Core, wal: &Wal, meeting: Meeting) -> Assembled {
    let Core { raft, replica, snapshots, purged, ledger, time, roster, is_alone, first_level } = core;
    let Meeting { desk, tasks, advertise, tls, .. } = meeting;
    let node = roster.me().node;
    let touches = Arc::new(Touches::default());
    let batcher = Arc::new(Batcher::new(Arc::clone(&touches), wal.clone()));
    let lead = Arc::new(Lead {
        raft: raft.clone(),
        node,
        replica: Arc::clone(&replica),
        batcher: Arc::clone(&batcher),
        time: Arc::clone(&time),
        ledger: Arc::clone(&ledger),
        roster: roster.clone(),
        seed: options.seed,
        first_level,
        unseeded: watch::Sender::new(None),
    });
    let election = Duration::from_millis(options.raft.election_max_ms);
    let leader = Leader::new(raft.clone(), node, Arc::clone(&batcher), roster.clone(), Arc::clone(&ledger));
    let leader = Arc::new(leader.silent_after(election));
    let (of_reads, of_time) = (Arc::clone(&replica), Arc::clone(&time));
    let barrier = Barrier::new(Arc::clone(&leader), Arc::clone(&ledger), of_reads, of_time, election);
    let barrier = Arc::new(barrier);
    // A sole voter has promised nothing to anybody else.
    let quiet_until = (!is_alone && ledger.promised().is_some()).then(|| Instant::now() + election);
    let config = members_config(options, advertise);
    let members = Arc::new(Members::new(leader, ledger, Arc::clone(&replica), config));
    let closing = Arc::new(AtomicBool::new(false));
    desk.open(Reception {
        roster,
        raft: raft.clone(),
        barrier: Arc::clone(&barrier),
        members: Arc::clone(&members),
        touches: Arc::clone(&touches),
        snapshots: snapshots.clone(),
        wal: wal.clone(),
        quiet_until,
        refuses_entries: Arc::default(),
        closing: Arc::clone(&closing),
    });
    let carried_bytes = wal.stats().bytes.saturating_sub(options.wal_keep_bytes);
    let level = replica.level_cell();
    let maintenance = Maintenance {
        raft,
        replica,
        batcher,
        touches,
        time,
        last: LastSnapshot::new(snapshots.index().unwrap_or(0), carried_bytes),
        snapshots,
        readers: Readers::new(),
        tasks,
        wal: wal.clone(),
        purged,
        config: options.snapshot,
        keep_bytes: options.wal_keep_bytes,
        lead,
        members,
        forwarder: Arc::new(Forwarder::new(level)),
        tls,
        leader_seen: parking_lot::Mutex::default(),
        ballast: Ballast::new(Arc::clone(&options.disk), &options.data_dir),
    };
    Assembled { maintenance: Arc::new(maintenance), barrier, closing, quiet_until }
}

fn members_config(options: &Options, advertise: String) -> MembersConfig {
    MembersConfig {
        replace_after: options.peer.replace_after,
        advertise,
        seeds: options.peer.seeds.clone(),
        level_auto_raise_after: options.peer.level_auto_raise_after,
        hand_over_after: options.peer.hand_over_after,
    }
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
