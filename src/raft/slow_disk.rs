//! A leader whose disk stays slow hands over.
//!
//! A slow disk of a leader costs no vote and no term: heartbeats do not wait for it, and with the others' disks writes go
//! on. But what the leader itself must have on disk before it applies it comes late. So after long it hands over in an
//! orderly way, to a voter whose disk is known to be fast; between slow and fast there is room, so that two disks that are
//! about alike do not take turns. Where all are slow nothing changes. Each term counts anew: leadership moves for this
//! reason at most once in that time, whatever the disks do.

use openraft::async_runtime::WatchReceiver;
use tokio::time::Instant;

use super::members::{Members, has_caught_up};
use super::syncs::FAST_US;

impl Members {
    /// Hands leadership over if this node's disk has been slow for long and that of another voter is fast.
    pub(super) async fn spare_slow_disk(&self) {
        let Some(after) = self.config.hand_over_after.filter(|after| self.syncs.are_slow_for(*after)) else {
            return;
        };
        let Some(to) = self.fast_voter().await else { return };
        let (p99_ms, after_s) = (self.syncs.p99_us().map(|us| us / 1_000), after.as_secs());
        tracing::warn!(p99_ms, after_s, to, "the disk of this leader stays slow: handing over");
        if let Err(error) = self.hand_over(Some(to), Instant::now()).await {
            tracing::info!(%error, "leadership is not handed over from a slow disk");
        }
        // If that came to nothing it is tried again only after as long.
        self.syncs.forgive();
    }

    /// The voter with the fastest disk, if one is known to be fast and could lead at once.
    async fn fast_voter(&self) -> Option<u64> {
        let effective = self.effective().await.ok()?;
        let metrics = self.raft.metrics().borrow_watched().clone();
        let speed = |node: u64| {
            let report = self.leader.roster.report(node).filter(|_| self.is_present(node))?;
            let p99_us = report.fsync_p99_us.filter(|us| *us <= FAST_US)?;
            let stays = !report.asks_to_stop && !report.may_stop && has_caught_up(&metrics, node);
            stays.then_some((p99_us, node))
        };
        let others = effective.voter_ids().filter(|node| *node != self.leader.node);
        others.filter_map(speed).min().map(|(_, node)| node)
    }
}
