//! What is known of the cluster as a whole: the leader's view of the members, and this node's own place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use openraft::async_runtime::WatchReceiver;
use tokio::time::{Duration, Instant};

use super::affairs::matched;
use super::checkpoints::{Checkpoint, Difference};
use super::leader::Route;
use super::members::Members;
use super::peer::{self, Ask, Diverged, Purpose, Report, Say, Survey, Surveyed, Surveyee};
use crate::model::{Level, NodeId};
use crate::store::StateHash;

/// How long the leader may take to tell.
const SURVEYING: Duration = Duration::from_secs(1);

/// How long a member that differs is told so.
const TELLING: Duration = Duration::from_secs(1);

/// The cluster, as the leader sees it where one is known.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Whether the leader said the following; else it is what this node knows by itself.
    pub is_of_leader: bool,
    /// Last entry of the leader's log.
    pub last_log_index: u64,
    /// Last committed entry.
    pub commit_index: u64,
    /// The wanted number of voters; 0: all that may vote, the largest odd number of them.
    pub wanted_voters: u64,
    /// Where this node last noted the hash of its state, and the hash.
    pub checkpoint: Option<(u64, StateHash)>,
    /// Times that this node, as leader, found members whose states differ.
    pub mismatches: u64,
    /// Everybody, by id.
    pub members: Vec<MemberStatus>,
}

/// A member, as the leader sees it.
#[derive(Clone, Debug)]
pub struct MemberStatus {
    /// Its id.
    pub node: NodeId,
    /// Where peers reach it; empty if it listens to none.
    pub name: String,
    /// Whether it votes.
    pub is_voter: bool,
    /// Whether it is never to vote.
    pub is_learner_by_role: bool,
    /// For how long it has not answered; `None`: it never did, or the node that was asked does not lead.
    pub silent: Option<Duration>,
    /// Last entry that it has, as far as the leader knows.
    pub matched_index: Option<u64>,
    /// Last entry in its store.
    pub applied_index: Option<u64>,
    /// The highest level that it understands.
    pub max_level: Option<Level>,
    /// The entry after which the hash of its state was last found right.
    pub agreed_index: Option<u64>,
    /// Its state is not that of the others.
    pub has_diverged: bool,
    /// Why the leader cannot reach it, or why it takes no entries.
    pub trouble: Option<String>,
    /// Its disk is full.
    pub is_out_of_disk: bool,
}

impl Members {
    /// What the leader knows of the members, for another node or for itself.
    pub(super) async fn survey(&self) -> Surveyed {
        let Ok(effective) = self.effective().await else { return Surveyed::default() };
        let leads = self.leader.batcher.term().is_some();
        let metrics = self.raft.metrics().borrow_watched().clone();
        let last_index = metrics.last_log_index.unwrap_or(0);
        let own = self.leader.node;
        // Before the tally is locked: a new lead forgets it.
        let mut troubles: BTreeMap<u64, String> =
            effective.nodes().filter_map(|(id, _)| Some((*id, self.trouble(*id)?))).collect();
        let tally = self.tally.lock();
        let members = effective.nodes().map(|(id, member)| {
            let (id, is_own) = (*id, *id == own);
            let report = self.leader.roster.report(id).filter(|_| leads);
            // A node may send and yet not answer: what it takes is what counts.
            let answered = self.leader.roster.last_answer(id);
            let silent = answered.map(|at| at.elapsed().as_millis() as u64);
            Surveyee {
                node: id,
                name: member.advertise.clone(),
                voter: effective.voter_ids().any(|voter| voter == id),
                learner: member.learner,
                silent_ms: if is_own { Some(0) } else { silent.filter(|_| leads) },
                matched: if is_own { Some(last_index) } else { matched(&metrics, id) },
                applied: match is_own {
                    true => Some(self.replica.applied_index()),
                    false => report.as_ref().map(|report| report.applied),
                },
                max_level: match is_own {
                    true => Some(u32::from(self.leader.roster.max_level().0)),
                    false => report.as_ref().map(|report| report.max_level),
                },
                compared: tally.agreed(id),
                diverged: tally.is_wrong(id)
                    || self.leader.roster.rolled_back(id).is_some()
                    || is_own && self.replica.diverged.load(Ordering::Relaxed),
                trouble: troubles.remove(&id).filter(|_| leads && !is_own),
                out_of_disk: match is_own {
                    true => self.leader.batcher.is_out_of_disk(),
                    false => report.as_ref().is_some_and(|report| report.out_of_disk),
                },
            }
        });
        let members = members.collect();
        let commit_index = metrics.local_committed.as_ref().map_or(0, |id| id.index);
        Surveyed { leads, last_index, commit_index, members }
    }

    /// Why a member does not answer this leader, or takes no entries or snapshot from it; `None`: it does all that.
    pub(super) fn trouble(&self, id: u64) -> Option<String> {
        let (roster, is_present) = (&self.leader.roster, self.is_present(id));
        let unheard =
            || roster.trouble(id, Purpose::Heartbeats).unwrap_or_else(|| "no answer in time".into());
        if self.may_answer(id) {
            return None;
        }
        if !is_present {
            return Some(unheard());
        }
        let lags = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            matched(&metrics, id) < metrics.last_log_index
        };
        // A stream that broke when nothing was left to be sent is no trouble.
        let of = |purpose| roster.trouble(id, purpose).filter(|_| lags);
        of(Purpose::Snapshots).map(|why| format!("snapshot: {why}")).or_else(|| of(Purpose::Entries))
    }

    /// Why members did not answer when this node last asked for their votes.
    pub(super) fn vote_troubles(&self) -> BTreeSet<String> {
        let Some(membership) = self.ledger.membership() else { return BTreeSet::new() };
        let trouble = |id| self.leader.roster.trouble(id, Purpose::Votes).map(|why| format!("{id}: {why}"));
        membership.voter_ids().filter_map(trouble).collect()
    }

    /// What this node says of itself with each answer to a heartbeat.
    pub(super) fn report(&self) -> Report {
        Report {
            applied: self.replica.applied_index(),
            max_level: u32::from(self.leader.roster.max_level().0),
            boot: self.leader.roster.me().boot.into(),
            checkpoint: self.replica.checkpoints.newest().map(peer::from_checkpoint),
            asks_to_stop: self.stopping.asks.load(Ordering::Relaxed),
            may_stop: self.stopping.may.load(Ordering::Relaxed),
            fsync_p99_us: self.syncs.p99_us(),
            out_of_disk: self.leader.batcher.is_out_of_disk(),
        }
    }

    /// The cluster as the leader sees it; as this node does, if no leader tells.
    pub(super) async fn cluster(&self) -> Cluster {
        let told = match self.leader.route() {
            Some(Route::There(_, way)) => match way.call(Ask::Survey(Survey {}), SURVEYING).await {
                Ok(Say::Surveyed(surveyed)) if surveyed.leads => Some(surveyed),
                _ => None,
            },
            _ => None,
        };
        let surveyed = match told {
            Some(surveyed) => surveyed,
            None => self.survey().await,
        };
        let checkpoint = self.replica.checkpoints.newest();
        Cluster {
            is_of_leader: surveyed.leads && self.leader.heard().is_some(),
            last_log_index: surveyed.last_index,
            commit_index: surveyed.commit_index,
            wanted_voters: self.replica.store.read().settings().voters,
            checkpoint: checkpoint.map(|Checkpoint { index, hash }| (index, hash)),
            mismatches: self.mismatches.load(Ordering::Relaxed),
            members: surveyed.members.into_iter().map(MemberStatus::from).collect(),
        }
    }

    /// Compares the hashes of the members' states, as the leader.
    pub(super) async fn compare_states(&self) {
        let Ok(effective) = self.effective().await else { return };
        let own = self.leader.node;
        for (id, _) in effective.nodes() {
            if let Some(index) = self.leader.roster.rolled_back(*id) {
                self.tell(*id, Diverged { index, rolled_back: true }).await;
            }
        }
        let difference = {
            let mut tally = self.tally.lock();
            for checkpoint in self.replica.checkpoints.all() {
                tally.add(own, checkpoint);
            }
            for (id, _) in effective.nodes().filter(|(id, _)| **id != own) {
                let report = self.leader.roster.report(*id);
                if let Some(checkpoint) = report.and_then(|report| report.checkpoint) {
                    tally.add(*id, peer::checkpoint(checkpoint));
                }
            }
            tally.compare(&effective.voter_ids().collect())
        };
        let Some(Difference { index, wrong }) = difference else { return };
        self.mismatches.fetch_add(1, Ordering::Relaxed);
        tracing::error!(index, ?wrong, "the states of members differ after the same entry");
        for node in wrong.iter().filter(|node| **node != own) {
            self.tell(*node, Diverged { index, rolled_back: false }).await;
        }
        if wrong.contains(&own) {
            // Who is right leads on; nothing is read here from now on.
            if let Err(error) = self.hand_over(None, Instant::now()).await {
                tracing::warn!(%error, "leadership could not be handed over");
            }
            self.has_diverged(&Diverged { index, rolled_back: false });
        }
    }

    async fn tell(&self, node: u64, what: Diverged) {
        if let Some(way) = self.leader.roster.way(node) {
            // One that does not hear it now is told again.
            let _ = way.call(Ask::Diverged(what), TELLING).await;
        }
    }

    /// This node's state is not that of the majority, or its log not what it was: it serves nobody any more and does not stand
    /// for election.
    pub(super) fn has_diverged(&self, what: &Diverged) {
        if self.replica.diverged.swap(true, Ordering::SeqCst) {
            return;
        }
        self.raft.runtime_config().elect(false);
        let reason = match what.rolled_back {
            true => "the data directory was rolled back: entries are missing that this node had acknowledged",
            false => "the state of this node is not that of the majority",
        };
        tracing::error!(
            index = what.index,
            reason,
            "out of service. Stop this node and empty its data directory; it then joins as a new member"
        );
    }

    /// Raises the level by itself, if that is wanted and every member has understood a higher one for long enough.
    pub(super) async fn auto_raise(&self) {
        let Some(after) = self.config.level_auto_raise_after else { return };
        let Ok(effective) = self.effective().await else { return };
        let lowest = effective.nodes().map(|(id, _)| self.max_level(*id)).min().flatten();
        let Some(level) = lowest.filter(|level| *level > self.replica.level()) else {
            *self.raisable.lock() = None;
            return;
        };
        let since = {
            let mut raisable = self.raisable.lock();
            match *raisable {
                Some((known, since)) if known == level => since,
                _ => raisable.insert((level, Instant::now())).1,
            }
        };
        if since.elapsed() >= after {
            let _turn = self.turn.lock().await;
            if let Err(error) = self.raise(level, Instant::now() + SURVEYING).await {
                tracing::warn!(%error, %level, "the level could not be raised");
            }
        }
    }
}

impl From<Surveyee> for MemberStatus {
    fn from(member: Surveyee) -> MemberStatus {
        MemberStatus {
            node: NodeId(member.node),
            name: member.name,
            is_voter: member.voter,
            is_learner_by_role: member.learner,
            silent: member.silent_ms.map(Duration::from_millis),
            matched_index: member.matched,
            applied_index: member.applied,
            max_level: member.max_level.and_then(|level| u16::try_from(level).ok()).map(Level),
            agreed_index: member.compared,
            has_diverged: member.diverged,
            trouble: member.trouble,
            is_out_of_disk: member.out_of_disk,
        }
    }
}
