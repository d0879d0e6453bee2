//! Limits of a real node: on connections, on time, and on what is held in memory for clients.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes, sockets and clocks")]

mod node;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use node::http::Connection;
use node::{Node, PROGRAM, eventually};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// Short limits, so that the tests take seconds.
const SHORT: [(&str, &str); 3] =
    [("http.header_timeout_ms", "400"), ("http.body_timeout_ms", "400"), ("http.idle_timeout_ms", "800")];

fn node(settings: &[(&str, &str)]) -> (tempfile::TempDir, Node) {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start_with(directory.path(), settings);
    (directory, node)
}

/// Sends `bytes` and reads until the node ends the connection.
fn until_end(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("it accepts");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket takes a timeout");
    stream.write_all(bytes).expect("a socket takes some bytes");
    let mut said = Vec::new();
    stream.read_to_end(&mut said).expect("the node ends the connection in order");
    String::from_utf8(said).expect("text")
}

/// Goal: whoever sends nothing, or half a head, is let go in time; the second is told why.
#[test]
fn silent_and_slow_heads_are_let_go() {
    let (_directory, node) = node(&SHORT);
    assert_eq!(until_end(node.address(), b""), "");
    let told = until_end(node.address(), b"GET /v1/kv/k HTTP/1.1\r\nHost: kv");
    assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
    assert!(
        told.contains("application/problem+json") && told.contains("\"code\":\"request-timeout\""),
        "{told}"
    );
    let served = until_end(node.address(), b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(
        served.starts_with("HTTP/1.1 200 ") && served.ends_with('}'),
        "idle, and ended in silence: {served}"
    );
}

/// Goal: a head or body that drips, a byte now and then, is cut off although bytes keep coming.
#[test]
fn dripping_requests_are_cut_off() {
    let (_directory, node) = node(&SHORT);
    let heads: [&[u8]; 2] =
        [b"GET /v1/kv/", b"PUT /v1/kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"];
    for head in heads {
        let mut stream = TcpStream::connect(node.address()).expect("it accepts");
        stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket takes a timeout");
        stream.write_all(head).expect("a socket takes some bytes");
        let mut said = Vec::new();
        eventually("the node ends the connection", || {
            let _ = stream.write_all(b"x");
            let mut buffer = [0; 1_024];
            match stream.read(&mut buffer) {
                Ok(0) => return Some(()),
                Ok(length) => said.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return Some(()),
            }
            String::from_utf8_lossy(&said).contains("request-timeout").then_some(())
        });
        // The word to one that drips a head may be lost with what it sends meanwhile; a body's sender gets to read it.
        let told = String::from_utf8_lossy(&said).contains("request-timeout");
        assert!(told || head.starts_with(b"GET"), "{}", String::from_utf8_lossy(&said));
    }
    assert_eq!(node.get("/v1/kv/k").status, 404, "half a body writes nothing");
}

/// Goal: a slow body that keeps its pace is taken.
#[test]
fn a_steady_body_is_taken() {
    let (_directory, node) = node(&SHORT);
    let mut connection = node.connect();
    let length = 256 << 10;
    connection.write(
        format!("PUT /v1/kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n").as_bytes(),
    );
    let started = Instant::now();
    // The first piece goes with the head: from it on there is more time with every one.
    for piece in 0..16 {
        std::thread::park_timeout(Duration::from_millis(if piece == 0 { 0 } else { 60 }));
        connection.write(&vec![b'x'; length / 16]).expect("the node reads on");
    }
    assert!(started.elapsed() > Duration::from_millis(400), "it takes longer than an empty body may");
    assert_eq!(connection.read(false).expect("an answer").status, 201);
}

/// Goal: what never becomes a request is answered in the one form of errors.
#[test]
fn malformed_heads_are_problems() {
    let (_directory, node) = node(&[]);
    let long = format!("GET /v1/kv/k HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(100_000));
    let many = format!("GET /v1/kv/k HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(200));
    let cases: [(&[u8], &str, &str); 5] = [
        (b"nonsense\r\n\r\n", "HTTP/1.1 400 ", "invalid-argument"),
        (b"GET /v1/kv/k HTTP/1.1\r\nHost\r\n\r\n", "HTTP/1.1 400 ", "invalid-argument"),
        (b"GET /v1/kv/k HTTP/1.1\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 400 ", "invalid-argument"),
        (long.as_bytes(), "HTTP/1.1 431 ", "head-too-large"),
        (many.as_bytes(), "HTTP/1.1 431 ", "head-too-large"),
    ];
    for (bytes, status, code) in cases {
        let said = until_end(node.address(), bytes);
        let text: String = String::from_utf8_lossy(bytes).chars().take(60).collect();
        assert!(said.starts_with(status) && said.contains(&format!("\"code\":\"{code}\"")), "{text}: {said}");
    }
}

/// Goal: a request says once whom it means and how its body is framed; what is left over of one that does not is not taken
/// for a request of its own (RFC 9112, 3.2, 6.1 and 6.3).
#[test]
fn host_and_coding_are_checked() {
    let (_directory, node) = node(&[("store.max_value_bytes", "1000")]);
    let put = "PUT /v1/kv/k HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    let cases: [(String, &str, &str); 12] = [
        ("GET /v1/kv/k HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), "400", "invalid-argument"),
        ("GET /v1/kv/k HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n".to_owned(), "400", "invalid-argument"),
        (
            "GET /v1/kv/k HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n".to_owned(),
            "400",
            "invalid-argument",
        ),
        (
            "GET /v1/kv/k HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                .to_owned(),
            "400",
            "invalid-argument",
        ),
        (
            "GET http://evil.example/v1/kv/k HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                .to_owned(),
            "421",
            "misdirected",
        ),
        (
            format!("{put}Transfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
            "501",
            "not-implemented",
        ),
        (
            format!("{put}Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
            "501",
            "not-implemented",
        ),
        (
            format!("{put}Transfer-Encoding: identity, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
            "501",
            "not-implemented",
        ),
        (
            format!("{put}Transfer-Encoding: chunked, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
            "400",
            "invalid-argument",
        ),
        (
            format!(
                "{put}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
            ),
            "400",
            "invalid-argument",
        ),
        (
            format!("{put}Transfer-Encoding: chunked, gzip\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
            "400",
            "invalid-argument",
        ),
        (format!("{put}Content-Length: 1\r\nContent-Length: 2\r\n\r\nxy"), "400", "invalid-argument"),
    ];
    for (request, status, code) in cases {
        let said = until_end(node.address(), request.as_bytes());
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {said}");
        assert!(said.contains(&format!("\"code\":\"{code}\"")), "{request}: {said}");
    }
    assert_eq!(node.get("/v1/kv/k").status, 404, "nothing that was refused was written");
    // With both, the chunks count, and the connection ends: what follows is never taken for a request.
    let smuggled = "GET /v1/stats HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let keep = "PUT /v1/kv/k HTTP/1.1\r\nHost: localhost\r\n";
    for framing in
        ["Content-Length: 6\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 6"]
    {
        let request = format!("{keep}{framing}\r\n\r\n1\r\nx\r\n0\r\n\r\n{smuggled}");
        let said = until_end(node.address(), request.as_bytes());
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{said}");
    }
    assert_eq!(node.get("/v1/kv/k").body, b"x");
    let refused = format!("{keep}Transfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n{smuggled}");
    let said = until_end(node.address(), refused.as_bytes());
    assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{said}");
    // HTTP/1.0 knows no Host.
    let said = until_end(node.address(), b"GET /healthz HTTP/1.0\r\n\r\n");
    assert!(said.starts_with("HTTP/1.0 200 ") || said.starts_with("HTTP/1.1 200 "), "{said}");
}

/// Goal: while the clock of a machine stands before 1970, every client is told so, and no connection panics.
#[test]
fn a_clock_before_1970_is_told() {
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    if !std::path::Path::new(library).exists() {
        eprintln!("SKIPPED: libfaketime is not installed (Debian package faketime), so no clock can be set");
        assert!(std::env::var_os("CI").is_none(), "CI installs it");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(PROGRAM);
    command.env("LD_PRELOAD", library).env("FAKETIME", "-80y").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let mut node = Node::try_start(command, directory.path(), &[]).expect("it starts");
    for _ in 0..3 {
        let answer = node.get("/v1/kv/k");
        let detail = answer.problem(503, "unavailable")["detail"].clone();
        assert!(detail.as_str().is_some_and(|text| text.contains("1970")), "{detail}");
        assert_eq!(answer.header("date"), None);
    }
    assert!(!node.said().contains("httpdate"), "{}", node.said());
    let (_directory, now) = self::node(&[]);
    assert!(now.get("/healthz").header("date").is_some(), "others say what time it is");
}

/// Goal: when all places are taken by those who do not use them, others are served all the same, and probes are apart.
#[test]
fn idle_clients_make_room() {
    let settings = [("http.max_connections", "20"), ("ops.listen", "127.0.0.1:0")];
    let (_directory, mut node) = node(&settings);
    let ops: SocketAddr = {
        let line = node.wait_for("ops listens");
        line["address"].as_str().and_then(|text| text.parse().ok()).expect("an address")
    };
    let mut idle: Vec<Connection> = (0..20).map(|_| node.connect()).collect();
    idle.iter_mut()
        .for_each(|connection| assert_eq!(connection.send("GET", "/healthz", &[], b"").status, 200));
    for _ in 0..40 {
        let mut connection = node.connect();
        assert!(matches!(connection.send("PUT", "/v1/kv/k", &[], b"v").status, 200 | 201));
        idle.push(connection);
    }
    let probe = |path: &str| Connection::open(ops).send("GET", path, &[], b"");
    assert_eq!((probe("/healthz").status, probe("/readyz").status), (200, 200));
    probe("/v1/kv/k").problem(404, "not-found");
    Connection::open(ops).send("POST", "/healthz", &[], b"").problem(405, "method-not-allowed");
}

/// Goal: ten thousand clients that do nothing useful do not keep others from being served, and cost no memory to speak of.
#[test]
fn ten_thousand_useless_clients_disturb_nobody() {
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let count = usize::try_from(hard).unwrap_or(usize::MAX).saturating_sub(1_000).min(10_000);
    if count < 1_000 {
        eprintln!("SKIPPED in part: only {hard} open files are allowed here");
    }
    let limit = rustix::process::Rlimit { current: Some(hard), maximum: Some(hard) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)
        .expect("the soft limit can be raised");
    let most = count.to_string();
    let (_directory, mut node) =
        node(&[("http.max_connections", most.as_str()), ("ops.listen", "127.0.0.1:0")]);
    let line = node.wait_for("ops listens");
    let ops: SocketAddr = line["address"].as_str().and_then(|text| text.parse().ok()).expect("an address");
    let kinds: [&[u8]; 4] = [
        b"",
        b"G",
        b"GET /v1/kv/k HTTP/1.1\r\nHost: kv",
        b"PUT /v1/kv/half HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8388608\r\n\r\nabc",
    ];
    let mut useless = Vec::with_capacity(count);
    for number in 0..count {
        let mut stream = TcpStream::connect(node.address()).expect("it accepts");
        stream.set_nonblocking(true).expect("a socket can");
        stream.write_all(kinds[number % kinds.len()]).expect("a socket takes some bytes");
        useless.push(stream);
    }
    for number in 0..60 {
        // Some of the useless go on, a byte at a time.
        for stream in useless.iter_mut().skip(number % 7).step_by(501) {
            let _ = stream.write(b"x");
        }
        let put = node.put(&format!("/v1/kv/{number}"), b"v");
        assert_eq!(put.status, 201, "{put:?}");
        assert_eq!(node.get(&format!("/v1/kv/{number}")).body, b"v");
    }
    assert_eq!(Connection::open(ops).send("GET", "/readyz", &[], b"").status, 200);
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.id())).expect("a process");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    let kib: usize = resident.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kib < 600 << 10, "{kib} KiB for {count} useless clients");
}

/// Goal: bodies that are announced and not sent take no room from others.
#[test]
fn announced_bodies_take_no_room() {
    let (_directory, node) = node(&[]);
    let head = b"PUT /v1/kv/half HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8388608\r\n\r\n";
    let announced: Vec<TcpStream> = (0..500)
        .map(|_| {
            let mut stream = TcpStream::connect(node.address()).expect("it accepts");
            stream.write_all(head).expect("a socket takes some bytes");
            stream
        })
        .collect();
    for _ in 0..10 {
        assert!(matches!(node.put("/v1/kv/k", &vec![b'v'; 8 << 20]).status, 200 | 201));
    }
    drop(announced);
}

/// Goal: a stop waits for requests that are served, and not for those that were never sent.
#[test]
fn a_stop_does_not_wait_for_half_requests() {
    let (_directory, node) = node(&[]);
    let parts: [&[u8]; 3] = [
        b"",
        b"GET /v1/kv/k HTTP/1.1\r\nHo",
        b"PUT /v1/kv/half HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc",
    ];
    let mut half: Vec<Connection> = parts
        .iter()
        .map(|part| {
            let mut connection = node.connect();
            connection.write(part);
            connection
        })
        .collect();
    let mut idle = node.connect();
    assert_eq!(idle.send("GET", "/healthz", &[], b"").status, 200);
    let started = Instant::now();
    let ended = node.terminate();
    assert_eq!(ended.status, Some(0), "{}", ended.said);
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "shutdown.deadline_ms is 25 s: {:?}",
        started.elapsed()
    );
    let refused =
        half.pop().and_then(|mut body| body.read(false)).expect("a request whose body was read is answered");
    assert_eq!(refused.problem(503, "unavailable")["applied"], "no");
}

/// Goal: a client that takes nothing of its answer delays no stop: not with a backup, nor with a value, nor with many.
#[test]
fn a_stalled_reader_delays_no_stop() {
    let (_directory, node) = node(&[]);
    for n in 0..10 {
        let put = node.put(&format!("/v1/kv/large{n}"), &noise(2 << 20));
        assert_eq!(put.status, 201);
    }
    let requests = [
        "GET /v1/admin/backup HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET /v1/kv/large0 HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(8),
    ];
    let stalled: Vec<TcpStream> = requests
        .iter()
        .map(|request| {
            let mut stream = TcpStream::connect(node.address()).expect("it accepts");
            stream.write_all(request.as_bytes()).expect("a socket takes some bytes");
            stream.read_exact(&mut [0; 100]).expect("the answer begins");
            stream
        })
        .collect();
    let started = Instant::now();
    let ended = node.terminate();
    assert_eq!(ended.status, Some(0), "{}", ended.said);
    // shutdown.deadline_ms is 25 s, of which requests have 23.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    drop(stalled);
}

/// Bytes that cannot be packed.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Goal: a client that does not take its answer is let go, and its memory with it.
#[test]
fn a_client_that_takes_nothing_is_let_go() {
    let (_directory, mut node) = node(&[SHORT[2], ("log.level", "debug")]);
    node.put("/v1/kv/large", &vec![b'v'; 8 << 20]);
    let mut stuck = TcpStream::connect(node.address()).expect("it accepts");
    let request = "GET /v1/kv/large HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(4);
    stuck.write_all(request.as_bytes()).expect("a socket takes some bytes");
    node.wait_for("a connection was ended");
    // What is left in the socket's buffers can still be read; then there is an end.
    let mut buffer = vec![0; 1 << 20];
    eventually("the end", || matches!(stuck.read(&mut buffer), Ok(0) | Err(_)).then_some(()));
}

/// Goal: without free descriptors the node waits for some instead of spinning, and serves as before once there are.
#[test]
fn a_lack_of_descriptors_is_waited_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut node = Node::start(directory.path());
    // Lowered under way: at a start the node takes no more connections than it has descriptors for.
    let open = std::fs::read_dir(format!("/proc/{}/fd", node.id())).expect("Linux tells").count() as u64;
    let id = i32::try_from(node.id()).ok().and_then(Pid::from_raw).expect("a process id");
    let files = Rlimit { current: Some(open + 20), ..rustix::process::getrlimit(Resource::Nofile) };
    prlimit(Some(id), Resource::Nofile, files).expect("a limit can be lowered");
    let many: Vec<TcpStream> = (0..100).filter_map(|_| TcpStream::connect(node.address()).ok()).collect();
    node.wait_for("cannot accept connections");
    drop(many);
    assert_eq!(node.put("/v1/kv/k", b"v").status, 201);
    let said = node.terminate().said;
    let warnings = said.matches("cannot accept connections").count();
    assert!(warnings < 40, "{warnings} tries");
}

/// Goal: where the system allows few open files, connections are limited to leave the log its own.
#[test]
fn connections_leave_the_log_its_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 100 && exec \"$0\" \"$@\"", PROGRAM]);
    let mut node = Node::try_start(command, directory.path(), &[]).expect("100 are enough to start");
    let warning = node.wait_for("the limit of open files allows fewer connections than http.max_connections");
    assert_eq!(warning["max_connections"], 50);
    let many: Vec<TcpStream> = (0..200).filter_map(|_| TcpStream::connect(node.address()).ok()).collect();
    assert_eq!(node.put("/v1/kv/k", b"v").status, 201, "room is made");
    drop(many);
    assert!(!node.terminate().said.contains("cannot accept connections"));
}
