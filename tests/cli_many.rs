//! The command line against a real node: numbers, deadlines, lists, batches, what is made for shells, and what people see.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes, files and clocks")]

mod node;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use node::{Node, PROGRAM, program};
use serde_json::Value;

fn node() -> (tempfile::TempDir, Node) {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(directory.path());
    (directory, node)
}

/// What a command wrote to standard output and error, and its status.
fn said(output: &Output) -> (String, String, i32) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code().expect("it was not killed"))
}

#[track_caller]
fn prints(output: &Output, stdout: &str) {
    assert_eq!(said(output), (stdout.to_owned(), String::new(), 0));
}

fn with_input(node: &Node, arguments: &[&str], input: &str) -> Output {
    let mut command = program(arguments);
    command.env("KVORUM_URL", node.url()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// Goal: numbers and deadlines are changed and told.
#[test]
fn numbers_and_deadlines() {
    let (_directory, node) = node();
    prints(&node.client(&["incr", "n"]), "1\n");
    prints(&node.client(&["incr", "n", "--by", "-43"]), "-42\n");
    prints(&node.client(&["incr", "n", "--by=2", "--json"]), "{\"value\":-40,\"version\":3}\n");
    prints(&node.client(&["ttl", "n", "--set-ms", "900000"]), "900000\n");
    let left: u64 = said(&node.client(&["ttl", "n"])).0.trim().parse().expect("milliseconds");
    assert!((1..=900_000).contains(&left));
    prints(&node.client(&["ttl", "n", "--persist"]), "none\n");
    prints(&node.client(&["set", "text", "abc"]), "created, version 6\n");
    let (_, error, status) = said(&node.client(&["incr", "text"]));
    assert!(status == 5 && error.contains("not-an-integer"), "{error}");
    assert_eq!(said(&node.client(&["ttl", "absent", "--persist"])).2, 1);
    assert_eq!(said(&node.client(&["ttl", "n", "--persist", "--set-ms", "5"])).2, 2);
}

/// Goal: values come from files too, several keys go at once, and a miss says why.
#[test]
fn files_and_many_keys() {
    let (directory, node) = node();
    let file = directory.path().join("value");
    std::fs::write(&file, b"\xff\x00").expect("written");
    let file = file.to_str().expect("UTF-8");
    prints(&node.client(&["set", "k", "--file", file]), "created, version 1\n");
    assert_eq!(node.client(&["get", "k"]).stdout, b"\xff\x00");
    assert_eq!(said(&node.client(&["set", "k", "v", "--file", file])).2, 2, "one value is enough");
    assert_eq!(said(&node.client(&["set", "k"])).2, 2, "and none too few");
    assert_eq!(said(&node.client(&["set", "k", "--file", "/nowhere"])).2, 74);
    prints(&node.client(&["set", "l", "v"]), "created, version 2\n");
    prints(&node.client(&["del", "k", "l", "absent"]), "2 of 3 deleted\n");
    assert_eq!(said(&node.client(&["del", "k", "l"])), ("0 of 2 deleted\n".to_owned(), String::new(), 1));
    assert_eq!(said(&node.client(&["del", "k", "l", "--if-version", "1"])).2, 2);
    let (_, error, status) = said(&node.client(&["get", "k"]));
    assert!(status == 1 && error.contains("it was deleted by log entry"), "{error}");
}

/// Goal: keys are listed to the end, in lines that programs can cut, and as JSON lines.
#[test]
fn keys_are_listed() {
    let (_directory, node) = node();
    for n in 0..2_345 {
        node.put(&format!("/v1/kv/user%3A{n:04}"), b"v");
    }
    node.put("/v1/kv/a%0Ab", b"line");
    node.put("/v1/kv/%ff?ttl_ms=900000", b"bytes");
    let all = said(&node.client(&["keys"])).0;
    assert_eq!(all.lines().count(), 2_347);
    assert!(all.contains("\na\\nb\n") && all.contains("\nbase64:/w==\n"), "a key takes one line");
    let some = said(&node.client(&["keys", "--prefix", "user:00", "--limit", "50"])).0;
    assert!(some.lines().count() == 50 && some.lines().all(|line| line.starts_with("user:00")));
    let long = said(&node.client(&["keys", "--long", "--prefix", "user:2344"])).0;
    assert_eq!(long, "user:2344\t1\t2345\t-\n");
    let json = said(&node.client(&["keys", "--json", "--values", "--prefix", "a"])).0;
    let item: Value = serde_json::from_str(json.trim()).expect("one line of JSON");
    assert_eq!((&item["key"], &item["value"]), (&"a\nb".into(), &"line".into()));
    prints(&node.client(&["keys", "--prefix", "nothing"]), "");
    assert_eq!(said(&node.client(&["keys", "--values"])).2, 2);
}

/// Goal: everything is removed only if that is said.
#[test]
fn clear_wants_to_be_meant() {
    let (_directory, node) = node();
    node.put("/v1/kv/k", b"v");
    let (_, error, status) = said(&node.client(&["clear"]));
    assert!(status == 2 && error.contains("--yes"), "{error}");
    prints(&node.client(&["clear", "--yes"]), "1 keys removed\n");
    prints(&node.client(&["clear", "--yes", "--json"]), "{\"keys\":0}\n");
}

/// Goal: a batch comes from a file or standard input, and its results stand in order; nothing is done if a step fails.
#[test]
fn batches() {
    let (_directory, node) = node();
    let steps = "{\"op\": \"set\", \"key\": \"a\", \"value\": \"1\"}\n{\"op\": \"incr\", \"key\": \"a\"}\n";
    prints(
        &with_input(&node, &["batch", "-"], steps),
        "0\tset\tcreated=true version=1\n1\tincr\tnumber=2 version=2\n",
    );
    let failing =
        r#"{"steps": [{"op": "set", "key": "b", "value": ""}, {"op": "check", "key": "a", "version": 9}]}"#;
    let (_, error, status) = said(&with_input(&node, &["batch", "-"], failing));
    assert!(status == 3 && error.contains("step 1"), "{error}");
    assert_eq!(node.get("/v1/kv/b").status, 404);
    let (_, error, status) = said(&with_input(&node, &["batch", "-"], "{\"op\""));
    assert!(status == 2 && error.contains("line 1"), "{error}");
    assert_eq!(said(&node.client(&["batch", "/nowhere"])).2, 74);
}

/// Goal: slips in the address of the server are explained, and a server that is not Kvorum is told apart from a missing key.
#[test]
fn wrong_servers_are_explained() {
    let (_directory, node) = node();
    let get = |url: &str| said(&program(&["get", "k", "--url", url]).output().expect("it runs"));
    for (url, words) in
        [("http://127.0.0.1:99999", "a port is"), ("https://127.0.0.1", "TLS"), ("http://h/v1", "paths")]
    {
        let (_, error, status) = get(url);
        assert!(status == 2 && error.contains(words), "{url}: {error}");
    }
    assert_eq!(get(&node.address().to_string()).2, 1, "the scheme may be left out");
    let (_, error, status) = get("127.0.0.1:1");
    assert!(status == 4 && error.contains("is the server running there?"), "{error}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let _ = std::io::Read::read(&mut stream, &mut [0; 1_024]);
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno").expect("written");
    });
    let (_, error, status) = get(&address);
    assert!(status == 5 && error.contains("as no Kvorum server does"), "{error}");
    other.join().expect("it served");
}

/// Goal: completions are scripts that their shells read, and every command has a manual page and every flag a word on it.
#[test]
fn completions_and_manual() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = program(&["completions", shell]).output().expect("it runs");
        assert!(script.status.success() && script.stdout.len() > 1_000, "{shell}");
        let Ok(mut reader) = Command::new(shell).args(["-n"]).stdin(Stdio::piped()).spawn() else {
            eprintln!("SKIPPED: {shell} is not installed, its completions were not read");
            continue;
        };
        reader.stdin.take().expect("a pipe").write_all(&script.stdout).expect("it reads");
        assert!(reader.wait().expect("it ends").success(), "{shell} does not understand its completions");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let written = program(&["man", "--dir"]).arg(directory.path()).output().expect("it runs");
    assert!(written.status.success(), "{written:?}");
    let pages = std::fs::read_dir(directory.path()).expect("a directory");
    let pages: Vec<_> = pages.map(|page| page.expect("an entry").path()).collect();
    assert!(pages.len() > 20, "{pages:?}");
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("text");
        assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{}", page.display());
    }
    let main = said(&program(&["man"]).output().expect("it runs")).0;
    assert!(main.contains("EXIT STATUS") && main.contains("\\fB77\\fR"), "the statuses are in the manual");
}

/// Goal: on a terminal there are tables and colours, unless somebody does not want them; in a pipe there are none.
#[test]
fn terminals_get_tables_and_colours() {
    if !Command::new("script")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!("SKIPPED: no program `script`, so no terminal");
        return;
    }
    let (_directory, node) = node();
    node.put("/v1/kv/key", b"value");
    let terminal = |arguments: &str, environment: &[(&str, &str)]| {
        let mut command = Command::new("script");
        command.args(["-qec", &format!("{PROGRAM} {arguments}"), "/dev/null"]).env("KVORUM_URL", node.url());
        command
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .envs(environment.iter().copied())
            .stdin(Stdio::null());
        said(&command.output().expect("it runs")).0.replace('\r', "")
    };
    let plain = "KEY  SIZE  VERSION  TTL MS\nkey  5     1        -\n";
    let coloured = "\u{1b}[1mKEY  SIZE  VERSION  TTL MS\u{1b}[0m\nkey  5     1        -\n";
    assert_eq!(terminal("keys --long", &[]), coloured);
    assert_eq!(terminal("keys --long", &[("NO_COLOR", "1")]), plain);
    assert_eq!(terminal("keys --long", &[("TERM", "dumb")]), plain);
    assert_eq!(terminal("keys --long --color never", &[]), plain);
    assert!(!said(&node.client(&["stats"])).0.contains('\u{1b}'), "a pipe gets no colours");
    assert!(said(&node.client(&["stats", "--color", "always"])).0.contains('\u{1b}'));
}
