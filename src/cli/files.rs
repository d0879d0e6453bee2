//! Tools for files: `wal inspect|verify`, `snapshot verify`. They read only. (`snapshot take` is sent on.)

use std::path::{Path, PathBuf};

use serde_json::json;

use super::arguments::{Files, Snapshot, SnapshotAction, Wal, WalAction};
use super::exit::{Exit, Failure};
use super::{input, node, output};
use crate::disk::{Disk, Real};
use crate::raft::snapshot;
use crate::wal;

/// Lines that are collected before they are printed.
const BATCH: usize = 1_000;

/// Shows or checks a log.
pub(super) fn wal(wal: &Wal) -> Result<Exit, Failure> {
    match &wal.action {
        WalAction::Inspect(files) => inspect(files),
        WalAction::Verify(files) => verify(files),
    }
}

/// Takes or checks a snapshot.
pub(super) fn snapshot(snapshot: &Snapshot) -> Result<Exit, Failure> {
    match &snapshot.action {
        SnapshotAction::Take(server) => node::snapshot(server),
        SnapshotAction::Verify(files) => {
            input::expect_regular(&files.path)?;
            let summary = snapshot::verify(&Real, &files.path);
            let summary = summary.map_err(|error| Failure::of(of_snapshot(&error), &error))?;
            about_snapshot(&files.path, &summary, files.json)
        }
    }
}

/// Says what a snapshot that was found whole holds.
pub(super) fn about_snapshot(path: &Path, summary: &snapshot::Summary, json: bool) -> Result<Exit, Failure> {
    let (meta, globals) = (&summary.meta, &summary.globals);
    if json {
        return output::line(
            &json!({
                "file": path.display().to_string(),
                "bytes": summary.bytes,
                "content_bytes": summary.content_bytes,
                "blocks": summary.blocks,
                "cluster": format!("{:032x}", meta.cluster),
                "index": meta.last_log.index,
                "term": meta.last_log.term,
                "level": globals.level.0,
                "keys": globals.keys,
                "revision": globals.revision,
                "at": globals.now.0,
                "state_hash": globals.state_hash.to_string(),
            })
            .to_string(),
        );
    }
    output::line(&format!(
        "{}: whole; cluster {:032x}, up to index {} of term {}; {} keys, revision {}; {} bytes in {} blocks",
        path.display(),
        meta.cluster,
        meta.last_log.index,
        meta.last_log.term,
        globals.keys,
        globals.revision,
        summary.bytes,
        summary.blocks,
    ))
}

fn inspect(files: &Files) -> Result<Exit, Failure> {
    let mut damaged = None;
    let mut lines = String::new();
    let mut printed = Ok(Exit::Done);
    let mut count = 0;
    let shown = wal::inspect(&Real, &directory(&files.path)?, &mut |line| {
        let wal::Line { file, offset, kind } = &line;
        if let wal::Kind::Damage(what) = kind {
            damaged = Some(format!("{file} is damaged at byte {offset}: {what}"));
        }
        lines += &match files.json {
            true => format!("{}\n", json!({ "file": file, "offset": offset, "what": format!("{kind:?}") })),
            false => format!("{file} {offset:>10}  {kind:?}\n"),
        };
        count += 1;
        if count % BATCH == 0 && printed.is_ok() {
            printed = output::print(&std::mem::take(&mut lines));
        }
    });
    shown.map_err(|error| Failure::of(Exit::Io, &error))?;
    if count == 0 {
        return Err(no_log(&files.path));
    }
    printed?;
    output::print(&lines)?;
    damaged.map_or(Ok(Exit::Done), |damage| Err(Failure::new(Exit::Damaged, damage)))
}

fn verify(files: &Files) -> Result<Exit, Failure> {
    let verified = wal::verify(&Real, &directory(&files.path)?);
    let (segments, findings) = verified.map_err(|error| Failure::of(Exit::Io, &error))?;
    if segments.is_empty() && findings.is_empty() {
        return Err(no_log(&files.path));
    }
    if files.json {
        let segments =
            segments.iter().map(|s| json!({ "file": s.file, "bytes": s.bytes, "length": s.length }));
        let findings = findings
            .iter()
            .map(|f| json!({ "file": f.file, "offset": f.offset, "what": f.what, "refused": f.refused }));
        let (segments, findings): (Vec<_>, Vec<_>) = (segments.collect(), findings.collect());
        output::line(&json!({ "segments": segments, "findings": findings }).to_string())?;
    } else {
        let whole =
            segments.iter().map(|s| format!("{}: whole, {} of {} bytes used\n", s.file, s.bytes, s.length));
        let wrong = findings.iter().map(|finding| format!("{finding}\n"));
        output::print(&whole.chain(wrong).collect::<String>())?;
    }
    match findings.iter().find(|finding| finding.refused) {
        Some(damage) => Err(Failure::new(Exit::Damaged, damage.to_string())),
        None => Ok(Exit::Done),
    }
}

fn no_log(path: &Path) -> Failure {
    Failure::new(Exit::Negative, format!("{}: there is no log here", path.display()))
}

/// The directory of the log: `path` itself, or the `wal` below it if `path` is a data directory.
fn directory(path: &Path) -> Result<PathBuf, Failure> {
    let below = path.join("wal");
    let io = |error: std::io::Error| Failure::new(Exit::Io, format!("{}: {error}", path.display()));
    Ok(if Real.exists(&below).map_err(io)? { below } else { path.to_owned() })
}

/// The status of a snapshot that cannot be used.
pub(super) fn of_snapshot(error: &snapshot::Error) -> Exit {
    match error {
        snapshot::Error::Corrupt { .. } => Exit::Damaged,
        snapshot::Error::LevelTooHigh { .. } => Exit::LevelTooHigh,
        _ => Exit::Io,
    }
}
