//! What goes between a node and the system: `shim.c`, which the C compiler that links Rust builds for the tests.
//!
//! A node that runs behind it has a disk as slow as it is told while it runs, and reaches other nodes by the ports that it
//! is given instead of theirs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// The library, built once for the whole test binary.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster_suite/shim.c");
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (path, new) = (directory.join("shim.so"), directory.join(format!("shim-{}", std::process::id())));
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&new)
            .arg(source)
            .output()
            .expect("cc, which Rust links by, runs");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        // Another run of these tests may use the one before.
        std::fs::rename(&new, &path).expect("it can be renamed");
        path
    })
}

/// Variables of the environment for a node that runs behind it.
pub(crate) fn variables(disk: Option<&SlowDisk>, routes: &[(u16, u16)]) -> Vec<(&'static str, String)> {
    let mut variables = vec![("LD_PRELOAD", library().display().to_string())];
    variables.extend(disk.map(|disk| ("FAULTS_SYNC", disk.0.display().to_string())));
    let routes: Vec<_> = routes.iter().map(|(from, to)| format!("{from}={to}")).collect();
    variables.push(("FAULTS_ROUTES", routes.join(",")));
    variables
}

/// A disk that takes its time when it is told to.
pub(crate) struct SlowDisk(PathBuf);

impl SlowDisk {
    /// One whose slowness is told by the file at `path`; not slow yet.
    pub(crate) fn at(path: PathBuf) -> SlowDisk {
        let disk = SlowDisk(path);
        disk.take(Duration::ZERO);
        disk
    }

    /// From now on each sync takes so much longer.
    pub(crate) fn take(&self, time: Duration) {
        let written = self.0.with_extension("new");
        std::fs::write(&written, time.as_millis().to_string()).expect("it can be told");
        std::fs::rename(&written, &self.0).expect("it can be told");
    }

    /// How many syncs have been slow so far.
    pub(crate) fn slow_syncs(&self) -> u64 {
        std::fs::metadata(self.0.with_extension("seen")).map_or(0, |seen| seen.len())
    }
}
