//! The socket in the data directory: who owns the node administers it from its machine, without URL and credentials.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes and files")]

mod node;

use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Output;

use node::{Node, PATIENCE, program};

const SOCKET: &str = "admin.sock";

fn has_socket(directory: &Path) -> bool {
    std::fs::symlink_metadata(directory.join(SOCKET)).is_ok_and(|found| found.file_type().is_socket())
}

/// The first line and the last of an answer over the socket.
fn asked(directory: &Path, method: &str, path: &str) -> (String, String) {
    let mut stream = UnixStream::connect(directory.join(SOCKET)).expect("the node listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("it takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let line = |line: Option<&str>| line.expect("an answer has lines").to_owned();
    (line(answer.lines().next()), line(answer.lines().last()))
}

fn pre_stop(directory: &Path, wait_s: u64) -> String {
    let mut command = program(&["lifecycle", "pre-stop", "--wait-s", &wait_s.to_string()]);
    let done: Output = command.env("KVORUM_DATA__DIR", directory).output().expect("it runs");
    assert!(done.status.success(), "{done:?}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// Goal: whoever owns the process administers the node by its data directory alone, and does nothing else there.
#[test]
fn the_owner_needs_nothing_but_the_data_directory() {
    let home = tempfile::tempdir().expect("a directory");
    let directory = home.path();
    let node = Node::start(directory);
    let mode = std::fs::metadata(directory.join(SOCKET)).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert!(pre_stop(directory, 20).contains("may stop"));
    let path = directory.display().to_string();
    let told = program(&["lifecycle", "pre-stop", "--json", "--data-dir", &path]).output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&told.stdout).trim(), r#"{"node":1}"#);
    let (status, problem) = asked(directory, "GET", "/v1/kv/k");
    assert!(status.contains("404") && problem.contains("not-found"), "{status}\n{problem}");
    let (status, _) = asked(directory, "POST", "/v1/cluster/leave");
    assert!(status.contains("404"), "{status}");
    let (status, problem) = asked(directory, "GET", "/v1/cluster/stop");
    assert!(status.contains("405") && problem.contains("method-not-allowed"), "{status}\n{problem}");
    assert_eq!(node.terminate().status, Some(0));
    assert!(!has_socket(directory), "an orderly stop leaves no socket");
}

/// Goal: a socket that a killed node leaves behind hinders neither tools nor the next start, and is no part of what is set
/// aside.
#[test]
fn a_socket_that_was_left_behind_is_in_nobodys_way() {
    let home = tempfile::tempdir().expect("a directory");
    let directory = home.path();
    Node::start(directory).kill();
    assert!(has_socket(directory), "kill -9 leaves it");
    let told = pre_stop(directory, 1);
    assert!(told.contains("no permission after 1 s") && told.contains(SOCKET), "{told}");
    let path = directory.display().to_string();
    let recovered = program(&["recover", "--yes", "--data-dir", &path]).output().expect("it runs");
    assert!(recovered.status.success(), "{recovered:?}");
    let mut paths =
        std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    let aside = paths.find(|path| path.display().to_string().contains("/lost-")).expect("set aside");
    assert!(!has_socket(&aside), "it stays where it is");
    let node = Node::start(directory);
    assert!(pre_stop(directory, 20).contains("may stop"));
    node.kill();
    // A second start beside a running node is refused before it comes to the socket.
    let node = Node::start(directory);
    let second = Node::try_start(std::process::Command::new(node::PROGRAM), directory, &[]);
    assert_eq!(second.err().and_then(|ended| ended.status), Some(75));
    assert!(pre_stop(directory, 20).contains("may stop"));
    drop(node);
}

/// Goal: the path of a data directory may be longer than that of a socket.
#[test]
fn a_long_path_is_reached() {
    let home = tempfile::tempdir().expect("a directory");
    let directory = home.path().join("d".repeat(120)).join("e".repeat(40));
    let node = Node::start(&directory);
    assert!(has_socket(&directory));
    assert!(pre_stop(&directory, 20).contains("may stop"));
    assert_eq!(node.terminate().status, Some(0));
    assert!(!has_socket(&directory));
}

/// Goal: where there can be no socket the node serves all the same, says so, and is asked over its API.
#[test]
fn a_node_serves_without_a_socket() {
    let home = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(home.path().join(SOCKET)).expect("a directory in its place");
    let mut node = Node::start(home.path());
    node.wait_for("cannot be administered over a socket, only over the API");
    assert_eq!(node.put("/v1/kv/k", b"v").status, 201);
    let done = node.client(&["lifecycle", "pre-stop", "--wait-s", "20"]);
    assert!(String::from_utf8_lossy(&done.stdout).contains("may stop"), "{done:?}");
    assert_eq!(node.terminate().status, Some(0));
}
