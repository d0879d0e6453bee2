//! Opening a log: what was found is made durable and whole again before anybody sees it.
//!
//! 1. [`survey`] reads everything and refuses what the recovery law refuses. Nothing is changed up to here.
//! 2. The mark of a closed log is removed. The last two segments and the directories are synced: what was read may have been only in the page
//!    cache of a process that was killed. (Two, because a SegmentEnd may be as unsynced as what follows it.)
//! 3. A torn end is zeroed and synced, so that nothing of it can ever come back behind later records.
//! 4. The writer appends and syncs a Synced record.
//!
//! Each step can be interrupted and begun again.

use std::path::Path;

use crate::disk::Disk;

use super::closed::Closed;
use super::config::Config;
use super::error::Error;
use super::layout::{HEAD, is_zero};
use super::segment::{Plan, Segment};
use super::survey::Survey;
use super::values::Identity;

/// A torn end is read and zeroed in pieces of this many bytes.
const PIECE: usize = 64 << 10;

/// A log ready to go on.
pub(super) struct Found {
    pub(super) survey: Survey,
    /// All segments in use with the ends of their records; the last one is written on.
    pub(super) segments: Vec<(Segment, u32)>,
    pub(super) spare: Option<Segment>,
}

/// Makes the log in `dir` ready as it was found, or begins one there.
pub(super) fn recover(
    disk: &dyn Disk,
    dir: &Path,
    identity: Identity,
    config: &Config,
    mut survey: Survey,
) -> Result<Found, Error> {
    disk.create_dir_all(dir).map_err(|error| Error::io("create directory", dir, error))?;
    let mut segments = Vec::with_capacity(survey.segments.len());
    for (head, end) in &survey.segments {
        segments.push((Segment::open(disk, dir, *head)?, *end));
    }
    let spare = survey.spare.map(|head| Segment::open(disk, dir, head)).transpose()?;
    for (segment, _) in segments.iter().rev().take(2) {
        sync(segment)?;
    }
    if survey.closed {
        Closed::remove(disk, dir)?;
    }
    sync_directories(disk, dir)?;
    for temporary in &survey.temporaries {
        disk.remove(temporary).map_err(|error| Error::io("remove", temporary, error))?;
    }
    if segments.is_empty() {
        let length = Plan::length_for(config.segment_bytes, 0, 0);
        let plan = Plan { sequence: 1, previous_id: 0, length };
        segments.push((Segment::create(disk, dir, identity, plan)?, HEAD));
        survey.open = false;
    }
    if let Some((last, end)) = segments.last_mut() {
        if !survey.open {
            // Nobody was told of anything in a segment whose opening is not whole.
            survey.torn |= *end > HEAD;
            *end = HEAD;
        }
        if survey.torn {
            zero(last, *end)?;
        }
    }
    survey.groups.entry(0).or_default();
    Ok(Found { survey, segments, spare })
}

fn sync(segment: &Segment) -> Result<(), Error> {
    segment.file.sync_data().map_err(|error| Error::io("sync", &segment.path, error))
}

/// Syncs the names of the segments, and the name of their directory.
fn sync_directories(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for dir in [dir, parent] {
        disk.sync_dir(dir).map_err(|error| Error::io("sync directory", dir, error))?;
    }
    Ok(())
}

/// Zeroes a segment from `end` on wherever it is not zero, and syncs it.
fn zero(segment: &Segment, end: u32) -> Result<(), Error> {
    let failed = |error| Error::io("zero the torn end of", &segment.path, error);
    let mut piece = vec![0; PIECE];
    let mut at = u64::from(end);
    loop {
        piece.resize(PIECE, 0);
        let read = segment.file.read_at(at, &mut piece).map_err(failed)?;
        piece.truncate(read);
        if read == 0 {
            return sync(segment);
        }
        if !is_zero(&piece) {
            piece.fill(0);
            segment.file.write_at(at, &piece).map_err(failed)?;
        }
        at += read as u64;
    }
}
