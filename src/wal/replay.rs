//! Replaying records: from a segment's opening to the state of every group.
//!
//! Each segment opens with the GroupState of every group (`following` counts down to 0 at the last one), so
//! any prefix of segments can be dropped. The first segment that is replayed takes its openings as the truth;
//! each later one must find in them exactly what was replayed so far, or the log is refused.
//!
//! An opening may speak of entries that stood in a dropped segment. A later Purge must cover them;
//! [`Replay::finish`] refuses otherwise.

use std::collections::BTreeMap;

use super::index::{Group, Place};
use super::record::{Frame, Record};
use super::values::GroupState;

/// The state of all groups while segments are replayed.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) groups: BTreeMap<u16, Group>,
    /// Per group, up to which index entries are declared by the first opening but not here.
    missing: BTreeMap<u16, u64>,
    opening: Opening,
    /// Groups that the opening named so far.
    opened: usize,
    /// Whether the replay began at a segment that has a predecessor, so that its opening is all there is.
    based: bool,
    /// Whether nothing but empty openings and Synced records was seen.
    pub(super) blank: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Opening {
    /// Nothing of the segment was read yet.
    #[default]
    Expected,
    /// This many groups are still to come.
    Following(u16),
    Complete,
}

impl Replay {
    /// Begins at a segment; `based` if one stood before it.
    pub(super) fn new(based: bool) -> Replay {
        Replay { based, blank: true, ..Replay::default() }
    }

    /// Goes on to the next segment.
    pub(super) fn next_segment(&mut self) {
        self.opening = Opening::Expected;
        self.opened = 0;
        self.based = false;
    }

    /// Whether the segment's opening was read in full.
    pub(super) fn is_open(&self) -> bool {
        self.opening == Opening::Complete
    }

    /// Whether the state of the groups rests on this opening alone.
    pub(super) fn is_based(&self) -> bool {
        self.based
    }

    /// Takes one record in.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn apply(&mut self, segment: u32, frame: &Frame) -> Result<(), &'static str> {
        if let Record::GroupState { group, state, following } = frame.record {
            self.open(following)?;
            self.base(group, state)?;
            let all = !self.is_open() || self.opened == self.groups.len();
            return if all { Ok(()) } else { Err("the opening leaves a group out") };
        }
        if !self.is_open() {
            return Err("the segment does not open with the state of its groups");
        }
        self.blank &= matches!(frame.record, Record::Synced);
        match frame.record {
            Record::Entry { group, id } => {
                let group = self.groups.entry(group).or_default();
                if !group.state.admits(id) {
                    return Err("the entry does not follow the last one");
                }
                group.push(id, frame.len, Ok(Place { segment, offset: frame.offset }));
            }
            Record::Vote { group, vote } => self.groups.entry(group).or_default().state.vote = Some(vote),
            Record::Committed { group, id } => {
                self.groups.entry(group).or_default().state.committed = Some(id)
            }
            Record::Truncate { group, to } => {
                let kept = self.groups.entry(group).or_default();
                if !kept.state.admits_truncation(to) {
                    return Err("the truncation reaches below what was purged");
                }
                kept.truncate_after(to);
                let purged = kept.state.purged_index();
                self.still_missing(group, to.map(|id| id.index), purged);
            }
            Record::Purge { group, upto } => {
                let kept = self.groups.entry(group).or_default();
                kept.purge_upto(upto);
                let purged = kept.state.purged_index();
                self.still_missing(group, Some(u64::MAX), purged);
            }
            Record::Synced | Record::SegmentEnd { .. } | Record::GroupState { .. } => {}
        }
        Ok(())
    }

    /// Of what is declared but not here, only what is at most `last` and above `purged` is missed.
    fn still_missing(&mut self, group: u16, last: Option<u64>, purged: Option<u64>) {
        let upto = self.missing.remove(&group).map(|upto| upto.min(last.unwrap_or(0)));
        if let Some(upto) = upto.filter(|upto| last.is_some() && purged < Some(*upto)) {
            self.missing.insert(group, upto);
        }
    }

    fn open(&mut self, following: u16) -> Result<(), &'static str> {
        let expected = match self.opening {
            Opening::Expected => following,
            Opening::Following(count) => count - 1,
            Opening::Complete => return Err("the state of a group stands outside of the opening"),
        };
        if following != expected {
            return Err("the opening of the segment is not complete");
        }
        self.opened += 1;
        self.opening = if following == 0 { Opening::Complete } else { Opening::Following(following) };
        Ok(())
    }

    fn base(&mut self, group: u16, state: GroupState) -> Result<(), &'static str> {
        if self.based {
            let last = state.last.map(|id| id.index);
            if let Some(last) = last.filter(|last| state.purged_index() < Some(*last)) {
                self.missing.insert(group, last);
            }
            self.blank &= state == GroupState::default();
            return match self.groups.insert(group, Group::from_state(state)) {
                None => Ok(()),
                Some(_) => Err("a group occurs twice in the opening"),
            };
        }
        let known = self.groups.entry(group).or_default();
        if known.state == state { Ok(()) } else { Err("the opening contradicts the segments before") }
    }

    /// Ends the replay.
    ///
    /// # Errors
    /// The group and the last index of entries that are declared, not purged, and not here.
    pub(super) fn finish(self) -> Result<BTreeMap<u16, Group>, (u16, u64)> {
        match self.missing.into_iter().next() {
            Some(missing) => Err(missing),
            None => Ok(self.groups),
        }
    }
}
