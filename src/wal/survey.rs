//! What stands in a log's directory, judged by the recovery law without changing anything.
//!
//! ```text
//!   1  2  .  4  5  6  7      numbers found; the last run without a gap counts (4 to 7), the rest must not be
//!            |  |  |  |       needed
//!            |  |  |  '----- spare: behind the first segment without SegmentEnd, empty
//!            |  |  '-------- last: may have a torn end
//!            '--'----------- sealed: every byte verifies
//! ```
//!
//! Refused: a missing number (unless all that stood below the gap is covered by what follows), a file whose
//! length is not what its head says, damage in any segment but the last, damage in the last one that is not a
//! torn end, a SegmentEnd without its successor, a chain of ids that does not fit, anything in the spare.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, TEMPORARY};

use super::closed::Closed;
use super::error::Error;
use super::head::{Head, path_of, sequence_of};
use super::index::Group;
use super::layout::HEAD;
use super::replay::Replay;
use super::scan::{End, Scan, Step};
use super::values::{GroupState, Identity};
use super::window::Window;

/// A log as it was found. Nothing was changed to find it.
#[derive(Debug, Default)]
pub struct Survey {
    /// The heads of the segments in use, the last one included, and where the records of each end.
    pub(super) segments: Vec<(Head, u32)>,
    /// The empty segment behind the last one.
    pub(super) spare: Option<Head>,
    /// Segments below a gap that nothing needs.
    pub(super) obsolete: Vec<u32>,
    /// Leftovers under temporary names.
    pub(super) temporaries: Vec<PathBuf>,
    pub(super) groups: BTreeMap<u16, Group>,
    /// Whether bytes behind the end of the last segment have to be zeroed.
    pub(super) torn: bool,
    /// Whether the last segment's opening is complete. If not, its records count for nothing.
    pub(super) open: bool,
    /// Whether nothing was ever logged here.
    pub(super) blank: bool,
    /// Whether there is the mark of a closed log.
    pub(super) closed: bool,
}

impl Survey {
    /// Looks at the log in `dir`, which need not be there, as [`Wal::open`](crate::wal::Wal::open) would.
    ///
    /// # Errors
    /// Those with which it would be refused.
    pub fn of(disk: &dyn Disk, dir: &Path, identity: &Identity) -> Result<Survey, Error> {
        match disk.exists(dir).map_err(|error| Error::io("look for", dir, error))? {
            true => survey(disk, dir, Some(identity)),
            false => Ok(Survey { blank: true, ..Survey::default() }),
        }
    }

    /// What is known of a group.
    pub fn state(&self, group: u16) -> GroupState {
        self.groups.get(&group).map(|group| group.state).unwrap_or_default()
    }
}

/// Looks at the log in `dir`. With an identity, segments of another one are refused.
pub(super) fn survey(disk: &dyn Disk, dir: &Path, identity: Option<&Identity>) -> Result<Survey, Error> {
    let (found, temporaries) = list(disk, dir)?;
    let run = last_run(&found);
    let mut survey = Survey { temporaries, blank: true, ..Survey::default() };
    let closed = Closed::read(disk, dir)?;
    survey.closed = closed.is_some();
    let (Some(first), below) = (run.first(), found.len() - run.len()) else {
        closed.map_or(Ok(()), |closed| closed.check(dir, &[]))?;
        return Ok(survey);
    };
    survey.obsolete = found.iter().take(below).copied().collect();
    let heads = heads(disk, dir, run, identity)?;
    let mut replay = Replay::new(heads.first().is_some_and(|head| head.previous_id != 0));
    replay_all(disk, dir, &heads, &mut replay, &mut survey)?;
    if let Some(closed) = closed {
        closed.check(dir, &survey.segments)?;
    }
    survey.open = replay.is_open();
    survey.blank = replay.blank;
    // Or it was purged, and the record that says so stood where the log now ends.
    let end = survey.segments.last().map(|(head, end)| (path_of(dir, head.sequence), *end));
    let or = end.map_or(String::new(), |(path, end)| {
        format!(", unless {} is damaged at offset {end}, where it ends now", path.display())
    });
    let missing = |what| Err(Error::corrupt(&path_of(dir, first - 1), 0, format!("{what}{or}")));
    if !survey.open && replay.is_based() {
        return missing("the segment is missing and nothing after it says what it held".to_string());
    }
    match replay.finish() {
        Ok(groups) => survey.groups = groups,
        Err((group, last)) => {
            return missing(format!(
                "the segment is missing: it held entries of group {group} up to index {last}"
            ));
        }
    }
    Ok(survey)
}

/// The numbers of all segments in order, and the leftovers.
pub(super) fn list(disk: &dyn Disk, dir: &Path) -> Result<(Vec<u32>, Vec<PathBuf>), Error> {
    let names = disk.read_dir(dir).map_err(|error| Error::io("read directory", dir, error))?;
    let mut found = Vec::new();
    let mut temporaries = Vec::new();
    for name in names {
        match sequence_of(&name) {
            Some(sequence) => {
                let sequence = u32::try_from(sequence).ok().filter(|sequence| *sequence > 0);
                let wrong = || Error::corrupt(&dir.join(&name), 0, "no segment has this number");
                found.push(sequence.ok_or_else(wrong)?);
            }
            None if name.ends_with(TEMPORARY) => temporaries.push(dir.join(name)),
            None => {}
        }
    }
    Ok((found, temporaries))
}

/// The longest end of the list in which each number follows the one before.
fn last_run(found: &[u32]) -> &[u32] {
    let mut start = found.len().saturating_sub(1);
    let follows =
        |at: usize| at > 0 && found.get(at - 1).and_then(|low| low.checked_add(1)) == found.get(at).copied();
    while follows(start) {
        start -= 1;
    }
    found.get(start..).unwrap_or_default()
}

fn heads(disk: &dyn Disk, dir: &Path, run: &[u32], identity: Option<&Identity>) -> Result<Vec<Head>, Error> {
    let mut heads: Vec<Head> = Vec::with_capacity(run.len());
    for sequence in run {
        let path = path_of(dir, *sequence);
        let head = read_head(disk, &path)?;
        if let Some(identity) = identity {
            head.belongs_to(&path, identity)?;
        }
        if head.sequence != *sequence {
            return Err(Error::corrupt(
                &path,
                0,
                format!("the head is that of segment {:016x}", head.sequence),
            ));
        }
        if heads.last().is_some_and(|before| before.id != head.previous_id) {
            return Err(Error::corrupt(&path, 0, "the segment does not follow the one before it"));
        }
        if (head.sequence == 1) != (head.previous_id == 0) {
            return Err(Error::corrupt(&path, 0, "only the first segment has no predecessor"));
        }
        heads.push(head);
    }
    Ok(heads)
}

/// Reads and checks the head of a file, and the file's length against it.
pub(super) fn read_head(disk: &dyn Disk, path: &Path) -> Result<Head, Error> {
    let failed = |error| Error::io("read", path, error);
    let file = disk.open_read(path).map_err(failed)?;
    let mut bytes = vec![0; HEAD as usize];
    let read = file.read_at(0, &mut bytes).map_err(failed)?;
    let head = Head::decode(path, bytes.get(..read).unwrap_or_default())?;
    let length = file.len().map_err(failed)?;
    if length != u64::from(head.length) {
        let what = format!("the file has {length} bytes, its head says {}", head.length);
        return Err(Error::corrupt(path, length.min(u64::from(head.length)), what));
    }
    Ok(head)
}

fn replay_all(
    disk: &dyn Disk,
    dir: &Path,
    heads: &[Head],
    replay: &mut Replay,
    survey: &mut Survey,
) -> Result<(), Error> {
    for (at, head) in heads.iter().enumerate() {
        let path = path_of(dir, head.sequence);
        if at > 0 {
            replay.next_segment();
        }
        let (end, position) = replay_segment(disk, &path, head, replay)?;
        survey.segments.push((*head, position));
        let after = heads.get(at + 1..).unwrap_or_default();
        match (end, after.first()) {
            (End::Sealed { next_id }, Some(next)) if next.id == next_id => {}
            (End::Sealed { .. }, Some(_)) => {
                return Err(Error::corrupt(&path, position.into(), "the segment names another successor"));
            }
            (End::Sealed { .. }, None) => {
                let next = path_of(dir, head.sequence.saturating_add(1));
                return Err(Error::corrupt(&next, 0, "the segment is missing: the one before it is sealed"));
            }
            (End::Damaged(what), _) => return Err(Error::corrupt(&path, position.into(), what)),
            (End::Clean | End::Torn, _) => {
                survey.torn = end == End::Torn;
                return spare(disk, dir, (&path, position), after, survey);
            }
        }
    }
    Ok(())
}

fn replay_segment(
    disk: &dyn Disk,
    path: &Path,
    head: &Head,
    replay: &mut Replay,
) -> Result<(End, u32), Error> {
    let mut scan = Scan::open(disk, path, head)?;
    loop {
        match scan.next()? {
            Step::Record(frame) => replay
                .apply(head.sequence, &frame)
                .map_err(|what| Error::corrupt(path, frame.offset.into(), what))?,
            Step::End(end) => return Ok((end, scan.position())),
        }
    }
}

/// Checks that behind the last segment stands at most one, and nothing in it.
fn spare(
    disk: &dyn Disk,
    dir: &Path,
    (last, position): (&Path, u32),
    after: &[Head],
    survey: &mut Survey,
) -> Result<(), Error> {
    let Some(head) = after.first() else { return Ok(()) };
    let path = path_of(dir, head.sequence);
    if after.len() > 1 || matches!(Scan::open(disk, &path, head)?.next()?, Step::Record(_)) {
        return Err(Error::corrupt(last, position.into(), "the segment has no end although others follow"));
    }
    if let Some(at) = Window::open(disk, &path, head)?.first_content(HEAD)? {
        return Err(Error::corrupt(&path, at.into(), "the segment has content before its turn"));
    }
    survey.spare = Some(*head);
    Ok(())
}
