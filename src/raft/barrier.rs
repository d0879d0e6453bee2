//! The barrier of linearizable reads.
//!
//! ```text
//!  read --join--> round: index = what anybody may have seen; a quorum says that this is still the leader --pass--> wait
//!                 until applied here --> read the store
//! ```
//!
//! A read must see everything that an earlier answer of any node has shown. Say an earlier answer showed something of entry
//! N, and this node leads in term T when the read asks it, and has applied an entry of T. Then N is at most the index of the
//! pass, which is the higher of
//!
//! * the entry that this node applies at the moment, or has applied last ([`Replica::begun_index`]): a reader here may have
//!   seen a part of it, before it counts as applied;
//! * the highest commit that this node knows of ([`Ledger::committed`]): it is noted before it is sent, and a follower may
//!   apply the entry before the leader does.
//!
//! For N was committed in some term. In a later term than T: then a quorum had promised a later vote before N was shown, so
//! no quorum confirms this leader after it. In T: then whoever showed N was this node, or learnt the commit from it (in an
//! append, or in a snapshot, which holds what a node had applied). A term is led by one process: a leader that restarts is
//! elected anew (`enable_leader_restore` is off), so it has not forgotten what it sent. In an earlier term, or by a leader
//! of one: then N was in this node's log before the first entry of T, and that one it has applied.
//!
//! Every reader waits until its own node has applied the index of the pass, the leader's own readers too.
//!
//! All reads that wait when a round begins share it: a read that came before it began sees every write that was
//! acknowledged before the read came. A follower's round is one question to the leader. What the follower has promised
//! travels with it, and counts as its confirmation for its own readers, all of whom came before it asked; where that makes
//! a quorum with the leader, nobody else is asked. Otherwise the leader has a round of its own.
//! Nothing of it waits for a disk: a member confirms from memory, by the vote that it last handed to its log.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, timeout_at};

use super::ReadError;
use super::cluster_time::ClusterTime;
use super::leader::{Leader, Route};
use super::ledger::{Ledger, is_quorum};
use super::peer::{Ask, CallError, Confirm, ReadIndex, Say, Way, clocks, wire_vote};
use super::replica::Replica;
use super::types::{Vote, vote_from_wal};
use crate::model::Timestamp;
use crate::wal;

/// How long a round may take. Readers with more time left try again.
const ROUND: Duration = Duration::from_millis(300);

/// How long those who make a quorum may take until the others are asked too.
const HURRY: Duration = Duration::from_millis(5);

/// The leader's share of its lease in which it serves reads without a round.
const LEASE_SHARE: f64 = 0.7;

/// What a reader must have applied to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    /// Index of the entry.
    pub(super) index: u64,
    /// Cluster time at the leader; `None`: this node leads alone, and its own clock says it when it is needed.
    pub(super) stamp: Option<Timestamp>,
}

/// Reads that wait for a round.
#[derive(Default)]
struct Rounds {
    waiting: Vec<oneshot::Sender<Option<Pass>>>,
    /// A task runs rounds as long as there are readers.
    running: bool,
}

/// Lets readers pass once it is certain that they see every acknowledged write.
pub(super) struct Barrier {
    pub(super) leader: Arc<Leader>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) replica: Arc<Replica>,
    pub(super) time: Arc<ClusterTime>,
    /// The leader's lease: how long a member that takes a heartbeat gives nobody else its vote.
    pub(super) lease: Duration,
    rounds: Mutex<Rounds>,
    /// Voters that did not answer in time: they are asked last.
    slow: Mutex<BTreeSet<u64>>,
    runtime: Handle,
}

impl Barrier {
    pub(super) fn new(
        leader: Arc<Leader>,
        ledger: Arc<Ledger>,
        replica: Arc<Replica>,
        time: Arc<ClusterTime>,
        lease: Duration,
    ) -> Barrier {
        let (rounds, slow, runtime) = (Mutex::default(), Mutex::default(), Handle::current());
        Barrier { leader, ledger, replica, time, lease, rounds, slow, runtime }
    }

    /// Returns when this node has applied what a read must see. The time is the leader's, where it said it; `lease` lets the
    /// leader's lease do instead of a round.
    pub(super) async fn passed(
        self: &Arc<Self>,
        lease: bool,
        deadline: Instant,
    ) -> Result<Option<Timestamp>, ReadError> {
        let pass = match self.leader.is_alone() {
            // Nobody can depose it. Its own readers see one store, which only goes forward, so they need not wait for the
            // entry that is being applied. But learners may have applied what it has sent them.
            true => Pass { index: self.ledger.committed(), stamp: None },
            false => self.shared(lease, deadline).await?,
        };
        if self.replica.applied_index() < pass.index {
            let applied = self.replica.wait_until(|replica| replica.applied_index() >= pass.index);
            timeout_at(deadline, applied).await.map_err(|_| ReadError::Timeout)?;
        }
        Ok(pass.stamp)
    }

    /// A pass that holds for the readers of this node and of others, once a round has shown it.
    pub(super) async fn shared(self: &Arc<Self>, lease: bool, deadline: Instant) -> Result<Pass, ReadError> {
        if lease && let Some(pass) = self.leased() {
            return Ok(pass);
        }
        let mut late = ReadError::Timeout;
        loop {
            match timeout_at(deadline, self.join()).await {
                Ok(Ok(Some(pass))) => return Ok(pass),
                // The leader is not known or did not answer, or the round was cut off with its runtime.
                Ok(_) => {
                    late = ReadError::NoLeader;
                    self.leader.changed(deadline).await.ok_or(late)?;
                }
                Err(_) => return Err(late),
            }
        }
    }

    /// What anybody may have seen by now, given that this node leads: see the module.
    fn here(&self) -> Pass {
        let index = self.replica.begun_index().max(self.ledger.committed());
        Pass { index, stamp: Some(self.time.now()) }
    }

    /// If this node leads, and a quorum has lately taken its heartbeats. (openraft's own measure counts from when a commit was
    /// to be sent, if the answer to the entries before it comes later: that may be long after anybody heard of this leader.)
    fn leased(&self) -> Option<Pass> {
        let term = self.leader.batcher.term()?;
        if self.leader.transferring.load(Ordering::SeqCst) {
            return None;
        }
        let pass = self.here();
        let membership = self.ledger.membership()?;
        let mut following = self.own_confirmation(&self.vote(term));
        following.extend(self.leader.roster.followers(term, self.lease.mul_f64(LEASE_SHARE)));
        is_quorum(&membership, &following).then_some(pass)
    }

    /// Waits for the next round.
    fn join(self: &Arc<Self>) -> oneshot::Receiver<Option<Pass>> {
        let (sender, receiver) = oneshot::channel();
        let mut rounds = self.rounds.lock();
        rounds.waiting.push(sender);
        if !std::mem::replace(&mut rounds.running, true) {
            let barrier = Arc::clone(self);
            self.runtime.spawn(async move { barrier.run().await });
        }
        receiver
    }

    async fn run(&self) {
        loop {
            let waiting = {
                let mut rounds = self.rounds.lock();
                let waiting = std::mem::take(&mut rounds.waiting);
                rounds.running = !waiting.is_empty();
                waiting
            };
            if waiting.is_empty() {
                return;
            }
            let pass = self.round().await;
            for reader in waiting {
                // A reader that went away wants no pass.
                let _ = reader.send(pass);
            }
        }
    }

    async fn round(&self) -> Option<Pass> {
        let deadline = Instant::now() + ROUND;
        match self.leader.route()? {
            Route::Here(term) => {
                // Before anybody is asked: what is acknowledged later is of no concern to who waits already.
                let pass = self.here();
                let confirmed = self.confirm(term, deadline).await;
                (confirmed && self.leader.batcher.term() == Some(term)).then_some(pass)
            }
            Route::There(_, way) => {
                let left_ms = ROUND.as_millis() as u64;
                let promised = self.ledger.promised().map(|vote| wire_vote(&vote));
                match way.ask(Ask::ReadIndex(ReadIndex { lease: false, left_ms, promised }), ROUND).await {
                    Ok(Say::ReadableFrom(from)) if from.index > 0 => {
                        Some(Pass { index: from.index, stamp: Some(Timestamp(from.stamp_ms)) })
                    }
                    Ok(_) | Err(CallError::Unsent(_) | CallError::Refused(_) | CallError::Lost(_)) => None,
                }
            }
        }
    }

    /// A pass for the readers of a member that has promised this, if this node leads with that member's confirmation alone:
    /// what was shown before the member asked was committed by this leader or one before it.
    pub(super) fn pass_of(&self, member: u64, promised: Option<Vote>) -> Option<Pass> {
        let term = self.leader.batcher.term()?;
        let vote = self.vote(term);
        let membership = self.ledger.membership()?;
        let pass = self.here();
        let mut confirmed = self.own_confirmation(&vote);
        confirmed.extend(promised.filter(|promised| *promised <= vote).map(|_| member));
        (is_quorum(&membership, &confirmed) && self.leader.batcher.term() == Some(term)).then_some(pass)
    }

    fn vote(&self, term: u64) -> Vote {
        vote_from_wal(wal::Vote { term, node: self.leader.node, committed: true })
    }

    fn own_confirmation(&self, vote: &Vote) -> BTreeSet<u64> {
        self.ledger.stands_by(vote).then_some(self.leader.node).into_iter().collect()
    }

    /// Whether a quorum of the membership in force, of both halves of a joint one, says that this node still leads. As many are
    /// asked as are needed; the others if these take long.
    async fn confirm(&self, term: u64, deadline: Instant) -> bool {
        let vote = self.vote(term);
        let Some(membership) = self.ledger.membership() else { return false };
        let mut confirmed = self.own_confirmation(&vote);
        let mut others: Vec<u64> = membership.voter_ids().filter(|id| *id != self.leader.node).collect();
        {
            let slow = self.slow.lock();
            others.sort_by_key(|id| (slow.contains(id), *id));
        }
        let needed = match membership.get_joint_config().as_slice() {
            [voters] => (voters.len() / 2 + 1).saturating_sub(confirmed.len()),
            _ => others.len(),
        };
        let asked = |ids: &[u64]| -> Vec<_> {
            let way = |id: &u64| self.leader.roster.way(*id).map(|way| self.ask(*id, way, vote, deadline));
            ids.iter().filter_map(way).collect()
        };
        let (first, mut later) = others.split_at(needed.min(others.len()));
        let mut answers: FuturesUnordered<_> = asked(first).into_iter().collect();
        let hurry = tokio::time::sleep(HURRY);
        tokio::pin!(hurry);
        while !is_quorum(&membership, &confirmed) {
            // `None`: one does not confirm, or it takes long.
            let answer = tokio::select! {
                biased;
                answer = answers.next(), if !answers.is_empty() => answer.flatten(),
                () = &mut hurry, if !later.is_empty() => None,
                else => None,
            };
            match answer {
                Some(id) => drop(confirmed.insert(id)),
                None if !later.is_empty() => {
                    let silent = first.iter().copied().filter(|id| !confirmed.contains(id));
                    *self.slow.lock() = silent.collect();
                    answers.extend(asked(std::mem::take(&mut later)));
                }
                None if answers.is_empty() => return false,
                None => {}
            }
        }
        true
    }

    async fn ask(&self, id: u64, way: Way, vote: Vote, deadline: Instant) -> Option<u64> {
        let patience = deadline.saturating_duration_since(Instant::now());
        match way.ask(Ask::Confirm(Confirm { vote: wire_vote(&vote) }), patience).await {
            Ok(Say::Confirmed(answer)) => {
                self.time.heard(id, clocks(answer.clocks));
                answer.confirmed.then_some(id)
            }
            _ => None,
        }
    }
}
