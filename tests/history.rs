//! The history of a real node: it is kept over restarts, and nothing that happens to it disturbs the node.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes, files and clocks")]

mod node;

use std::path::Path;
use std::process::Command;

use node::{Node, eventually};
use serde_json::Value;

/// A sample a second, and every request is a slow one.
const OFTEN: [(&str, &str); 2] = [("history.sample_s", "1"), ("history.slow_ms", "1")];

fn history(node: &Node) -> Option<Value> {
    let answer = node.get("/v1/stats/history?step=1");
    (answer.status == 200).then(|| answer.json())
}

/// When the first sample from `since` on was taken.
fn first(node: &Node, since: u64) -> Value {
    node.get(&format!("/v1/stats/history?step=1&since={since}")).json()["points"][0]["at"].clone()
}

/// Waits for so many points and gives them.
fn points(node: &Node, count: usize) -> Vec<Value> {
    eventually("samples are taken", || {
        let points = history(node)?["points"].as_array().cloned()?;
        (points.len() >= count).then_some(points)
    })
}

fn serves(node: &Node) {
    assert!(matches!(node.put("/v1/kv/k", b"v").status, 200 | 201));
    assert_eq!(node.get("/v1/kv/k").body, b"v");
}

/// Goal: figures and slow requests are kept, over a restart too, and say neither key nor value.
#[test]
fn figures_and_slow_requests_are_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start_with(directory.path(), &OFTEN);
    node.put("/v1/kv/secretkey", b"secretvalue");
    let slow = eventually("the write is noted as slow", || {
        let items = node.get("/v1/stats/slow?limit=5").json()["items"].as_array().cloned()?;
        items.into_iter().find(|item| item["operation"] == "set")
    });
    assert_eq!(slow["bytes"], 11);
    assert!(slow["duration_ms"].as_f64() >= Some(1.0), "{slow}");
    let before = eventually("the key is in a sample", || {
        let points = points(&node, 2);
        points.last().is_some_and(|last| last["keys"] == 1).then_some(points)
    });
    let last = before.last().expect("two are there");
    assert_eq!(last["leads"], true);
    assert!(last["wal_bytes"].as_u64() > Some(0));
    let at = before[0]["at"].as_u64().expect("a time");
    // Of two samples within the step of a second the later one is told.
    let is_there = |node: &Node| (at..at + 1_000).contains(&first(node, at).as_u64().expect("a time"));
    assert!(is_there(&node));
    assert_eq!(node.terminate().status, Some(0));
    let node = Node::start_with(directory.path(), &OFTEN);
    points(&node, before.len() + 1);
    assert!(is_there(&node), "what was before the restart is there");
    for file in files(&directory.path().join("history")) {
        let bytes = std::fs::read(&file).expect("a file");
        for secret in ["secretkey", "secretvalue"] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{} holds {secret}", file.display());
        }
    }
    for wrong in ["since=-1", "since=x", "step=0", "step=1.5", "stop=1"] {
        node.get(&format!("/v1/stats/history?{wrong}")).problem(400, "invalid-argument");
    }
    let long = node.get("/v1/stats/history?since=0&step=1").json();
    assert!(long["step_s"].as_u64() > Some(1), "so many points are not possible");
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// What is done to a closed database.
type Damage = fn(&Path);

/// Goal: a database whose files are damaged, in any way, is begun anew; the node starts and serves, and says so.
#[test]
fn a_damaged_history_is_set_aside() {
    let directory = tempfile::tempdir().expect("a directory");
    let home = directory.path().join("history");
    let node = Node::start_with(directory.path(), &OFTEN);
    points(&node, 2);
    assert_eq!(node.terminate().status, Some(0));
    let damages: [(&str, Damage); 4] = [
        ("random bytes", |home| {
            for file in files(home) {
                let length = std::fs::metadata(&file).expect("a file").len().clamp(512, 1 << 20);
                let noise: Vec<u8> = (0..length).map(|n| ((n * 2_654_435_761) >> 7) as u8).collect();
                std::fs::write(file, noise).expect("written");
            }
        }),
        ("a file in its place", |home| {
            std::fs::remove_dir_all(home).expect("removed");
            std::fs::write(home, b"no directory").expect("written");
        }),
        ("empty files", |home| {
            files(home).iter().for_each(|file| std::fs::write(file, b"").expect("written"));
        }),
        ("all gone", |home| std::fs::remove_dir_all(home).expect("removed")),
    ];
    for (what, damage) in damages {
        damage(&home);
        let node = Node::start_with(directory.path(), &OFTEN);
        serves(&node);
        points(&node, 1);
        assert_eq!(node.terminate().status, Some(0), "{what}");
    }
    let names: Vec<_> = std::fs::read_dir(directory.path()).expect("a directory").flatten().collect();
    let aside = names
        .iter()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("history.damaged"))
        .count();
    assert!((1..=2).contains(&aside), "{aside} were kept");
}

/// Goal: a database that is removed under way is begun anew, and the node serves all along.
#[test]
fn a_removed_history_is_begun_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut node = Node::start_with(directory.path(), &OFTEN);
    points(&node, 1);
    std::fs::remove_dir_all(directory.path().join("history")).expect("removed");
    node.wait_for("the history was removed and is begun anew");
    serves(&node);
    points(&node, 1);
    assert!(directory.path().join("history/db").exists());
}

/// Goal: a history without a byte of space does not keep the node from serving. (The rest of the data has space.)
#[test]
fn a_history_without_space_disturbs_nobody() {
    let directory = tempfile::tempdir().expect("a directory");
    let home = directory.path().join("history");
    std::fs::create_dir(&home).expect("a directory");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16k", "tmpfs"]).arg(&home).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no small file system can be mounted here");
        return;
    }
    let mut node = Node::start_with(directory.path(), &OFTEN);
    // Each takes its fdatasync, so each is a slow request.
    (0..200).for_each(|_| serves(&node));
    node.wait_for("the history is closed until there is space");
    node.get("/v1/stats/history").problem(503, "unavailable");
    serves(&node);
    assert_eq!(node.terminate().status, Some(0));
    let unmounted = Command::new("umount").arg(&home).status().expect("it runs");
    assert!(unmounted.success());
}
