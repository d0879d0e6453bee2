//! Which segments still hold entries that were not purged, as far as the writer has written.
//!
//! The handles' view is ahead of the disk: a purge they see may not be durable yet. Files are removed by this
//! view instead, which moves only with what was written, and only after a sync.

use std::collections::BTreeMap;

use super::index::Group;
use super::values::GroupState;

/// Per segment and group, the highest index of an entry in it.
#[derive(Debug, Default)]
pub(super) struct Contents {
    segments: BTreeMap<u32, BTreeMap<u16, u64>>,
}

impl Contents {
    /// The contents of segments as they were found.
    pub(super) fn new(sequences: impl Iterator<Item = u32>, groups: &BTreeMap<u16, Group>) -> Contents {
        let mut contents =
            Contents { segments: sequences.map(|sequence| (sequence, BTreeMap::new())).collect() };
        for (group, kept) in groups {
            for (segment, index) in kept.segments() {
                contents.note(segment, *group, index);
            }
        }
        contents
    }

    /// Notes a new, empty segment.
    pub(super) fn begin(&mut self, segment: u32) {
        self.segments.entry(segment).or_default();
    }

    /// Notes an entry written.
    pub(super) fn note(&mut self, segment: u32, group: u16, index: u64) {
        let highest = self.segments.entry(segment).or_default().entry(group).or_insert(index);
        *highest = (*highest).max(index);
    }

    /// Takes out the oldest segments that hold nothing above what was purged, except `present`.
    pub(super) fn take_unneeded(&mut self, present: u32, states: &BTreeMap<u16, GroupState>) -> Vec<u32> {
        let purged = |(group, highest): (&u16, &u64)| {
            states.get(group).and_then(GroupState::purged_index).is_some_and(|purged| *highest <= purged)
        };
        let mut unneeded = Vec::new();
        while let Some(oldest) = self.segments.first_entry() {
            if *oldest.key() >= present || !oldest.get().iter().all(purged) {
                break;
            }
            unneeded.push(oldest.remove_entry().0);
        }
        unneeded
    }
}
