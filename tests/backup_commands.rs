//! Backups and restores with the real program: what a client streams, what a command makes of it, how each ends.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes, files and clocks")]

mod node;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use node::{Node, PATIENCE, PROGRAM, program};
use serde_json::Value;

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

/// What came out, and the status.
fn said(output: &Output) -> (String, i32) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code().expect("it was not killed"))
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn parsed(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {}", complaint(output)))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn run(arguments: &[&str]) -> Output {
    program(arguments).output().expect("the program runs")
}

/// The names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

/// A backup of ten keys in `place`, taken with the command; also the directory's node, which still runs.
fn backed_up(place: &Path) -> (Node, std::path::PathBuf) {
    let node = Node::start(&place.join("old"));
    for number in 0..10 {
        assert_eq!(node.put(&format!("/v1/kv/k{number}"), format!("v{number}").as_bytes()).status, 201);
    }
    let file = place.join("the.snap");
    let output = node.client(&["backup", text(&file)]);
    let (words, status) = said(&output);
    assert_eq!(status, 0, "{}", complaint(&output));
    assert!(words.contains("whole") && words.contains("10 keys"), "{words}");
    (node, file)
}

/// Restores into a directory and says what was printed.
fn restored(file: &Path, data: &Path, more: &[&str]) -> Output {
    run(&[&["restore", text(file), "--data-dir", text(data)], more].concat())
}

/// Goal: a backup taken while writers write holds all that was acknowledged before it was asked for, is what the server said
/// that it is, and makes a cluster in which the keys are there under versions beyond 2^32 and old ETags match nothing.
#[test]
fn a_backup_under_load_becomes_a_cluster() {
    let place = directory();
    let node = Node::start(&place.path().join("old"));
    let noise = |number: usize| vec![(number * 31 % 251) as u8; 4_000];
    for number in 0..300 {
        node.put(&format!("/v1/kv/before{number}"), &noise(number));
    }
    let old_tag = node.get("/v1/kv/before7").header("etag").expect("an ETag").to_owned();
    let file = place.path().join("the.snap");
    let is_over = AtomicBool::new(false);
    let (about, written) = thread::scope(|scope| {
        let mut connection = node.connect();
        let is_over = &is_over;
        let writer = scope.spawn(move || {
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                let path = format!("/v1/kv/during{}", count % 500);
                assert!(connection.send("PUT", &path, &[], b"x").status < 300);
                count += 1;
            }
            count
        });
        let output = node.client(&["backup", text(&file), "--json"]);
        assert_eq!(said(&output).1, 0, "{}", complaint(&output));
        is_over.store(true, Ordering::Relaxed);
        (parsed(&output), writer.join().expect("the writer"))
    });
    assert!(written > 0, "writes went on");
    assert!(about["keys"].as_u64() >= Some(300), "{about}");
    let verified = parsed(&run(&["snapshot", "verify", text(&file), "--json"]));
    assert_eq!(verified, about);
    let index = node.get("/v1/stats").json()["raft"]["applied_index"].as_u64();
    assert!(about["index"].as_u64() <= index, "{about}");
    node.kill();

    let data = place.path().join("new");
    let output = restored(&file, &data, &["--json"]);
    assert_eq!(said(&output).1, 0, "{}", complaint(&output));
    let restored = parsed(&output);
    assert_eq!(restored["keys"], about["keys"]);
    assert_ne!(restored["cluster"], about["cluster"]);
    let node = Node::start(&data);
    assert_eq!(node.get("/v1/stats").json()["cluster"], restored["cluster"]);
    for number in 0..300 {
        let found = node.get(&format!("/v1/kv/before{number}"));
        assert!(found.body == noise(number), "before{number}");
        let version: u64 = found.header("kvorum-version").expect("a version").parse().expect("a number");
        assert!(version > 1 << 32, "{version}");
    }
    let put = |tag: &str| node.send("PUT", "/v1/kv/before7", &[("If-Match", tag)], b"new");
    put(&old_tag).problem(412, "precondition-failed");
    let new_tag = node.get("/v1/kv/before7").header("etag").expect("an ETag").to_owned();
    assert_eq!(put(&new_tag).status, 200);
    assert_eq!(node.terminate().status, Some(0));
    assert_eq!(Node::start(&data).get("/v1/kv/before7").body, b"new", "it is a node like any other");
}

/// Goal: what the server says of a backup in its headers is what the file says of itself.
#[test]
fn the_headers_tell_what_it_is() {
    let place = directory();
    let (node, file) = backed_up(place.path());
    let backup = node.get("/v1/admin/backup");
    assert_eq!((backup.status, backup.header("content-type")), (200, Some("application/octet-stream")));
    assert!(backup.body == std::fs::read(&file).expect("a file"), "nothing changed in between");
    let about = parsed(&run(&["snapshot", "verify", text(&file), "--json"]));
    let cluster = about["cluster"].as_str().expect("digits");
    assert_eq!(backup.header("kvorum-index"), Some(about["index"].to_string().as_str()));
    assert_eq!(backup.header("kvorum-term"), Some(about["term"].to_string().as_str()));
    assert_eq!(backup.header("kvorum-cluster"), Some(cluster));
    assert_eq!(backup.header("kvorum-state-hash"), about["state_hash"].as_str());
    let name = format!("attachment; filename=\"kvorum-{}-{}.snap\"", &cluster[..8], about["index"]);
    assert_eq!(backup.header("content-disposition"), Some(name.as_str()));
    node.send("GET", "/v1/admin/backup", &[("Accept", "application/json")], b"")
        .problem(406, "not-acceptable");
    let head = node.send("HEAD", "/v1/admin/backup", &[], b"");
    assert_eq!((head.status, head.header("kvorum-index")), (200, backup.header("kvorum-index")));

    let taken = node.send("POST", "/v1/admin/snapshot", &[], b"").json();
    for field in ["index", "term", "cluster", "state_hash", "keys", "revision", "at", "bytes"] {
        assert_eq!(taken[field], about[field], "{field}");
    }
    let (words, status) = said(&node.client(&["snapshot", "take"]));
    assert!(status == 0 && words.starts_with("snapshot: 10 keys, "), "{words}");
    assert_eq!(parsed(&node.client(&["snapshot", "take", "--json"]))["index"], about["index"]);
}

/// Asks for a backup on a connection of its own and reads no more than the head of the answer.
fn begin(node: &Node) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(node.address()).expect("the node accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    stream.write_all(b"GET /v1/admin/backup HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let (mut head, mut byte) = (String::new(), [0]);
    while !head.ends_with("\r\n\r\n") {
        stream.read_exact(&mut byte).expect("the head of an answer");
        head.push(char::from(byte[0]));
    }
    (stream, head)
}

/// Goal: two backups are sent at a time, a third is refused; readers that stand still stop nobody from writing; and when
/// they go away in the middle, their places are free again and no file is left.
#[test]
fn readers_that_go_away_leave_nothing() {
    let place = directory();
    let node = Node::start(place.path());
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    // More than the sockets of a machine hold on their own.
    for number in 0..6 {
        let value: Vec<u8> = (0..4_000_000).map(|_| noise()).collect();
        assert_eq!(node.put(&format!("/v1/kv/k{number}"), &value).status, 201);
    }
    for _round in 0..2 {
        let (first, second) = (begin(&node), begin(&node));
        for (_, head) in [&first, &second] {
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        }
        let refused = node.get("/v1/admin/backup");
        refused.problem(409, "conflict");
        assert_eq!(node.put("/v1/kv/other", b"v").status / 100, 2, "writes go on");
        drop((first, second));
        let deadline = Instant::now() + PATIENCE;
        let whole = loop {
            let backup = node.get("/v1/admin/backup");
            if backup.status == 200 {
                break backup;
            }
            assert!(Instant::now() < deadline, "the places never come back");
        };
        assert!(whole.body.len() > 24_000_000);
    }
    let left = names(&place.path().join("snapshots"));
    assert!(left.len() <= 2 && left.iter().all(|name| name.ends_with(".snap")), "{left:?}");
}

/// Goal: a file that is there is not overwritten unasked; standard output takes a backup too; without a server nothing is
/// left behind.
#[test]
fn a_backup_goes_where_it_is_told() {
    let place = directory();
    let (node, file) = backed_up(place.path());
    let before = std::fs::read(&file).expect("a file");
    node.put("/v1/kv/more", b"v");
    let refused = node.client(&["backup", text(&file)]);
    assert_eq!(said(&refused), (String::new(), 5));
    assert!(complaint(&refused).contains("--force"), "{}", complaint(&refused));
    assert!(std::fs::read(&file).expect("a file") == before);
    let forced = node.client(&["backup", text(&file), "--force", "--json"]);
    assert_eq!((said(&forced).1, &parsed(&forced)["keys"]), (0, &Value::from(11)));
    let out = node.client(&["backup", "-"]);
    assert_eq!(out.status.code(), Some(0), "{}", complaint(&out));
    assert!(out.stdout == std::fs::read(&file).expect("a file"));
    let nowhere = node.client(&["backup", text(&place.path().join("no/such/the.snap"))]);
    assert_eq!(said(&nowhere), (String::new(), 74), "{}", complaint(&nowhere));
    node.kill();
    let other = place.path().join("other.snap");
    let mut command = program(&["backup", text(&other)]);
    let output = command.env("KVORUM_URL", "http://127.0.0.1:1").output().expect("it runs");
    assert_eq!(said(&output), (String::new(), 4), "{}", complaint(&output));
    assert_eq!(names(place.path()), ["old", "the.snap"]);
}

/// A server that answers one request with this body and announces this length. Returns its address.
fn answering(body: Vec<u8>, announced: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut request = [0; 4_096];
        let _ = stream.read(&mut request).expect("a request");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {announced}\r\nConnection: close\r\n\r\n");
        stream.write_all(&[head.as_bytes(), &body].concat()).expect("sent");
    });
    url
}

/// Goal: what was damaged or broke off on the way gets no name, and replaces nothing.
#[test]
fn what_arrives_damaged_is_not_kept() {
    let place = directory();
    let (node, file) = backed_up(place.path());
    node.kill();
    let whole = std::fs::read(&file).expect("a file");
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    let cut = whole[..whole.len() - 1].to_vec();
    let cases = [
        (damaged, whole.len(), 65, "damaged at byte"),
        (cut.clone(), cut.len(), 65, "damaged at byte"),
        (cut, whole.len(), 4, "no whole answer"),
        (Vec::new(), 0, 65, "damaged at byte"),
    ];
    for (body, announced, status, words) in cases {
        for target in ["the.snap", "new.snap"] {
            let target = place.path().join(target);
            let url = answering(body.clone(), announced);
            let output = run(&["backup", text(&target), "--force", "--url", &url]);
            let case = format!("{} of {announced} bytes: {}", body.len(), complaint(&output));
            assert_eq!(said(&output), (String::new(), status), "{case}");
            assert!(complaint(&output).contains(words), "{case}");
            assert_eq!(names(place.path()), ["old", "the.snap"], "{case}");
            assert!(std::fs::read(&file).expect("a file") == whole, "{case}");
        }
    }
}

/// Goal: each reason not to restore has its status and its words, and leaves the directory as it is.
#[test]
fn refusals_of_a_restore() {
    let place = directory();
    let (node, file) = backed_up(place.path());
    let refused = |file: &Path, data: &Path, status: i32, words: &[&str]| {
        let output = restored(file, data, &[]);
        assert_eq!(said(&output), (String::new(), status), "{}", complaint(&output));
        for word in words {
            assert!(complaint(&output).contains(word), "{word:?} is not said: {}", complaint(&output));
        }
    };
    let old = place.path().join("old");
    refused(&file, &old, 75, &["in use"]);
    node.terminate();
    refused(&file, &old, 76, &["not empty", text(&old)]);
    assert_eq!(Node::start(&old).get("/v1/kv/k1").status, 200, "nothing was changed by the refusal");

    let new = place.path().join("new");
    let bytes = std::fs::read(&file).expect("a file");
    let other = place.path().join("other.snap");
    let with = |bytes: &[u8]| std::fs::write(&other, bytes).expect("a file can be written");
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 8;
    with(&damaged);
    refused(&other, &new, 65, &["damaged at byte", text(&other)]);
    let mut newer = bytes.clone();
    newer[10] = 0xFF;
    let checksum = crc32c::crc32c(&newer[..16]);
    newer[16..20].copy_from_slice(&checksum.to_le_bytes());
    with(&newer);
    refused(&other, &new, 77, &["newer version"]);
    refused(&place.path().join("nowhere"), &new, 74, &["nowhere"]);
    assert_eq!(names(&new), ["lock"]);
    assert_eq!(said(&run(&["restore", text(&file), "--ttl", "never"])).1, 2);
    assert_eq!(said(&restored(&file, &new, &[])).1, 0, "after all that it is still empty enough");
}

/// Goal: a restore that was not finished is not started as an empty node; it says what to do, and that helps.
#[test]
fn a_half_done_restore_is_refused_by_serve() {
    let place = directory();
    let (node, file) = backed_up(place.path());
    node.kill();
    let data = place.path().join("new");
    assert_eq!(said(&restored(&file, &data, &[])).1, 0);
    // As it is before its last two steps.
    std::fs::remove_file(data.join("node.json")).expect("a file can be removed");
    std::fs::write(data.join("restore.json"), "{\"format\": 1}\n").expect("a file can be written");
    let ended = Node::try_start(Command::new(PROGRAM), &data, &[]).err().expect("the node does not start");
    assert_eq!(ended.status, Some(76), "{}", ended.said);
    assert!(ended.said.contains("kvorum restore"), "{}", ended.said);
    let (words, status) = said(&restored(&file, &data, &[]));
    assert!(status == 0 && words.contains("10 keys"), "{words}");
    assert_eq!(Node::start(&data).get("/v1/kv/k9").body, b"v9");
}

/// Goal: what ran out since the backup is gone by default, and has left what it had left if that is asked for.
#[test]
fn times_to_live_run_out_or_stay() {
    let place = directory();
    let node = Node::start(&place.path().join("old"));
    node.put("/v1/kv/short?ttl_ms=8000", b"v");
    node.put("/v1/kv/long?ttl_ms=3600000", b"v");
    let file = place.path().join("the.snap");
    assert_eq!(said(&node.client(&["backup", text(&file)])).1, 0);
    let deadline = Instant::now() + PATIENCE;
    while node.get("/v1/kv/short").status == 200 {
        assert!(Instant::now() < deadline, "it never expires");
        thread::park_timeout(Duration::from_millis(50));
    }
    node.kill();
    for (ttl, left) in [("deadline", 404), ("remaining", 200)] {
        let data = place.path().join(ttl);
        assert_eq!(said(&restored(&file, &data, &["--ttl", ttl])).1, 0);
        let node = Node::start(&data);
        assert_eq!(node.get("/v1/kv/short").status, left, "{ttl}");
        let long = node.get("/v1/kv/long/ttl").json()["ttl_ms"].as_u64();
        assert!((3_500_000..3_600_000).contains(&long.expect("a time")), "{ttl}: {long:?}");
    }
}

/// Goal: a new node begins with the backup that its configuration names, and does so once.
#[test]
fn a_configured_backup_seeds_a_node_once() {
    let place = directory();
    let (node, file) = backed_up(place.path());
    node.kill();
    let data = place.path().join("new");
    let settings = [("cluster.restore_from", text(&file))];
    let node = Node::start_with(&data, &settings);
    assert_eq!(node.get("/v1/kv/k3").body, b"v3");
    node.send("DELETE", "/v1/kv/k3", &[], b"");
    assert_eq!(node.terminate().status, Some(0));
    assert_eq!(Node::start_with(&data, &settings).get("/v1/kv/k3").status, 404, "it is not restored again");

    let missing = [("cluster.restore_from", "/nowhere/the.snap")];
    let ended = Node::try_start(Command::new(PROGRAM), &place.path().join("third"), &missing);
    let ended = ended.err().expect("the node does not start empty");
    assert_eq!(ended.status, Some(74), "{}", ended.said);
    assert!(ended.said.contains("/nowhere/the.snap"), "{}", ended.said);
}
