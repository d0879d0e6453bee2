//! Who leads, as far as this node knows, and waiting for it.
//!
//! A leader counts as long as it is heard: raft itself names the last one for ever, though it may be dead or without a
//! quorum.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use tokio::time::{Duration, Instant, timeout_at};

use super::batcher::Batcher;
use super::ledger::{Ledger, is_quorum};
use super::machine::Machine;
use super::peer::{Roster, Way};
use super::types::TypeConfig;

/// How long a leader that could not be reached is left alone.
const RETRY: Duration = Duration::from_millis(20);

/// A leader that is not heard for so long is not named any more, unless elections take longer.
const SILENT: Duration = Duration::from_secs(2);

/// Where a request goes.
pub(super) enum Route {
    /// This node leads, in that term.
    Here(u64),
    /// That member leads.
    There(u64, Box<Way>),
}

/// Finds the leader.
pub(super) struct Leader {
    pub(super) raft: openraft::Raft<TypeConfig, Machine>,
    pub(super) node: u64,
    pub(super) batcher: Arc<Batcher>,
    pub(super) roster: Roster,
    pub(super) ledger: Arc<Ledger>,
    /// A leader that was not heard for so long is gone.
    pub(super) silent_after: Duration,
    /// The term in which this node leads, and when that was first seen.
    pub(super) led_since: Mutex<Option<(u64, Instant)>>,
    /// The one voter, whom nobody can depose: it leads as long as it lives. Set only under the lock that changes of the
    /// membership hold.
    pub(super) alone: Arc<AtomicBool>,
    /// This leader has begun to hand over: its lease may end before its time.
    pub(super) transferring: AtomicBool,
}

impl Leader {
    pub(super) fn new(
        raft: openraft::Raft<TypeConfig, Machine>,
        node: u64,
        batcher: Arc<Batcher>,
        roster: Roster,
        ledger: Arc<Ledger>,
    ) -> Leader {
        let (led_since, alone, transferring) = Default::default();
        Leader { raft, node, batcher, roster, ledger, silent_after: SILENT, led_since, alone, transferring }
    }

    /// `election` is the longest time until a follower stands for election.
    pub(super) fn silent_after(self, election: Duration) -> Leader {
        Leader { silent_after: SILENT.max(election * 2), ..self }
    }

    /// The leader, if it is heard: by this node if another one leads, and by a quorum in either case.
    pub(super) fn heard(&self) -> Option<u64> {
        if let Some(term) = self.batcher.term() {
            let is_followed = self.is_followed(term);
            self.roster.set_quorum_lost(!is_followed);
            return is_followed.then_some(self.node);
        }
        let leader = self.raft.server_metrics().borrow_watched().current_leader?;
        (leader != self.node && self.is_heard(leader) && !self.roster.quorum_lost()).then_some(leader)
    }

    fn is_heard(&self, leader: u64) -> bool {
        self.roster.heard(leader).is_some_and(|heard| heard.elapsed() < self.silent_after)
    }

    /// Whether a quorum has lately taken heartbeats of this node as the leader of `term`.
    pub(super) fn is_followed(&self, term: u64) -> bool {
        let mut followers = self.roster.followers(term, self.silent_after);
        followers.insert(self.node);
        let mut led_since = self.led_since.lock();
        let (_, since) = match *led_since {
            Some((of, since)) if of == term => (of, since),
            _ => *led_since.insert((term, Instant::now())),
        };
        // A quorum has elected it: it counts until heartbeats can have been answered.
        let is_new = since.elapsed() < self.silent_after;
        is_new || self.ledger.membership().is_some_and(|members| is_quorum(&members, &followers))
    }

    /// Where the leader is, if it is known.
    pub(super) fn route(&self) -> Option<Route> {
        if let Some(term) = self.batcher.term() {
            return Some(Route::Here(term));
        }
        let leader = self.raft.server_metrics().borrow_watched().current_leader?;
        // Nobody is sent to a leader that is gone: each request would fail, and be tried again, at once.
        if leader == self.node || !self.is_heard(leader) {
            return None;
        }
        self.roster.way(leader).map(|way| Route::There(leader, Box::new(way)))
    }

    /// Waits for a leader until `deadline`.
    pub(super) async fn find(&self, deadline: Instant) -> Option<Route> {
        loop {
            if let Some(route) = self.route() {
                return Some(route);
            }
            self.changed(deadline).await?;
        }
    }

    /// Returns when it is worth to look again: the leader has changed, or a little later. `None` at the deadline, and once
    /// the raft core has ended: nothing changes any more then.
    pub(super) async fn changed(&self, deadline: Instant) -> Option<()> {
        let mut metrics = self.raft.server_metrics();
        metrics.borrow_and_update();
        let soon = Instant::now() + RETRY;
        let has_ended = matches!(timeout_at(soon.min(deadline), metrics.changed()).await, Ok(Err(_)));
        (!has_ended && Instant::now() < deadline).then_some(())
    }

    /// Whether this node is the only voter, and leads.
    pub(super) fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Acquire) && self.batcher.term().is_some()
    }
}
