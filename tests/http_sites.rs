//! What a page of another site can have a browser send to a real node, and what comes of it: nothing.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes and read files of the repository")]

mod node;

use node::Node;
use node::http::Connection;

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// How browsers mark what a page of another site asks for. Old ones, and new ones over plain HTTP to anything but loopback,
/// send only the origin.
const MARKS: [&[(&str, &str)]; 4] = [
    &[("Origin", "https://evil.example")],
    &[("Origin", "null")],
    &[("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")],
    &[("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")],
];

/// Every kind of write, with a body that is taken from anybody else.
const WRITES: [(&str, &str, &[u8]); 10] = [
    ("PUT", "/v1/kv/victim", b"evil"),
    ("DELETE", "/v1/kv/victim", b""),
    ("POST", "/v1/kv/count/incr", b"{}"),
    ("PUT", "/v1/kv/victim/ttl", br#"{"ttl_ms":1}"#),
    ("POST", "/v1/batch", br#"{"steps":[{"op":"delete","key":"victim"}]}"#),
    ("DELETE", "/v1/kv?confirm=all", b""),
    ("PUT", "/v1/cluster/settings", br#"{"max_keys":1}"#),
    ("POST", "/v1/cluster/leave", b""),
    ("POST", "/v1/admin/compact", b""),
    ("POST", "/v1/admin/snapshot", b""),
];

fn node(settings: &[(&str, &str)]) -> (tempfile::TempDir, Node) {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start_with(directory.path(), settings);
    assert_eq!(node.put("/v1/kv/victim", b"v").status, 201);
    assert_eq!(node.put("/v1/kv/count", b"1").status, 201);
    (directory, node)
}

/// Nothing has changed since the node was filled.
#[track_caller]
fn assert_untouched(node: &Node) {
    assert_eq!(node.get("/v1/kv/victim").body, b"v");
    assert_eq!(node.get("/v1/kv/count").body, b"1");
    assert_eq!(node.get("/v1/kv/victim").header("kvorum-ttl-ms"), None);
    let stats = node.get("/v1/stats").json();
    assert_eq!((&stats["store"]["revision"], &stats["raft"]["snapshot_index"]), (&2.into(), &0.into()));
    assert_eq!(node.get("/v1/cluster/settings").json()["max_keys"], 0);
}

/// Goal: whatever a page of another site asks for is refused, reads included, and is not carried out.
#[test]
fn pages_of_other_sites_change_and_read_nothing() {
    let (_directory, node) = node(&[]);
    for mark in MARKS {
        for (method, path, body) in WRITES {
            let headers = [&[JSON], mark].concat();
            let problem = node.send(method, path, &headers, body).problem(403, "forbidden");
            assert_eq!(problem["applied"], "no", "{method} {path}");
        }
        for path in
            ["/v1/kv/victim", "/v1/kv?values=true", "/v1/cluster", "/v1/admin/backup", "/docs", "/readyz"]
        {
            let refused = node.send("GET", path, mark, b"");
            refused.problem(403, "forbidden");
            assert!(refused.headers.iter().all(|(name, _)| !name.starts_with("access-control-")));
        }
    }
    assert_untouched(&node);
}

/// Goal: the question that a browser asks before other requests (CORS) is answered with no permission.
#[test]
fn no_permission_is_given_to_other_sites() {
    let (_directory, node) = node(&[]);
    for path in ["/v1/kv/victim", "/v1/batch", "/v1/kv?confirm=all", "/openapi.json"] {
        let question = [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "DELETE")];
        for headers in [&question[..], &question[1..]] {
            let answer = node.send("OPTIONS", path, headers, b"");
            assert!(matches!(answer.status, 403 | 405), "{}", answer.status);
            assert!(
                answer.headers.iter().all(|(name, _)| !name.starts_with("access-control-")),
                "{answer:?}"
            );
        }
    }
}

/// Goal: what a form or a script can send without asking first is refused even without any mark: it has no media type, or
/// that of a form.
#[test]
fn forms_are_not_taken() {
    let (_directory, node) = node(&[]);
    for (method, path, body) in WRITES.into_iter().filter(|(method, ..)| *method == "POST") {
        for form in [
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=b",
            "Text/Plain;charset=UTF-8",
        ] {
            let refused = node.send(method, path, &[("Content-Type", form)], body);
            assert_eq!(refused.problem(415, "unsupported-media-type")["applied"], "no", "{path} {form}");
        }
        if !body.is_empty() {
            node.send(method, path, &[], body).problem(415, "unsupported-media-type");
        }
    }
    node.send("PUT", "/v1/kv/victim/ttl", &[], br#"{"ttl_ms":1}"#).problem(415, "unsupported-media-type");
    assert_untouched(&node);
    // Values are bytes, and no form can PUT.
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(node.send("PUT", "/v1/kv/victim", &[form], b"w").status, 200);
    assert_eq!(node.send("POST", "/v1/admin/compact", &[], b"").status, 200, "as curl -X POST does");
}

/// Goal: the server's own page, a person who follows a link to it, and programs are served.
#[test]
fn own_pages_and_links_are_served() {
    let (_directory, node) = node(&[]);
    let own = node.url();
    let page = [JSON, ("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin")];
    let host = own.trim_start_matches("http://").to_owned();
    let of_page = [&page[..], &[("Host", host.as_str())]].concat();
    assert_eq!(node.send("POST", "/v1/kv/count/incr", &of_page, b"{}").status, 200);
    assert_eq!(
        node.send("POST", "/v1/kv/count/incr", &[of_page[0], of_page[1], of_page[3]], b"{}").status,
        200
    );
    let link =
        [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")];
    assert_eq!(node.send("GET", "/docs", &link, b"").status, 200);
    node.send("POST", "/v1/admin/compact", &link, b"").problem(403, "forbidden");
    let frame = [link[0], link[1], ("Sec-Fetch-Dest", "iframe")];
    node.send("GET", "/docs", &frame, b"").problem(403, "forbidden");
}

/// Goal: a page whose own name points here (DNS rebinding) is refused by that name; addresses, the node's names and those
/// that are listed are served.
#[test]
fn only_names_of_the_node_are_served() {
    let settings = [
        ("http.allowed_hosts", "kv.example.com,*.internal"),
        ("peer.advertise", "kvorum-7:7000"),
        ("ops.listen", "127.0.0.1:0"),
    ];
    let (_directory, mut node) = node(&settings);
    let by = |node: &Node, host: &str| node.send("GET", "/v1/kv/victim", &[("Host", host)], b"");
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    for host in [
        "127.0.0.1:8080",
        "[::1]",
        "192.0.2.7:80",
        "LocalHost",
        "kv.example.com:443",
        "a.b.internal",
        "kvorum-7:8080",
        &machine,
    ] {
        assert_eq!(by(&node, host).body, b"v", "{host}");
    }
    for host in [
        "evil.example",
        "evil.example:8080",
        "kv.example.com.evil.example",
        "internal",
        "localhost.evil.example",
    ] {
        by(&node, host).problem(421, "misdirected");
        let delete = node.send("DELETE", "/v1/kv/victim", &[("Host", host)], b"");
        assert_eq!(delete.problem(421, "misdirected")["applied"], "no", "{host}");
    }
    assert_untouched(&node);
    // Orchestrators probe by whatever name they have, and no page reads what they ask.
    let line = node.wait_for("ops listens");
    let ops = line["address"].as_str().and_then(|text| text.parse().ok()).expect("an address");
    let probe = |headers: &[(&str, &str)]| Connection::open(ops).send("GET", "/readyz", headers, b"");
    assert_eq!(probe(&[("Host", "kvorum-0.kvorum.svc:9100")]).status, 200);
    probe(&[("Origin", "https://evil.example")]).problem(403, "forbidden");
}

/// Goal: the sample cluster can be called by the names of its services, by which programs beside it know it.
#[test]
fn the_sample_cluster_allows_its_names() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/compose.yaml");
    let text = std::fs::read_to_string(path).expect("the sample is there");
    let allowed = text.lines().find_map(|line| line.trim().strip_prefix("KVORUM_HTTP__ALLOWED_HOSTS: "));
    let allowed: Vec<&str> = allowed.expect("the setting is there").split(',').collect();
    let services = text.lines().filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
    let nodes: Vec<&str> = services.filter(|name| name.starts_with("kvorum-")).collect();
    assert_eq!(nodes.len(), 3);
    assert_eq!(nodes, allowed);
}
