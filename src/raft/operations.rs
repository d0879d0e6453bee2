//! What operators ask of a cluster through any of its nodes.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::identity::Directory;
use super::members::Members;
use super::node::Node;
use super::peer::Task;
use super::standing;
use super::{Cluster, ClusterError, OpenError, Retired};
use crate::model::{Level, NodeId};

impl Node {
    /// The cluster as its leader sees it; as this node does, if no leader tells.
    pub async fn cluster(&self) -> Cluster {
        self.0.members.cluster().await
    }

    /// Admits the node that listens to peers at `address` and waits for a cluster. Returns its id.
    ///
    /// # Errors
    /// See [`ClusterError`]; so of all of these.
    pub async fn add_member(&self, address: String, deadline: Instant) -> Result<NodeId, ClusterError> {
        self.order(Task::Add(address), deadline).await
    }

    /// Takes a member out for good. A leader that is to go hands over first.
    pub async fn remove_member(&self, node: NodeId, deadline: Instant) -> Result<NodeId, ClusterError> {
        self.order(Task::Remove(node.0), deadline).await
    }

    /// Makes a learner a voter.
    pub async fn promote_member(&self, node: NodeId, deadline: Instant) -> Result<NodeId, ClusterError> {
        self.order(Task::Promote(node.0), deadline).await
    }

    /// Hands leadership to a voter, or to the one that has most of the log. Returns who leads then.
    pub async fn transfer_leadership(
        &self,
        to: Option<NodeId>,
        deadline: Instant,
    ) -> Result<NodeId, ClusterError> {
        self.order(Task::Transfer(to.map_or(0, |to| to.0)), deadline).await
    }

    /// Raises the level. One that is in force already changes nothing.
    pub async fn raise_level(&self, level: Level, deadline: Instant) -> Result<(), ClusterError> {
        self.order(Task::Raise(u32::from(level.0)), deadline).await.map(|_| ())
    }

    /// Leaves the cluster for good; the node then ends with [`Failure::Retired`](super::Failure::Retired), and joins as a
    /// new member when it is started again.
    pub async fn leave(&self, deadline: Instant) -> Result<(), ClusterError> {
        let parts = Arc::clone(&self.0);
        let own = parts.identity.node;
        self.apart(async move {
            on_disk(&parts.directory, Directory::begin_leaving).await?;
            match parts.members.administer(Task::Remove(own), deadline).await {
                Ok(_) | Err(ClusterError::NoSuchMember) => {
                    standing::retire(&parts.directory, &parts.health, Retired::Left).await;
                    Ok(())
                }
                // Where it stands will be known in a moment, and then the mark says that it wanted to go.
                Err(error @ ClusterError::Unknown(_)) => Err(error),
                Err(error) => {
                    on_disk(&parts.directory, Directory::stay).await?;
                    Err(error)
                }
            }
        })
        .await
    }

    /// Asks whether this node may stop without the others losing their quorum. From now on it does not become the leader
    /// if that can be helped; one that leads hands over once it may stop.
    pub async fn ask_to_stop(&self, deadline: Instant) -> Result<(), ClusterError> {
        let own = self.0.identity.node;
        let members = Arc::clone(&self.0.members);
        members.stopping.asks.store(true, Ordering::Relaxed);
        self.apart(async move {
            members.administer(Task::Stop(own), deadline).await?;
            members.stopping.may.store(true, Ordering::Relaxed);
            if members.leader.batcher.term().is_some()
                && let Err(error) = members.hand_over(None, deadline).await
            {
                tracing::info!(%error, "leadership is not handed over before the stop");
            }
            Ok(())
        })
        .await
    }

    async fn order(&self, task: Task, deadline: Instant) -> Result<NodeId, ClusterError> {
        let members: Arc<Members> = Arc::clone(&self.0.members);
        self.apart(async move { members.administer(task, deadline).await }).await.map(NodeId)
    }

    /// Does it in a task of its own: a caller that goes away must not leave half of it.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ClusterError>> + Send + 'static,
    ) -> Result<T, ClusterError> {
        if self.0.closing.load(Ordering::Relaxed) || self.0.health.failure().is_some() {
            return Err(ClusterError::Unavailable);
        }
        let done = self.0.runtime.spawn(work).await;
        done.unwrap_or_else(|error| Err(ClusterError::Unknown(error.to_string())))
    }
}

async fn on_disk(
    directory: &Directory,
    work: impl FnOnce(&Directory) -> Result<(), OpenError> + Send + 'static,
) -> Result<(), ClusterError> {
    let directory = directory.clone();
    let done = tokio::task::spawn_blocking(move || work(&directory)).await;
    let done = done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    done.map_err(|error| {
        tracing::error!(%error, "the mark in the data directory cannot be written");
        ClusterError::Unavailable
    })
}
