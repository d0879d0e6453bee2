//! Operations on the cluster: who its members are, who leads, what they have agreed on.

use tokio::time::Instant;

use super::error::Error;
use super::kv::Kv;
use crate::model::limits::MAX_VALUE_BYTES;
use crate::model::{Command, Level, Mode, NodeId, Outcome, Principal, Settings, SettingsChange, Transaction};
use crate::raft::{Cluster, Consistency, Status, check_address};

/// Most voters that can be wanted.
pub const MAX_VOTERS: u64 = 31;

/// A node's place in its cluster, and the cluster as the leader sees it.
#[derive(Debug)]
pub struct ClusterView {
    /// The node that was asked.
    pub node: Status,
    /// The cluster.
    pub cluster: Cluster,
}

impl Kv {
    /// The cluster as its leader sees it; as this node does, if no leader tells.
    pub async fn cluster(&self, _principal: &Principal) -> ClusterView {
        let cluster = self.node.cluster().await;
        ClusterView { node: self.node.status(), cluster }
    }

    /// Admits the node that listens to peers at `address` and waits for a cluster. Returns its id.
    pub async fn add_member(&self, _principal: &Principal, address: String) -> Result<NodeId, Error> {
        check_address(&address).map_err(|what| Error::InvalidArgument(format!("{address} {what}")))?;
        Ok(self.node.add_member(address, self.patience()).await?)
    }

    /// Takes a member out for good.
    pub async fn remove_member(&self, _principal: &Principal, node: NodeId) -> Result<(), Error> {
        self.node.remove_member(node, self.patience()).await?;
        Ok(())
    }

    /// Makes a learner a voter.
    pub async fn promote_member(&self, _principal: &Principal, node: NodeId) -> Result<NodeId, Error> {
        Ok(self.node.promote_member(node, self.patience()).await?)
    }

    /// Hands leadership to a voter, or to the one that has most of the log. Returns who leads then.
    pub async fn transfer_leadership(
        &self,
        _principal: &Principal,
        to: Option<NodeId>,
    ) -> Result<NodeId, Error> {
        Ok(self.node.transfer_leadership(to, self.patience()).await?)
    }

    /// Has this node leave the cluster; it ends afterwards.
    pub async fn leave(&self, _principal: &Principal) -> Result<NodeId, Error> {
        self.node.leave(self.patience()).await?;
        Ok(self.node.status().node)
    }

    /// Asks whether this node may stop without the others losing their quorum.
    pub async fn ask_to_stop(&self, _principal: &Principal) -> Result<NodeId, Error> {
        self.node.ask_to_stop(self.patience()).await?;
        Ok(self.node.status().node)
    }

    /// The level in force, and the highest that this node understands.
    pub fn level(&self, _principal: &Principal) -> (Level, Level) {
        let status = self.node.status();
        (status.level, status.max_level)
    }

    /// Raises the level.
    pub async fn raise_level(&self, _principal: &Principal, level: Level) -> Result<(), Error> {
        Ok(self.node.raise_level(level, self.patience()).await?)
    }

    /// The replicated settings, as a linearizable read has them.
    pub async fn settings(&self, _principal: &Principal) -> Result<Settings, Error> {
        self.node.barrier(Consistency::Linearizable, self.patience()).await?;
        Ok(self.node.settings())
    }

    /// Changes replicated settings, and says what they are then.
    pub async fn configure(&self, principal: &Principal, change: SettingsChange) -> Result<Settings, Error> {
        // What this node knows of the level may be old.
        self.node.barrier(Consistency::Linearizable, self.patience()).await?;
        self.check(&change)?;
        let transaction = Transaction {
            mode: Mode::Each,
            principal: principal.clone(),
            checks: Vec::new(),
            commands: vec![Command::Configure(change)],
        };
        match self.node.write(transaction, self.patience()).await?.as_slice() {
            [Outcome::Configured] => self.settings(principal).await,
            _ => Err(Error::unexpected("the outcome of a configure")),
        }
    }

    fn check(&self, change: &SettingsChange) -> Result<(), Error> {
        let invalid = |what: String| Err(Error::InvalidArgument(what));
        if change.max_value_bytes.is_some_and(|bytes| bytes == 0 || bytes > MAX_VALUE_BYTES) {
            return invalid(format!("max_value_bytes is 1 to {MAX_VALUE_BYTES}"));
        }
        if let Some(voters) = change.voters {
            if voters > MAX_VOTERS || voters > 0 && voters.is_multiple_of(2) {
                return invalid(format!(
                    "voters is an odd number up to {MAX_VOTERS}, or 0 for as many as there are"
                ));
            }
            // At a lower level the log has no place for it.
            if self.node.status().level < Level::VOTERS {
                let what = "the setting voters needs level 2: raise the level of the cluster first";
                return Err(Error::Conflict(what.into()));
            }
        }
        Ok(())
    }

    fn patience(&self) -> Instant {
        Instant::now() + self.config.request_timeout
    }
}
