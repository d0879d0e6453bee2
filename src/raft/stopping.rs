//! Permission to stop: members are let go one at a time, and only while the others keep a quorum.
//!
//! A node that is about to be stopped by an orchestrator asks the leader first. Whether it has asked, and whether it was
//! told that it may, is in each of its answers to heartbeats, so that a new leader knows too. Who was let go counts as absent
//! until it is back as another process and has caught up, or [`ABSENT`] is over.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use openraft::async_runtime::WatchReceiver;
use tokio::time::{Duration, Instant};

use super::ClusterError;
use super::absence::LetGo;
use super::members::{Members, has_caught_up};

/// How long a member that was let go may take to come back.
const ABSENT: Duration = Duration::from_secs(60);

impl Members {
    /// Whether a member has asked to stop.
    pub(super) fn asks_to_stop(&self, node: u64) -> bool {
        match node == self.leader.node {
            true => self.stopping.asks.load(Ordering::Relaxed),
            false => self.leader.roster.report(node).is_some_and(|report| report.asks_to_stop),
        }
    }

    /// Lets a member go if the others keep a quorum without it.
    pub(super) async fn let_go(&self, node: u64) -> Result<u64, ClusterError> {
        let _turn = self.turn.lock().await;
        let effective = self.effective().await?;
        if effective.get_node(&node).is_none() {
            return Err(ClusterError::NoSuchMember);
        }
        let members: BTreeSet<u64> = effective.nodes().map(|(id, _)| *id).collect();
        if members.iter().all(|id| *id == node || self.asks_to_stop(*id)) {
            return Ok(node);
        }
        let voters: BTreeSet<u64> = effective.voter_ids().collect();
        self.check_heard(&voters)?;
        let metrics = self.raft.metrics().borrow_watched().clone();
        let own = self.leader.node;
        let is_back = |id: u64, boot: u128| {
            let report = self.leader.roster.report(id).filter(|_| self.is_present(id));
            report.is_some_and(|report| u128::from(report.boot) != boot && has_caught_up(&metrics, id))
        };
        let mut absent = self.absent.0.lock();
        absent.retain(|id, gone| gone.at.elapsed() < ABSENT && !is_back(*id, gone.boot));
        // What a leader before this one has granted.
        for id in &members {
            if let Some(report) = self.leader.roster.report(*id).filter(|report| report.may_stop) {
                let boot = report.boot.into();
                absent.entry(*id).or_insert(LetGo { boot, at: Instant::now() });
            }
        }
        if absent.contains_key(&node) {
            return Ok(node);
        }
        if let Some(other) = absent.keys().next() {
            return Err(ClusterError::Refused(format!("member {other} was let go and is not back yet")));
        }
        let stays = |id: u64| id == own || self.is_present(id) && has_caught_up(&metrics, id);
        let left = voters.iter().filter(|id| **id != node && stays(**id)).count();
        let quorum = voters.len() / 2 + 1;
        if voters.contains(&node) && left < quorum {
            return Err(ClusterError::Refused(format!(
                "of {} voters {left} would be left that can be reached and have caught up, and {quorum} are needed",
                voters.len()
            )));
        }
        let boot = match node == own {
            true => self.leader.roster.me().boot,
            false => self.leader.roster.report(node).map_or(0, |report| report.boot.into()),
        };
        absent.insert(node, LetGo { boot, at: Instant::now() });
        tracing::info!(node, "a member may stop");
        Ok(node)
    }

    /// A new leader does not know yet whom the one before has let go: it hears every voter that can be reached first.
    fn check_heard(&self, voters: &BTreeSet<u64>) -> Result<(), ClusterError> {
        let unheard = voters.iter().find(|id| **id != self.leader.node && self.may_answer(**id));
        match unheard {
            Some(id) => Err(ClusterError::Refused(format!("member {id} was not heard yet"))),
            None => Ok(()),
        }
    }

    /// Leaders before this one do not concern it.
    pub(super) fn forget_absent(&self) {
        self.absent.0.lock().clear();
    }
}
