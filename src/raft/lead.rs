//! Whether this node leads, and what it does when that changes.
//!
//! A new leader first applies an entry of its own term: then it has applied everything that was ever acknowledged. Only
//! then does it set its time, below nothing that the log has seen, and take transactions. A cluster that has no settings
//! yet is given them before anything else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use openraft::vote::RaftLeaderId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::batcher::Batcher;
use super::cluster_time::ClusterTime;
use super::full_disks::full_disks;
use super::identity::random_id;
use super::ledger::Ledger;
use super::machine::Machine;
use super::peer::Roster;
use super::replica::Replica;
use super::types::TypeConfig;
use super::{Failure, WriteError};
use crate::model::{Command, Level, Settings, Transaction};

/// How long one try to seed a new cluster may take.
const SEEDING: Duration = Duration::from_secs(5);

/// Time between two tries.
const AGAIN: Duration = Duration::from_millis(500);

type Raft = openraft::Raft<TypeConfig, Machine>;

/// Follows raft, and tells the parts of the node.
pub(super) struct Lead {
    pub(super) raft: Raft,
    pub(super) node: u64,
    pub(super) replica: Arc<Replica>,
    pub(super) batcher: Arc<Batcher>,
    pub(super) time: Arc<ClusterTime>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) roster: Roster,
    /// Settings of a cluster that has none.
    pub(super) seed: Settings,
    /// The level at which it begins.
    pub(super) first_level: Level,
    /// Why a new cluster could not be given its settings, if so.
    pub(super) unseeded: watch::Sender<Option<WriteError>>,
}

impl Lead {
    /// The term in which raft says that this node leads.
    fn led(&self) -> Option<u64> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let leads = metrics.state == ServerState::Leader
            && metrics.vote.committed
            && *metrics.vote.leader_id.node_id() == self.node;
        leads.then_some(metrics.vote.leader_id.term)
    }

    /// Follows raft until its core is gone.
    pub(super) async fn run(&self) {
        let mut metrics = self.raft.server_metrics();
        let mut leading = None;
        loop {
            let led = self.led();
            if led != leading {
                if leading.is_some() {
                    self.batcher.follow();
                    self.time.follow();
                    tracing::info!(term = leading, "leads no more");
                }
                leading = led;
            }
            let begin = async {
                match led.filter(|term| self.batcher.term() != Some(*term)) {
                    Some(term) => self.begin(term).await,
                    None => std::future::pending().await,
                }
            };
            let core_lives = async {
                loop {
                    if metrics.changed().await.is_err() {
                        return false;
                    }
                    // Nothing else is a reason to begin anew.
                    if self.led() != led {
                        return true;
                    }
                }
            };
            tokio::select! {
                lives = core_lives => if !lives { return },
                begun = begin => if begun.is_err() { return },
            }
        }
    }

    async fn begin(&self, term: u64) -> Result<(), Failure> {
        self.replica.wait_until(|replica| replica.applied_term() >= term).await;
        let effective = self.raft.with_raft_state(|state| state.membership_state.effective().clone());
        let effective = effective.await.map_err(|error| Failure::Core(error.to_string()))?;
        self.ledger.learn(&effective);
        if self.time.stamp().is_none() {
            self.time.lead(self.replica.now());
            tracing::info!(term, at_ms = self.time.now().0, "leads");
        }
        self.batcher.seed(term);
        while !self.replica.store.read().is_initialized() {
            let initialize = Command::Initialize { hash_seed: random_id(), settings: self.seed };
            let mut transaction = Transaction::single(initialize);
            transaction.commands.push(Command::Raise(self.first_level));
            let deadline = Instant::now() + SEEDING;
            match self.batcher.write(transaction, Vec::new(), deadline).await {
                Ok(_) => self.unseeded.send_replace(None),
                Err(error) => {
                    self.unseeded.send_replace(Some(error));
                    sleep(AGAIN).await;
                    None
                }
            };
        }
        // Those who voted have said how their disks are: what no quorum would store is not proposed.
        let own = (self.node, self.batcher.is_out_of_disk());
        self.batcher.note_quorum(full_disks(&self.ledger, &self.roster, own).is_some());
        self.batcher.lead(term);
        Ok(())
    }

    /// Who may decide, as long as this node leads.
    pub(super) fn voters(&self) -> BTreeSet<u64> {
        self.ledger.membership().map(|membership| membership.voter_ids().collect()).unwrap_or_default()
    }
}
