//! Who leads, as far as this node knows, and waiting for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openraft::async_runtime::WatchReceiver;
use tokio::time::{Duration, Instant, timeout_at};

use super::batcher::Batcher;
use super::machine::Machine;
use super::peer::{Roster, Way};
use super::types::TypeConfig;

/// How long a leader that could not be reached is left alone.
const RETRY: Duration = Duration::from_millis(20);

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
    /// The one voter, whom nobody can depose: it leads as long as it lives. Set only under the lock that changes of the
    /// membership hold.
    pub(super) alone: Arc<AtomicBool>,
    /// This leader has begun to hand over: its lease may end before its time.
    pub(super) transferring: AtomicBool,
}

impl Leader {
    /// Where the leader is, if it is known.
    pub(super) fn route(&self) -> Option<Route> {
        if let Some(term) = self.batcher.term() {
            return Some(Route::Here(term));
        }
        let leader = self.raft.server_metrics().borrow_watched().current_leader?;
        if leader == self.node {
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
