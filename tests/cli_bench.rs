//! `kvorum bench` against a real node, and against none.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes, files and clocks")]

mod node;

use std::process::{Child, Output, Stdio};

use node::{Node, program};
use serde_json::Value;

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The report of a run that ended well.
#[track_caller]
fn report(node: &Node, arguments: &[&str]) -> Value {
    let output = node.client(&[&["bench", "--json", "--connections", "8"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", complaint(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[track_caller]
fn number(report: &Value, pointer: &str) -> u64 {
    let field = report.pointer(pointer).and_then(Value::as_u64);
    field.unwrap_or_else(|| panic!("no number at {pointer}: {report}"))
}

/// Starts a run whose end the test decides.
fn started(node: &Node, arguments: &[&str]) -> Child {
    let mut command = program(&[&["bench", "--json", "--connections", "4"], arguments].concat());
    command.env("KVORUM_URL", node.url()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the program runs")
}

/// How many writes the node has seen.
fn revision(node: &Node) -> u64 {
    number(&node.get("/v1/stats").json(), "/store/revision")
}

/// Goal: a run sends exactly what it was asked for, in the shares of the mix, the same for the same seed; the server
/// has seen it, and every figure of the report is there.
#[test]
fn counts_and_shares() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(directory.path());
    let run = ["--requests", "3000", "--mix", "get=70,set=20,del=5,ttl=5", "--keys", "500", "--zipf", "0.99"];
    let first = report(&node, &[&run[..], &["--preload", "--seed", "7"]].concat());
    let of = |operation: &str| number(&first, &format!("/operations/{operation}/requests"));
    let (gets, sets, others) = (of("get"), of("set"), of("del") + of("ttl"));
    assert_eq!(gets + sets + others, 3_000);
    assert!((1_950..2_250).contains(&gets) && (500..700).contains(&sets), "{first}");
    assert_eq!(number(&first, "/requests"), 3_000);
    assert_eq!(number(&first, "/succeeded"), 3_000, "{first}");
    assert_eq!(number(&first, "/hits") + number(&first, "/misses"), gets);
    assert!(first["hit_ratio"].as_f64() > Some(0.5), "the keys were filled in before: {first}");
    assert!(revision(&node) >= 500 + sets, "each write reached the store");
    for latencies in [&first["total"], &first["operations"]["get"]] {
        let all = ["p50_us", "p95_us", "p99_us", "p99_9_us", "max_us"].map(|name| latencies[name].as_u64());
        assert!(all.iter().all(Option::is_some) && all.is_sorted() && all[0] > Some(0), "{latencies}");
    }
    for field in ["elapsed_ms", "longest_gap_ms"] {
        number(&first, &format!("/{field}"));
    }
    assert!(
        first["requests_per_s"].as_f64() > Some(0.0) && first["received_bytes_per_s"].as_f64() > Some(0.0)
    );

    let again = report(&node, &[&run[..], &["--seed", "7"]].concat());
    for operation in ["get", "set", "del", "ttl"] {
        let pointer = format!("/operations/{operation}/requests");
        assert_eq!(number(&first, &pointer), number(&again, &pointer), "{operation}");
    }
    let other = report(&node, &[&run[..], &["--seed", "8"]].concat());
    assert_ne!(first["operations"]["get"]["requests"], other["operations"]["get"]["requests"]);
}

/// Goal: what is written has the length, the prefix and the time to live that were asked for.
#[test]
fn writes_are_as_asked() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(directory.path());
    let run = ["--requests", "50", "--mix", "set=1", "--keys", "1", "--value-size", "100-120"];
    report(&node, &[&run[..], &["--key-prefix", "a/b ", "--ttl-ms", "600000"]].concat());
    // The scattered number of the only key.
    let answer = node.get("/v1/kv/a%2Fb%200000000000000000");
    assert_eq!(answer.status, 200);
    assert!((100..=120).contains(&answer.body.len()));
    let ttl: u64 = answer.header("kvorum-ttl-ms").expect("a time to live").parse().expect("milliseconds");
    assert!((1..=600_000).contains(&ttl));
}

/// Goal: with a rate, as many requests are sent as the time holds, no more and no less, on a server that is faster.
#[test]
fn the_rate_is_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(directory.path());
    let report = report(&node, &["--rate", "100", "--duration", "2s", "--warmup", "200ms", "--mix", "get=1"]);
    assert_eq!(number(&report, "/requests") + number(&report, "/unsent"), 200, "{report}");
    assert!(number(&report, "/elapsed_ms") >= 1_980, "the last one is due after 1.99 s: {report}");
    assert_eq!(number(&report, "/rate"), 100);
    assert_eq!(number(&report, "/misses"), number(&report, "/requests"), "there are no keys");
}

/// Goal: Ctrl-C ends a run early, and what was measured is printed.
#[test]
fn interrupted() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(directory.path());
    let run = started(&node, &["--duration", "1h", "--mix", "set=1"]);
    // A few of them may be unanswered at the end.
    node::eventually("some writes", || (revision(&node) > 110).then_some(()));
    let id = rustix::process::Pid::from_raw(run.id() as i32).expect("a process id");
    rustix::process::kill_process(id, rustix::process::Signal::INT).expect("it can be signalled");
    let output = run.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["cut_short"], "interrupted");
    assert!(number(&report, "/succeeded") > 100);
}

/// Goal: a server that goes away and comes back is a gap in the run and not its end; one that stays away ends it.
#[test]
fn the_server_goes_away() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(directory.path());
    let address = node.address().to_string();
    let run = started(&node, &["--duration", "1h", "--mix", "set=1", "--max-outage", "20s"]);
    node::eventually("some writes", || (revision(&node) > 100).then_some(()));
    node.kill();
    let settings = [("http.listen", address.as_str())];
    let command = std::process::Command::new(node::PROGRAM);
    let node = Node::try_start(command, directory.path(), &settings).expect("the node starts again");
    let before = revision(&node);
    node::eventually("writes again", || (revision(&node) > before + 100).then_some(()));
    let id = rustix::process::Pid::from_raw(run.id() as i32).expect("a process id");
    rustix::process::kill_process(id, rustix::process::Signal::INT).expect("it can be signalled");
    let output = run.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(number(&report, "/reconnections") >= 4, "{report}");
    assert!(number(&report, "/longest_gap_ms") >= 5, "a process takes longer to start: {report}");

    let run = started(&node, &["--requests", "100000000", "--mix", "set=1", "--max-outage", "300ms"]);
    let before = revision(&node);
    node::eventually("some writes", || (revision(&node) > before + 100).then_some(()));
    node.kill();
    let output = run.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(4), "{}", complaint(&output));
    assert!(complaint(&output).contains("went away"), "{}", complaint(&output));
    let report: Value =
        serde_json::from_slice(&output.stdout).expect("what was measured is printed all the same");
    // The last few were written, and their answers lost.
    assert!(number(&report, "/succeeded") > 90 && number(&report, "/refused_connections") > 0, "{report}");
}

/// Goal: a run without any success has failed, and says with what.
#[test]
fn all_requests_fail() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(directory.path());
    let arguments = ["bench", "-n", "20", "-c", "2", "--mix", "set=1", "--value-size", "9000000"];
    let output = node.client(&arguments);
    assert_eq!(output.status.code(), Some(5), "{}", complaint(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("value-too-large: "), "{text}");
    assert!(complaint(&output).contains("all requests failed"), "{}", complaint(&output));
}

/// Goal: wrong usage is refused with what would be right; a server that is not there is said to be so.
#[test]
fn refusals() {
    for (arguments, hint) in [
        (&["--mix", "read=1"][..], "there are get, set, del, incr and ttl"),
        (&["--requests", "5", "--duration", "5s"], "cannot be used with"),
        (&["--requests", "0"], "at least 1"),
        (&["--duration", "5"], "as in 30s"),
        (&["--zipf", "1.5"], "between 0 and 1"),
        (&["--rate", "0"], "requests a second"),
        (&["--connections", "0"], "1 to 10000"),
        (&["--value-size", "9-3"], "from short to long"),
        (&["--url", "https://127.0.0.1:1"], "plain HTTP"),
        (&["--consistency", "weak"], "linearizable"),
    ] {
        let output = program(&[&["bench"], arguments].concat()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", complaint(&output));
        assert!(complaint(&output).contains(hint), "{arguments:?}: {}", complaint(&output));
    }
    let output = program(&["bench", "--url", "http://127.0.0.1:1"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(4), "{}", complaint(&output));
    assert!(complaint(&output).contains("is the server running there?"), "{}", complaint(&output));
}
