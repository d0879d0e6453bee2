//! What this node has promised, and who may decide: kept beside the log, to be asked without a trip through raft's core.
//!
//! Both are noted when they are handed to the log and before they are on disk, so they are never behind what raft goes by.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::Membership;
use parking_lot::Mutex;

use super::types::{Member, StoredMembership, Vote};

/// The vote last handed to the log, and the membership last appended.
#[derive(Default)]
pub(super) struct Ledger {
    vote: Mutex<Option<Vote>>,
    membership: Mutex<Option<Appended>>,
    /// Last entry that is known to be committed, whether this node has it or not: a leader sent it here, or this node sent
    /// it as leader.
    committed: AtomicU64,
}

/// A membership, and the index of its entry.
type Appended = (u64, Arc<Membership<u64, Member>>);

impl Ledger {
    pub(super) fn new(vote: Option<Vote>) -> Ledger {
        Ledger { vote: Mutex::new(vote), ..Ledger::default() }
    }

    /// A vote is handed to the log.
    pub(super) fn vote(&self, vote: Vote) {
        *self.vote.lock() = Some(vote);
    }

    /// Whether nothing was promised to a later vote than this one.
    pub(super) fn stands_by(&self, vote: &Vote) -> bool {
        self.vote.lock().is_none_or(|promised| promised <= *vote)
    }

    /// The vote last handed to the log; `None`: this node has never voted.
    pub(super) fn promised(&self) -> Option<Vote> {
        *self.vote.lock()
    }

    /// The log is committed up to `index`: a leader says so, or this node leads and is about to send it to a member. A
    /// leader calls this before the message can leave, so whoever knows of the commit can find it here.
    pub(super) fn note_committed(&self, index: u64) {
        self.committed.fetch_max(index, Ordering::AcqRel);
    }

    /// Last entry that is known to be committed.
    pub(super) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// A membership is appended at `index`; it is in force from now on.
    pub(super) fn appended(&self, index: u64, membership: &Membership<u64, Member>) {
        *self.membership.lock() = Some((index, Arc::new(membership.clone())));
    }

    /// Entries after `index` are cut off.
    pub(super) fn truncated_after(&self, index: Option<u64>) {
        let mut membership = self.membership.lock();
        membership.take_if(|(at, _)| index.is_none_or(|index| *at > index));
    }

    /// What raft says is in force, in case nothing was appended since it said so.
    pub(super) fn learn(&self, stored: &StoredMembership) {
        let index = stored.log_id().as_ref().map_or(0, |id| id.index);
        let mut membership = self.membership.lock();
        if membership.as_ref().is_none_or(|(at, _)| *at <= index) {
            *membership = Some((index, Arc::new(stored.membership().clone())));
        }
    }

    /// The membership in force, if it is known: always while this node leads.
    pub(super) fn membership(&self) -> Option<Arc<Membership<u64, Member>>> {
        self.membership.lock().as_ref().map(|(_, membership)| Arc::clone(membership))
    }
}

/// Whether these are a quorum of a membership, of both halves of a joint one.
pub(super) fn is_quorum(membership: &Membership<u64, Member>, members: &BTreeSet<u64>) -> bool {
    let configs = membership.get_joint_config();
    configs.iter().all(|config| config.intersection(members).count() > config.len() / 2)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::raft::types::{from_wal, vote_from_wal};
    use crate::wal;

    fn vote(term: u64, node: u64, committed: bool) -> Vote {
        vote_from_wal(wal::Vote { term, node, committed })
    }

    fn membership(voters: &[u64]) -> Membership<u64, Member> {
        let members: BTreeMap<_, _> = voters.iter().map(|id| (*id, Member::default())).collect();
        Membership::new(vec![BTreeSet::from_iter(voters.iter().copied())], members).expect("all are known")
    }

    #[test]
    fn a_leader_is_confirmed_until_something_was_promised_to_a_later_one() {
        let ledger = Ledger::new(None);
        let leader = vote(3, 1, true);
        assert!(ledger.stands_by(&leader));
        ledger.vote(vote(3, 1, false));
        assert!(ledger.stands_by(&leader));
        ledger.vote(leader);
        assert!(ledger.stands_by(&leader));
        ledger.vote(vote(4, 2, false));
        assert!(!ledger.stands_by(&leader), "a vote that is not on disk yet counts");
    }

    #[test]
    fn a_membership_counts_from_when_it_is_appended_until_it_is_cut_off() {
        let ledger = Ledger::default();
        let at = |index| Some(from_wal(wal::LogId { term: 1, leader: 0, index }));
        ledger.learn(&StoredMembership::new(at(4), membership(&[1])));
        ledger.appended(9, &membership(&[1, 2, 3]));
        ledger.learn(&StoredMembership::new(at(4), membership(&[1])));
        assert_eq!(ledger.membership(), Some(Arc::new(membership(&[1, 2, 3]))), "raft's word is older");
        ledger.truncated_after(Some(8));
        assert_eq!(ledger.membership(), None);
    }
}
