//! `backup`, `restore`.
//!
//! ```text
//! server --stream--> FILE.<process>.tmp --synced--> verified whole --> FILE
//! ```
//!
//! A file under its own name is whole: what broke off or was damaged on the way never gets it.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::arguments::{Backup, Recover, Restore};
use super::client::{Call, Stream, stream};
use super::exit::{Exit, Failure, of_open};
use super::files::{about_snapshot, of_snapshot};
use super::input;
use super::output;
use super::progress::Progress;
use super::settings::loaded;
use crate::clock::SystemClock;
use crate::disk::{Disk, File, Real, TEMPORARY, is_full};
use crate::raft::{self, snapshot};

/// Length of a piece on its way from the server to the file.
const PIECE_BYTES: usize = 128 << 10;

/// What is written is synced every so many bytes, so that the last sync is short.
const SYNC_BYTES: u64 = 8 << 20;

/// Fetches a backup.
pub(super) fn backup(backup: &Backup) -> Result<Exit, Failure> {
    let request = Call {
        method: "GET",
        path: "/v1/admin/backup".to_owned(),
        headers: vec![("Accept", "application/octet-stream".to_owned())],
        patient: true,
        ..Call::default()
    };
    if backup.file.as_os_str() == "-" {
        if io::stdout().is_terminal() {
            return Err(Failure::new(Exit::Usage, "a backup is no text: redirect it, or name a file"));
        }
        return copy(&mut stream(&backup.server, &request)?, &mut |piece| {
            io::stdout().write_all(piece).map_err(|error| failed(Path::new("standard output"), &error))
        });
    }
    let path = &backup.file;
    if !backup.force && Real.exists(path).map_err(|error| failed(path, &error))? {
        let there = format!("{} is there already; --force replaces it", path.display());
        return Err(Failure::new(Exit::Refused, there));
    }
    let mut arriving = Arriving::create(path)?;
    copy(&mut stream(&backup.server, &request)?, &mut |piece| arriving.write(piece))?;
    let summary = arriving.keep(path)?;
    about_snapshot(path, &summary, backup.server.json)
}

/// Takes all of a stream in, piece by piece.
fn copy(from: &mut Stream<'_>, write: &mut dyn FnMut(&[u8]) -> Result<(), Failure>) -> Result<Exit, Failure> {
    let mut progress = Progress::new("backup");
    let mut piece = vec![0; PIECE_BYTES];
    let mut done = 0;
    loop {
        let length = from.read(&mut piece)?;
        if length == 0 {
            return Ok(Exit::Done);
        }
        write(piece.get(..length).unwrap_or_default())?;
        done += length as u64;
        progress.at(done, from.length());
    }
}

/// A backup that is arriving, under a name of its own beside the one that it is to get. It is removed when this is dropped
/// without [`Arriving::keep`].
struct Arriving {
    path: PathBuf,
    file: Arc<dyn File>,
    at: u64,
    synced: u64,
    kept: bool,
}

impl Arriving {
    fn create(beside: &Path) -> Result<Arriving, Failure> {
        let mut name = beside.file_name().map(OsString::from).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("{} is not the name of a file", beside.display()))
        })?;
        name.push(format!(".{}{TEMPORARY}", std::process::id()));
        let path = beside.with_file_name(name);
        let file = Real.create(&path).map_err(|error| failed(&path, &error))?;
        Ok(Arriving { path, file, at: 0, synced: 0, kept: false })
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), Failure> {
        let written = self.file.write_at(self.at, piece);
        self.at += piece.len() as u64;
        let synced = written.and_then(|()| {
            if self.at - self.synced < SYNC_BYTES {
                return Ok(());
            }
            self.synced = self.at;
            self.file.sync_data()
        });
        synced.map_err(|error| failed(&self.path, &error))
    }

    /// Verifies what has arrived and gives it its name, durably.
    fn keep(mut self, path: &Path) -> Result<snapshot::Summary, Failure> {
        self.file.sync_all().map_err(|error| failed(&self.path, &error))?;
        let summary =
            snapshot::verify(&Real, &self.path).map_err(|error| Failure::of(of_snapshot(&error), &error))?;
        Real.rename(&self.path, path).map_err(|error| failed(path, &error))?;
        self.kept = true;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        Real.sync_dir(parent.unwrap_or(Path::new("."))).map_err(|error| failed(path, &error))?;
        Ok(summary)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if !self.kept {
            // It is of no use, but does no harm either.
            let _ = Real.remove(&self.path);
        }
    }
}

/// Makes a backup the beginning of a new cluster.
pub(super) fn restore(restore: &Restore) -> Result<Exit, Failure> {
    let Restore { file, home, ttl, json } = restore;
    input::expect_regular(file)?;
    let config = loaded(&home.settings())?.config;
    let what = raft::Restore { file: file.clone(), lifetimes: (*ttl).into() };
    let mut progress = Progress::new("restore");
    let restored =
        raft::restore(Arc::new(Real), &config.data_dir, config.wal, &SystemClock, &what, &mut |done, of| {
            progress.at(done, of);
        });
    drop(progress);
    tell(restored, &config.data_dir, *json)
}

/// Makes one of the few nodes that are left a cluster of its own.
pub(super) fn recover(recover: &Recover) -> Result<Exit, Failure> {
    let Recover { home, yes, json } = recover;
    let config = loaded(&home.settings())?.config;
    let directory = config.data_dir.display();
    let question = format!(
        "Make {directory} a new cluster of this node alone. Acknowledged writes that only other nodes have are lost, and they \
         must be emptied before they join again."
    );
    if !*yes && !input::confirmed(&question, "to recover without being asked say --yes")? {
        return Ok(Exit::Negative);
    }
    let mut progress = Progress::new("recover");
    let recovered =
        raft::recover(Arc::new(Real), &config.data_dir, config.wal, &SystemClock, &mut |done, of| {
            progress.at(done, of);
        });
    drop(progress);
    tell(recovered, &config.data_dir, *json)
}

fn tell(
    restored: Result<raft::Restored, raft::OpenError>,
    data_dir: &Path,
    json: bool,
) -> Result<Exit, Failure> {
    let restored = restored.map_err(|error| Failure::of(of_open(&error), &error))?;
    let directory = data_dir.display().to_string();
    let cluster = format!("{:032x}", restored.cluster);
    if json {
        return output::line(
            &json!({
                "data_dir": directory,
                "cluster": cluster,
                "index": restored.index,
                "keys": restored.keys,
                "revision": restored.revision,
            })
            .to_string(),
        );
    }
    output::line(&format!(
        "{directory}: a new cluster {cluster}; {} keys, revision {}. Start it: kvorum serve --data-dir {directory}",
        restored.keys, restored.revision,
    ))
}

/// The system refused something about a file.
fn failed(path: &Path, error: &io::Error) -> Failure {
    let exit = if is_full(error) { Exit::NoSpace } else { Exit::Io };
    Failure::new(exit, format!("{}: {error}", path.display()))
}
