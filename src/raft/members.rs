//! Who the members are, and how that changes: admission, promotion, replacement, new addresses.
//!
//! Changes are made by the leader, one at a time. Ids are indexes of log entries that were written to get them, so none is
//! ever used twice. A newcomer is a learner until it has caught up; then it becomes a voter by itself, but only so many
//! that their number is odd. A newcomer whose name is that of a voter which has been silent for long takes its place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openraft::async_runtime::WatchReceiver;
use openraft::{ChangeMembers, RaftMetrics};
use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use super::leader::{Leader, Route};
use super::ledger::Ledger;
use super::machine::Machine;
use super::peer::{Ask, Join, Joined, Say};
use super::types::{Member, StoredMembership, TypeConfig};

/// Most members that a cluster begins with. Their ids are 1, 2, 3, ..; later ids are above this.
pub(super) const FOUNDERS_MAX: u64 = 31;

/// A member that lags by no more entries than this has caught up.
const CAUGHT_UP_ENTRIES: u64 = 1_000;

/// A member that was heard in this time is there.
const PRESENT: Duration = Duration::from_secs(2);

/// How long a request that came to another node is relayed to the leader.
const RELAY: Duration = Duration::from_secs(8);

/// Keeps the membership.
pub(super) struct Members {
    pub(super) raft: openraft::Raft<TypeConfig, Machine>,
    pub(super) leader: Arc<Leader>,
    pub(super) ledger: Arc<Ledger>,
    /// How long a voter must be silent before a newcomer of its name replaces it.
    pub(super) replace_after: Duration,
    /// Where peers reach this node.
    pub(super) advertise: String,
    /// Held while the membership changes.
    turn: tokio::sync::Mutex<()>,
    /// Since when this node leads, to know for how long it has listened.
    leads_since: Mutex<Option<(u64, Instant)>>,
}

impl Members {
    pub(super) fn new(
        leader: Arc<Leader>,
        ledger: Arc<Ledger>,
        replace_after: Duration,
        advertise: String,
    ) -> Members {
        let raft = leader.raft.clone();
        let (turn, leads_since) = (tokio::sync::Mutex::default(), Mutex::default());
        Members { raft, leader, ledger, replace_after, advertise, turn, leads_since }
    }

    /// The membership in force, which may not be committed yet.
    async fn effective(&self) -> Result<Arc<StoredMembership>, String> {
        let effective = self.raft.with_raft_state(|state| Arc::clone(state.membership_state.effective()));
        effective.await.map_err(|error| error.to_string())
    }

    /// A node asks to be a member. One that is known already is told its id, by any member.
    pub(super) async fn join(&self, join: Join) -> Joined {
        match self.try_join(join).await {
            Ok(joined) => joined,
            Err(reason) => Joined { cluster: None, node: 0, reason },
        }
    }

    async fn try_join(&self, join: Join) -> Result<Joined, String> {
        let incarnation = u128::from(join.incarnation);
        let effective = self.effective().await?;
        let known = find(&effective, incarnation);
        if let Some((node, member)) = &known
            && member.advertise == join.name
        {
            return Ok(self.joined(*node));
        }
        match self.leader.route() {
            Some(Route::Here(_)) => self.admit(join).await.map(|node| self.joined(node)),
            Some(Route::There(_, way)) if !join.relayed => {
                let relayed = Join { relayed: true, ..join };
                match way.call(Ask::Join(relayed), RELAY).await {
                    Ok(Say::Joined(joined)) => Ok(joined),
                    Ok(_) => Err("the leader answered another question".to_owned()),
                    Err(error) => Err(format!("the leader: {error}")),
                }
            }
            _ => Err("no leader".to_owned()),
        }
    }

    fn joined(&self, node: u64) -> Joined {
        let cluster = self.leader.roster.me().cluster;
        Joined { cluster: Some(cluster.into()), node, reason: String::new() }
    }

    /// Makes a node a member, or notes its new address. Returns its id.
    async fn admit(&self, join: Join) -> Result<u64, String> {
        let _turn = self.turn.lock().await;
        let incarnation = u128::from(join.incarnation);
        let member = Member { incarnation, advertise: join.name, learner: join.learner };
        if member.advertise.is_empty() {
            return Err("it says no address".to_owned());
        }
        let effective = self.effective().await?;
        if let Some((node, known)) = find(&effective, incarnation) {
            if known.advertise != member.advertise {
                self.set(node, Member { learner: known.learner, ..member }).await?;
            }
            return Ok(node);
        }
        let mut node = 0;
        while node <= FOUNDERS_MAX {
            node = self.raft.write_blank().await.map_err(|error| error.to_string())?.log_id.index;
        }
        tracing::info!(node, advertise = member.advertise, "admitting a member");
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(node, member)])), true).await?;
        Ok(node)
    }

    async fn set(&self, node: u64, member: Member) -> Result<(), String> {
        tracing::info!(node, advertise = member.advertise, "a member has a new address");
        self.change(ChangeMembers::SetNodes(BTreeMap::from([(node, member)])), true).await
    }

    /// Changes the membership. Called with the turn.
    async fn change(&self, change: ChangeMembers<u64, Member>, retain: bool) -> Result<(), String> {
        // From here on somebody else may come to decide: reads must ask.
        self.alone().store(false, Ordering::Release);
        let changed = self.raft.change_membership(change, retain).await;
        self.settle().await?;
        changed.map(|_| ()).map_err(|error| error.to_string())
    }

    fn alone(&self) -> &AtomicBool {
        &self.leader.alone
    }

    /// Learns of the membership, and whether this node is the only voter. Called with the turn, or at the start.
    async fn settle(&self) -> Result<(), String> {
        let own = self.leader.node;
        let state = self.raft.with_raft_state(move |state| {
            let (effective, committed) =
                (state.membership_state.effective(), state.membership_state.committed());
            let configs = effective.get_joint_config();
            let alone = effective.log_id() == committed.log_id()
                && matches!(configs.as_slice(), [only] if only.iter().eq([&own]));
            (Arc::clone(effective), alone)
        });
        let (effective, alone) = state.await.map_err(|error| error.to_string())?;
        self.leader.roster.learn(&effective);
        self.ledger.learn(&effective);
        self.alone().store(alone, Ordering::Release);
        Ok(())
    }

    /// Looks after the membership; called about once a second, and when the node begins to lead.
    pub(super) async fn keep(&self) {
        let Some(term) = self.leader.batcher.term() else {
            *self.leads_since.lock() = None;
            if let Ok(effective) = self.effective().await {
                self.leader.roster.learn(&effective);
            }
            return;
        };
        let since = {
            let mut leads_since = self.leads_since.lock();
            match *leads_since {
                Some((since_term, since)) if since_term == term => since,
                _ => leads_since.insert((term, Instant::now())).1,
            }
        };
        let Ok(_turn) = self.turn.try_lock() else { return };
        if let Err(error) = self.keep_in_turn(since).await {
            tracing::warn!(error, "the membership could not be changed; trying again");
        }
    }

    async fn keep_in_turn(&self, since: Instant) -> Result<(), String> {
        self.settle().await?;
        let effective = self.effective().await?;
        let own = self.leader.node;
        if let Some(member) = effective.get_node(&own)
            && member.advertise != self.advertise
        {
            return self.set(own, Member { advertise: self.advertise.clone(), ..member.clone() }).await;
        }
        let metrics = self.raft.metrics().borrow_watched().clone();
        let present = |node: u64| node == own || self.silence(node, since) < PRESENT;
        let ready = |node: u64| present(node) && has_caught_up(&metrics, node);
        let voters: BTreeSet<u64> = effective.voter_ids().collect();
        let newcomers: Vec<(u64, &Member)> = effective
            .nodes()
            .filter(|(id, member)| !voters.contains(id) && !member.learner && ready(**id))
            .map(|(id, member)| (*id, member))
            .collect();
        for (node, member) in &newcomers {
            let replaced = voters.iter().copied().find(|voter| {
                let named =
                    effective.get_node(voter).is_some_and(|known| known.advertise == member.advertise);
                named && self.silence(*voter, since) >= self.replace_after
            });
            if let Some(old) = replaced {
                let voters = voters.iter().copied().filter(|id| *id != old).chain([*node]).collect();
                self.change(ChangeMembers::ReplaceAllVoters(voters), false).await?;
                tracing::info!(old, new = node, name = member.advertise, "a silent member was replaced");
                return Ok(());
            }
        }
        // One that waits to take somebody's place does not become one more.
        let is_double =
            |name: &str| voters.iter().any(|id| effective.get_node(id).is_some_and(|m| m.advertise == name));
        let fresh: Vec<u64> =
            newcomers.iter().filter(|(_, m)| !is_double(&m.advertise)).map(|(id, _)| *id).collect();
        let wanted = (voters.len() + fresh.len()).div_ceil(2) * 2 - 1;
        let count = wanted.saturating_sub(voters.len()).min(fresh.len());
        if count == 0 {
            return Ok(());
        }
        let promoted: BTreeSet<u64> = fresh.into_iter().take(count).collect();
        self.change(ChangeMembers::AddVoterIds(promoted.clone()), true).await?;
        tracing::info!(?promoted, "members became voters");
        Ok(())
    }

    /// For how long a member was not heard, as far as this leader can tell.
    fn silence(&self, node: u64, since: Instant) -> Duration {
        let heard = self.leader.roster.heard(node).map_or(since, |heard| heard.max(since));
        Instant::now().saturating_duration_since(heard)
    }
}

fn find(membership: &StoredMembership, incarnation: u128) -> Option<(u64, Member)> {
    let mut members = membership.nodes();
    members.find(|(_, member)| member.incarnation == incarnation).map(|(id, member)| (*id, member.clone()))
}

fn has_caught_up(metrics: &RaftMetrics<TypeConfig>, node: u64) -> bool {
    let replicated = metrics.replication.as_ref().and_then(|all| all.get(&node)).cloned().flatten();
    let last = metrics.last_log_index.unwrap_or(0);
    replicated.is_some_and(|id| id.index + CAUGHT_UP_ENTRIES >= last)
}
