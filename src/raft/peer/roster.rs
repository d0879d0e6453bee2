//! Who the members are, and the way to each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::attempts::{Attempts, Purpose};
use super::envelope::{Guard, Me};
use super::error::CallError;
use super::link::Link;
use super::secret::Secret;
use super::wire::{Ask, Envelope, Report, Say};
use crate::model::Level;
use crate::raft::transport::Transport;
use crate::raft::types::{Member, StoredMembership};

/// The members that this node knows, and connections to them. Cheap to clone; clones are the same.
#[derive(Clone)]
pub(crate) struct Roster(Arc<Inner>);

struct Inner {
    me: Me,
    /// The highest level that this node understands.
    max_level: Level,
    /// The level in force.
    level: Arc<AtomicU16>,
    secret: Arc<Secret>,
    transport: Option<Arc<dyn Transport>>,
    guard: Arc<Guard>,
    members: Mutex<BTreeMap<u64, Known>>,
    /// What each member last answered to a heartbeat of this node, and when.
    answers: Mutex<BTreeMap<u64, (Instant, Report)>>,
    /// Whether the disk of each member was full when it last answered a heartbeat, or a request for its vote.
    disks: Mutex<BTreeMap<u64, (Instant, bool)>>,
    /// In which term each member has taken a heartbeat of this node as leader, and when the last such one was sent.
    followed: Mutex<BTreeMap<u64, (u64, Instant)>>,
    /// Up to where each member has acknowledged the log to this node as leader, and in which term.
    acknowledged: Mutex<BTreeMap<u64, Acknowledged>>,
    /// The leader, this node or another one, has lost its quorum.
    quorum_lost: AtomicBool,
    /// How tries to reach each member went.
    attempts: Mutex<BTreeMap<(u64, Purpose), Arc<Attempts>>>,
}

/// What a member acknowledged in a term. What it did in another term says nothing: a leader of a term between may have
/// had it removed again.
#[derive(Clone, Copy, Default)]
struct Acknowledged {
    term: u64,
    index: u64,
    is_rolled_back: bool,
}

struct Known {
    member: Member,
    /// Where it was found, if not at the address in its record.
    found: Option<String>,
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

    /// As [`Way::call`], for what is asked all the time.
    ///
    /// # Errors
    /// See [`CallError`].
    pub(crate) async fn ask(&self, ask: Ask, patience: Duration) -> Result<Say, CallError> {
        self.link.ask(&self.envelope, ask, patience).await
    }
}

impl Roster {
    pub(crate) fn new(
        me: Me,
        (max_level, level): (Level, Arc<AtomicU16>),
        (secret, transport): (Arc<Secret>, Option<Arc<dyn Transport>>),
        guard: Arc<Guard>,
    ) -> Roster {
        let (members, answers, disks, followed, acknowledged, attempts) = Default::default();
        Roster(Arc::new(Inner {
            me,
            max_level,
            level,
            secret,
            transport,
            guard,
            members,
            answers,
            disks,
            followed,
            acknowledged,
            quorum_lost: AtomicBool::new(false),
            attempts,
        }))
    }

    /// Notes whether the leader has lost its quorum: this node as leader finds out, and tells it with each heartbeat.
    pub(crate) fn set_quorum_lost(&self, is_lost: bool) {
        self.0.quorum_lost.store(is_lost, Ordering::Relaxed);
    }

    /// Whether the leader has lost its quorum.
    pub(crate) fn quorum_lost(&self) -> bool {
        self.0.quorum_lost.load(Ordering::Relaxed)
    }

    /// Who this node is.
    pub(crate) fn me(&self) -> Me {
        self.0.me
    }

    /// The highest level that this node understands.
    pub(crate) fn max_level(&self) -> Level {
        self.0.max_level
    }

    /// Who may talk to this node.
    pub(crate) fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// The secret that members share.
    pub(crate) fn secret(&self) -> &Arc<Secret> {
        &self.0.secret
    }

    /// A member has answered a heartbeat.
    pub(crate) fn answered(&self, id: u64, report: Report) {
        self.0.guard.answered(id, report.boot.into());
        self.note_disk(id, report.out_of_disk);
        self.0.answers.lock().insert(id, (Instant::now(), report));
    }

    /// A member has said whether its disk is full.
    pub(crate) fn note_disk(&self, id: u64, is_full: bool) {
        self.0.disks.lock().insert(id, (Instant::now(), is_full));
    }

    /// Whether the disk of a member is full, if it has said so lately.
    pub(crate) fn has_full_disk(&self, id: u64, lately: Duration) -> Option<bool> {
        let disks = self.0.disks.lock();
        disks.get(&id).filter(|(at, _)| at.elapsed() < lately).map(|(_, is_full)| *is_full)
    }

    /// What a member said of itself with its last answer to a heartbeat.
    pub(crate) fn report(&self, id: u64) -> Option<Report> {
        self.0.answers.lock().get(&id).map(|(_, report)| report.clone())
    }

    /// When a member last answered a heartbeat or entries of this node, if ever.
    pub(crate) fn last_answer(&self, id: u64) -> Option<Instant> {
        self.0.answers.lock().get(&id).map(|(at, _)| *at)
    }

    /// A member has taken a heartbeat that this node sent at that time as the leader of `term`.
    pub(crate) fn follows(&self, id: u64, term: u64, sent: Instant) {
        let mut followed = self.0.followed.lock();
        let known = followed.entry(id).or_insert((term, sent));
        *known = (*known).max((term, sent));
    }

    /// The members that have taken a heartbeat of this node as the leader of `term`, sent less than `age` ago.
    pub(crate) fn followers(&self, term: u64, age: Duration) -> BTreeSet<u64> {
        let followed = self.0.followed.lock();
        let lately = followed.iter().filter(|(_, (of, sent))| *of == term && sent.elapsed() < age);
        lately.map(|(id, _)| *id).collect()
    }

    /// A member has acknowledged the log up to `index` to this node as the leader of `term`.
    pub(crate) fn acknowledged(&self, id: u64, term: u64, index: u64) {
        let mut acknowledged = self.0.acknowledged.lock();
        let known = acknowledged.entry(id).or_default();
        if known.term < term {
            *known = Acknowledged { term, index, is_rolled_back: false };
        } else if known.term == term {
            known.index = known.index.max(index);
        }
        drop(acknowledged);
        // With a slow disk answers to heartbeats come too late, and those to entries do come.
        if let Some((at, _)) = self.0.answers.lock().get_mut(&id) {
            *at = Instant::now();
        }
    }

    /// A member does not have the entry at `index`, says it to this node as the leader of `term`. Gives what it has
    /// acknowledged in that term, if that reaches so far: its disk, or its directory, has forgotten it.
    pub(crate) fn lacks(&self, id: u64, term: u64, index: u64) -> Option<u64> {
        let mut acknowledged = self.0.acknowledged.lock();
        let known = acknowledged.get_mut(&id).filter(|known| known.term == term && index <= known.index)?;
        known.is_rolled_back = true;
        Some(known.index)
    }

    /// Up to where a member had acknowledged the log to this leader, if it has lost some of that.
    pub(crate) fn rolled_back(&self, id: u64) -> Option<u64> {
        let acknowledged = self.0.acknowledged.lock();
        acknowledged.get(&id).filter(|known| known.is_rolled_back).map(|known| known.index)
    }

    /// Connections to an address, whoever is there.
    ///
    /// # Errors
    /// It is not an address.
    pub(crate) fn link_to(&self, address: &str) -> Result<Link, CallError> {
        Link::new(address, Arc::clone(&self.0.secret), self.0.transport.as_ref())
    }

    /// The ways to all other members; to the seeds while no member is known, whoever is there. (A founder that was
    /// stopped before its first entry reached it knows nobody else.)
    pub(crate) fn others(&self, seeds: &[String]) -> Vec<Way> {
        let ids: Vec<u64> = self.0.members.lock().keys().copied().collect();
        if ids.is_empty() {
            let envelope = self.0.me.to(0, 0, self.0.level.load(Ordering::Acquire));
            let links = seeds.iter().filter_map(|seed| self.link_to(seed).ok());
            return links.map(|link| Way { envelope, link }).collect();
        }
        ids.into_iter().filter(|id| *id != self.0.me.node).filter_map(|id| self.way(id)).collect()
    }

    /// When a member last gave a sign of life, if ever: by a message of its own, or by an answer to a heartbeat.
    pub(crate) fn heard(&self, id: u64) -> Option<Instant> {
        self.last_answer(id).max(self.0.guard.heard(id))
    }

    /// Takes note of a membership.
    pub(crate) fn learn(&self, membership: &StoredMembership) {
        self.0.guard.learn(membership.nodes());
        let mut members = self.0.members.lock();
        members.retain(|id, _| membership.get_node(id).is_some());
        self.0.answers.lock().retain(|id, _| membership.get_node(id).is_some());
        self.0.disks.lock().retain(|id, _| membership.get_node(id).is_some());
        self.0.followed.lock().retain(|id, _| membership.get_node(id).is_some());
        self.0.attempts.lock().retain(|(id, _), _| membership.get_node(id).is_some());
        for (id, member) in membership.nodes() {
            self.note(&mut members, *id, member);
        }
    }

    fn note(&self, members: &mut BTreeMap<u64, Known>, id: u64, member: &Member) {
        if members.get(&id).is_some_and(|known| known.member == *member) {
            return;
        }
        let link = self.link_to(&member.advertise);
        let link = link.inspect_err(|error| {
            // A node alone needs none for itself.
            if id != self.0.me.node {
                tracing::warn!(node = id, %error, "a member has no address");
            }
        });
        let link = link.ok();
        members.insert(id, Known { member: member.clone(), found: None, link });
        // What failed at the former address says nothing of this one.
        self.0.attempts.lock().retain(|(of, _), _| *of != id);
    }

    /// The member with this data directory, if it is known at another address than `address`.
    pub(crate) fn moved(&self, incarnation: u128, address: &str) -> Option<u64> {
        let members = self.0.members.lock();
        let (id, known) = members.iter().find(|(_, known)| known.member.incarnation == incarnation)?;
        let at = known.found.as_deref().unwrap_or(&known.member.advertise);
        (*id != self.0.me.node && at != address).then_some(*id)
    }

    /// A member was found at `address`. It is reached there until its record is replaced.
    pub(crate) fn found(&self, id: u64, address: &str) {
        let Ok(link) = self.link_to(address) else { return };
        if let Some(known) = self.0.members.lock().get_mut(&id) {
            (known.found, known.link) = (Some(address.to_owned()), Some(link));
        }
        self.0.attempts.lock().retain(|(of, _), _| *of != id);
    }

    /// Takes note of one member.
    pub(crate) fn note_member(&self, id: u64, member: &Member) {
        self.note(&mut self.0.members.lock(), id, member);
    }

    /// The way to a member, which is as `member` says.
    pub(crate) fn way_to(&self, id: u64, member: &Member) -> Option<Way> {
        self.note_member(id, member);
        self.way(id)
    }

    /// How tries to reach a member for a purpose went.
    pub(super) fn attempts(&self, id: u64, purpose: Purpose) -> Arc<Attempts> {
        let mut attempts = self.0.attempts.lock();
        Arc::clone(attempts.entry((id, purpose)).or_insert_with(|| Arc::new(Attempts::new(purpose))))
    }

    /// Why the last try to reach a member for a purpose failed, if it did.
    pub(crate) fn trouble(&self, id: u64, purpose: Purpose) -> Option<String> {
        self.0.attempts.lock().get(&(id, purpose))?.reason()
    }

    /// A member has a reader who waits for what is committed here.
    pub(crate) fn tell_commit(&self, id: u64) {
        let members = self.0.members.lock();
        if let Some(link) = members.get(&id).and_then(|known| known.link.as_ref()) {
            link.commit_wanted().notify_one();
        }
    }

    /// The way to a member, if it is known and reachable at all.
    pub(crate) fn way(&self, id: u64) -> Option<Way> {
        let members = self.0.members.lock();
        let known = members.get(&id)?;
        let link = known.link.clone()?;
        let envelope = self.0.me.to(id, known.member.incarnation, self.0.level.load(Ordering::Acquire));
        Some(Way { envelope, link })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, Faulty};

    /// Goal: a lease counts from when a heartbeat was sent, however late its answer comes, and in its term alone.
    #[tokio::test(start_paused = true)]
    async fn a_member_follows_from_when_the_heartbeat_was_sent_and_in_its_term() {
        let me = Me { cluster: 7, node: 1, incarnation: 11, boot: 111 };
        let disk: Arc<dyn Disk> = Arc::new(Faulty::new());
        let secret = Arc::new(Secret::load(&disk, None).expect("none is asked for"));
        let guard = Guard::new(me, Duration::from_secs(1));
        let roster = Roster::new(me, (Level::LATEST, Arc::default()), (secret, None), guard);
        let (age, step) = (Duration::from_millis(100), Duration::from_millis(60));
        let sent = Instant::now();
        tokio::time::advance(step).await;
        roster.follows(2, 5, sent);
        assert_eq!(roster.followers(5, age), BTreeSet::from([2]));
        assert_eq!((roster.followers(4, age), roster.followers(6, age)), Default::default());
        tokio::time::advance(step).await;
        assert_eq!(roster.followers(5, age), BTreeSet::new(), "the answer was late, not the heartbeat");
        let later = Instant::now();
        roster.follows(2, 6, later);
        roster.follows(2, 5, later);
        roster.follows(2, 6, sent);
        assert_eq!(roster.followers(6, age), BTreeSet::from([2]), "answers out of order take nothing back");
        assert_eq!(roster.followers(5, age), BTreeSet::new());
    }
}
