//! The HTTP API of a real node: every status and header, and everything that is refused.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes, files and clocks")]

mod node;

use node::Node;
use serde_json::json;

fn node() -> (tempfile::TempDir, Node) {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(directory.path());
    (directory, node)
}

/// Goal: a value comes back byte for byte, with its version and what it has left.
#[test]
fn values_are_written_read_and_removed() {
    let (_directory, node) = node();
    let created = node.put("/v1/kv/greeting", b"hello");
    assert_eq!(created.status, 201);
    let version = created.json()["version"].as_u64().expect("a version");
    assert_eq!(created.json(), json!({"key": "greeting", "version": version, "created": true}));
    assert_eq!(created.header("etag"), Some(format!("\"{version}\"").as_str()));
    assert_eq!(created.header("kvorum-version"), Some(version.to_string().as_str()));

    let found = node.get("/v1/kv/greeting");
    assert_eq!((found.status, found.body.as_slice()), (200, b"hello".as_slice()));
    assert_eq!(found.header("content-type"), Some("application/octet-stream"));
    assert_eq!(found.header("etag"), created.header("etag"));
    assert_eq!(found.header("kvorum-version"), created.header("kvorum-version"));
    assert_eq!(found.header("kvorum-ttl-ms"), None);

    let head = node.send("HEAD", "/v1/kv/greeting", &[], b"");
    assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
    assert_eq!(head.header("etag"), created.header("etag"));

    let bytes: Vec<u8> = (0..=255).collect();
    let replaced = node.send("PUT", "/v1/kv/greeting", &[("Content-Type", "text/x-anything")], &bytes);
    assert_eq!(replaced.status, 200);
    assert_eq!(replaced.json()["created"], false);
    assert!(replaced.json()["version"].as_u64() > Some(version));
    assert_eq!(node.get("/v1/kv/greeting").body, bytes);

    assert_eq!(node.send("DELETE", "/v1/kv/greeting", &[], b"").status, 204);
    assert_eq!(node.send("DELETE", "/v1/kv/greeting", &[], b"").problem(404, "not-found")["applied"], "no");
    let missing = node.get("/v1/kv/greeting").problem(404, "not-found");
    assert_eq!(missing.get("applied"), None, "a read says nothing of writes");
    assert_eq!(node.send("HEAD", "/v1/kv/greeting", &[], b"").status, 404);
}

/// Goal: the envelope holds text as text and other bytes in base64; what cannot be sent is refused.
#[test]
fn accept_chooses_the_form() {
    let (_directory, node) = node();
    node.put("/v1/kv/text", "gr\u{fc}n".as_bytes());
    node.put("/v1/kv/%ff", b"\xff\x00");
    let json = |path: &str| node.send("GET", path, &[("Accept", "application/json")], b"");
    assert_eq!(json("/v1/kv/text").json(), json!({"key": "text", "value": "gr\u{fc}n", "version": 1}));
    assert_eq!(
        json("/v1/kv/%ff").json(),
        json!({"key_base64": "/w==", "value_base64": "/wA=", "version": 2})
    );
    // Each representation has a tag of its own (RFC 9110, 8.8.3).
    assert_eq!(node.get("/v1/kv/%ff").header("etag"), Some("\"2\""));
    assert_eq!(json("/v1/kv/%ff").header("etag"), Some("\"2-json\""));
    let packed = node.send("GET", "/v1/kv/%ff", &[("Accept", "application/msgpack")], b"");
    assert_eq!(packed.header("etag"), Some("\"2-msgpack\""));
    node.put("/v1/kv/brief?ttl_ms=100000", b"v");
    let brief = json("/v1/kv/brief");
    let tag = format!("\"3-json-{}\"", brief.json()["ttl_ms"]);
    assert_eq!(brief.header("etag"), Some(tag.as_str()), "what counts down is in the tag");
    assert_eq!(
        node.send("PUT", "/v1/kv/brief", &[("If-Match", tag.as_str())], b"w").status,
        200,
        "any tag serves a write"
    );
    assert_eq!(node.send("GET", "/v1/kv/text", &[("Accept", "text/html, */*;q=0.1")], b"").body.len(), 5);
    node.send("GET", "/v1/kv/text", &[("Accept", "text/html")], b"").problem(406, "not-acceptable");
}

/// Goal: keys are bytes: a slash, a percent sign, a space, anything; long to the limit.
#[test]
fn keys_are_decoded_once() {
    let (_directory, node) = node();
    for (number, path) in ["a%2Fb", "a%252Fb", "%20", "%00", "a+b", "%C3%A4", "%2E"].into_iter().enumerate() {
        let path = format!("/v1/kv/{path}");
        assert_eq!(node.put(&path, path.as_bytes()).status, 201, "{path} is another key than those before");
        assert_eq!(node.get(&path).body, path.as_bytes());
        assert_eq!(node.get("/v1/stats").json()["store"]["keys"], number + 1);
    }
    let longest = format!("/v1/kv/{}", "%6b".repeat(4_096));
    assert_eq!(node.put(&longest, b"v").status, 201);
    assert_eq!(node.get(&format!("/v1/kv/{}", "k".repeat(4_096))).body, b"v");
    let longer = format!("/v1/kv/{}", "k".repeat(4_097));
    node.put(&longer, b"v").problem(400, "key-too-large");
    node.get(&longer).problem(400, "key-too-large");
    node.put("/v1/kv/", b"v").problem(400, "invalid-argument");
    node.get("/v1/kv/").problem(400, "invalid-argument");
    for malformed in ["%", "%4", "%zz", "a%2"] {
        node.get(&format!("/v1/kv/{malformed}")).problem(400, "invalid-argument");
        assert_eq!(
            node.put(&format!("/v1/kv/{malformed}"), b"v").problem(400, "invalid-argument")["applied"],
            "no"
        );
    }
    node.put("/v1/kv/a/b", b"v").problem(404, "not-found");
}

/// Goal: a deadline counts down, is kept or taken away as asked, and ends the key.
#[test]
fn times_to_live() {
    let (_directory, node) = node();
    node.put("/v1/kv/k?ttl_ms=600000", b"v");
    let left = |response: &node::http::Response| {
        response.header("kvorum-ttl-ms").map(|ttl| ttl.parse::<u64>().expect("a number"))
    };
    let ttl = left(&node.get("/v1/kv/k")).expect("a deadline");
    assert!((540_000..=600_000).contains(&ttl), "{ttl}");
    let countdown = node.get("/v1/kv/k/ttl").json();
    assert!(countdown["ttl_ms"].as_u64().is_some_and(|left| left <= ttl), "{countdown}");
    assert!(countdown["expires_at"].as_u64().is_some_and(|at| at > 1_600_000_000_000), "{countdown}");

    node.put("/v1/kv/k?keep_ttl=true", b"w");
    assert!(left(&node.get("/v1/kv/k")).is_some_and(|kept| kept <= ttl));
    node.put("/v1/kv/k?keep_ttl=false", b"w");
    assert_eq!(left(&node.get("/v1/kv/k")), None, "a write without a TTL takes it away");
    assert_eq!(node.get("/v1/kv/k/ttl").json(), json!({"ttl_ms": null, "expires_at": null}));
    node.get("/v1/kv/absent/ttl").problem(404, "not-found");

    node.put("/v1/kv/brief?ttl_ms=1", b"v");
    node::eventually("the key expires", || (node.get("/v1/kv/brief").status == 404).then_some(()));
    assert_eq!(node.put("/v1/kv/longest?ttl_ms=9007199254740991", b"v").status, 201);
    let refused =
        ["0", "-1", "1.5", "1e3", "", "+5", "%35%20", "9007199254740992", "99999999999999999999", "soon"];
    for ttl in refused {
        let problem = node.put(&format!("/v1/kv/k?ttl_ms={ttl}"), b"x").problem(400, "invalid-argument");
        assert_eq!(problem["applied"], "no", "{ttl:?}");
    }
    assert_eq!(node.put("/v1/kv/k?ttl_ms=%31%30%30%30%30%30", b"w").status, 200, "digits may be encoded");
    node.put("/v1/kv/k?ttl_ms=5&keep_ttl=true", b"x").problem(400, "invalid-argument");
    node.put("/v1/kv/k?keep_ttl=yes", b"x").problem(400, "invalid-argument");
    assert_eq!(node.get("/v1/kv/k").body, b"w", "nothing that was refused was written");
}

/// Goal: compare-and-set by version, and everything about preconditions that makes no sense is refused.
#[test]
fn preconditions() {
    let (_directory, node) = node();
    let put = |path: &str, headers: &[(&str, &str)]| node.send("PUT", path, headers, b"v");
    assert_eq!(put("/v1/kv/k", &[("If-None-Match", "*")]).status, 201);
    let problem = put("/v1/kv/k", &[("If-None-Match", "*")]).problem(412, "precondition-failed");
    assert_eq!((&problem["applied"], &problem["version"]), (&json!("no"), &json!(1)));
    assert_eq!(put("/v1/kv/k", &[("If-Match", "\"1\"")]).json()["version"], 2);
    let problem = put("/v1/kv/k", &[("If-Match", "\"1\"")]).problem(412, "precondition-failed");
    assert_eq!(problem["version"], 2, "the problem says what the version is");
    assert_eq!(put("/v1/kv/k", &[("If-Match", "*")]).status, 200);
    assert_eq!(put("/v1/kv/absent", &[("If-Match", "*")]).problem(412, "precondition-failed")["version"], 0);
    assert_eq!(put("/v1/kv/new", &[("If-Match", "\"0\"")]).status, 201, "version 0 is absence");

    let both = [("If-Match", "\"3\""), ("If-None-Match", "*")];
    put("/v1/kv/k", &both).problem(400, "invalid-argument");
    for value in ["3", "", ",", "*, \"3\"", "\"3", "\"3\" \"4\""] {
        put("/v1/kv/k", &[("If-Match", value)]).problem(400, "invalid-argument");
    }
    // Well-formed tags, but of no version of the key; 20 digits may be a version, though this one is beyond 64 bits.
    for value in [
        "\"x\"",
        "W/\"3\"",
        "\"-3\"",
        "\"999999999999999999999\"",
        "\"\"",
        "\"99999999999999999999\"",
        "\"1\", \"2\"",
    ] {
        assert_eq!(
            put("/v1/kv/k", &[("If-Match", value)]).problem(412, "precondition-failed")["version"],
            3,
            "{value}"
        );
    }
    put("/v1/kv/k", &[("If-None-Match", "\"3\"")]).problem(400, "invalid-argument");

    let delete = |headers: &[(&str, &str)]| node.send("DELETE", "/v1/kv/k", headers, b"");
    delete(&[("If-Match", "\"1\"")]).problem(412, "precondition-failed");
    delete(&[("If-None-Match", "*")]).problem(400, "invalid-argument");
    assert_eq!(delete(&[("If-Match", "\"3\"")]).status, 204);
    delete(&[("If-Match", "\"3\"")]).problem(412, "precondition-failed");
    delete(&[]).problem(404, "not-found");
}

/// Goal: `If-Match` is a list, over all its lines; the key must have one of its versions, whichever place that has.
#[test]
fn conditions_are_lists() {
    let (_directory, node) = node();
    let put = |headers: &[(&str, &str)]| node.send("PUT", "/v1/kv/k", headers, b"v");
    assert_eq!(put(&[]).status, 201);
    assert_eq!(put(&[("If-Match", "\"77\", \"1\"")]).json()["version"], 2);
    assert_eq!(put(&[("If-Match", "\"2\", \"77\"")]).json()["version"], 3);
    assert_eq!(put(&[("If-Match", "\"77\""), ("If-Match", "W/\"78\", \"3-json\"")]).json()["version"], 4);
    assert_eq!(
        put(&[("If-Match", "\"0\", \"1\", \"2\", \"3\"")]).problem(412, "precondition-failed")["version"],
        4
    );
    let ttl = node.send(
        "PUT",
        "/v1/kv/k/ttl",
        &[("Content-Type", "application/json"), ("If-Match", "\"9\",\"4\"")],
        b"{\"ttl_ms\":100000}",
    );
    assert_eq!(ttl.header("kvorum-version"), Some("5"));
    assert_eq!(node.send("DELETE", "/v1/kv/k", &[("If-Match", "\"5\", \"6\"")], b"").status, 204);
    assert_eq!(put(&[("If-Match", "\"5\", \"0\"")]).status, 201, "version 0 is absence, in a list too");
}

/// Goal: what bears a condition is done under it or not at all, whatever the operation.
#[test]
fn no_write_passes_over_a_condition() {
    let (_directory, node) = node();
    node.put("/v1/kv/n", b"1");
    let add = |headers: &[(&str, &str)]| {
        let headers = [&[("Content-Type", "application/json")], headers].concat();
        node.send("POST", "/v1/kv/n/incr", &headers, b"{}")
    };
    let problem = add(&[("If-Match", "\"9\"")]).problem(412, "precondition-failed");
    assert_eq!((&problem["applied"], &problem["version"]), (&json!("no"), &json!(1)));
    add(&[("If-None-Match", "*")]).problem(412, "precondition-failed");
    assert_eq!(node.get("/v1/kv/n").body, b"1");
    assert_eq!(add(&[("If-Match", "\"9\", \"1\"")]).json()["value"], 2);
    assert_eq!(add(&[("If-Match", "*")]).json()["value"], 3);
    let set = br#"{"steps":[{"op":"set","key":"n","value":"z"}]}"#;
    let writes: [(&str, &str, &[u8]); 10] = [
        ("POST", "/v1/batch", set),
        ("DELETE", "/v1/kv?confirm=all", b""),
        ("PUT", "/v1/cluster/settings", br#"{"max_keys":1}"#),
        ("POST", "/v1/cluster/members", br#"{"address":"127.0.0.1:1"}"#),
        ("POST", "/v1/cluster/transfer", b"{}"),
        ("POST", "/v1/cluster/leave", b""),
        ("POST", "/v1/cluster/stop", b""),
        ("POST", "/v1/admin/compact", b""),
        ("POST", "/v1/admin/snapshot", b""),
        ("PUT", "/v1/admin/log-level", br#"{"level":"off"}"#),
    ];
    for (method, path, body) in writes {
        for (name, value) in [("If-Match", "\"9\""), ("If-Match", "*"), ("If-None-Match", "*")] {
            let answer =
                node.send(method, path, &[("Content-Type", "application/json"), (name, value)], body);
            answer.problem(400, "invalid-argument");
        }
    }
    assert_eq!(node.get("/v1/kv/n").body, b"3");
    assert_eq!(node.get("/v1/cluster/settings").json()["max_keys"], 0);
}

/// Goal: a body that is too large is refused before it is sent, one that is cut off or coded writes nothing.
#[test]
fn bodies() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start_with(directory.path(), &[("store.max_value_bytes", "1000")]);
    assert_eq!(node.put("/v1/kv/k", &[7; 1_000]).status, 201);
    assert_eq!(node.put("/v1/kv/k", &[7; 1_001]).problem(413, "value-too-large")["applied"], "no");
    assert_eq!(node.put("/v1/kv/empty", b"").status, 201);
    assert_eq!(node.get("/v1/kv/empty").body, b"");

    let mut announced = node.connect();
    announced.write(b"PUT /v1/kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999999\r\n\r\n");
    announced.read(false).expect("an answer before the body").problem(413, "value-too-large");

    let mut chunked = node.connect();
    chunked.write(b"PUT /v1/kv/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert_eq!(chunked.read(false).expect("an answer").status, 200);
    assert_eq!(node.get("/v1/kv/k").body, b"abcde");
    let mut endless = node.connect();
    endless.write(b"PUT /v1/kv/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"1f4\r\n".as_slice(), &[1; 500], b"\r\n"].concat();
    for _ in 0..3 {
        endless.write(&chunk);
    }
    endless.read(false).expect("an answer without the end").problem(413, "value-too-large");

    for cut in [
        b"PUT /v1/kv/cut HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf".as_slice(),
        b"PUT /v1/kv/cut HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"PUT /v1/kv/cut HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut connection = node.connect();
        connection.write(cut);
        connection.finish();
        // What the peer is told after it has hung up is of no account; that the connection ends is.
        while connection.read(false).is_some() {}
        node.get("/v1/kv/cut").problem(404, "not-found");
    }

    let coded = node.send("PUT", "/v1/kv/k", &[("Content-Encoding", "gzip")], b"x");
    coded.problem(415, "unsupported-media-type");
    node.send("PUT", "/v1/kv/k", &[("Content-Range", "bytes 0-0/5")], b"x").problem(400, "invalid-argument");
    assert_eq!(node.get("/v1/kv/k").body, b"abcde", "nothing that was refused was written");
}

/// Goal: what is not there, or not so, is said in the one form of errors.
#[test]
fn paths_methods_and_queries() {
    let (_directory, node) = node();
    for path in ["/", "/v1", "/v2/kv/k", "/v1/kv/k/x", "/v1/batch/x", "/metrics/x", "//v1/kv/k"] {
        node.get(path).problem(404, "not-found");
    }
    let cases = [
        ("POST", "/v1/kv/k", "DELETE, GET, HEAD, PUT"),
        ("PATCH", "/v1/kv/k", "DELETE, GET, HEAD, PUT"),
        ("OPTIONS", "/v1/kv/k", "DELETE, GET, HEAD, PUT"),
        ("POST", "/v1/kv/k/ttl", "DELETE, GET, HEAD, PUT"),
        ("PUT", "/v1/kv", "DELETE, GET, HEAD"),
        ("GET", "/v1/batch", "POST"),
        ("GET", "/v1/kv/k/incr", "POST"),
        ("DELETE", "/v1/stats", "GET, HEAD"),
        ("GET", "/v1/admin/compact", "POST"),
        ("POST", "/healthz", "GET, HEAD"),
        ("PUT", "/openapi.json", "GET, HEAD"),
        ("POST", "/docs", "GET, HEAD"),
    ];
    for (method, path, allow) in cases {
        let response = node.send(method, path, &[], b"");
        response.problem(405, "method-not-allowed");
        assert_eq!(response.header("allow"), Some(allow), "{method} {path}");
    }
    for path in [
        "/docs?x=1",
        "/openapi.json?x",
        "/v1/kv/k?ttl=5",
        "/v1/kv/k?Consistency=stale",
        "/v1/stats?x",
        "/healthz?verbose=1",
    ] {
        node.get(path).problem(400, "invalid-argument");
    }
    node.get("/v1/kv/k?consistency=eventual").problem(400, "invalid-argument");
    node.get("/v1/kv/k?consistency=stale&consistency=lease").problem(400, "invalid-argument");
    node.get("/v1/kv/k?consistency=%zz").problem(400, "invalid-argument");
    node.get("/v1/kv/k?%zz=1").problem(400, "invalid-argument");
    node.get("/v1/kv/k?%63onsistency=eventual").problem(400, "invalid-argument");
    node.get("/v1/kv/k?consistency=stale&%63onsistency=stale").problem(400, "invalid-argument");
    node.put("/v1/kv/k?ttl_ms=1&ttl_ms=2", b"x").problem(400, "invalid-argument");
    node.put("/v1/kv/k", b"v");
    for consistency in ["linearizable", "lease", "stale"] {
        assert_eq!(node.get(&format!("/v1/kv/k?consistency={consistency}")).body, b"v");
        assert_eq!(node.get(&format!("/v1/kv/k/ttl?consistency={consistency}")).status, 200);
    }
    assert_eq!(node.get("/v1/kv/k?").body, b"v", "an empty query says nothing");
}

/// Goal: figures are true, compaction shrinks the log, the document and its page are served.
#[test]
fn stats_compaction_and_documents() {
    let (_directory, node) = node();
    for number in 0..50 {
        node.put(&format!("/v1/kv/k{number}"), &[b'x'; 100]);
    }
    node.get("/v1/kv/k1");
    node.get("/v1/kv/absent");
    let stats = node.get("/v1/stats").json();
    assert_eq!(stats["store"]["keys"], 50);
    assert_eq!(stats["store"]["revision"], 50);
    let none = ["batch", "clear", "delete", "expire", "incr", "scan", "ttl"].map(|name| &stats["ops"][name]);
    assert!(none.iter().all(|count| **count == 0), "{stats}");
    let ops = ["get", "set", "total"].map(|name| stats["ops"][name].as_u64());
    assert_eq!(ops, [Some(2), Some(50), Some(52)]);
    assert_eq!((&stats["hits"], &stats["misses"], &stats["hit_ratio"]), (&json!(1), &json!(1), &json!(0.5)));
    assert_eq!((&stats["role"], &stats["wal"]["durability"]), (&json!("leader"), &json!("always")));
    assert!(stats["store"]["bytes"].as_u64() > Some(50 * 100), "{stats}");

    let done = node.send("POST", "/v1/admin/compact", &[], b"").json();
    assert!(done["bytes_after"].as_u64() < done["bytes_before"].as_u64(), "{done}");
    assert!(done["snapshot_bytes"].as_u64() > Some(0), "{done}");
    let after = node.get("/v1/stats").json();
    assert!(after["wal"]["bytes"].as_u64() < stats["wal"]["bytes"].as_u64(), "{after}");
    assert_eq!(after["raft"]["snapshot_index"], done["index"]);
    assert_eq!(node.get("/v1/kv/k49").status, 200);

    assert_eq!(node.get("/healthz").json(), json!({"status": "ok"}));
    assert_eq!(node.get("/readyz").json(), json!({"status": "ready", "disk": "ok"}));
    assert_eq!(node.get("/openapi.json").json()["info"]["title"], "Kvorum");
    let page = node.get("/docs");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let page = String::from_utf8(page.body).expect("UTF-8");
    assert!(page.contains("/v1/kv/{key}") && page.contains("SwaggerUIBundle"));
    assert!(
        !page.contains("src=\"http") && !page.contains("href=\"http"),
        "the page needs nothing from elsewhere"
    );
}

/// Goal: a full store says so, with nothing written, under the policy that evicts nothing.
#[test]
fn a_full_store_refuses() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = [("store.max_bytes", "10000"), ("store.eviction", "noeviction")];
    let node = Node::start_with(directory.path(), &settings);
    let mut refused =
        (0..100).map(|n| node.put(&format!("/v1/kv/k{n}"), &[0; 200])).find(|put| put.status != 201);
    let refused = refused.take().expect("100 times 200 bytes are too much");
    assert_eq!(refused.problem(507, "out-of-memory")["applied"], "no");
    assert!(node.get("/v1/stats").json()["store"]["bytes"].as_u64() <= Some(10_000));
}

/// Goal: `store.*` seed a new cluster only; a difference is said at the start and changes nothing.
#[test]
fn seeds_do_not_change_a_cluster() {
    let directory = tempfile::tempdir().expect("a directory");
    Node::start_with(directory.path(), &[("store.max_bytes", "10000")]).kill();
    let node = Node::start_with(directory.path(), &[("store.max_bytes", "20000")]);
    assert_eq!(node.get("/v1/stats").json()["store"]["max_bytes"], 10_000);
    let said = node.terminate().said;
    assert!(said.contains("store.* only seed a new one"), "{said}");
}

/// Goal: on a signal the node turns unready, still serves, then ends with status 0; a restart finds all.
#[test]
fn shutdown_drains() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut node = Node::start_with(directory.path(), &[("shutdown.drain_ms", "4000")]);
    node.put("/v1/kv/k", b"before");
    node.signal(rustix::process::Signal::TERM);
    node.wait_for("stopping");
    let unready = node.get("/readyz");
    unready.problem(503, "unavailable");
    assert!(unready.header("retry-after").is_some());
    assert_eq!(node.get("/healthz").status, 200);
    assert_eq!(node.put("/v1/kv/k", b"during").status, 200, "requests are still served");
    let ended = node.ended();
    assert_eq!(ended.status, Some(0), "{}", ended.said);

    let node = Node::start(directory.path());
    assert_eq!(node.get("/v1/kv/k").body, b"during");
    node.signal(rustix::process::Signal::INT);
    assert_eq!(node.ended().status, Some(0), "SIGINT ends it as well");
}

/// Goal: a second signal does not wait for the drain.
#[test]
fn a_second_signal_ends_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = [("shutdown.drain_ms", "3000000"), ("shutdown.deadline_ms", "3600000")];
    let mut node = Node::start_with(directory.path(), &settings);
    node.signal(rustix::process::Signal::TERM);
    node.wait_for("stopping");
    // Within a second it would be the same one, sent to the process and to its group.
    node.signal(rustix::process::Signal::TERM);
    std::thread::park_timeout(std::time::Duration::from_millis(1_300));
    assert_eq!(node.get("/healthz").status, 200, "it still drains");
    node.signal(rustix::process::Signal::TERM);
    assert_eq!(node.ended().status, Some(130));
}

/// Goal: SIGHUP has the configuration read again, and neither it nor the signals that nobody has a use for end the process.
#[test]
fn a_hang_up_reads_the_configuration_again() {
    use rustix::process::Signal;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("kvorum.toml");
    let write = |text: &str| std::fs::write(&file, text).expect("a file can be written");
    write("[log]\nlevel = \"info\"\n");
    let mut command = std::process::Command::new(node::PROGRAM);
    command.env("KVORUM_CONFIG", &file);
    // The harness takes all variables of Kvorum away that it finds; what a test sets stays.
    let mut node = Node::try_start(command, &directory.path().join("data"), &[]).expect("it starts");
    for signal in [Signal::USR1, Signal::USR2, Signal::PIPE, Signal::HUP] {
        node.signal(signal);
    }
    node.wait_for("SIGHUP: the configuration was read again");
    assert_eq!(node.put("/v1/kv/k", b"v").status, 201);
    write("[log]\nlevel = \"loud\"\n");
    node.signal(Signal::HUP);
    let said = node.wait_for("SIGHUP: the configuration is wrong, and nothing of it is used");
    assert!(said["error"].as_str().is_some_and(|error| error.contains("log.level")), "{said}");
    write("[log]\nlevel = \"debug\"\n[http]\nidle_timeout_ms = 5000\n");
    node.signal(Signal::HUP);
    let said = node::eventually("the level is taken over", || {
        let last = node.said().lines().rev().find(|line| line.contains("was read again"))?.to_owned();
        last.contains("debug").then_some(last)
    });
    assert!(said.contains("http.idle_timeout_ms"), "{said}");
    assert_eq!(node.get("/v1/kv/k").body, b"v");
    assert_eq!(node.terminate().status, Some(0));
}

/// Goal: a first start with nothing but defaults has nothing to warn of, and neither has its stop.
#[test]
fn a_node_alone_warns_of_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(&directory.path().join("data"));
    assert_eq!(node.put("/v1/kv/k", b"v").status, 201);
    let ended = node.terminate();
    let loud = |line: &&str| line.contains(r#""level":"WARN""#) || line.contains(r#""level":"ERROR""#);
    assert_eq!(ended.said.lines().filter(loud).collect::<Vec<_>>(), Vec::<&str>::new());
    assert!(!ended.said.contains("handed over"), "there is nobody to hand over to: {}", ended.said);
}
