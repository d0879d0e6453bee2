//! A raft core comes to life: the cluster begins if this node creates it, and the node's tasks run.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::{Duration, Instant};

use super::health::Health;
use super::identity::{Directory, FIRST_NODE};
use super::machine::Machine;
use super::maintenance::Maintenance;
use super::standing;
use super::time_note::TimeNote;
use super::types::{Member, TypeConfig};
use super::{Failure, OpenError, WriteError};
use crate::wal;

/// How often a start looks whether its node leads.
const LOOKING: Duration = Duration::from_millis(10);

type Raft = openraft::Raft<TypeConfig, Machine>;

/// Begins the cluster if this node creates it. Returns whether it is the only voter; then it is elected at once.
pub(super) async fn begin(
    raft: &Raft,
    directory: &Directory,
    identity: wal::Identity,
    advertise: &str,
) -> Result<bool, OpenError> {
    let is_creator = identity.node == FIRST_NODE;
    if is_creator && !raft.is_initialized().await.map_err(core)? {
        let mut founders = directory.founders()?;
        if founders.is_empty() {
            let (incarnation, advertise) = (identity.incarnation, advertise.to_owned());
            founders.insert(identity.node, Member { incarnation, advertise, learner: false });
        }
        raft.initialize(founders).await.map_err(core)?;
    }
    let own = identity.node;
    let alone = raft.with_raft_state(move |state| {
        let configs = state.membership_state.effective().get_joint_config();
        matches!(configs.as_slice(), [only] if only.iter().eq([&own]))
    });
    let is_alone = alone.await.map_err(core)?;
    if is_alone {
        raft.trigger().elect(false).await.map_err(core)?;
    }
    Ok(is_alone)
}

/// Why a sole voter does not lead.
pub(super) enum Unled {
    /// The disk has no room for its first entry.
    Full,
    Died(Failure),
}

/// Waits until a sole voter leads, has applied its log, and its cluster has settings.
pub(super) async fn led(maintenance: &Maintenance, health: &Health) -> Result<(), Unled> {
    let mut unseeded = maintenance.lead.unseeded.subscribe();
    loop {
        if maintenance.batcher.term().is_some() {
            // It knows that nobody can depose it before it is asked for the first time.
            maintenance.members.keep().await;
            return Ok(());
        }
        if *unseeded.borrow_and_update() == Some(WriteError::OutOfDisk) {
            return Err(Unled::Full);
        }
        let progress = maintenance.replica.wait_until(|_| maintenance.batcher.term().is_some());
        tokio::select! {
            () = progress => {}
            () = tokio::time::sleep(LOOKING) => {}
            failure = health.failed() => return Err(Unled::Died(failure)),
            _ = unseeded.changed() => {}
        }
    }
}

pub(super) fn spawn_tasks(
    maintenance: &Arc<Maintenance>,
    health: &Arc<Health>,
    directory: &Directory,
    time_note: &Arc<TimeNote>,
    quiet_until: Option<Instant>,
) {
    let tasks = &maintenance.tasks;
    let node = Arc::clone(maintenance);
    tasks.spawn("raft-batcher", async move {
        node.batcher.run(node.raft.clone(), Arc::clone(&node.time), Arc::clone(&node.replica)).await;
        // It ends with the core, which the health task reports with its reason.
        node.tasks.stopped().await;
    });
    let node = Arc::clone(maintenance);
    tasks.spawn("raft-lead", async move {
        tokio::select! {
            () = node.lead.run() => {}
            () = node.tasks.stopped() => {}
        }
        node.tasks.stopped().await;
    });
    let node = Arc::clone(maintenance);
    tasks.spawn("raft-forwarder", async move {
        tokio::select! {
            () = node.forwarder.run() => {}
            () = node.tasks.stopped() => {}
        }
        node.tasks.stopped().await;
    });
    if let Some(until) = quiet_until {
        // What this node promised before its restart holds for its own candidacy too.
        maintenance.raft.runtime_config().elect(false);
        let node = Arc::clone(maintenance);
        tasks.spawn("raft-quiet", async move {
            tokio::time::sleep_until(until).await;
            node.raft.runtime_config().elect(true);
            // One whose state was found wrong meanwhile stands for no election.
            if node.replica.diverged.load(Ordering::SeqCst) {
                node.raft.runtime_config().elect(false);
            }
            node.tasks.stopped().await;
        });
    }
    let (members, directory) = (Arc::clone(&maintenance.members), directory.clone());
    let (own, health_of_node) = (tasks.clone(), Arc::clone(health));
    tasks.spawn("raft-standing", async move {
        tokio::select! {
            () = standing::watch(members, directory, health_of_node) => {}
            () = own.stopped() => {}
        }
        own.stopped().await;
    });
    tasks.spawn("raft-time-note", Arc::clone(time_note).keep(tasks.stopped()));
    let node = Arc::clone(maintenance);
    tasks.spawn("raft-expiry", async move { node.expire().await });
    let node = Arc::clone(maintenance);
    tasks.spawn("raft-relief", async move { node.relieve().await });
    let node = Arc::clone(maintenance);
    tasks.spawn("raft-disks", async move { node.watch_disks().await });
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

/// What did not live long enough to serve.
pub(super) fn died(failure: Failure) -> OpenError {
    match failure {
        Failure::LevelTooHigh(what) => OpenError::LevelTooHigh(what),
        Failure::Core(what) => OpenError::Core(what),
        other => core(other),
    }
}

pub(super) fn core(error: impl std::fmt::Display) -> OpenError {
    OpenError::Core(error.to_string())
}
