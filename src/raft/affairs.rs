//! What operators ask of the cluster, done by the leader: add, remove, promote, transfer, raise the level, let go.
//!
//! Any node takes such a task and hands it to the leader, as it does with writes. A task is done at most once: what was
//! sent to the leader and got no answer has an unknown outcome. All of them may be asked for again, and then find what is
//! already so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use openraft::ChangeMembers;
use openraft::RaftMetrics;
use openraft::async_runtime::WatchReceiver;
use tokio::time::{Duration, Instant};

use super::ClusterError;
use super::leader::Route;
use super::members::{Members, has_caught_up};
use super::peer::{Administer, Administered, Ask, CallError, Invite, Join, Meet, Say, Task};
use super::types::{Member, StoredMembership, TypeConfig};
use crate::model::{Command, Level, Transaction};

/// How long a leader waits for another to take over.
pub(super) const HANDING_OVER: Duration = Duration::from_secs(2);

/// How long a node that is to be added may take to answer.
const MEETING: Duration = Duration::from_secs(3);

/// How long after a member could not be asked it is asked again.
const AGAIN: Duration = Duration::from_millis(50);

/// How much later than the deadline of a task its answer may come.
const AFTER_DEADLINE: Duration = Duration::from_millis(500);

impl Members {
    /// Has the leader do it; waits for one if there is none.
    pub(super) async fn administer(&self, task: Task, deadline: Instant) -> Result<u64, ClusterError> {
        if let Task::Add(address) = &task
            && self.leader.heard().is_none()
        {
            // It may be a member that moved, and with it there may be a quorum again.
            self.find_member(address).await;
        }
        loop {
            let route = self.leader.find(deadline).await.ok_or(ClusterError::NoLeader)?;
            let done = match route {
                Route::Here(_) => self.carry_out(task.clone(), deadline).await,
                Route::There(_, way) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let ask = Administer { task: Some(task.clone()), left_ms: left.as_millis() as u64 };
                    match way.call(Ask::Administer(ask), left + AFTER_DEADLINE).await {
                        Ok(Say::Administered(answer)) => outcome(answer),
                        Ok(_) => Err(ClusterError::Unknown("the leader answered another question".into())),
                        Err(CallError::Unsent(_) | CallError::Refused(_)) => Err(ClusterError::NoLeader),
                        Err(CallError::Lost(why)) => Err(ClusterError::Unknown(why)),
                    }
                }
            };
            match done {
                Err(ClusterError::NoLeader) => {
                    self.leader.changed(deadline).await.ok_or(ClusterError::NoLeader)?;
                }
                done => return done,
            }
        }
    }

    /// Does it as the leader, for another node.
    pub(super) async fn administer_here(&self, asked: Administer) -> Administered {
        let deadline = Instant::now() + Duration::from_millis(asked.left_ms);
        let done = match asked.task {
            Some(task) if self.leader.batcher.term().is_some() => self.carry_out(task, deadline).await,
            Some(_) => Err(ClusterError::NoLeader),
            None => Err(ClusterError::Refused("a task of a newer version".into())),
        };
        answer(done)
    }

    async fn carry_out(&self, task: Task, deadline: Instant) -> Result<u64, ClusterError> {
        match task {
            Task::Add(address) => self.add(&address).await,
            Task::Remove(node) => self.remove(node, deadline).await,
            Task::Promote(node) => self.promote(node, deadline).await,
            Task::Transfer(to) => self.hand_over(Some(to).filter(|to| *to > 0), deadline).await,
            Task::Raise(level) => {
                let level = u16::try_from(level).map(Level).unwrap_or(Level(u16::MAX));
                let _turn = self.turn.lock().await;
                self.raise(level, deadline).await.map(|()| 0)
            }
            Task::Stop(node) => self.let_go(node).await,
        }
    }

    /// Admits a node that waits for a cluster, and tells it where this one is.
    async fn add(&self, address: &str) -> Result<u64, ClusterError> {
        let refused = |what: String| ClusterError::Refused(what);
        if self.config.advertise.is_empty() {
            return Err(refused("this node listens to no peers: set peer.listen first".into()));
        }
        let roster = &self.leader.roster;
        let link = roster.link_to(address).map_err(|error| refused(error.to_string()))?;
        let envelope = roster.me().to(0, 0, self.replica.level().0);
        let met = match link.call(&envelope, self.meet(), MEETING).await {
            Ok(Say::Met(met)) => met,
            Ok(_) => return Err(refused(format!("{address} answered another question"))),
            Err(error @ CallError::Refused(_)) => return Err(refused(format!("{address}: {error}"))),
            Err(error) => return Err(ClusterError::Unreachable(format!("{address}: {error}"))),
        };
        match met.cluster.map(u128::from) {
            Some(cluster) if cluster != roster.me().cluster => {
                return Err(refused(format!("{address} is a member of another cluster already")));
            }
            _ => {}
        }
        let join = Join {
            name: met.name,
            incarnation: met.incarnation,
            learner: met.learner,
            relayed: true,
            max_level: met.max_level,
            known: false,
        };
        let node = self.admit(join).await?;
        // One that does not hear it asks its seeds, or is invited again.
        let invite = Ask::Invite(Invite { member: self.config.advertise.clone() });
        if let Err(error) = link.call(&envelope, invite, MEETING).await {
            tracing::warn!(%error, address, "the new member could not be told that it is one");
        }
        Ok(node)
    }

    /// Takes a member out. Who leads hands over first.
    async fn remove(&self, node: u64, deadline: Instant) -> Result<u64, ClusterError> {
        if node == self.leader.node {
            self.check_removal(&*self.effective().await?, node, deadline).await?;
            self.hand_over(None, deadline).await?;
            return Err(ClusterError::NoLeader);
        }
        let _turn = self.turn.lock().await;
        let effective = self.effective().await?;
        self.check_removal(&effective, node, deadline).await?;
        let change = match effective.voter_ids().any(|voter| voter == node) {
            true => ChangeMembers::RemoveVoters(BTreeSet::from([node])),
            false => ChangeMembers::RemoveNodes(BTreeSet::from([node])),
        };
        self.change(change, false).await?;
        tracing::info!(node, "a member was removed");
        Ok(node)
    }

    /// Whether the cluster can do without a member.
    async fn check_removal(
        &self,
        effective: &StoredMembership,
        node: u64,
        deadline: Instant,
    ) -> Result<(), ClusterError> {
        if effective.get_node(&node).is_none() {
            return Err(ClusterError::NoSuchMember);
        }
        let mut voters: BTreeSet<u64> = effective.voter_ids().collect();
        if !voters.remove(&node) {
            return Ok(());
        }
        if voters.is_empty() {
            return Err(ClusterError::Refused("it is the last voter: without it there is no cluster".into()));
        }
        let present = || voters.iter().filter(|voter| self.is_present(**voter)).count();
        let (left, quorum) = (voters.len(), voters.len() / 2 + 1);
        self.hear(deadline, || present() >= quorum).await;
        self.check_leads()?;
        let present = present();
        if present < quorum {
            return Err(ClusterError::Refused(format!(
                "of the {left} voters that would be left {present} can be reached, and {quorum} are needed"
            )));
        }
        Ok(())
    }

    async fn promote(&self, node: u64, deadline: Instant) -> Result<u64, ClusterError> {
        let _turn = self.turn.lock().await;
        let effective = self.effective().await?;
        let Some(member) = effective.get_node(&node) else { return Err(ClusterError::NoSuchMember) };
        let refused = |what: &str| Err(ClusterError::Refused(what.into()));
        if effective.voter_ids().any(|voter| voter == node) {
            return refused("it is a voter already");
        }
        if member.learner {
            return refused("it says of itself that it is never to vote (cluster.role)");
        }
        let can_vote = || self.is_present(node) && has_caught_up(&self.raft.metrics().borrow_watched(), node);
        self.hear(deadline, can_vote).await;
        self.check_leads()?;
        if !self.is_present(node) {
            return Err(ClusterError::Unreachable("it cannot be reached".into()));
        }
        if !can_vote() {
            return refused("it has not caught up yet");
        }
        let votes = self.replica.store.read().settings().voters;
        let voters = effective.voter_ids().count() as u64;
        if votes > 0 && voters >= votes {
            return refused("there are as many voters as the setting voters wants");
        }
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([node])), true).await?;
        tracing::info!(node, "a member became a voter");
        Ok(node)
    }

    /// Hands leadership to `to`, or to the voter that has most of the log. Returns who leads then. A new leader looks until
    /// `deadline` for one that could.
    pub(super) async fn hand_over(&self, to: Option<u64>, deadline: Instant) -> Result<u64, ClusterError> {
        let own = self.leader.node;
        if let Some(to) = to {
            if self.effective().await?.get_node(&to).is_none() {
                return Err(ClusterError::NoSuchMember);
            }
            if to == own {
                return Ok(own);
            }
        }
        if !self.leader.is_alone() {
            self.hear(deadline, || self.best_leader(to).is_some()).await;
        }
        self.check_leads()?;
        let target = self.best_leader(to).ok_or_else(|| self.why_not(to))?;
        tracing::info!(to = target, "handing over");
        // Nobody may read by this node's lease from here on: it is about to end before its time.
        let transferring = Transferring::begin(&self.leader.transferring);
        let leader = self.handed_over(own, target).await?;
        drop(transferring);
        match to {
            Some(to) if to != leader => {
                Err(ClusterError::Refused(format!("member {leader} was faster, and leads now")))
            }
            _ => Ok(leader),
        }
    }

    /// Why leadership cannot go to `to`, or to no other voter.
    fn why_not(&self, to: Option<u64>) -> ClusterError {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let voters = || metrics.membership_config.voter_ids().filter(|voter| *voter != self.leader.node);
        let refused = |what: &str| ClusterError::Refused(what.into());
        let unreachable = |what: &str| ClusterError::Unreachable(what.into());
        match to {
            Some(to) if !voters().any(|voter| voter == to) => refused("it is no voter"),
            Some(to) if !self.is_present(to) => unreachable("it cannot be reached"),
            Some(_) => refused("it has not caught up yet"),
            None if voters().next().is_none() => refused("there is no other voter"),
            None if !voters().any(|voter| self.is_present(voter)) => {
                unreachable("no other voter can be reached")
            }
            None => refused("no other voter has caught up yet"),
        }
    }

    /// Who leads no more knows too little of the others to refuse anything.
    fn check_leads(&self) -> Result<(), ClusterError> {
        if self.raft.is_leader() { Ok(()) } else { Err(ClusterError::NoLeader) }
    }

    /// Which voter beside this node, `only` that one if one is said, could lead at once, and best: who is about to stop would
    /// have to hand over again, who has not just answered may be gone.
    fn best_leader(&self, only: Option<u64>) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let voters = metrics.membership_config.voter_ids();
        let candidates = voters.filter(|node| {
            *node != self.leader.node
                && only.is_none_or(|only| only == *node)
                && self.is_present(*node)
                && has_caught_up(&metrics, *node)
        });
        candidates.max_by_key(|node| {
            (!self.asks_to_stop(*node), self.has_just_answered(*node), matched(&metrics, *node))
        })
    }

    async fn handed_over(&self, own: u64, target: u64) -> Result<u64, ClusterError> {
        self.raft.trigger().transfer_leader(target).await.map_err(|_| ClusterError::Unavailable)?;
        let taken = |metrics: &RaftMetrics<TypeConfig>| {
            metrics.current_leader.is_some_and(|leader| leader != own) || metrics.running_state.is_err()
        };
        let waited = self.raft.wait(Some(HANDING_OVER)).metrics(taken, "another node leads").await;
        let leader = waited.ok().and_then(|metrics| metrics.current_leader);
        leader.ok_or_else(|| ClusterError::Unknown("nobody has taken over yet".into()))
    }

    /// Raises the level, if every member understands it. Called with the turn, under which members are admitted too.
    pub(super) async fn raise(&self, level: Level, deadline: Instant) -> Result<(), ClusterError> {
        let current = self.replica.level();
        if level <= current {
            return Ok(());
        }
        let effective = self.effective().await?;
        // What it said before may be what it was before it was started anew, with another version.
        let asked = effective.nodes().map(|(node, member)| self.asked_level(*node, member, deadline));
        let known = join_all(asked).await;
        for ((node, member), max_level) in effective.nodes().zip(known) {
            let refused = |what: &str| {
                let who = format!("member {node} ({})", member.advertise);
                format!("{who} {what}: every member must be there and know level {level}")
            };
            match max_level {
                None => return Err(ClusterError::Unreachable(refused("does not answer"))),
                Some(known) if known < level => {
                    return Err(ClusterError::Refused(refused(&format!("knows levels up to {known}"))));
                }
                Some(_) => {}
            }
        }
        let raised = Transaction::single(Command::Raise(level));
        match self.leader.batcher.write(raised, Vec::new(), deadline).await {
            Ok(_) => {
                tracing::info!(from = %current, to = %level, "the level was raised");
                Ok(())
            }
            Err(super::WriteError::UnknownOutcome) => Err(ClusterError::Unknown("no answer in time".into())),
            Err(super::WriteError::NoLeader) => Err(ClusterError::NoLeader),
            Err(_) => Err(ClusterError::Unavailable),
        }
    }

    /// The highest level that a member understands, which is asked now; `None`: it does not answer.
    async fn asked_level(&self, node: u64, member: &Member, deadline: Instant) -> Option<Level> {
        let roster = &self.leader.roster;
        if node == self.leader.node {
            return Some(roster.max_level());
        }
        let until = deadline.min(Instant::now() + MEETING);
        let way = roster.way_to(node, member)?;
        loop {
            let patience = until.saturating_duration_since(Instant::now());
            match way.call(self.meet(), patience).await {
                Ok(Say::Met(met)) if u128::from(met.incarnation) == member.incarnation => {
                    return level_of(met.max_level);
                }
                // The connection may be one to the process before.
                Err(_) if patience > AGAIN => tokio::time::sleep(AGAIN).await,
                _ => return None,
            }
        }
    }

    /// The highest level that a member understands as far as is known, if it is connected.
    pub(super) fn max_level(&self, node: u64) -> Option<Level> {
        if node == self.leader.node {
            return Some(self.leader.roster.max_level());
        }
        level_of(self.leader.roster.report(node).filter(|_| self.is_present(node))?.max_level)
    }

    /// Asks a node who it is.
    pub(super) fn meet(&self) -> Ask {
        Ask::Meet(Meet { name: self.config.advertise.clone(), seeds: Vec::new() })
    }
}

fn level_of(said: u32) -> Option<Level> {
    u16::try_from(said).ok().map(Level)
}

/// As long as it lives a leader is handing over.
struct Transferring<'a>(&'a AtomicBool);

impl Transferring<'_> {
    fn begin(is_so: &AtomicBool) -> Transferring<'_> {
        is_so.store(true, Ordering::SeqCst);
        Transferring(is_so)
    }
}

impl Drop for Transferring<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// The last entry that a member has, as far as the leader knows.
pub(super) fn matched(metrics: &RaftMetrics<TypeConfig>, node: u64) -> Option<u64> {
    let replication: &BTreeMap<u64, _> = metrics.replication.as_ref()?;
    replication.get(&node)?.as_ref().map(|id| id.index)
}

const DONE: u32 = 0;
const NO_SUCH_MEMBER: u32 = 1;
const REFUSED: u32 = 2;
const NO_LEADER: u32 = 3;
const UNKNOWN: u32 = 4;

fn answer(done: Result<u64, ClusterError>) -> Administered {
    let unreachable = matches!(done, Err(ClusterError::Unreachable(_))).then_some(true);
    let (code, reason, node) = match done {
        Ok(node) => (DONE, String::new(), node),
        Err(ClusterError::NoSuchMember) => (NO_SUCH_MEMBER, String::new(), 0),
        Err(ClusterError::Refused(reason) | ClusterError::Unreachable(reason)) => (REFUSED, reason, 0),
        Err(ClusterError::NoLeader | ClusterError::Unavailable) => (NO_LEADER, String::new(), 0),
        Err(ClusterError::Unknown(reason)) => (UNKNOWN, reason, 0),
    };
    Administered { code, reason, node, unreachable }
}

fn outcome(answer: Administered) -> Result<u64, ClusterError> {
    match answer.code {
        DONE => Ok(answer.node),
        NO_SUCH_MEMBER => Err(ClusterError::NoSuchMember),
        REFUSED if answer.unreachable == Some(true) => Err(ClusterError::Unreachable(answer.reason)),
        REFUSED => Err(ClusterError::Refused(answer.reason)),
        NO_LEADER => Err(ClusterError::NoLeader),
        _ => Err(ClusterError::Unknown(answer.reason)),
    }
}
