//! HTTP/2, from a client that decides itself when to open windows.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes")]

mod node;

use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{Request, StatusCode};
use node::{Node, PATIENCE};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A connection whose streams have windows of `window_bytes`, and the task that drives it.
async fn connect(
    node: &Node,
    window_bytes: u32,
) -> (SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(node.address()).await.expect("the node accepts");
    let handshake = h2::client::Builder::new()
        .initial_window_size(window_bytes)
        .initial_connection_window_size(1 << 20)
        .handshake(stream);
    let (client, connection) = handshake.await.expect("HTTP/2");
    (client.ready().await.expect("ready"), tokio::spawn(connection))
}

fn request(node: &Node, method: &str, path: &str) -> Request<()> {
    let uri = format!("{}{path}", node.url());
    Request::builder().method(method).uri(uri).body(()).expect("a request")
}

async fn text(mut body: RecvStream) -> String {
    let mut text = Vec::new();
    while let Some(piece) = timeout(PATIENCE, body.data()).await.expect("in time") {
        let piece = piece.expect("a piece");
        body.flow_control().release_capacity(piece.len()).expect("what was received");
        text.extend_from_slice(&piece);
    }
    String::from_utf8(text).expect("UTF-8")
}

/// Goal: whoever sends too much over HTTP/2 is told why, and the connection goes on.
#[tokio::test]
async fn a_value_that_is_too_large_is_answered_and_not_cut_off() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start_with(directory.path(), &[("store.max_value_bytes", "100KiB")]);
    let (mut client, _driver) = connect(&node, 1 << 16).await;
    let (answer, mut sending) = client.send_request(request(&node, "PUT", "/v1/kv/k"), false).expect("sent");
    sending.reserve_capacity(1 << 16);
    // More than was promised to be taken, and no end to it.
    let piece = Bytes::from(vec![b'v'; 40 << 10]);
    let ended = timeout(PATIENCE, async {
        loop {
            sending.reserve_capacity(piece.len());
            let capacity = std::future::poll_fn(|context| sending.poll_capacity(context)).await;
            if !matches!(capacity, Some(Ok(_))) || sending.send_data(piece.clone(), false).is_err() {
                return std::future::poll_fn(|context| sending.poll_reset(context)).await;
            }
        }
    });
    let (answer, ended) = tokio::join!(timeout(PATIENCE, answer), ended);
    let answer = answer.expect("in time").expect("an answer");
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(text(answer.into_body()).await.contains("\"value-too-large\""));
    // The rest is not wanted, which is no error of the client's (RFC 9113, 8.1).
    assert_eq!(ended.expect("the stream ends").ok(), Some(Reason::NO_ERROR));
    let (answer, _) = client.send_request(request(&node, "GET", "/healthz"), true).expect("sent");
    let answer = timeout(PATIENCE, answer).await.expect("in time").expect("the connection goes on");
    assert_eq!(answer.status(), StatusCode::OK);
}

/// Goal: a client that asks for a large answer and opens no window for it is let go after the idle timeout; one that
/// takes a little now and then is served to the end.
#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up_and_one_that_is_taken_slowly_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start_with(directory.path(), &[("http.idle_timeout_ms", "2000")]);
    let value = vec![b'v'; 300 << 10];
    assert_eq!(node.put("/v1/kv/k", &value).status, 201);

    let (mut client, driver) = connect(&node, 1 << 10).await;
    let (answer, _) = client.send_request(request(&node, "GET", "/v1/kv/k"), true).expect("sent");
    let answer = timeout(PATIENCE, answer).await.expect("in time").expect("the head");
    assert_eq!(answer.status(), StatusCode::OK);
    let mut body = answer.into_body();
    // What comes is not taken: the window stays closed.
    let ended = timeout(PATIENCE, async { while let Some(Ok(_)) = body.data().await {} }).await;
    assert!(ended.is_ok(), "the node let go");
    assert!(timeout(PATIENCE, driver).await.is_ok(), "of the whole connection");

    let (mut client, _driver) = connect(&node, 100 << 10).await;
    let (answer, _) = client.send_request(request(&node, "GET", "/v1/kv/k"), true).expect("sent");
    let mut body = timeout(PATIENCE, answer).await.expect("in time").expect("the head").into_body();
    let (mut taken, mut held) = (0, 0);
    while let Some(piece) = timeout(PATIENCE, body.data()).await.expect("in time") {
        held += piece.expect("it is served").len();
        if held >= 90 << 10 || taken + held == value.len() {
            // Longer than the sweep takes to look, shorter than its patience.
            tokio::time::sleep(Duration::from_millis(1_000)).await;
            body.flow_control().release_capacity(held).expect("what was received");
            taken += std::mem::take(&mut held);
        }
    }
    assert_eq!(taken + held, value.len());
}

/// Goal: a client that opens no window for its answer delays no stop, and one that takes it slowly but steadily gets all.
#[tokio::test]
async fn a_stalled_reader_delays_no_stop() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(directory.path());
    let value = vec![b'v'; 300 << 10];
    assert_eq!(node.put("/v1/kv/k", &value).status, 201);
    let (mut client, _driver) = connect(&node, 1 << 10).await;
    let (answer, _) = client.send_request(request(&node, "GET", "/v1/kv/k"), true).expect("sent");
    let stalled = timeout(PATIENCE, answer).await.expect("in time").expect("the head").into_body();

    let (mut client, _driver) = connect(&node, 100 << 10).await;
    let (answer, _) = client.send_request(request(&node, "GET", "/v1/kv/k"), true).expect("sent");
    let mut body = timeout(PATIENCE, answer).await.expect("in time").expect("the head").into_body();
    let started = Instant::now();
    node.signal(rustix::process::Signal::TERM);
    let ended = tokio::task::spawn_blocking(move || node.ended());
    let (mut taken, mut held) = (0, 0);
    while let Some(piece) = timeout(PATIENCE, body.data()).await.expect("in time") {
        held += piece.expect("it is served to the end").len();
        if held >= 90 << 10 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            body.flow_control().release_capacity(held).expect("what was received");
            taken += std::mem::take(&mut held);
        }
    }
    assert_eq!(taken + held, value.len());
    let ended = ended.await.expect("it is waited for");
    assert_eq!(ended.status, Some(0), "{}", ended.said);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    drop(stalled);
}

/// Goal: `:authority` is checked as `Host` is.
#[tokio::test]
async fn an_authority_is_a_name_of_the_node() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(directory.path());
    assert_eq!(node.put("/v1/kv/k", b"v").status, 201);
    let (mut client, _driver) = connect(&node, 1 << 16).await;
    let mut status = async |uri: &str, host: Option<&str>, origin: Option<&str>| {
        let mut request = Request::builder().method("GET").uri(uri);
        for (name, value) in [("host", host), ("origin", origin)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let (answer, _) = client.send_request(request.body(()).expect("a request"), true).expect("sent");
        timeout(PATIENCE, answer).await.expect("in time").expect("an answer").status().as_u16()
    };
    assert_eq!(status("http://localhost/v1/kv/k", None, None).await, 200);
    assert_eq!(status("http://evil.example/v1/kv/k", None, None).await, 421);
    assert_eq!(status("http://localhost/v1/kv/k", Some("evil.example"), None).await, 400);
    assert_eq!(status("http://localhost/v1/kv/k", None, Some("http://evil.example")).await, 403);
    assert_eq!(status("http://localhost/v1/kv/k", None, Some("http://localhost")).await, 200);
}
