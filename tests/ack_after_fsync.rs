//! The proof by system calls: the answer to a write leaves only after an fdatasync returned that began after the write
//! was in the log's file.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes, files and clocks")]
#![allow(clippy::print_stderr, reason = "a test that cannot run here says so")]

mod node;

use std::path::Path;
use std::process::Command;

use node::{Node, PROGRAM, eventually};

/// Larger than everything else that is written to the log, so that each entry is known by its length.
const VALUE_BYTES: usize = 9_000;

const WRITES: usize = 12;

/// What the trace shows, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    /// An entry is in the log's file.
    Logged,
    /// An fdatasync of the log's file begins in a thread.
    SyncBegins(String),
    /// It has returned.
    Synced(String),
    /// The answer to a write leaves.
    Answered,
}

/// Reads `strace -f -y`: a line is `thread call(..) = result`, or its two halves where another thread came between.
fn events(trace: &str) -> Vec<Event> {
    let mut events = Vec::new();
    let mut syncing_log = std::collections::BTreeSet::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.trim_start().split_once(' ') else { continue };
        let (thread, call) = (thread.to_owned(), call.trim_start());
        let of_log = call.contains(".seg>");
        let unfinished = call.contains("<unfinished ...>");
        if call.starts_with("fdatasync(") && of_log {
            events.push(Event::SyncBegins(thread.clone()));
            if unfinished {
                syncing_log.insert(thread);
            } else if call.trim_end().ends_with("= 0") {
                events.push(Event::Synced(thread));
            }
        } else if call.starts_with("<... fdatasync resumed>") && syncing_log.remove(&thread) {
            if call.trim_end().ends_with("= 0") {
                events.push(Event::Synced(thread));
            }
        } else if is_write(call, of_log && !unfinished) && wrote(call) {
            events.push(Event::Logged);
        } else if !call.starts_with("<...") && call.contains("HTTP/1.1 20") {
            events.push(Event::Answered);
        }
    }
    events
}

/// Whether this is a positioned write that is done: one line that names the log's file, or the second half of one.
fn is_write(call: &str, whole_and_of_log: bool) -> bool {
    (call.starts_with("pwrite64(") && whole_and_of_log) || call.starts_with("<... pwrite64 resumed>")
}

/// Whether a write was as long as an entry with a value.
fn wrote(call: &str) -> bool {
    let result = call.rsplit("= ").next().and_then(|result| result.trim().parse::<usize>().ok());
    result.is_some_and(|bytes| bytes >= VALUE_BYTES)
}

/// Checks the order of one client's writes, each sent when the one before was answered. Says what is wrong.
fn check(events: &[Event]) -> Result<usize, String> {
    let (mut logged, mut begun, mut synced, mut answers) = (false, Vec::new(), false, 0);
    for event in events {
        match event {
            Event::Logged => logged = true,
            Event::SyncBegins(thread) if logged => begun.push(thread.clone()),
            Event::SyncBegins(_) => {}
            Event::Synced(thread) => synced |= begun.contains(thread),
            Event::Answered if !synced => {
                return Err(format!("answer {answers} left before its entry was on disk"));
            }
            Event::Answered => {
                answers += 1;
                (logged, synced) = (false, false);
                begun.clear();
            }
        }
    }
    Ok(answers)
}

/// Goal: the check finds each way in which an answer can come too early.
#[test]
fn early_answers_are_found() {
    let write = format!("7 pwrite64(9</d/1.seg>, \"..\", {VALUE_BYTES}, 512) = {VALUE_BYTES}\n");
    let sync = "7 fdatasync(9</d/1.seg>) = 0\n";
    let answer = "8 writev(12<socket:[1]>, [{iov_base=\"HTTP/1.1 201 Created\\r\\n\"}], 1) = 90\n";
    let begins = "7 fdatasync(9</d/1.seg> <unfinished ...>\n";
    let ends = "7 <... fdatasync resumed>) = 0\n";
    let verdict = |lines: &[&str]| check(&events(&lines.concat()));
    assert_eq!(verdict(&[&write, sync, answer, &write, begins, ends, answer]), Ok(2));
    for early in [
        &[write.as_str(), answer, sync][..],
        &[sync, &write, answer],
        &[begins, &write, ends, answer],
        &[&write, begins, answer, ends],
        &[&write, "7 fdatasync(9</d/1.seg>) = -1 EIO (Input/output error)\n", answer],
        &[&write, "7 fdatasync(9</d/other>) = 0\n", answer],
        &[&write, sync, answer, answer],
        &["7 pwrite64(9</d/1.seg>, \"..\", 48, 512) = 48\n", sync, answer],
    ] {
        assert!(verdict(early).is_err(), "{early:?}");
    }
}

/// A node that strace watches, with these arguments; `None` where that cannot be.
fn watched(arguments: &[&str], directory: &Path) -> Option<Node> {
    let mut command = Command::new("strace");
    // The tracer is not the parent of the node, so that signals and the exit status are the node's own.
    command.args(["-D", "-f"]).args(arguments).arg(PROGRAM);
    let installed = Command::new("strace").arg("-V").output().is_ok();
    let node = if installed { Node::try_start(command, directory, &[]).ok() } else { None };
    if node.is_none() {
        assert!(std::env::var_os("CI").is_none(), "strace is not there, or may not trace");
        eprintln!("SKIPPED: strace is not there, or may not trace");
    }
    node
}

/// Goal: the real program never answers a write before it is on disk.
#[test]
fn answers_leave_after_fdatasync() {
    let directory = tempfile::tempdir().expect("a directory");
    let trace = directory.path().join("trace");
    let calls = "trace=fdatasync,pwrite64,write,writev,sendto,sendmsg";
    let arguments = ["-y", "-s", "24", "-e", calls, "-o", trace.to_str().expect("UTF-8")];
    let Some(node) = watched(&arguments, &directory.path().join("data")) else { return };
    let mut connection = node.connect();
    for number in 0..WRITES {
        let answer = connection.send("PUT", &format!("/v1/kv/k{number}"), &[], &[b'v'; VALUE_BYTES]);
        assert_eq!(answer.status, 201);
    }
    assert_eq!(node.terminate().status, Some(0));
    let events = events(&whole(&trace));
    assert_eq!(check(&events), Ok(WRITES), "{events:#?}");
}

/// Goal: when fdatasync fails, the write is not acknowledged, the node ends with its own status, and what was
/// acknowledged before is there after a restart.
#[test]
fn a_failed_fdatasync_ends_the_node() {
    let directory = tempfile::tempdir().expect("a directory");
    let (data, trace) = (directory.path().join("data"), directory.path().join("trace"));
    let inject = "inject=fdatasync:error=EIO:when=30+";
    let arguments = ["-e", "trace=fdatasync", "-e", inject, "-o", trace.to_str().expect("UTF-8")];
    let Some(node) = watched(&arguments, &data) else { return };
    let mut connection = node.connect();
    let put = |number: usize| format!("/v1/kv/k{number}");
    let acknowledged = (0..1_000)
        .find(|number| match connection.try_send("PUT", &put(*number), &[], b"v") {
            Some(answer) if answer.status == 201 => false,
            Some(answer) => answer.json()["applied"] == "unknown" || answer.status == 503,
            None => true,
        })
        .expect("the disk fails at some point");
    assert!(acknowledged > 5, "{acknowledged}");
    let ended = node.ended();
    assert_eq!(ended.status, Some(70), "{}", ended.said);
    let node = Node::start(&data);
    for number in 0..acknowledged {
        assert_eq!(node.get(&put(number)).status, 200, "k{number} of {acknowledged} is lost");
    }
}

/// The trace, once the tracer has written the end of the process.
fn whole(trace: &Path) -> String {
    eventually("the tracer writes the end", || {
        let bytes = std::fs::read(trace).expect("a trace");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.trim_end().ends_with("+++ exited with 0 +++").then_some(text)
    })
}
