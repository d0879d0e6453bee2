//! Data directories that a node must not use, or cannot: each has its exit status and words that help, and nothing in
//! the directory is changed.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes, files and clocks")]
#![allow(clippy::print_stderr, reason = "a test that cannot run here says so")]

mod node;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use node::{Ended, Node, PROGRAM, program};
use serde_json::Value;

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn refused(directory: &Path) -> Ended {
    Node::try_start(Command::new(PROGRAM), directory, &[]).err().expect("the node does not start")
}

/// Checks how the node ended, and that the reason is the one error that it speaks of.
#[track_caller]
fn says(ended: &Ended, status: i32, words: &[&str]) {
    assert_eq!(ended.status, Some(status), "{}", ended.said);
    let errors: Vec<&str> = ended.said.lines().filter(|line| line.contains(r#""level":"ERROR""#)).collect();
    let &[reason] = errors.as_slice() else { panic!("one error is expected:\n{}", ended.said) };
    for word in words {
        assert!(reason.contains(word), "{word:?} is not said: {reason}");
    }
}

/// Every file below a directory with its bytes.
fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in
        std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path())
    {
        if entry.is_dir() {
            files.extend(content(&entry))
        } else if entry.is_file() {
            drop(files.insert(entry.clone(), std::fs::read(&entry).expect("a file")))
        }
    }
    files
}

/// Checks that a directory is as it was.
#[track_caller]
fn unchanged(directory: &Path, before: &BTreeMap<PathBuf, Vec<u8>>) {
    let after = content(directory);
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&after), names(before), "a refusal makes and removes no file");
    for (file, bytes) in before {
        assert!(after[file] == *bytes, "a refusal changed {}", file.display());
    }
}

fn files(directory: &Path, below: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory.join(below)).expect("a directory");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

fn flip(file: &Path, offset: usize) {
    let mut bytes = std::fs::read(file).expect("a file");
    bytes[offset] ^= 0x10;
    std::fs::write(file, bytes).expect("a file can be written");
}

/// A directory with some writes, of a node that was stopped in order.
fn stopped(directory: &Path, compacted: bool) {
    let node = Node::start(directory);
    for number in 0..20 {
        assert_eq!(node.put(&format!("/v1/kv/k{number}"), &[b'v'; 300]).status, 201);
    }
    if compacted {
        assert_eq!(node.send("POST", "/v1/admin/compact", &[], b"").status, 200);
    }
    assert_eq!(node.terminate().status, Some(0));
}

/// Goal: a second process is refused, and the first one does not notice.
#[test]
fn a_second_process_is_refused() {
    let directory = directory();
    let node = Node::start(directory.path());
    node.put("/v1/kv/k", b"v");
    says(
        &refused(directory.path()),
        75,
        &["in use by another process", directory.path().to_str().expect("UTF-8")],
    );
    assert_eq!(node.put("/v1/kv/k", b"w").status, 200);
    node.kill();
    assert_eq!(Node::start(directory.path()).get("/v1/kv/k").body, b"w", "the lock ends with its process");
}

/// Goal: whoever tidies up and removes the file `lock` does not let a second process in.
#[test]
fn a_removed_lock_protects_still() {
    let directory = directory();
    let node = Node::start(directory.path());
    std::fs::remove_file(directory.path().join("lock")).expect("it is there");
    says(&refused(directory.path()), 75, &["in use by another process"]);
    assert_eq!(node.put("/v1/kv/k", b"v").status, 201);
}

/// Goal: nobody but the owner can read what a node or a backup writes, whatever the umask; a directory that was open before is
/// warned of and stays as it is.
#[test]
fn data_is_private() {
    fn open(path: &Path, found: &mut Vec<PathBuf>) {
        let mode = std::fs::symlink_metadata(path).expect("it is there").permissions().mode();
        if mode & 0o077 != 0 {
            found.push(path.to_owned());
        }
        if path.is_dir() {
            let entries = std::fs::read_dir(path).expect("a directory");
            entries.for_each(|entry| open(&entry.expect("an entry").path(), found));
        }
    }
    let home = directory();
    let data = home.path().join("data");
    let with_umask = || {
        let mut command = Command::new("sh");
        command.args(["-c", r#"umask 000; exec "$0" "$@""#, PROGRAM]);
        command
    };
    let node = Node::try_start(with_umask(), &data, &[]).expect("it starts");
    assert_eq!(node.put("/v1/kv/k?ttl_ms=100000", b"v").status, 201);
    let backup = home.path().join("backup");
    let mut taken = with_umask();
    taken.arg("backup").arg(&backup).env("KVORUM_URL", node.url());
    assert!(taken.output().expect("it runs").status.success());
    assert_eq!(node.send("POST", "/v1/admin/compact", &[], b"").status, 200);
    let mut found = Vec::new();
    open(&data, &mut found);
    open(&backup, &mut found);
    assert_eq!(found, Vec::<PathBuf>::new(), "while it runs");
    let ended = node.terminate();
    assert!(!ended.said.contains("may look into"), "{}", ended.said);
    open(&data, &mut found);
    assert_eq!(found, Vec::<PathBuf>::new(), "after its end");

    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).expect("it can be set");
    let said = Node::start(&data).terminate().said;
    assert_eq!(
        said.matches("every user of this machine may look into the data directory").count(),
        1,
        "{said}"
    );
    let mode = std::fs::metadata(&data).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

/// The most memory that a process had at a time, in KiB.
fn peak_kib(node: &Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel tells it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Goal: a restart takes no more memory than a first start, however large segments are: they are read in pieces, zeros included.
#[test]
fn a_restart_gives_memory_back() {
    let directory = directory();
    let settings = [("wal.segment_bytes", "256MiB")];
    let node = Node::start_with(directory.path(), &settings);
    for number in 0..100 {
        assert_eq!(node.put(&format!("/v1/kv/k{number}"), &[b'v'; 20_000]).status, 201);
    }
    let new = peak_kib(&node);
    assert_eq!(node.terminate().status, Some(0));
    let node = Node::start_with(directory.path(), &settings);
    assert_eq!(node.get("/v1/kv/k99").body, [b'v'; 20_000]);
    let again = peak_kib(&node);
    assert!(again < new + (32 << 10), "{again} KiB after a restart, {new} KiB when new");
    assert_eq!(node.terminate().status, Some(0));
}

/// Goal: the log of one cluster under the identity of another is refused, and untouched.
#[test]
fn a_directory_of_two_clusters_is_refused() {
    let (ours, theirs) = (directory(), directory());
    stopped(ours.path(), false);
    stopped(theirs.path(), false);
    std::fs::copy(theirs.path().join("node.json"), ours.path().join("node.json"))
        .expect("a file can be copied");
    let before = content(ours.path());
    says(&refused(ours.path()), 76, &[]);
    unchanged(ours.path(), &before);
}

/// Goal: a missing identity beside a log is not taken for a new node.
#[test]
fn a_log_without_identity_is_refused() {
    let directory = directory();
    stopped(directory.path(), false);
    std::fs::remove_file(directory.path().join("node.json")).expect("a file can be removed");
    says(&refused(directory.path()), 76, &[]);
}

/// Goal: one flipped bit in an acknowledged record is found, with file and offset, by the node and by the tool.
#[test]
fn a_damaged_log_is_refused() {
    let directory = directory();
    stopped(directory.path(), false);
    let data = directory.path().to_str().expect("UTF-8");
    let inspected = program(&["wal", "inspect", data, "--json"]).output().expect("it runs");
    let entries: Vec<(String, usize)> = String::from_utf8(inspected.stdout)
        .expect("UTF-8")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|line| line["what"].as_str().is_some_and(|what| what.starts_with("Entry")))
        .map(|line| {
            (
                line["file"].as_str().expect("a file").to_owned(),
                line["offset"].as_u64().expect("an offset") as usize,
            )
        })
        .collect();
    let (file, offset) = &entries[entries.len() / 2];
    flip(Path::new(file), offset + 60);
    let before = content(directory.path());
    let offset = offset.to_string();
    says(&refused(directory.path()), 65, &["is damaged at byte", file, &offset]);
    unchanged(directory.path(), &before);
    let verified = program(&["wal", "verify", data]).output().expect("it runs");
    assert_eq!(verified.status.code(), Some(65));
    let words = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(words.contains(file) && words.contains(&offset), "{words}");
    flip(Path::new(file), offset.parse::<usize>().expect("a number") + 60);
    assert_eq!(
        Node::start(directory.path()).get("/v1/kv/k19").status,
        200,
        "nothing was lost by the refusal"
    );
}

/// Goal: a segment that is gone is found.
#[test]
fn a_missing_segment_is_refused() {
    let directory = directory();
    let node = Node::start_with(directory.path(), &[("wal.segment_bytes", "4KiB")]);
    for number in 0..40 {
        node.put(&format!("/v1/kv/k{number}"), &[b'v'; 300]);
    }
    assert_eq!(node.terminate().status, Some(0));
    let segments = files(directory.path(), "wal");
    assert!(segments.len() > 3, "{segments:?}");
    std::fs::remove_file(&segments[1]).expect("a file can be removed");
    says(
        &refused(directory.path()),
        65,
        &[segments[1].file_name().expect("a name").to_str().expect("UTF-8")],
    );
}

/// Goal: a damaged snapshot with no other behind it is found, with file and offset.
#[test]
fn a_damaged_snapshot_is_refused() {
    let directory = directory();
    stopped(directory.path(), true);
    let snapshots = files(directory.path(), "snapshots");
    assert_eq!(snapshots.len(), 1, "{snapshots:?}");
    let middle = std::fs::read(&snapshots[0]).expect("a snapshot").len() / 2;
    flip(&snapshots[0], middle);
    says(&refused(directory.path()), 65, &["damaged at byte", snapshots[0].to_str().expect("UTF-8")]);
    flip(&snapshots[0], middle);
    assert_eq!(Node::start(directory.path()).get("/v1/kv/k0").status, 200, "nothing was lost by the refusal");
}

/// Goal: a log whose snapshots are gone is refused as often as it is tried, and each try leaves it as it is.
#[test]
fn missing_snapshots_are_refused_and_nothing_is_changed() {
    let directory = directory();
    stopped(directory.path(), true);
    let snapshots = files(directory.path(), "snapshots");
    let kept = std::fs::read(&snapshots[0]).expect("a snapshot");
    std::fs::remove_file(&snapshots[0]).expect("removed");
    let before = content(directory.path());
    for _ in 0..2 {
        says(&refused(directory.path()), 76, &["the newest usable snapshot ends nowhere"]);
        unchanged(directory.path(), &before);
    }
    std::fs::write(&snapshots[0], kept).expect("put back");
    assert_eq!(
        Node::start(directory.path()).get("/v1/kv/k0").status,
        200,
        "nothing was lost by the refusals"
    );
}

/// Goal: a damaged snapshot that is only the second line of defence stops nothing, but is spoken of, with file and offset,
/// before it is needed.
#[test]
fn a_damaged_older_snapshot_is_spoken_of() {
    let directory = directory();
    let node = Node::start(directory.path());
    for value in [b"1", b"2"] {
        assert!(node.put("/v1/kv/k", value).status < 300);
        assert_eq!(node.send("POST", "/v1/admin/compact", &[], b"").status, 200);
    }
    assert_eq!(node.terminate().status, Some(0));
    let snapshots = files(directory.path(), "snapshots");
    assert_eq!(snapshots.len(), 2, "{snapshots:?}");
    let middle = std::fs::read(&snapshots[0]).expect("a snapshot").len() / 2;
    flip(&snapshots[0], middle);
    let mut node = Node::start(directory.path());
    let line = node.wait_for("an older snapshot is damaged: the newest one has nothing to fall back on");
    let error = line["error"].as_str().expect("the reason");
    assert!(
        error.contains("damaged at byte") && error.contains(snapshots[0].to_str().expect("UTF-8")),
        "{error}"
    );
    assert_eq!(node.get("/v1/kv/k").body, b"2");
    assert_eq!(node.put("/v1/kv/k", b"3").status, 200);
    assert_eq!(node.send("POST", "/v1/admin/compact", &[], b"").status, 200, "a new one can be taken");
    assert_eq!(node.terminate().status, Some(0));
}

/// Goal: a file in place of the directory, and a directory that may not be written, are said.
#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    let directory = directory();
    let file = directory.path().join("data");
    std::fs::write(&file, b"not a directory").expect("a file can be written");
    says(&refused(&file), 73, &[file.to_str().expect("UTF-8")]);
    let ended = refused(&file.join("below"));
    says(&ended, 73, &[]);
    assert_eq!(ended.said.matches("(os error").count(), 1, "the cause is said once: {}", ended.said);

    let read_only = directory.path().join("read-only");
    std::fs::create_dir(&read_only).expect("a directory can be made");
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
            .expect("permissions can be set");
    };
    mode(directory.path(), 0o755);
    mode(&read_only, 0o555);
    // Root may write anywhere: as root, the node runs as nobody, from a copy that nobody may run.
    let copy = directory.path().join("kvorum");
    std::fs::copy(PROGRAM, &copy).expect("the program can be copied");
    let mut command = Command::new(&copy);
    if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let ended = Node::try_start(command, &read_only, &[]).err().expect("the node does not start");
    says(&ended, 73, &[read_only.to_str().expect("UTF-8")]);
}

/// Goal: an address that is taken is said, with its own status.
#[test]
fn a_taken_address_is_refused() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let directory = directory();
    let ended = Node::try_start(Command::new(PROGRAM), directory.path(), &[("http.listen", &address)]);
    says(&ended.err().expect("the node does not start"), 69, &[&address]);
}

/// A small file system of its own, gone with it.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(size: &str) -> Option<Small> {
        let directory = directory();
        let options = format!("size={size}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(directory.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Small(directory));
        }
        eprintln!("SKIPPED: this machine does not let the test mount a small tmpfs");
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

/// Goal: without room for a log the node does not start, and says so.
#[test]
fn no_space_to_start() {
    let Some(small) = Small::mount("256k") else { return };
    says(&refused(&small.0.path().join("data")), 72, &["no space"]);
}

/// Goal: a disk that fills up refuses writes as not applied, serves reads, loses nothing, and takes writes again when
/// there is room.
#[test]
fn a_full_disk_refuses_writes_only() {
    let Some(small) = Small::mount("12m") else { return };
    let data = small.0.path().join("data");
    let node = Node::start(&data);
    let value = vec![b'v'; 100_000];
    let mut written = Vec::new();
    let refused = loop {
        let path = format!("/v1/kv/k{}", written.len());
        let put = node.put(&path, &value);
        if put.status != 201 {
            break put;
        }
        written.push(path);
        assert!(written.len() < 1_000, "the disk never fills up");
    };
    assert_eq!(refused.problem(507, "out-of-disk")["applied"], "no");
    assert!(written.len() > 10, "{}", written.len());
    let all_there = |node: &Node| {
        written.iter().for_each(|path| assert!(node.get(path).body == value, "{path}"));
    };
    all_there(&node);
    node.kill();
    let node = Node::start(&data);
    all_there(&node);
    assert_eq!(node.terminate().status, Some(0));
}
