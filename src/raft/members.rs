//! Who the members are, and how that changes by itself: admission, promotion, replacement, new addresses.
//!
//! Changes are made by the leader, one at a time. Ids are indexes of log entries that were written to get them, so none is
//! ever used twice. A newcomer is a learner until it has caught up; then it becomes a voter by itself, but only as many as
//! the setting `voters` wants, or so that their number is odd. A newcomer whose name is that of a voter which has been silent
//! for long takes its place. What operators ask for is in [`affairs`](super::affairs).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use openraft::async_runtime::WatchReceiver;
use openraft::error::{ClientWriteError, RaftError};
use openraft::{ChangeMembers, RaftMetrics};
use parking_lot::Mutex;
use tokio::time::{Duration, Instant, timeout};

use super::ClusterError;
use super::absence::{Absent, Stopping};
use super::checkpoints::Tally;
use super::leader::{Leader, Route};
use super::ledger::Ledger;
use super::machine::Machine;
use super::peer::{Ask, Join, Joined, Say};
use super::replica::Replica;
use super::syncs::Syncs;
use super::types::{Member, StoredMembership, TypeConfig};
use crate::model::Level;

/// Most members that a cluster begins with. Their ids are 1, 2, 3, ..; later ids are above this.
pub(super) const FOUNDERS_MAX: u64 = 31;

/// A member that lags by no more entries than this has caught up.
const CAUGHT_UP_ENTRIES: u64 = 1_000;

/// A member that was heard in this time is there.
pub(super) const PRESENT: Duration = Duration::from_secs(2);

/// A member that was heard in this time was there a moment ago.
const JUST: Duration = Duration::from_millis(300);

/// How often a new leader looks whether it knows enough.
const HEARING: Duration = Duration::from_millis(20);

/// How long a request that came to another node is relayed to the leader.
const RELAY: Duration = Duration::from_secs(8);

/// How long a change of the membership may take before nobody waits for it any more.
const CHANGING: Duration = Duration::from_secs(10);

/// How it is decided who votes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MembersConfig {
    /// How long a voter must be silent before a newcomer of its name replaces it.
    pub(super) replace_after: Duration,
    /// Where peers reach this node.
    pub(super) advertise: String,
    /// Addresses to ask while no member is known.
    pub(super) seeds: Vec<String>,
    /// After how long a level that every member understands is raised by itself, if ever.
    pub(super) level_auto_raise_after: Option<Duration>,
    /// For how long the disk of a leader must be slow before it hands over, if it ever does.
    pub(super) hand_over_after: Option<Duration>,
}

/// Keeps the membership.
pub(super) struct Members {
    pub(super) raft: openraft::Raft<TypeConfig, Machine>,
    pub(super) leader: Arc<Leader>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) replica: Arc<Replica>,
    pub(super) config: MembersConfig,
    /// Held while the membership changes.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// Since when this node leads, to know for how long it has listened.
    leads_since: Mutex<Option<(u64, Instant)>>,
    /// Since when every member understands a higher level.
    pub(super) raisable: Mutex<Option<(Level, Instant)>>,
    /// Why the members last did not take note of this node's address.
    address_refusal: Mutex<String>,
    /// Hashes of the members' states.
    pub(super) tally: Mutex<Tally>,
    /// Times that they differed.
    pub(super) mismatches: AtomicU64,
    /// This node's wish to stop.
    pub(super) stopping: Stopping,
    /// Whom this leader has let go.
    pub(super) absent: Absent,
    /// How long this node's disk takes to sync.
    pub(super) syncs: Syncs,
}

impl Members {
    pub(super) fn new(
        leader: Arc<Leader>,
        ledger: Arc<Ledger>,
        replica: Arc<Replica>,
        config: MembersConfig,
    ) -> Members {
        Members {
            raft: leader.raft.clone(),
            leader,
            ledger,
            replica,
            config,
            turn: tokio::sync::Mutex::default(),
            leads_since: Mutex::default(),
            raisable: Mutex::default(),
            address_refusal: Mutex::default(),
            tally: Mutex::default(),
            mismatches: AtomicU64::new(0),
            stopping: Stopping::default(),
            absent: Absent::default(),
            syncs: Syncs::default(),
        }
    }

    /// The membership in force, which may not be committed yet.
    pub(super) async fn effective(&self) -> Result<Arc<StoredMembership>, ClusterError> {
        let effective = self.raft.with_raft_state(|state| Arc::clone(state.membership_state.effective()));
        effective.await.map_err(|_| ClusterError::Unavailable)
    }

    /// Whether a quorum has it that this node is a member: with its id it may give up what it had before. Founders are
    /// members from the first entry on, which nobody but them can commit.
    async fn is_certain(&self, node: u64) -> Result<bool, ClusterError> {
        let committed = self.raft.with_raft_state(|state| Arc::clone(state.membership_state.committed()));
        let committed = committed.await.map_err(|_| ClusterError::Unavailable)?;
        Ok(node <= FOUNDERS_MAX || committed.get_node(&node).is_some())
    }

    /// A node asks to be a member. One that is known already is told its id, by any member.
    pub(super) async fn join(&self, join: Join) -> Joined {
        match self.try_join(join).await {
            Ok(joined) => joined,
            Err(error) => Joined { cluster: None, node: 0, reason: error.to_string() },
        }
    }

    async fn try_join(&self, join: Join) -> Result<Joined, ClusterError> {
        let incarnation = u128::from(join.incarnation);
        let effective = self.effective().await?;
        let known = find(&effective, incarnation);
        if let Some((node, member)) = &known
            && member.advertise == join.name
            && self.is_certain(*node).await?
        {
            return Ok(self.joined(*node));
        }
        match self.leader.route() {
            Some(Route::Here(_)) => self.admit(join).await.map(|node| self.joined(node)),
            Some(Route::There(_, way)) if !join.relayed => {
                let relayed = Join { relayed: true, ..join };
                match way.call(Ask::Join(relayed), RELAY).await {
                    Ok(Say::Joined(joined)) => Ok(joined),
                    Ok(_) => Err(ClusterError::Unknown("the leader answered another question".into())),
                    Err(error) => Err(ClusterError::Unknown(format!("the leader: {error}"))),
                }
            }
            _ => Err(ClusterError::NoLeader),
        }
    }

    fn joined(&self, node: u64) -> Joined {
        let cluster = self.leader.roster.me().cluster;
        Joined { cluster: Some(cluster.into()), node, reason: String::new() }
    }

    /// Makes a node a member, or notes its new address. Returns its id.
    pub(super) async fn admit(&self, join: Join) -> Result<u64, ClusterError> {
        let _turn = self.turn.lock().await;
        let incarnation = u128::from(join.incarnation);
        let level = self.replica.level();
        if join.max_level < u32::from(level.0) {
            let what =
                format!("it understands levels up to {}, the cluster is at level {level}", join.max_level);
            return Err(ClusterError::Refused(what));
        }
        let member = Member { incarnation, advertise: join.name, learner: join.learner };
        if member.advertise.is_empty() {
            return Err(ClusterError::Refused("it says no address".into()));
        }
        let effective = self.effective().await?;
        if let Some((node, known)) = find(&effective, incarnation) {
            if known.advertise != member.advertise {
                if self.unanswered(node) < PRESENT {
                    let what = "another process with the same data directory answers at its known address";
                    return Err(ClusterError::Refused(what.into()));
                }
                self.check_address(&effective, Some(node), &member.advertise)?;
                self.set(node, Member { learner: known.learner, ..member }).await?;
            }
            let unknown = || ClusterError::Unknown("its admission is not committed yet".into());
            return self.is_certain(node).await?.then_some(node).ok_or_else(unknown);
        }
        if join.known {
            // It was removed before it could tell.
            return Err(ClusterError::NoSuchMember);
        }
        self.check_address(&effective, None, &member.advertise)?;
        let mut node = 0;
        while node <= FOUNDERS_MAX {
            let written = self.raft.write_blank().await;
            node = written.map_err(|_| ClusterError::NoLeader)?.log_id.index;
        }
        tracing::info!(node, advertise = member.advertise, "admitting a member");
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(node, member)])), true).await?;
        Ok(node)
    }

    /// An address at which another member answers is taken. One that is silent may be replaced by a node at its address.
    fn check_address(
        &self,
        effective: &StoredMembership,
        node: Option<u64>,
        address: &str,
    ) -> Result<(), ClusterError> {
        let mut others = effective.nodes().filter(|(id, _)| node != Some(**id));
        let taken = others.find(|(id, member)| {
            member.advertise == address && (**id == self.leader.node || self.unanswered(**id) < PRESENT)
        });
        match taken {
            Some((id, _)) => Err(ClusterError::Refused(format!(
                "its address {address} is that of member {id}, which answers there: set peer.advertise to one of its own"
            ))),
            None => Ok(()),
        }
    }

    async fn set(&self, node: u64, member: Member) -> Result<(), ClusterError> {
        tracing::info!(node, advertise = member.advertise, "a member has a new address");
        self.change(ChangeMembers::SetNodes(BTreeMap::from([(node, member)])), true).await
    }

    /// Changes the membership. Called with the turn.
    pub(super) async fn change(
        &self,
        change: ChangeMembers<u64, Member>,
        retain: bool,
    ) -> Result<(), ClusterError> {
        // From here on somebody else may come to decide: reads must ask.
        self.alone().store(false, Ordering::Release);
        let changed = timeout(CHANGING, self.raft.change_membership(change, retain)).await;
        self.settle().await?;
        match changed {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => {
                Err(ClusterError::Refused(error.to_string()))
            }
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
                Err(ClusterError::Unknown("this node leads no more, or too few voters answer".into()))
            }
            // The first of two steps may have been made.
            Ok(Err(error)) => Err(ClusterError::Unknown(error.to_string())),
            Err(_) => Err(ClusterError::Unknown("it takes long: not enough voters answer".into())),
        }
    }

    fn alone(&self) -> &AtomicBool {
        &self.leader.alone
    }

    /// Learns of the membership, and whether this node is the only voter. Called with the turn, or at the start.
    async fn settle(&self) -> Result<(), ClusterError> {
        let own = self.leader.node;
        let state = self.raft.with_raft_state(move |state| {
            let (effective, committed) =
                (state.membership_state.effective(), state.membership_state.committed());
            let configs = effective.get_joint_config();
            let alone = effective.log_id() == committed.log_id()
                && matches!(configs.as_slice(), [only] if only.iter().eq([&own]));
            (Arc::clone(effective), alone)
        });
        let (effective, alone) = state.await.map_err(|_| ClusterError::Unavailable)?;
        self.leader.roster.learn(&effective);
        self.ledger.learn(&effective);
        self.alone().store(alone, Ordering::Release);
        Ok(())
    }

    /// Looks after the membership; called about once a second.
    pub(super) async fn keep(&self) {
        if self.since().is_none() {
            if let Ok(effective) = self.effective().await {
                self.leader.roster.learn(&effective);
                if self.leader.heard().is_none() {
                    self.find_members().await;
                }
                self.tell_address(&effective).await;
            }
            return;
        }
        if self.leader.heard().is_none() {
            // Without a quorum nothing can be changed. Members that moved cannot find the leader, but it may find them.
            self.find_members().await;
            return;
        }
        let Ok(_turn) = self.turn.try_lock() else { return };
        if let Err(error) = self.keep_in_turn().await {
            tracing::warn!(%error, "the membership could not be changed; trying again");
        }
    }

    /// Looks for members behind the seeds: when most members have moved at the same time, none is at the address that the
    /// others know.
    async fn find_members(&self) {
        let own = &self.config.advertise;
        let seeds = self.config.seeds.iter().filter(|seed| *seed != own);
        futures_util::future::join_all(seeds.map(|seed| self.find_member(seed))).await;
    }

    /// If the node at `address` is a member that is known at another one, it is reached there from now on.
    pub(super) async fn find_member(&self, address: &str) {
        let roster = &self.leader.roster;
        let Ok(link) = roster.link_to(address) else { return };
        let envelope = roster.me().to(0, 0, self.replica.level().0);
        let Ok(Say::Met(met)) = link.call(&envelope, self.meet(), PRESENT).await else { return };
        if met.cluster.map(u128::from) != Some(roster.me().cluster) {
            return;
        }
        if let Some(node) = roster.moved(met.incarnation.into(), &met.name) {
            tracing::info!(node, address = met.name, "a member is at another address");
            roster.found(node, &met.name);
        }
    }

    /// Where the members know this node under another address, the leader is to note the present one.
    async fn tell_address(&self, effective: &StoredMembership) {
        let me = self.leader.roster.me();
        // A founder that was stopped before its first entry reached it does not know how it is known.
        let known = effective.get_node(&me.node);
        if known.is_some_and(|known| known.advertise == self.config.advertise) {
            return;
        }
        let join = Join {
            name: self.config.advertise.clone(),
            incarnation: me.incarnation.into(),
            learner: known.is_some_and(|known| known.learner),
            relayed: false,
            max_level: u32::from(self.leader.roster.max_level().0),
            known: true,
        };
        for way in self.leader.roster.others(&self.config.seeds) {
            match way.call(Ask::Join(join.clone()), PRESENT).await {
                Ok(Say::Joined(Joined { cluster: Some(_), .. })) => return,
                // Without a leader nobody takes note of anything, and that is told already.
                Ok(Say::Joined(Joined { reason, .. }))
                    if reason != ClusterError::NoLeader.to_string()
                        && std::mem::replace(&mut *self.address_refusal.lock(), reason.clone()) != reason =>
                {
                    tracing::warn!(reason, "the members do not take note of this node's new address");
                }
                _ => {}
            }
        }
    }

    /// Since when this node has led in the present term, as it first looked; `None`: it does not lead. What was known in an
    /// earlier term is forgotten before it is used in this one.
    pub(super) fn since(&self) -> Option<Instant> {
        let mut leads_since = self.leads_since.lock();
        let Some(term) = self.leader.batcher.term() else {
            *leads_since = None;
            return None;
        };
        if let Some((_, since)) = leads_since.filter(|(of, _)| *of == term) {
            return Some(since);
        }
        *self.raisable.lock() = None;
        *self.tally.lock() = Tally::default();
        self.forget_absent();
        Some(leads_since.insert((term, Instant::now())).1)
    }

    /// A new leader does not know yet who is there, and how far: waits for what is enough as long as it is new, at most until
    /// `deadline`.
    pub(super) async fn hear(&self, deadline: Instant, enough: impl Fn() -> bool) {
        while !enough()
            && Instant::now() < deadline
            && self.since().is_some_and(|since| since.elapsed() < PRESENT)
        {
            tokio::time::sleep(HEARING).await;
        }
    }

    async fn keep_in_turn(&self) -> Result<(), ClusterError> {
        self.settle().await?;
        let effective = self.effective().await?;
        let own = self.leader.node;
        if effective.get_joint_config().len() > 1 {
            // A leader before this one did not come to the end of a change.
            let wanted: BTreeSet<u64> = effective.get_joint_config().last().cloned().unwrap_or_default();
            return self.change(ChangeMembers::ReplaceAllVoters(wanted), true).await;
        }
        if let Some(member) = effective.get_node(&own)
            && member.advertise != self.config.advertise
        {
            let advertise = self.config.advertise.clone();
            return self.set(own, Member { advertise, ..member.clone() }).await;
        }
        let metrics = self.raft.metrics().borrow_watched().clone();
        let voters: BTreeSet<u64> = effective.voter_ids().collect();
        let newcomers: Vec<(u64, &Member)> = effective
            .nodes()
            .filter(|(id, member)| !voters.contains(id) && !member.learner)
            .filter(|(id, _)| self.is_present(**id) && has_caught_up(&metrics, **id))
            .map(|(id, member)| (*id, member))
            .collect();
        let is_named = |id: u64, name: &str| effective.get_node(&id).is_some_and(|m| m.advertise == name);
        for (node, member) in &newcomers {
            let replaced = voters.iter().copied().find(|voter| {
                is_named(*voter, &member.advertise) && self.silence(*voter) >= self.config.replace_after
            });
            if let Some(old) = replaced {
                let voters = voters.iter().copied().filter(|id| *id != old).chain([*node]).collect();
                self.change(ChangeMembers::ReplaceAllVoters(voters), false).await?;
                tracing::info!(old, new = node, name = member.advertise, "a silent member was replaced");
                return Ok(());
            }
        }
        // One that waits to take somebody's place does not become one more.
        let is_double = |name: &str| voters.iter().any(|id| is_named(*id, name));
        let fresh: BTreeSet<u64> =
            newcomers.iter().filter(|(_, m)| !is_double(&m.advertise)).map(|(id, _)| *id).collect();
        self.balance(&voters, fresh).await
    }

    /// Makes as many members vote as are wanted.
    async fn balance(&self, voters: &BTreeSet<u64>, fresh: BTreeSet<u64>) -> Result<(), ClusterError> {
        let setting = usize::try_from(self.replica.store.read().settings().voters).unwrap_or(usize::MAX);
        let possible = voters.len() + fresh.len();
        let largest_odd = possible.div_ceil(2) * 2 - 1;
        if setting > 0 && voters.len() > setting {
            // The one that is missed least: who is silent, else the youngest; never this one, which leads.
            let others = voters.iter().copied().filter(|id| *id != self.leader.node);
            let Some(demoted) = others.max_by_key(|id| (!self.is_present(*id), *id)) else { return Ok(()) };
            self.change(ChangeMembers::RemoveVoters(BTreeSet::from([demoted])), true).await?;
            tracing::info!(demoted, voters = setting, "a member votes no more: fewer voters are wanted");
            return Ok(());
        }
        let wanted = if setting > 0 { setting.min(largest_odd.max(voters.len())) } else { largest_odd };
        let count = wanted.saturating_sub(voters.len()).min(fresh.len());
        if count == 0 {
            return Ok(());
        }
        let promoted: BTreeSet<u64> = fresh.into_iter().take(count).collect();
        self.change(ChangeMembers::AddVoterIds(promoted.clone()), true).await?;
        tracing::info!(?promoted, "members became voters");
        Ok(())
    }

    /// Whether a member answers the heartbeats of this node. An answer to an earlier lead of it counts too, as long as it is
    /// as young as that: it tells the same.
    pub(super) fn is_present(&self, node: u64) -> bool {
        let answered = self.leader.roster.last_answer(node);
        node == self.leader.node || answered.is_some_and(|at| at.elapsed() < PRESENT)
    }

    /// Whether a member has answered one of the last few heartbeats, if they are as frequent as usual.
    pub(super) fn has_just_answered(&self, node: u64) -> bool {
        self.leader.roster.last_answer(node).is_some_and(|at| at.elapsed() < JUST)
    }

    /// Whether a member has answered a heartbeat since this node leads.
    pub(super) fn has_answered(&self, node: u64) -> bool {
        let since = self.since();
        self.leader.roster.last_answer(node).is_some_and(|at| since.is_some_and(|since| at >= since))
    }

    /// Whether a member may still answer, though it has not since this node leads.
    pub(super) fn may_answer(&self, node: u64) -> bool {
        !self.has_answered(node) && self.unanswered(node) < PRESENT
    }

    /// For how long no heartbeat to a member's known address was answered, as far as this leader can tell.
    pub(super) fn unanswered(&self, node: u64) -> Duration {
        self.since_this_leads(self.leader.roster.last_answer(node))
    }

    /// For how long a member was not heard, as far as this leader can tell.
    fn silence(&self, node: u64) -> Duration {
        self.since_this_leads(self.leader.roster.heard(node))
    }

    fn since_this_leads(&self, last: Option<Instant>) -> Duration {
        let since = self.since().unwrap_or_else(Instant::now);
        last.map_or(since, |at| at.max(since)).elapsed()
    }
}

fn find(membership: &StoredMembership, incarnation: u128) -> Option<(u64, Member)> {
    let mut members = membership.nodes();
    members.find(|(_, member)| member.incarnation == incarnation).map(|(id, member)| (*id, member.clone()))
}

pub(super) fn has_caught_up(metrics: &RaftMetrics<TypeConfig>, node: u64) -> bool {
    let replicated = metrics.replication.as_ref().and_then(|all| all.get(&node)).cloned().flatten();
    let last = metrics.last_log_index.unwrap_or(0);
    replicated.is_some_and(|id| id.index + CAUGHT_UP_ENTRIES >= last)
}
