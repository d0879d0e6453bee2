//! Hashes of the state, to be compared with those of other members.
//!
//! Noted where the log index is a multiple of `cluster.state_hash_every`, so that members note at the same entries. The
//! state is a function of the log: members whose hashes differ after the same entry have a defect, or broken memory.
//! [`Tally`] is the leader's: which hash the majority of the voters has after an entry is the right one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use parking_lot::Mutex;

use crate::store::StateHash;

/// Entries of which hashes are kept.
const KEPT: usize = 64;

/// The newest hashes of this node's state.
pub(super) struct Checkpoints {
    every: u64,
    newest: Mutex<VecDeque<Checkpoint>>,
}

/// The hash of the state after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) index: u64,
    pub(super) hash: StateHash,
}

impl Checkpoints {
    /// `every`: after how many entries one is noted.
    pub(super) fn new(every: u64) -> Checkpoints {
        Checkpoints { every, newest: Mutex::default() }
    }

    /// An entry was applied; `hash` is asked if it is one to note.
    pub(super) fn note(&self, index: u64, hash: impl FnOnce() -> StateHash) {
        // Entry 0 is the first membership: before it there is nothing to compare.
        if index == 0 || !index.is_multiple_of(self.every) {
            return;
        }
        let mut newest = self.newest.lock();
        if newest.len() == KEPT {
            newest.pop_front();
        }
        newest.push_back(Checkpoint { index, hash: hash() });
    }

    /// The newest.
    pub(super) fn newest(&self) -> Option<Checkpoint> {
        self.newest.lock().back().copied()
    }

    /// All that are kept.
    pub(super) fn all(&self) -> Vec<Checkpoint> {
        self.newest.lock().iter().copied().collect()
    }
}

/// A voter that has not spoken of an entry is not waited for once so many later ones were compared: it may be away for long.
const LATER: usize = 2;

/// What members said, by entry.
#[derive(Default)]
pub(super) struct Tally {
    said: BTreeMap<u64, BTreeMap<u64, StateHash>>,
    /// Where each member's hash was last found to be that of the majority.
    agreed: BTreeMap<u64, u64>,
    /// Members whose hash was last found wrong.
    wrong: BTreeSet<u64>,
    /// Entries whose difference was told, and who was said to be wrong.
    told: BTreeMap<u64, BTreeSet<u64>>,
}

/// What differs after an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) index: u64,
    /// Members whose state is wrong; none if there is no majority to say so.
    pub(super) wrong: BTreeSet<u64>,
}

impl Tally {
    /// A member's hash after an entry.
    pub(super) fn add(&mut self, member: u64, checkpoint: Checkpoint) {
        self.said.entry(checkpoint.index).or_default().insert(member, checkpoint.hash);
        while self.said.len() > KEPT {
            self.said.pop_first();
        }
    }

    /// Where a member's hash was last compared and right.
    pub(super) fn agreed(&self, member: u64) -> Option<u64> {
        self.agreed.get(&member).copied()
    }

    /// Whether a member's hash was last found wrong.
    pub(super) fn is_wrong(&self, member: u64) -> bool {
        self.wrong.contains(&member)
    }

    /// Compares what `voters` and others said. Each difference is told once, and again if more members turn out wrong.
    pub(super) fn compare(&mut self, voters: &BTreeSet<u64>) -> Option<Difference> {
        let mut found = None;
        for (earlier, (index, said)) in self.said.iter().enumerate() {
            let right = said.values().find(|hash| {
                let same = voters.iter().filter(|voter| said.get(voter) == Some(hash)).count();
                same > voters.len() / 2
            });
            for (member, hash) in said {
                if right == Some(hash) {
                    let agreed = self.agreed.entry(*member).or_default();
                    *agreed = (*agreed).max(*index);
                    self.wrong.remove(member);
                } else if right.is_some() {
                    self.wrong.insert(*member);
                }
            }
            let differ = said.values().any(|hash| Some(hash) != said.values().next());
            // Who has not spoken yet may still make a majority of one side.
            let may_speak = self.said.len() - earlier <= LATER;
            let is_open =
                may_speak && right.is_none() && voters.iter().any(|voter| !said.contains_key(voter));
            if !differ || is_open {
                continue;
            }
            let wrong = said.iter().filter(|(_, hash)| right.is_some_and(|right| right != *hash));
            let wrong: BTreeSet<u64> = wrong.map(|(member, _)| *member).collect();
            if self.told.get(index).is_none_or(|told| !told.is_superset(&wrong)) {
                found = Some(Difference { index: *index, wrong });
            }
        }
        if let Some(Difference { index, wrong }) = &found {
            self.told.insert(*index, wrong.clone());
            while self.told.len() > KEPT {
                self.told.pop_first();
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: u64, contents: u64) -> Checkpoint {
        Checkpoint { index, hash: StateHash { contents, order: 0, globals: 0 } }
    }

    #[test]
    fn hashes_are_noted_at_multiples_and_the_newest_are_kept() {
        let checkpoints = Checkpoints::new(10);
        for index in 1..=10 * (KEPT as u64 + 5) {
            checkpoints.note(index, || at(index, index).hash);
        }
        let all = checkpoints.all();
        assert_eq!((all.len(), all.first().map(|first| first.index)), (KEPT, Some(60)));
        assert_eq!(checkpoints.newest(), all.last().copied());
    }

    /// Goal: the minority is wrong, told once, and only what stands at the same entry is compared.
    #[test]
    fn a_member_that_differs_from_the_majority_is_wrong() {
        let voters = BTreeSet::from([1, 2, 3]);
        let mut tally = Tally::default();
        tally.add(1, at(10, 7));
        tally.add(2, at(20, 8));
        assert_eq!(tally.compare(&voters), None, "different entries");
        tally.add(2, at(10, 9));
        assert_eq!(tally.compare(&voters), None, "the third has not spoken");
        tally.add(3, at(10, 7));
        let wrong = Some(Difference { index: 10, wrong: BTreeSet::from([2]) });
        assert_eq!(tally.compare(&voters), wrong);
        assert_eq!(tally.compare(&voters), None, "it was told");
        assert_eq!((tally.agreed(1), tally.agreed(2), tally.agreed(3)), (Some(10), None, Some(10)));
        tally.add(9, at(10, 1));
        tally.add(1, at(30, 5));
        tally.add(3, at(30, 5));
        tally.add(9, at(30, 6));
        assert_eq!(
            tally.compare(&voters),
            Some(Difference { index: 30, wrong: BTreeSet::from([9]) }),
            "a learner is judged by the voters"
        );
    }

    /// Goal: a voter that never speaks hides no difference for long.
    #[test]
    fn a_voter_that_says_nothing_is_not_waited_for_without_end() {
        let voters = BTreeSet::from([1, 2, 3]);
        let mut tally = Tally::default();
        tally.add(1, at(10, 7));
        tally.add(2, at(10, 9));
        tally.add(1, at(20, 7));
        assert_eq!(tally.compare(&voters), None, "the third may speak yet");
        tally.add(1, at(30, 7));
        assert_eq!(tally.compare(&voters), Some(Difference { index: 10, wrong: BTreeSet::new() }));
        assert_eq!(tally.compare(&voters), None, "it was told");
    }

    /// Goal: who is found wrong after a difference was told is told too.
    #[test]
    fn more_members_that_turn_out_wrong_are_told() {
        let voters = BTreeSet::from([1, 2, 3, 4, 5]);
        let mut tally = Tally::default();
        for (member, contents) in [(1, 7), (2, 7), (3, 7), (4, 9)] {
            tally.add(member, at(10, contents));
        }
        let wrong =
            |members: &[u64]| Some(Difference { index: 10, wrong: members.iter().copied().collect() });
        assert_eq!(tally.compare(&voters), wrong(&[4]));
        tally.add(5, at(10, 9));
        assert_eq!(tally.compare(&voters), wrong(&[4, 5]));
        assert_eq!(tally.compare(&voters), None);
    }

    #[test]
    fn without_a_majority_nobody_is_wrong_but_it_is_told() {
        let voters = BTreeSet::from([1, 2]);
        let mut tally = Tally::default();
        tally.add(1, at(10, 7));
        tally.add(2, at(10, 9));
        assert_eq!(tally.compare(&voters), Some(Difference { index: 10, wrong: BTreeSet::new() }));
    }
}
