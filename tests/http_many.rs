//! The HTTP API of a real node: numbers, deadlines, conditional reads, scans, batches, and why keys are gone.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes, files and clocks")]

mod node;

use std::collections::BTreeMap;

use node::http::Response;
use node::{Node, eventually};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const PACKED: (&str, &str) = ("Content-Type", "application/msgpack");

fn node() -> (tempfile::TempDir, Node) {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(directory.path());
    (directory, node)
}

fn post(node: &Node, path: &str, body: &Value) -> Response {
    node.send("POST", path, &[JSON], body.to_string().as_bytes())
}

fn batch(node: &Node, steps: Value) -> Response {
    post(node, "/v1/batch", &json!({ "steps": steps }))
}

/// Goal: numbers are added to; what is no number, and a sum beyond 64 bits, are refused and nothing changes.
#[test]
fn numbers_are_added_to() {
    let (_directory, node) = node();
    let first = post(&node, "/v1/kv/n/incr", &json!({}));
    assert_eq!(first.json(), json!({"value": 1, "version": 1}));
    assert_eq!(first.header("etag"), Some("\"1\""));
    assert_eq!(post(&node, "/v1/kv/n/incr", &json!({"by": -43})).json()["value"], -42);
    assert_eq!(node.get("/v1/kv/n").body, b"-42");
    node.put("/v1/kv/text", b"abc");
    node.put("/v1/kv/max?ttl_ms=100000", i64::MAX.to_string().as_bytes());
    for key in ["text", "max"] {
        let path = format!("/v1/kv/{key}/incr");
        assert_eq!(post(&node, &path, &json!({"by": 1})).problem(409, "not-an-integer")["applied"], "no");
    }
    assert_eq!(post(&node, "/v1/kv/max/incr", &json!({"by": i64::MIN})).json()["value"], -1);
    assert!(node.get("/v1/kv/max/ttl").json()["ttl_ms"].is_u64(), "a deadline stays");
    for wrong in ["1.5", "\"1\"", "null", "9223372036854775808", "[]", "true"] {
        let body = format!("{{\"by\": {wrong}}}");
        node.send("POST", "/v1/kv/n/incr", &[JSON], body.as_bytes()).problem(400, "invalid-argument");
    }
    post(&node, "/v1/kv/n/incr", &json!({"by": 1, "bye": 1})).problem(400, "invalid-argument");
    assert_eq!(node.get("/v1/kv/n").body, b"-42");
}

/// Goal: deadlines are set, told and taken away; the version grows with each change, so that a stale `If-Match` fails.
#[test]
fn deadlines_are_set_and_taken_away() {
    let (_directory, node) = node();
    node.put("/v1/kv/k", b"v");
    let put = |body: Value| node.send("PUT", "/v1/kv/k/ttl", &[JSON], body.to_string().as_bytes());
    let set = put(json!({"ttl_ms": 100_000}));
    assert_eq!((set.status, set.header("etag")), (200, Some("\"2-ttl-json-100000\"")));
    assert_eq!((&set.json()["ttl_ms"], set.header("kvorum-version")), (&json!(100_000), Some("2")));
    let at = set.json()["expires_at"].as_u64().expect("a deadline");
    let read = node.get("/v1/kv/k/ttl");
    let tag = format!("\"2-ttl-json-{}\"", read.json()["ttl_ms"]);
    assert_eq!((read.json()["expires_at"].as_u64(), read.header("etag")), (Some(at), Some(tag.as_str())));
    node.send("GET", "/v1/kv/k/ttl", &[("If-Match", "\"1\"")], b"").problem(412, "precondition-failed");
    assert_eq!(node.send("GET", "/v1/kv/k/ttl", &[("If-Match", tag.as_str())], b"").status, 200);
    assert_eq!(put(json!({"expires_at": at + 5})).json()["expires_at"], at + 5);
    let stale = node.send("DELETE", "/v1/kv/k/ttl", &[("If-Match", "\"2\"")], b"");
    assert_eq!(stale.problem(412, "precondition-failed")["version"], 3);
    let persisted = node.send("DELETE", "/v1/kv/k/ttl", &[("If-Match", "\"3\"")], b"");
    assert_eq!(persisted.json(), json!({"ttl_ms": null, "expires_at": null}));
    assert_eq!(persisted.header("etag"), Some("\"4-ttl-json\""));
    let known = node.send("GET", "/v1/kv/k/ttl", &[("If-None-Match", "W/\"4-ttl-json\"")], b"");
    assert_eq!((known.status, known.header("etag")), (304, Some("\"4-ttl-json\"")));
    assert_eq!(node.get("/v1/kv/k").header("kvorum-ttl-ms"), None);
    for wrong in
        [json!({}), json!({"ttl_ms": 0}), json!({"ttl_ms": 1, "expires_at": at}), json!({"ttl_ms": -1})]
    {
        put(wrong).problem(400, "invalid-argument");
    }
    assert_eq!(put(json!({"expires_at": 1})).json()["ttl_ms"], 0);
    let gone = node.get("/v1/kv/k").problem(404, "not-found");
    assert_eq!(gone["gone"]["reason"], "expired", "a deadline that has passed removes the key");
    put(json!({"ttl_ms": 5})).problem(404, "not-found");
}

/// Goal: a reader that has a version is told that it is current, and one that wants a version that it gets no other.
#[test]
fn reads_are_conditional() {
    let (_directory, node) = node();
    node.put("/v1/kv/k?ttl_ms=100000", b"value");
    for method in ["GET", "HEAD"] {
        for tags in ["\"1\"", "W/\"1\"", "\"9\", \"1\"", "*"] {
            let answer = node.send(method, "/v1/kv/k", &[("If-None-Match", tags)], b"");
            assert_eq!((answer.status, answer.body.len()), (304, 0), "{tags}");
            assert_eq!(answer.header("etag"), Some("\"1\""));
        }
        assert_eq!(node.send(method, "/v1/kv/k", &[("If-None-Match", "\"2\", \"x\"")], b"").status, 200);
        assert_eq!(node.send(method, "/v1/kv/k", &[("If-Match", "\"1\"")], b"").status, 200);
        assert_eq!(node.send(method, "/v1/kv/k", &[("If-Match", "\"2\"")], b"").status, 412);
        assert_eq!(node.send(method, "/v1/kv/k", &[("If-Match", "W/\"1\"")], b"").status, 412, "a weak tag");
        assert_eq!(node.send(method, "/v1/kv/k", &[("If-Match", "\"2\", \"1-json\"")], b"").status, 200);
        assert_eq!(node.send(method, "/v1/kv/absent", &[("If-None-Match", "*")], b"").status, 404);
        let lines = [("If-None-Match", "\"8\""), ("If-None-Match", "\"1\"")];
        assert_eq!(node.send(method, "/v1/kv/k", &lines, b"").status, 304, "all lines are one list");
        let dates = [
            ("If-Modified-Since", "Sun, 06 Nov 2094 08:49:37 GMT"),
            ("If-Range", "\"9\""),
            ("Range", "bytes=0-0"),
        ];
        assert_eq!(
            node.send(method, "/v1/kv/k", &dates, b"").status,
            200,
            "there are no dates and no ranges"
        );
        // The client has the value; an envelope is another representation.
        let json = [("If-None-Match", "\"1\""), ("Accept", "application/json")];
        assert_eq!(node.send(method, "/v1/kv/k", &json, b"").status, 200);
    }
}

/// Goal: following the cursors gives every key once, by prefix, with values if wanted, in both codings.
#[test]
fn keys_are_listed_page_by_page() {
    let (_directory, node) = node();
    for n in 0..25 {
        node.put(&format!("/v1/kv/user%3A{n}"), format!("value {n}").as_bytes());
    }
    node.put("/v1/kv/%ffother?ttl_ms=100000", b"\xff");
    let (mut seen, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let page = node.get(&format!("/v1/kv?prefix=user:&limit=7&values=true{cursor}")).json();
        let items = page["items"].as_array().expect("items");
        assert!(items.len() <= 7);
        for item in items {
            let key = item["key"].as_str().expect("a key").to_owned();
            assert_eq!(seen.insert(key, item["value"].clone()), None, "once");
            assert_eq!(item["size"].as_u64(), item["value"].as_str().map(|value| value.len() as u64));
        }
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 25);
    assert_eq!(seen["user:7"], "value 7");
    let other = node.get("/v1/kv?prefix=%ff").json();
    assert_eq!(other["items"][0]["key_base64"], "/290aGVy");
    assert!(other["items"][0]["ttl_ms"].as_u64() > Some(0));
    assert_eq!(other["items"][0].get("value"), None);
    let packed = node.send("GET", "/v1/kv?prefix=%ff&values=true", &[("Accept", "application/msgpack")], b"");
    assert_eq!(packed.header("content-type"), Some("application/msgpack"));
    let needle = b"\xa3key\xc4\x06\xffother";
    assert!(packed.body.windows(needle.len()).any(|window| window == needle), "bytes are bytes");
    assert_eq!(node.get("/v1/kv?cursor=4294967295").json(), json!({"items": [], "cursor": null}));
    for wrong in [
        "limit=0",
        "limit=10001",
        "limit=x",
        "cursor=-1",
        "cursor=x",
        "cursor=99999999999",
        "prefix=%f",
        "v=1",
    ] {
        node.get(&format!("/v1/kv?{wrong}")).problem(400, "invalid-argument");
    }
}

/// Goal: everything is removed only if that is meant, and what was there is said to be cleared.
#[test]
fn everything_is_removed_on_demand() {
    let (_directory, node) = node();
    (0..10).for_each(|n| assert_eq!(node.put(&format!("/v1/kv/{n}"), b"v").status, 201));
    for path in ["/v1/kv", "/v1/kv?confirm=yes", "/v1/kv?confirm="] {
        node.send("DELETE", path, &[], b"").problem(400, "invalid-argument");
    }
    assert_eq!(node.send("DELETE", "/v1/kv?confirm=all", &[], b"").json(), json!({"keys": 10}));
    assert_eq!(node.get("/v1/kv").json()["items"], json!([]));
    let missing = node.get("/v1/kv/3");
    assert_eq!(missing.problem(404, "not-found")["gone"]["reason"], "cleared");
    assert!(missing.header("kvorum-gone").is_some_and(|gone| gone.starts_with("cleared; at=")));
    assert_eq!(node.get("/v1/kv/never").header("kvorum-gone"), None);
}

/// Goal: why a key is gone is told for every reason, and again after a restart, which replays the log.
#[test]
fn a_miss_says_why_the_key_is_gone() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start_with(directory.path(), &[("store.max_keys", "3")]);
    node.put("/v1/kv/deleted", b"v");
    node.send("DELETE", "/v1/kv/deleted", &[], b"");
    node.put("/v1/kv/expired?ttl_ms=1", b"v");
    eventually("the deadline passes", || (node.get("/v1/kv/expired").status == 404).then_some(()));
    (0..4).for_each(|n| assert_eq!(node.put(&format!("/v1/kv/evicted{n}"), b"v").status, 201));
    let check = |node: &Node| {
        for (key, reason) in [("deleted", "deleted"), ("expired", "expired"), ("evicted0", "evicted")] {
            let answer = node.get(&format!("/v1/kv/{key}"));
            let gone = answer.problem(404, "not-found")["gone"].clone();
            assert_eq!(gone["reason"], reason, "{key}");
            let header = format!("{reason}; at={}; index={}", gone["at"], gone["index"]);
            assert_eq!(answer.header("kvorum-gone"), Some(header.as_str()));
            let head = node.send("HEAD", &format!("/v1/kv/{key}"), &[], b"");
            assert_eq!(head.header("kvorum-gone"), Some(header.as_str()));
        }
        assert_eq!(node.get("/v1/kv/never").problem(404, "not-found").get("gone"), None);
    };
    check(&node);
    node.kill();
    check(&Node::start(directory.path()));
}

/// Goal: a batch does everything, and its results stand in the order of its steps.
#[test]
fn a_batch_does_everything() {
    let (_directory, node) = node();
    let done = batch(
        &node,
        json!([
            {"op": "check", "key": "a", "present": false},
            {"op": "get", "key": "a"},
            {"op": "set", "key": "a", "value": "1", "ttl_ms": 100_000},
            {"op": "incr", "key": "a", "by": 41},
            {"op": "get", "key": "a"},
            {"op": "persist", "key": "a"},
            {"op": "expire", "key": "absent", "ttl_ms": 5},
            {"op": "set", "key_base64": "/w==", "value_base64": "AP8=", "if_version": 0},
            {"op": "get", "key_base64": "/w=="},
            {"op": "delete", "key_base64": "/w=="},
            {"op": "delete", "key": "absent"},
            {"op": "check", "key_base64": "/w==", "version": 0},
        ]),
    );
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(
        done.json()["results"],
        json!([
            {},
            {"found": false},
            {"version": 1, "created": true},
            {"number": 42, "version": 2},
            {"found": true, "value": "42", "version": 2, "ttl_ms": 100_000},
            {"found": true, "version": 3},
            {"found": false},
            {"version": 4, "created": true},
            {"found": true, "value_base64": "AP8=", "version": 4},
            {"deleted": true},
            {"deleted": false},
            {},
        ])
    );
    let reads = batch(&node, json!([{"op": "get", "key": "a"}, {"op": "get", "key": "b"}]));
    let index = node.get("/v1/stats").json()["raft"]["last_log_index"].clone();
    assert_eq!(reads.json()["results"][1], json!({"found": false}));
    batch(&node, json!([{"op": "get", "key": "a"}]));
    assert_eq!(node.get("/v1/stats").json()["raft"]["last_log_index"], index, "reads write nothing");
    assert_eq!(batch(&node, json!([])).json(), json!({"results": []}));
    // The same in MessagePack: {"steps": [{"op": "get", "key": bin "a"}]}.
    let body = b"\x81\xa5steps\x91\x82\xa2op\xa3get\xa3key\xc4\x01a";
    let packed = node.send("POST", "/v1/batch", &[PACKED, ("Accept", "application/msgpack")], body);
    assert_eq!(packed.status, 200);
    assert!(packed.body.starts_with(b"\x81\xa7results\xdd\x00\x00\x00\x01"), "{packed:?}");
}

/// Goal: if one step fails, nothing is done, and the error names the step and whether it was applied.
#[test]
fn a_batch_does_nothing_if_a_step_fails() {
    let (_directory, node) = node();
    node.put("/v1/kv/text", b"abc");
    let failures = [
        (json!({"op": "check", "key": "text", "version": 9}), 412, "precondition-failed"),
        (json!({"op": "check", "key": "new", "present": true}), 412, "precondition-failed"),
        (json!({"op": "set", "key": "text", "value": "x", "if_version": 0}), 412, "precondition-failed"),
        (json!({"op": "delete", "key": "text", "if_version": 2}), 412, "precondition-failed"),
        (json!({"op": "incr", "key": "text"}), 409, "not-an-integer"),
        (json!({"op": "get", "key": ""}), 400, "invalid-argument"),
        (json!({"op": "get", "key": "k".repeat(4_097)}), 400, "key-too-large"),
        (json!({"op": "set", "key": "k", "value": "v".repeat((8 << 20) + 1)}), 413, "value-too-large"),
        (json!({"op": "set", "key": "k"}), 400, "invalid-argument"),
        (json!({"op": "set", "key": "k", "value": "v", "value_base64": ""}), 400, "invalid-argument"),
        (
            json!({"op": "set", "key": "k", "value": "v", "ttl_ms": 1, "keep_ttl": false}),
            400,
            "invalid-argument",
        ),
        (json!({"op": "set", "key": "k", "value": 5}), 400, "invalid-argument"),
        (json!({"op": "expire", "key": "k"}), 400, "invalid-argument"),
        (json!({"op": "check", "key": "k", "version": 1, "present": true}), 400, "invalid-argument"),
        (json!({"op": "get", "key": "k", "value": "v"}), 400, "invalid-argument"),
        (json!({"op": "get", "key": null, "key_base64": "/w=="}), 400, "invalid-argument"),
        (json!({"op": "get", "key_base64": "%"}), 400, "invalid-argument"),
        (json!({"op": "fetch", "key": "k"}), 400, "invalid-argument"),
        (json!([]), 400, "invalid-argument"),
    ];
    for (step, status, code) in failures {
        let text: String = step.to_string().chars().take(80).collect();
        let set = json!({"op": "set", "key": "new", "value": "v"});
        let answer = batch(&node, json!([{"op": "get", "key": "new"}, set, step]));
        assert_eq!(answer.status, status, "{text}");
        let problem = answer.problem(status, code);
        assert_eq!(problem["applied"], "no", "{text}");
        if problem["detail"] != "a field is null: leave out what is not said" {
            assert_eq!(problem["step"], 2, "{text}: {problem}");
        }
        let said = problem.to_string();
        assert!(said.len() < 800, "an error does not send back what was sent: {said}");
    }
    assert_eq!(node.get("/v1/kv/new").status, 404);
    assert_eq!(node.get("/v1/kv").json()["items"].as_array().map(Vec::len), Some(1));
}

/// Goal: bodies of the wrong kind, form or size are refused with their codes, and change nothing.
#[test]
fn wrong_bodies_are_refused() {
    let (_directory, node) = node();
    let send = |headers: &[(&str, &str)], body: &[u8]| node.send("POST", "/v1/batch", headers, body);
    for body in ["", "{", "[]", "{}", "{\"steps\": {}}", "{\"steps\": [], \"more\": 1}", "nul", "\"\\ud800\""]
    {
        send(&[JSON], body.as_bytes()).problem(400, "invalid-argument");
    }
    send(&[JSON], "[".repeat(100_000).as_bytes()).problem(400, "invalid-argument");
    send(&[JSON], b"\xff").problem(400, "invalid-argument");
    send(&[PACKED], b"{}").problem(400, "invalid-argument");
    send(&[PACKED], b"\xdd\xff\xff\xff\xff").problem(400, "invalid-argument");
    send(&[], b"{\"steps\": []}").problem(415, "unsupported-media-type");
    for repeated in [
        r#"{"steps":[],"steps":[]}"#,
        r#"{"steps":[{"op":"set","key":"a","value":"1","value":"2"}]}"#,
        r#"{"steps":[{"op":"get","op":"delete","key":"a"}]}"#,
    ] {
        send(&[JSON], repeated.as_bytes()).problem(400, "invalid-argument");
    }
    send(&[PACKED], b"\x82\xa5steps\x90\xa5steps\x90").problem(400, "invalid-argument");
    node.send("POST", "/v1/kv/n/incr", &[JSON], br#"{"by":1,"by":5}"#).problem(400, "invalid-argument");
    send(&[("Content-Type", "text/plain")], b"{\"steps\": []}").problem(415, "unsupported-media-type");
    send(&[JSON, ("Content-Encoding", "gzip")], b"{}").problem(415, "unsupported-media-type");
    let accept = ("Accept", "image/png");
    assert_eq!(send(&[JSON, accept], b"{\"steps\": []}").problem(406, "not-acceptable")["applied"], "no");
    let huge = send(&[JSON], &vec![b' '; (32 << 20) + 1]);
    huge.problem(413, "body-too-large");
    assert_eq!(huge.header("connection"), Some("close"));
    let value = "v".repeat(6 << 20);
    let step = |key: &str| json!({"op": "set", "key": key, "value": value});
    batch(&node, json!([step("a"), step("b"), step("c")])).problem(413, "body-too-large");
    let many: Vec<_> = (0..10_001).map(|n| json!({"op": "get", "key": n.to_string()})).collect();
    batch(&node, many.into()).problem(400, "invalid-argument");
    post(&node, "/v1/kv/n/incr", &json!({"by": 1, "x": "y".repeat(5_000)})).problem(413, "body-too-large");
    assert_eq!(node.get("/v1/stats").json()["store"]["keys"], 0);
}

/// Goal: what a batch reads may be far more than memory should hold: it is sent piece by piece, and whole.
#[test]
fn large_results_are_sent_in_pieces() {
    let (_directory, node) = node();
    node.put("/v1/kv/large", "v".repeat(4 << 20).as_bytes());
    let steps: Vec<_> = (0..8).map(|_| json!({"op": "get", "key": "large"})).collect();
    let done = batch(&node, steps.into());
    assert_eq!(done.header("transfer-encoding"), Some("chunked"));
    let results = done.json()["results"].as_array().map(Vec::len);
    assert_eq!((results, done.body.len() > 32 << 20), (Some(8), true));
}

/// Goal: what a node logs can be changed while it runs, and slips change nothing.
#[test]
fn the_log_level_is_changed() {
    let (_directory, mut node) = node();
    let put = |node: &Node, level: &str| {
        let body = json!({ "level": level }).to_string();
        node.send("PUT", "/v1/admin/log-level", &[JSON], body.as_bytes())
    };
    for wrong in ["", "loud", "kvorum=loud", "info,", "INFO"] {
        put(&node, wrong).problem(400, "invalid-argument");
    }
    let changed = put(&node, "warn,kvorum=debug").json();
    assert_eq!(changed, json!({"level": "warn,kvorum=debug", "before": "info"}));
    node.wait_for("the log level was changed");
    assert_eq!(put(&node, "off").json()["before"], "warn,kvorum=debug");
}
