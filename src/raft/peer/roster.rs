//! Who the members are, and the way to each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::envelope::{Guard, Me};
use super::link::{CallError, Link};
use super::secret::Secret;
use super::wire::{Ask, Envelope, Say};
use crate::model::Level;
use crate::raft::transport::Transport;
use crate::raft::types::{Member, StoredMembership};

/// The members that this node knows, and connections to them. Cheap to clone; clones are the same.
#[derive(Clone)]
pub(crate) struct Roster(Arc<Inner>);

struct Inner {
    me: Me,
    secret: Arc<Secret>,
    transport: Option<Arc<dyn Transport>>,
    guard: Arc<Guard>,
    members: Mutex<BTreeMap<u64, Known>>,
    /// When each member last answered a heartbeat of this node.
    answers: Mutex<BTreeMap<u64, Instant>>,
}

struct Known {
    member: Member,
    /// `None`: its address makes no sense.
    link: Option<Link>,
}

/// A member, and the way to it.
#[derive(Clone)]
pub(crate) struct Way {
    /// Who sends to whom on it.
    pub(crate) envelope: Envelope,
    link: Link,
}

impl Way {
    /// The connections.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Asks, and waits for the answer at most `patience`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub(crate) async fn call(&self, ask: Ask, patience: Duration) -> Result<Say, CallError> {
        self.link.call(&self.envelope, ask, patience).await
    }
}

impl Roster {
    pub(crate) fn new(
        me: Me,
        secret: Arc<Secret>,
        transport: Option<Arc<dyn Transport>>,
        guard: Arc<Guard>,
    ) -> Roster {
        let (members, answers) = (Mutex::default(), Mutex::default());
        Roster(Arc::new(Inner { me, secret, transport, guard, members, answers }))
    }

    /// Who this node is.
    pub(crate) fn me(&self) -> Me {
        self.0.me
    }

    /// Who may talk to this node.
    pub(crate) fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// The secret that members share.
    pub(crate) fn secret(&self) -> &Secret {
        &self.0.secret
    }

    /// A member has answered a heartbeat.
    pub(crate) fn answered(&self, id: u64) {
        self.0.answers.lock().insert(id, Instant::now());
    }

    /// When a member last gave a sign of life, if ever: by a message of its own, or by an answer to a heartbeat.
    pub(crate) fn heard(&self, id: u64) -> Option<Instant> {
        let answered = self.0.answers.lock().get(&id).copied();
        answered.max(self.0.guard.heard(id))
    }

    /// Takes note of a membership.
    pub(crate) fn learn(&self, membership: &StoredMembership) {
        self.0.guard.learn(membership.nodes());
        let mut members = self.0.members.lock();
        members.retain(|id, _| membership.get_node(id).is_some());
        self.0.answers.lock().retain(|id, _| membership.get_node(id).is_some());
        for (id, member) in membership.nodes() {
            self.note(&mut members, *id, member);
        }
    }

    fn note(&self, members: &mut BTreeMap<u64, Known>, id: u64, member: &Member) {
        if members.get(&id).is_some_and(|known| known.member == *member) {
            return;
        }
        let link = Link::new(&member.advertise, Arc::clone(&self.0.secret), self.0.transport.as_ref());
        let link =
            link.inspect_err(|error| tracing::warn!(node = id, %error, "a member has no address")).ok();
        members.insert(id, Known { member: member.clone(), link });
    }

    /// The way to a member, which is as `member` says.
    pub(crate) fn way_to(&self, id: u64, member: &Member) -> Option<Way> {
        let mut members = self.0.members.lock();
        self.note(&mut members, id, member);
        drop(members);
        self.way(id)
    }

    /// The way to a member, if it is known and reachable at all.
    pub(crate) fn way(&self, id: u64) -> Option<Way> {
        let members = self.0.members.lock();
        let known = members.get(&id)?;
        let link = known.link.clone()?;
        let envelope = self.0.me.to(id, known.member.incarnation, Level::LATEST.0);
        Some(Way { envelope, link })
    }
}
