//! Who this node is to others, and whether what arrives was meant for it.
//!
//! Looked at before anything reaches raft: a message of another cluster, one that was sent to whoever was here before, one
//! of a member that is known with another data directory or as removed. A sender that is not known is let in: this node may
//! not have read of its admission yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use super::wire::{Envelope, Party};
use crate::raft::types::{GROUP, Member};

/// What a node is in every message that it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Me {
    /// 0 before it is in one.
    pub(crate) cluster: u128,
    /// 0 before it has one.
    pub(crate) node: u64,
    pub(crate) incarnation: u128,
    /// Random for each process.
    pub(crate) boot: u128,
}

impl Me {
    /// The envelope of a message to `(node, incarnation)`, at `level`.
    pub(crate) fn to(&self, node: u64, incarnation: u128, level: u16) -> Envelope {
        Envelope {
            cluster: self.cluster.into(),
            group: u32::from(GROUP),
            level: u32::from(level),
            from: Party { node: self.node, incarnation: self.incarnation.into() },
            to: Party { node, incarnation: incarnation.into() },
            boot: self.boot.into(),
        }
    }
}

/// Why a message is not looked at. The names are those of the metric's label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("wrong or no secret")]
    Secret,
    #[error("the message has no envelope")]
    Malformed,
    #[error("the sender is of another cluster")]
    Cluster,
    #[error("there is no such group")]
    Group,
    #[error("the message was meant for another node")]
    Receiver,
    #[error("the sender is known with another data directory")]
    Sender,
    #[error("the sender is no member any more")]
    Removed,
    #[error("another process with the same data directory was heard just now")]
    Copy,
    #[error("the sender speaks a newer level")]
    Level,
    #[error("the node is not a member of a cluster yet")]
    Forming,
    #[error("the node is starting")]
    Starting,
    #[error("the member has lost what it had acknowledged")]
    RolledBack,
}

impl Refusal {
    /// All, in the order of their codes.
    const ALL: [Refusal; 12] = [
        Refusal::Secret,
        Refusal::Malformed,
        Refusal::Cluster,
        Refusal::Group,
        Refusal::Receiver,
        Refusal::Sender,
        Refusal::Removed,
        Refusal::Copy,
        Refusal::Level,
        Refusal::Forming,
        Refusal::Starting,
        Refusal::RolledBack,
    ];

    /// The name in messages and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Refusal::Secret => "secret",
            Refusal::Malformed => "malformed",
            Refusal::Cluster => "cluster",
            Refusal::Group => "group",
            Refusal::Receiver => "receiver",
            Refusal::Sender => "sender",
            Refusal::Removed => "removed",
            Refusal::Copy => "copy",
            Refusal::Level => "level",
            Refusal::Forming => "forming",
            Refusal::Starting => "starting",
            Refusal::RolledBack => "rolled-back",
        }
    }

    /// The refusal of that name.
    pub(crate) fn named(name: &str) -> Option<Refusal> {
        Refusal::ALL.into_iter().find(|refusal| refusal.name() == name)
    }
}

/// Knows who may talk to raft here.
pub(crate) struct Guard {
    me: Me,
    /// How long a process is heard after its last message.
    heard_for: Duration,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Every member that this process has read of, with its data directory; `None`: removed since.
    members: BTreeMap<u64, Option<u128>>,
    /// The process behind each member, and when it was last heard.
    processes: BTreeMap<u64, (u128, Instant)>,
}

impl Guard {
    /// `heard_for` is one election timeout.
    pub(crate) fn new(me: Me, heard_for: Duration) -> Arc<Guard> {
        Arc::new(Guard { me, heard_for, known: Mutex::default() })
    }

    /// Takes note of a membership. Who was a member and is not any more is removed for good: ids are never used again.
    pub(crate) fn learn<'a>(&self, members: impl Iterator<Item = (&'a u64, &'a Member)>) {
        let mut known = self.known.lock();
        let present: BTreeMap<u64, u128> = members.map(|(id, member)| (*id, member.incarnation)).collect();
        for (id, incarnation) in &mut known.members {
            if !present.contains_key(id) {
                *incarnation = None;
            }
        }
        known.members.extend(present.into_iter().map(|(id, incarnation)| (id, Some(incarnation))));
    }

    /// Whether a message with this envelope may pass.
    pub(crate) fn check(&self, envelope: &Envelope, level: u16) -> Result<(), Refusal> {
        if u128::from(envelope.cluster) != self.me.cluster {
            return Err(Refusal::Cluster);
        }
        if envelope.group != u32::from(GROUP) {
            return Err(Refusal::Group);
        }
        if envelope.to.node != self.me.node || u128::from(envelope.to.incarnation) != self.me.incarnation {
            return Err(Refusal::Receiver);
        }
        if envelope.level > u32::from(level) {
            return Err(Refusal::Level);
        }
        let (node, incarnation) = (envelope.from.node, u128::from(envelope.from.incarnation));
        if node == self.me.node {
            return Err(Refusal::Sender);
        }
        let mut known = self.known.lock();
        match known.members.get(&node) {
            Some(None) => return Err(Refusal::Removed),
            Some(Some(known)) if *known != incarnation => return Err(Refusal::Sender),
            Some(Some(_)) | None => {}
        }
        let now = Instant::now();
        let boot = u128::from(envelope.boot);
        match known.processes.get(&node) {
            Some((heard, at)) if *heard != boot && now.duration_since(*at) < self.heard_for => {
                Err(Refusal::Copy)
            }
            _ => {
                known.processes.insert(node, (boot, now));
                Ok(())
            }
        }
    }

    /// A member has answered at its address: that process is the one.
    pub(crate) fn answered(&self, node: u64, boot: u128) {
        self.known.lock().processes.insert(node, (boot, Instant::now()));
    }

    /// When a member was last heard, if ever.
    pub(crate) fn heard(&self, node: u64) -> Option<Instant> {
        self.known.lock().processes.get(&node).map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Me = Me { cluster: 7, node: 1, incarnation: 11, boot: 111 };
    const PEER: Me = Me { cluster: 7, node: 2, incarnation: 22, boot: 222 };

    fn guard() -> Arc<Guard> {
        let guard = Guard::new(ME, Duration::from_millis(500));
        let members = [(1, ME.incarnation), (2, PEER.incarnation)]
            .map(|(id, incarnation)| (id, Member { incarnation, ..Member::default() }));
        guard.learn(members.iter().map(|(id, member)| (id, member)));
        guard
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_meant_for_this_node_or_not_of_a_member_is_refused() {
        let guard = guard();
        let good = PEER.to(1, 11, 1);
        assert_eq!(guard.check(&good, 1), Ok(()));
        let other = Me { cluster: 8, ..PEER };
        assert_eq!(guard.check(&other.to(1, 11, 1), 1), Err(Refusal::Cluster));
        assert_eq!(guard.check(&PEER.to(3, 11, 1), 1), Err(Refusal::Receiver));
        assert_eq!(guard.check(&PEER.to(1, 12, 1), 1), Err(Refusal::Receiver), "who was here before");
        assert_eq!(guard.check(&PEER.to(1, 11, 2), 1), Err(Refusal::Level));
        let wiped = Me { incarnation: 23, ..PEER };
        assert_eq!(guard.check(&wiped.to(1, 11, 1), 1), Err(Refusal::Sender));
        let unknown = Me { node: 9, incarnation: 99, ..PEER };
        assert_eq!(guard.check(&unknown.to(1, 11, 1), 1), Ok(()), "its admission may not have been read yet");
    }

    #[tokio::test(start_paused = true)]
    async fn a_removed_member_is_refused_for_good() {
        let guard = guard();
        guard.learn([(1, Member { incarnation: 11, ..Member::default() })].iter().map(|(id, m)| (id, m)));
        assert_eq!(guard.check(&PEER.to(1, 11, 1), 1), Err(Refusal::Removed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_process_of_a_member_is_refused_while_the_first_is_heard() {
        let guard = guard();
        assert_eq!(guard.check(&PEER.to(1, 11, 1), 1), Ok(()));
        let copy = Me { boot: 333, ..PEER };
        assert_eq!(guard.check(&copy.to(1, 11, 1), 1), Err(Refusal::Copy));
        tokio::time::advance(Duration::from_millis(499)).await;
        assert_eq!(guard.check(&copy.to(1, 11, 1), 1), Err(Refusal::Copy));
        tokio::time::advance(Duration::from_millis(2)).await;
        assert_eq!(guard.check(&copy.to(1, 11, 1), 1), Ok(()), "a restart");
    }
}
