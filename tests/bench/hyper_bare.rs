//! The least that hyper can do: a constant answer of 64 bytes to every request, once its body is read. Kvorum's HTTP GET
//! and PUT are compared with it.
//!
//! `cargo bench --bench hyper_bare -- 127.0.0.1:8099` serves until it is killed. The runtime and the socket options are
//! those of the real server, so that only the work behind the protocol differs.

#![allow(clippy::print_stderr, reason = "a program of its own, started by compare.py")]

use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As long as the value that Kvorum serves.
const BODY: Bytes = Bytes::from_static(&[b'x'; 64]);

#[tokio::main]
async fn main() -> io::Result<()> {
    // `cargo bench` adds `--bench`.
    let address = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:8099")).await?;
    eprintln!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            // A client that goes away is no concern here.
            _ = connection.await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() == Method::PUT {
        // Read, as whoever stores it must. A client that goes away is no concern here.
        _ = request.into_body().collect().await;
    }
    let mut response = Response::new(Full::new(BODY));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}
