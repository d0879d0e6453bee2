//! A process in the place of a node that is being mended: it is alive, not ready, and leaves the data directory alone.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes and files")]

mod node;

use std::collections::BTreeMap;
use std::path::Path;

use node::{Node, program};

/// The files of a directory and their bytes; empty if there is none.
fn content(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let paths =
        std::fs::read_dir(directory).into_iter().flatten().map(|entry| entry.expect("an entry").path());
    let mut files = BTreeMap::new();
    for path in paths {
        if path.is_dir() {
            files.extend(content(&path));
        } else if path.is_file() {
            files.insert(path.display().to_string(), std::fs::read(&path).expect("a file"));
        }
    }
    files
}

/// Goal: a container lives on without a node in it, nobody is sent there, and its directory is neither made nor touched.
#[test]
fn it_is_alive_and_not_ready_and_touches_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let nowhere = directory.path().join("not-there");
    let process = Node::maintain(&nowhere);
    assert_eq!(process.get("/healthz").status, 200);
    let detail = process.get("/readyz").problem(503, "unavailable")["detail"].clone();
    assert!(detail.as_str().is_some_and(|detail| detail.contains("maintenance")), "{detail}");
    process.get("/v1/kv/k").problem(404, "not-found");
    let live = program(&["healthcheck", "--live", "--url", &process.url()]).output().expect("it runs");
    assert!(live.status.success(), "{live:?}");
    let ready = program(&["healthcheck", "--url", &process.url()]).output().expect("it runs");
    assert_eq!(ready.status.code(), Some(1), "{ready:?}");
    assert_eq!(process.terminate().status, Some(0));
    assert!(!nowhere.exists(), "nothing was made");

    let data = directory.path().join("data");
    let node = Node::start(&data);
    assert_eq!(node.put("/v1/kv/k", b"v").status, 201);
    node.kill();
    let before = content(&data);
    let process = Node::maintain(&data);
    assert_eq!(process.get("/healthz").status, 200);
    process.signal(rustix::process::Signal::INT);
    assert_eq!(process.ended().status, Some(0));
    assert!(content(&data) == before, "as the killed node left it");
}

/// Goal: what is done in the data directory of a stopped node can be done beside it, and the node starts from that.
#[test]
fn a_directory_is_mended_beside_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(directory.path());
    assert_eq!(node.put("/v1/kv/k", b"v").status, 201);
    let before = node.get("/v1/kv/k").header("etag").map(str::to_owned);
    node.kill();
    let process = Node::maintain(directory.path());
    let data = directory.path().display().to_string();
    let wal = directory.path().join("wal").display().to_string();
    let verified = program(&["wal", "verify", &wal]).output().expect("it runs");
    assert!(verified.status.success(), "{verified:?}");
    let recovered = program(&["recover", "--data-dir", &data, "--yes"]).output().expect("it runs");
    assert!(recovered.status.success(), "{recovered:?}");
    assert_eq!(process.get("/healthz").status, 200, "it is still there");
    assert_eq!(process.terminate().status, Some(0));
    let node = Node::start(directory.path());
    let read = node.get("/v1/kv/k");
    assert_eq!(read.body, b"v");
    assert_ne!(read.header("etag").map(str::to_owned), before, "it is the recovered cluster");
}
