//! The command line against a real node: output and exit status of every command.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes, files and clocks")]

mod node;

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::{Output, Stdio};

use node::{Node, program};
use serde_json::{Value, json};

/// What came out, and the status.
fn said(output: &Output) -> (String, i32) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code().expect("it was not killed"))
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn parsed(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Goal: a value goes in and comes out; each answer has its status.
#[test]
fn get_set_del_ttl() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(directory.path());
    assert_eq!(said(&node.client(&["set", "k", "hello"])), ("created, version 1\n".into(), 0));
    assert_eq!(
        said(&node.client(&["set", "k", "-5", "--ttl-ms", "600000"])),
        ("replaced, version 2\n".into(), 0)
    );
    assert_eq!(said(&node.client(&["get", "k"])), ("-5".into(), 0), "no byte more than the value");
    assert_eq!(said(&node.client(&["get", "k", "--consistency", "stale"])), ("-5".into(), 0));
    let ttl: u64 = said(&node.client(&["ttl", "k"])).0.trim().parse().expect("milliseconds");
    assert!((1..=600_000).contains(&ttl));
    assert!(parsed(&node.client(&["get", "k", "--json"]))["ttl_ms"].as_u64() <= Some(ttl));
    assert!(parsed(&node.client(&["ttl", "k", "--json"]))["expires_at"].is_u64());
    assert_eq!(said(&node.client(&["set", "k", "x", "--keep-ttl"])).1, 0);
    assert_ne!(said(&node.client(&["ttl", "k"])).0, "none\n");
    assert_eq!(
        parsed(&node.client(&["set", "k", "y", "--json"])),
        json!({"key": "k", "version": 4, "created": false})
    );
    assert_eq!(said(&node.client(&["ttl", "k"])), ("none\n".into(), 0));

    let unmet = node.client(&["set", "k", "z", "--if-version", "1"]);
    assert_eq!(said(&unmet), (String::new(), 3));
    assert!(complaint(&unmet).contains("its version is 4"), "{}", complaint(&unmet));
    assert_eq!(said(&node.client(&["set", "k", "z", "--if-absent"])).1, 3);
    assert_eq!(said(&node.client(&["set", "k", "z", "--if-version", "4"])).1, 0);
    assert_eq!(said(&node.client(&["del", "k", "--if-version", "4"])).1, 3);
    assert_eq!(said(&node.client(&["del", "k"])), ("deleted\n".into(), 0));
    for command in ["get", "ttl", "del"] {
        let missing = node.client(&[command, "k"]);
        assert_eq!(said(&missing), (String::new(), 1), "{command}");
        assert!(complaint(&missing).contains("not-found"), "{}", complaint(&missing));
    }
}

/// Goal: keys and values are bytes, from arguments and from standard input.
#[test]
fn bytes_survive() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(directory.path());
    let (key, value) = (OsStr::from_bytes(b"a/b\xff ?#%"), OsStr::from_bytes(b"\xfe\n"));
    let run = |arguments: &[&OsStr]| {
        let mut command = program(&[]);
        command.args(arguments).env("KVORUM_URL", node.url()).output().expect("the program runs")
    };
    assert_eq!(said(&run(&["set".as_ref(), key, value])).1, 0);
    assert_eq!(run(&["get".as_ref(), key]).stdout, b"\xfe\n");

    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let set = |value: &[u8]| {
        let mut command = program(&["set", "large", "-", "--url", &node.url()]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        child.stdin.take().expect("a pipe").write_all(value).expect("it reads");
        child.wait_with_output().expect("it ends")
    };
    assert_eq!(said(&set(&large)).1, 0);
    assert!(node.client(&["get", "large"]).stdout == large, "three million bytes are the same");
    let refused = set(&vec![0; 9 << 20]);
    assert_eq!(said(&refused).1, 5);
    assert!(complaint(&refused).contains("value-too-large"), "{}", complaint(&refused));
    assert!(node.client(&["get", "large"]).stdout == large);
}

/// Goal: figures, compaction and health, for humans and for programs.
#[test]
fn stats_compact_healthcheck() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(directory.path());
    node.client(&["set", "k", "v"]);
    let (table, status) = said(&node.client(&["stats"]));
    assert_eq!(status, 0);
    assert!(table.lines().any(|line| line.split_whitespace().eq(["store.keys", "1"])), "{table}");
    assert_eq!(parsed(&node.client(&["stats", "--json"]))["store"]["keys"], 1);
    let (text, status) = said(&node.client(&["compact"]));
    assert!(status == 0 && text.starts_with("log: ") && text.contains("snapshot: "), "{text}");
    assert!(parsed(&node.client(&["compact", "--json"]))["bytes_after"].is_u64());
    assert_eq!(said(&node.client(&["healthcheck"])), ("ready\n".into(), 0));
    assert_eq!(said(&node.client(&["healthcheck", "--live"])), ("ok\n".into(), 0));
}

/// Goal: a server that is not there, or an address that makes no sense, is said in words that help.
#[test]
fn no_server() {
    for command in
        [&["get", "k"][..], &["set", "k", "v"], &["del", "k"], &["stats"], &["compact"], &["healthcheck"]]
    {
        let output = program(command).env("KVORUM_URL", "http://127.0.0.1:1").output().expect("it runs");
        assert_eq!(said(&output), (String::new(), 4), "{command:?}: {}", complaint(&output));
        assert!(complaint(&output).contains("is the server running"), "{}", complaint(&output));
    }
    assert_eq!(said(&program(&["get", "k", "--url", "no sense"]).output().expect("it runs")).1, 2);
}

/// Goal: wrong usage has status 2, and no command that is not one is taken for another.
#[test]
fn usage() {
    for arguments in [
        &["frobnicate"][..],
        &["get"],
        &["set", "k"],
        &["set", "k", "v", "--ttl-ms", "-1"],
        &["set", "k", "v", "--ttl-ms", "5", "--keep-ttl"],
        &["set", "k", "v", "--if-version", "5", "--if-absent"],
        &["serve", "--set", "novalue"],
        &["--listen", "127.0.0.1:0", "get", "k"],
    ] {
        let output = program(arguments).output().expect("it runs");
        assert_eq!(said(&output).1, 2, "{arguments:?}: {}", complaint(&output));
    }
    assert_eq!(said(&program(&["--version"]).output().expect("it runs")).1, 0);
}

/// Goal: `config check` finds slips, `config show` prints what is in force as a file that can be used.
#[test]
fn config_check_and_show() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("kvorum.toml");
    std::fs::write(&path, "[store]\nmax_bytes = \"1GiB\"\n").expect("a file can be written");
    let path = path.to_str().expect("UTF-8");
    assert_eq!(said(&program(&["config", "check", "--config", path]).output().expect("it runs")).1, 0);
    let (shown, status) = said(&program(&["config", "show", "--config", path]).output().expect("it runs"));
    assert_eq!(status, 0);
    assert!(shown.contains(&format!("max_bytes = \"1GiB\"  # in {path}")), "{shown}");
    for key in kvorum::config::KEYS {
        assert!(
            shown.contains(&format!("\n{} = ", key.name.split('.').nth(1).expect("a key"))),
            "{}",
            key.name
        );
    }
    let copy = directory.path().join("copy.toml");
    std::fs::write(&copy, &shown).expect("a file can be written");
    let copy = copy.to_str().expect("UTF-8");
    assert_eq!(
        said(&program(&["config", "check", "--config", copy]).output().expect("it runs")).1,
        0,
        "{shown}"
    );

    let slip = program(&["config", "check"]).env("KVORUM_HTTP__LISEN", "x").output().expect("it runs");
    assert_eq!(said(&slip), (String::new(), 78));
    assert!(complaint(&slip).contains("did you mean `http.listen`?"), "{}", complaint(&slip));
    let public = program(&["serve", "--listen", "0.0.0.0:0"]).output().expect("it runs");
    assert_eq!(said(&public).1, 78);
    assert!(complaint(&public).contains("auth.allow_anonymous"), "{}", complaint(&public));
}

/// Goal: an empty variable is as if it were not there, for the server's settings and for client commands alike.
#[test]
fn empty_variables_are_unset() {
    let check = |variables: &[(&str, &str)]| {
        let mut command = program(&["config", "check"]);
        command.envs(variables.iter().copied()).output().expect("it runs")
    };
    let empty = [("KVORUM_CONFIG", ""), ("KVORUM_LOG__LEVEL", ""), ("KVORUM_STORE__MAX_BYTES", "")];
    let checked = check(&empty);
    assert_eq!(said(&checked).1, 0, "{}", complaint(&checked));
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(directory.path());
    let asked = program(&["stats", "--url", &node.url()]).env("KVORUM_URL", "").output().expect("it runs");
    assert_eq!(said(&asked).1, 0, "{}", complaint(&asked));
    let asked = program(&["config", "check"]).env("KVORUM_URL", "").output().expect("it runs");
    assert_eq!(said(&asked).1, 0);
    let nobody = program(&["stats"]).env("KVORUM_URL", "").output().expect("it runs");
    assert!(!complaint(&nobody).contains("--url :"), "the default is asked: {}", complaint(&nobody));
}

/// Goal: `config check` looks into the files that are named, as a start would.
#[test]
fn config_check_looks_for_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("secret"), "0123456789abcdef0123456789abcdef\n").expect("a file can be written");
    std::fs::write(path("short"), "secret\n").expect("a file can be written");
    std::fs::write(path("text"), "neither a certificate nor a backup\n").expect("a file can be written");
    let check = |settings: &[(&str, String)]| {
        let mut command = program(&["config", "check"]);
        for (key, value) in settings {
            command.args(["--set", &format!("{key}={value}")]);
        }
        let output = command.output().expect("it runs");
        (output.status.code(), complaint(&output))
    };
    let secret = |name: &str| ("cluster.secret_file", path(name));
    assert_eq!(check(&[secret("secret")]).0, Some(0));
    let tls = |name: &str| {
        ["peer.tls_cert_file", "peer.tls_key_file", "peer.tls_ca_file"].map(|key| (key, path(name)))
    };
    for (settings, key, words) in [
        (vec![secret("nowhere")], "cluster.secret_file", "nowhere"),
        (vec![secret("short")], "cluster.secret_file", "shorter"),
        (tls("nowhere").to_vec(), "peer.tls_cert_file", "nowhere"),
        (tls("text").to_vec(), "peer.tls_cert_file", "text"),
        (vec![("cluster.restore_from", path("nowhere"))], "cluster.restore_from", "nowhere"),
        (vec![("cluster.restore_from", path("text"))], "cluster.restore_from", "text"),
    ] {
        let (status, complaint) = check(&settings);
        assert_eq!(status, Some(78), "{settings:?}");
        assert!(complaint.contains(key) && complaint.contains(words), "{complaint}");
    }
}

/// Goal: a client command takes a pipe for a file, to its end; where positions are needed it says so, and calls nothing damaged.
#[test]
fn pipes_are_read_to_their_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(&directory.path().join("data"));
    let backup = directory.path().join("backup");
    node.put("/v1/kv/k", b"old");
    let taken = node.client(&["backup", backup.to_str().expect("UTF-8")]);
    assert_eq!(said(&taken).1, 0, "{}", complaint(&taken));
    let piped = |script: &str| {
        let mut command = std::process::Command::new("bash");
        command.args(["-c", script]).env("KVORUM_URL", node.url()).env("KVORUM", node::PROGRAM);
        command.env("PLACE", directory.path()).output().expect("it runs")
    };
    let large = piped(r#""$KVORUM" set k --file <(head -c 300000 /dev/zero)"#);
    assert_eq!(said(&large).1, 0, "{}", complaint(&large));
    assert_eq!(node.get("/v1/kv/k").body, [0; 300_000]);
    assert_eq!(said(&piped(r#"printf new | "$KVORUM" set k --file /dev/stdin"#)).1, 0);
    assert_eq!(node.get("/v1/kv/k").body, b"new");
    assert_eq!(said(&piped(r#""$KVORUM" set k --file /proc/self/comm"#)).1, 0);
    assert_eq!(node.get("/v1/kv/k").body, b"kvorum\n");
    let batch = piped(r#""$KVORUM" batch <(echo '{"op":"set","key":"b","value":"1"}')"#);
    assert_eq!(said(&batch).1, 0, "{}", complaint(&batch));
    assert_eq!(node.get("/v1/kv/b").body, b"1");
    let broken = piped(r#""$KVORUM" set k --file "$PLACE/nowhere""#);
    assert_eq!((said(&broken).1, node.get("/v1/kv/k").body), (74, b"kvorum\n".to_vec()));
    for command in [
        r#""$KVORUM" snapshot verify <(cat "$PLACE/backup")"#,
        r#""$KVORUM" restore <(cat "$PLACE/backup") --data-dir "$PLACE/new""#,
    ] {
        let refused = piped(command);
        assert_eq!(said(&refused).1, 2, "{}", complaint(&refused));
        assert!(complaint(&refused).contains("not a regular file"), "{}", complaint(&refused));
    }
    assert!(!directory.path().join("new").exists());
}

/// Goal: the document is printed as it is committed.
#[test]
fn openapi() {
    let output = program(&["openapi"]).output().expect("it runs");
    assert_eq!(said(&output), (kvorum::http::document(), 0));
}

/// Goal: the files of a stopped node can be looked at and checked; damage is found with file and offset.
#[test]
fn wal_and_snapshot_tools() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(directory.path());
    node.put("/v1/kv/k", b"secret-value");
    node.client(&["compact"]);
    node.put("/v1/kv/k", b"secret-value");
    assert_eq!(node.terminate().status, Some(0));
    let data = directory.path().to_str().expect("UTF-8");
    let (text, status) = said(&program(&["wal", "inspect", data]).output().expect("it runs"));
    assert!(status == 0 && text.contains("Entry") && !text.contains("secret"), "{text}");
    let verified = program(&["wal", "verify", data, "--json"]).output().expect("it runs");
    assert_eq!((said(&verified).1, &parsed(&verified)["findings"]), (0, &json!([])));
    let snapshots = std::fs::read_dir(directory.path().join("snapshots")).expect("snapshots");
    let snapshot = snapshots.map(|file| file.expect("a file").path()).next().expect("a snapshot");
    let name = snapshot.to_str().expect("UTF-8");
    let checked = program(&["snapshot", "verify", name, "--json"]).output().expect("it runs");
    assert_eq!((said(&checked).1, &parsed(&checked)["keys"]), (0, &json!(1)));

    let mut bytes = std::fs::read(&snapshot).expect("a snapshot");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&snapshot, &bytes).expect("a file can be written");
    let damaged = program(&["snapshot", "verify", name]).output().expect("it runs");
    assert_eq!(said(&damaged), (String::new(), 65));
    assert!(
        complaint(&damaged).contains(name) && complaint(&damaged).contains("at byte"),
        "{}",
        complaint(&damaged)
    );
    assert_eq!(said(&program(&["snapshot", "verify", "/nowhere"]).output().expect("it runs")).1, 74);
    assert_eq!(said(&program(&["wal", "verify", "/nowhere"]).output().expect("it runs")).1, 74);
    let empty = tempfile::tempdir().expect("a directory");
    for action in ["verify", "inspect"] {
        let nothing = program(&["wal", action]).arg(empty.path()).output().expect("it runs");
        assert_eq!(nothing.status.code(), Some(1), "{action} of an empty directory is a negative answer");
        assert!(String::from_utf8_lossy(&nothing.stderr).contains("there is no log here"), "{nothing:?}");
    }
}

/// Goal: a generated secret is one that nodes take, only its owner reads it, and a second run leaves it alone.
#[test]
fn a_secret_is_generated_once() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("secret");
    let generate = || program(&["generate", "secret"]).arg(&file).output().expect("it runs");
    let made = generate();
    assert!(said(&made).1 == 0 && said(&made).0.ends_with("secret: a new secret\n"), "{made:?}");
    let secret = std::fs::read_to_string(&file).expect("it is there");
    assert!(secret.len() == 65 && secret.trim_end().bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(!said(&made).0.contains(secret.trim_end()), "it is not shown");
    let mode = std::fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = generate();
    assert!(said(&again).1 == 0 && said(&again).0.contains("stays as it is"), "{again:?}");
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), secret);
    assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 1, "nothing is left over");

    let other = directory.path().join("other");
    program(&["generate", "secret"]).arg(&other).output().expect("it runs");
    assert_ne!(std::fs::read_to_string(&other).expect("it is there"), secret, "each is of its own");
    let nowhere = program(&["generate", "secret", "/no/such/place"]).output().expect("it runs");
    assert!(said(&nowhere).1 == 74 && complaint(&nowhere).contains("/no/such/place"), "{nowhere:?}");

    let data = directory.path().join("data");
    std::fs::create_dir(&data).expect("a directory");
    let file = file.to_str().expect("UTF-8");
    let node = Node::start_with(&data, &[("peer.listen", "127.0.0.1:0"), ("cluster.secret_file", file)]);
    assert_eq!(node.put("/v1/kv/k", b"v").status, 201);
}
