//! Whether this node is still a member.
//!
//! A member that was removed hears nothing of it: the leader sends it nothing any more, and may have to be asked. So a
//! node that has not heard a leader for a while asks every member that it knows. Only a leader that a quorum has just
//! confirmed says for certain; then the node marks its directory and stops.

use std::sync::Arc;

use openraft::async_runtime::WatchReceiver;
use tokio::time::{Duration, Instant};

use super::Retired;
use super::barrier::Barrier;
use super::health::Health;
use super::identity::Directory;
use super::leader::{Leader, Route};
use super::members::Members;
use super::peer::{Ask, Say, Standing, Stands};
use super::{Failure, OpenError};

/// A node that has not heard its leader for so long asks where it stands.
const LEADERLESS: Duration = Duration::from_secs(2);

/// How long a member may take to answer.
const ANSWERING: Duration = Duration::from_secs(1);

/// How often it is looked after the leader.
const LOOKING: Duration = Duration::from_secs(1);

/// Ends the node when it is no member any more.
pub(super) async fn watch(members: Arc<Members>, directory: Directory, health: Arc<Health>) {
    loop {
        tokio::time::sleep(LOOKING).await;
        if is_cut_off(&members.leader)
            && let Some(reason) = ask(&members).await
        {
            retire(&directory, &health, reason).await;
            return;
        }
    }
}

/// Marks the directory, and ends the node.
pub(super) async fn retire(directory: &Directory, health: &Health, reason: Retired) {
    let directory = directory.clone();
    let marked = tokio::task::spawn_blocking(move || -> Result<Retired, OpenError> {
        // Who has asked to leave and did not hear the answer has left.
        let reason = if directory.is_leaving()? { Retired::Left } else { reason };
        directory.retire(reason)?;
        Ok(reason)
    });
    let reason = match marked.await {
        Ok(Ok(reason)) => reason,
        Ok(Err(error)) => {
            tracing::error!(%error, "the directory could not be marked as that of no member");
            reason
        }
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };
    tracing::warn!(reason = reason.name(), "this node is no member of the cluster any more");
    health.fail(Failure::Retired(reason));
}

/// Whether the leader, as this node knows it, has given no sign of life for a while.
fn is_cut_off(leader: &Leader) -> bool {
    if leader.batcher.term().is_some() {
        return false;
    }
    let known = leader.raft.server_metrics().borrow_watched().current_leader;
    let heard = known.and_then(|id| leader.roster.heard(id));
    heard.is_none_or(|heard| heard.elapsed() > LEADERLESS)
}

/// Why this node is no member any more, if a leader says so for certain.
async fn ask(members: &Members) -> Option<Retired> {
    let (leader, name) = (&members.leader, &members.config.advertise);
    let me = leader.roster.me();
    let standing = || Standing {
        cluster: me.cluster.into(),
        node: me.node,
        incarnation: me.incarnation.into(),
        name: name.clone(),
    };
    let asking = leader.roster.others(&members.config.seeds).into_iter().map(|way| async move {
        match way.call(Ask::Standing(standing()), ANSWERING).await {
            Ok(Say::Stands(Stands { gone: true, replaced })) => {
                Some(if replaced { Retired::Replaced } else { Retired::Removed })
            }
            _ => None,
        }
    });
    futures_util::future::join_all(asking).await.into_iter().flatten().next()
}

/// Says whether a node is a member, if this one leads and a quorum confirms that.
pub(super) async fn answer(barrier: &Arc<Barrier>, asked: Standing) -> Stands {
    let nothing = Stands { gone: false, replaced: false };
    let me = barrier.leader.roster.me();
    if u128::from(asked.cluster) != me.cluster || !matches!(barrier.leader.route(), Some(Route::Here(_))) {
        return nothing;
    }
    if barrier.passed(false, Instant::now() + ANSWERING).await.is_err() {
        return nothing;
    }
    let applied = barrier.replica.applied.lock();
    let member = applied.membership.get_node(&asked.node);
    let gone = member.is_none_or(|member| member.incarnation != u128::from(asked.incarnation));
    let replaced = applied.membership.nodes().any(|(_, member)| member.advertise == asked.name);
    Stands { gone, replaced: gone && replaced }
}
