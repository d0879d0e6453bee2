//! A small file system for one node, in a mount namespace that a process of its own keeps, so that what is on it outlives
//! the node. It needs root, or a system that gives user namespaces.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where a node has little space.
pub(crate) struct SmallDisk {
    keeper: Child,
    path: PathBuf,
}

impl SmallDisk {
    /// So many MiB at that path; `None` where the system does not allow it.
    pub(crate) fn at(path: &Path, mib: u64) -> Option<SmallDisk> {
        fs::create_dir_all(path).expect("a directory");
        let script = r#"mount -t tmpfs -o "size=$1M" kvorum "$0" && echo ready && read -r _"#;
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
            .arg(path)
            .arg(mib.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut keeper = command.spawn().ok()?;
        let mut said = [0; 5];
        let is_there = std::io::Read::read_exact(keeper.stdout.as_mut().expect("a pipe"), &mut said).is_ok();
        let disk = SmallDisk { keeper, path: path.to_owned() };
        is_there.then_some(disk)
    }

    /// What runs a program where this is mounted.
    pub(crate) fn runner(&self) -> Vec<OsString> {
        let target = format!("--target={}", self.keeper.id());
        ["nsenter", &target, "--user", "--mount", "--preserve-credentials"].map(OsString::from).into()
    }

    /// The path of a file on it, as seen from here.
    fn seen(&self, name: &str) -> PathBuf {
        let path = self.path.strip_prefix("/").expect("from the root");
        Path::new(&format!("/proc/{}/root", self.keeper.id())).join(path).join(name)
    }

    /// Leaves so much free.
    pub(crate) fn fill(&self, free_bytes: u64) {
        let mut file =
            OpenOptions::new().create(true).append(true).open(self.seen("filler")).expect("a file");
        while file.write_all(&[1; 4096]).is_ok() {}
        let length = file.metadata().expect("a file").len();
        file.set_len(length.saturating_sub(free_bytes)).expect("it can be cut");
    }

    /// Frees what filled it.
    pub(crate) fn free(&self) {
        fs::remove_file(self.seen("filler")).expect("it can be removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
