//! Looking at a log from outside, for `kvorum wal inspect|verify`. Nothing here changes a file.
//!
//! While another process writes to the log, the end of its last segment may be reported as torn.

use std::fmt;
use std::path::Path;

use crate::disk::Disk;

use super::closed;
use super::error::Error;
use super::head::{path_of, sequence_of};
use super::record::{Frame, Record};
use super::scan::{End, Scan, Step};
use super::survey::{list, read_head, survey};
use super::values::{GroupState, Identity, LogId, Vote};

/// One thing that stands in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The segment's file.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What stands there.
    pub kind: Kind,
}

/// What stands at a place of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant's line speaks for its fields")]
pub enum Kind {
    /// The head: whose it is, the segment's number, random id, length in bytes, and the id of the one before.
    Head { identity: Identity, sequence: u32, id: u64, length: u64, previous_id: u64 },
    /// An entry and the length of its payload in bytes.
    Entry { group: u16, id: LogId, payload_bytes: u64 },
    /// A vote.
    Vote { group: u16, vote: Vote },
    /// What follows this position is gone, all if there is none.
    Truncate { group: u16, to: Option<LogId> },
    /// What is up to this position is gone.
    Purge { group: u16, upto: LogId },
    /// The log is committed up to here.
    Committed { group: u16, id: LogId },
    /// All before this offset had been synced.
    Synced { upto: u64 },
    /// The state of a group when the segment was opened.
    GroupState { group: u16, state: GroupState },
    /// The segment is complete; the next one has this id.
    SegmentEnd { next_id: u64 },
    /// Only zeros follow.
    Zeros,
    /// The remains of a write that nobody was told of (in the last segment), zeroed at the next start.
    TornEnd,
    /// Something that must not be there.
    Damage(String),
}

/// A segment that verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentReport {
    /// Its file.
    pub file: String,
    /// Bytes of head and records.
    pub bytes: u64,
    /// Its length, preallocated room included.
    pub length: u64,
}

/// Something wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
    /// Whether [`crate::wal::Wal::open`] refuses the log for it. A torn end is only reported.
    pub refused: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: offset {}: {}", self.file, self.offset, self.what)
    }
}

/// Shows every record of every segment in `dir`, in order, to `show`; damage too, which ends its segment.
///
/// # Errors
/// [`Error::Io`] if the directory cannot be read. What is wrong inside a file is shown instead.
pub fn inspect(disk: &dyn Disk, dir: &Path, show: &mut dyn FnMut(Line)) -> Result<(), Error> {
    let (found, _) = list(disk, dir)?;
    for sequence in found {
        let path = path_of(dir, sequence);
        let file = path.display().to_string();
        if let Err(error) = inspect_segment(disk, &path, &mut |offset, kind| {
            show(Line { file: file.clone(), offset, kind });
        }) {
            let finding = Finding::from(error);
            show(Line { file: finding.file, offset: finding.offset, kind: Kind::Damage(finding.what) });
        }
    }
    Ok(())
}

/// Checks the log in `dir` as [`crate::wal::Wal::open`] would. Returns the segments that verified and all
/// that is wrong; the log can be opened if no finding is `refused`.
///
/// # Errors
/// [`Error::Io`] if the directory cannot be read.
pub fn verify(disk: &dyn Disk, dir: &Path) -> Result<(Vec<SegmentReport>, Vec<Finding>), Error> {
    let (mut reports, mut findings) = (Vec::new(), Vec::new());
    let (found, _) = list(disk, dir)?;
    for sequence in found {
        let path = path_of(dir, sequence);
        let mut report = SegmentReport { file: path.display().to_string(), bytes: 0, length: 0 };
        let mut wrong = None;
        let walked = inspect_segment(disk, &path, &mut |offset, kind| match kind {
            Kind::Head { length, .. } => report.length = length,
            Kind::Damage(what) => wrong = Some((offset, what, true)),
            Kind::TornEnd => {
                wrong = Some((offset, "the torn end of a write nobody was told of".into(), false))
            }
            _ => report.bytes = offset,
        });
        match (walked, wrong) {
            (Err(error), _) => findings.push(Finding::from(error)),
            (Ok(()), Some((offset, what, refused))) => {
                findings.push(Finding { file: report.file, offset, what, refused });
            }
            (Ok(()), None) => reports.push(report),
        }
    }
    // What is wrong between the segments, or makes a torn end a damage.
    if let Err(error) = survey(disk, dir, None) {
        let whole = Finding::from(error);
        findings.retain(|finding| (&finding.file, finding.offset) != (&whole.file, whole.offset));
        findings.push(whole);
    }
    Ok((reports, findings))
}

/// Whether a file of this name in the directory of a log belongs to it.
pub fn is_of_log(name: &str) -> bool {
    sequence_of(name).is_some() || name == closed::NAME
}

/// Whether nothing was ever logged in `dir`: there is no segment, or only heads, empty openings and Synced
/// records. Such a directory may be begun anew.
///
/// # Errors
/// As [`crate::wal::Wal::open`], but for the identity, which is not compared.
pub fn is_blank(disk: &dyn Disk, dir: &Path) -> Result<bool, Error> {
    let exists = disk.exists(dir).map_err(|error| Error::io("look for", dir, error))?;
    Ok(!exists || survey(disk, dir, None)?.blank)
}

fn inspect_segment(disk: &dyn Disk, path: &Path, show: &mut dyn FnMut(u64, Kind)) -> Result<(), Error> {
    let head = read_head(disk, path)?;
    let (identity, sequence, id, previous_id) = (head.identity, head.sequence, head.id, head.previous_id);
    show(0, Kind::Head { identity, sequence, id, length: head.length.into(), previous_id });
    let mut scan = Scan::open(disk, path, &head)?;
    loop {
        let offset = u64::from(scan.position());
        match scan.next()? {
            Step::Record(frame) => show(offset, Kind::from(&frame)),
            Step::End(end) => {
                match end {
                    End::Sealed { next_id } => {
                        show(offset, Kind::SegmentEnd { next_id });
                        show(scan.position().into(), Kind::Zeros);
                    }
                    End::Clean => show(offset, Kind::Zeros),
                    End::Torn => show(offset, Kind::TornEnd),
                    End::Damaged(what) => show(scan.position().into(), Kind::Damage(what.to_string())),
                }
                return Ok(());
            }
        }
    }
}

impl From<&Frame> for Kind {
    fn from(frame: &Frame) -> Kind {
        match frame.record {
            Record::Entry { group, id } => Kind::Entry { group, id, payload_bytes: frame.len.into() },
            Record::Vote { group, vote } => Kind::Vote { group, vote },
            Record::Truncate { group, to } => Kind::Truncate { group, to },
            Record::Purge { group, upto } => Kind::Purge { group, upto },
            Record::Committed { group, id } => Kind::Committed { group, id },
            Record::Synced => Kind::Synced { upto: frame.synced.into() },
            Record::GroupState { group, state, .. } => Kind::GroupState { group, state },
            Record::SegmentEnd { next_id, .. } => Kind::SegmentEnd { next_id },
        }
    }
}

impl From<Error> for Finding {
    fn from(error: Error) -> Finding {
        let refused = true;
        match error {
            Error::Corrupt { file, offset, what } => Finding { file, offset, what, refused },
            Error::Io { file, operation, source } => {
                Finding { file, offset: 0, what: format!("{operation}: {source}"), refused }
            }
            Error::Identity { ref file, .. } | Error::Format { ref file, .. } => {
                Finding { file: file.clone(), offset: 0, what: error.to_string(), refused }
            }
            other => Finding { file: String::new(), offset: 0, what: other.to_string(), refused },
        }
    }
}
