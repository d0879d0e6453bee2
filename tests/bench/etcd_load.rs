//! Load on etcd, as `kvorum bench` puts it on Kvorum: so many clients, each with one request at a time on a connection of its
//! own, spread over the members.
//!
//! `cargo bench --bench etcd_load -- put|get CLIENTS SECONDS ENDPOINT,...` prints JSON: requests, seconds, errors. The messages
//! are those of etcd's API of version 3 (`etcdserverpb`), as far as they are needed here. Reads are linearizable.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program of its own, started by compare.py"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

/// Keys that are written and read.
const KEYS: u64 = 100_000;

#[derive(Clone, PartialEq, prost::Message)]
struct Put {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Range {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

/// What is in an answer does not matter here.
#[derive(Clone, PartialEq, prost::Message)]
struct Answer {}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [work, clients, seconds, endpoints] = arguments.as_slice() else {
        // `cargo bench` without arguments runs every bench: there is no etcd then.
        return;
    };
    let clients: u64 = clients.parse().expect("a number of clients");
    let time = Duration::from_secs(seconds.parse().expect("a number of seconds"));
    let endpoints: Vec<String> = endpoints.split(',').map(str::to_owned).collect();
    let (done, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let begun = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let endpoint = endpoints[(client % endpoints.len() as u64) as usize].clone();
            let (done, failed, puts) = (Arc::clone(&done), Arc::clone(&failed), work == "put");
            tokio::spawn(async move {
                let channel = Endpoint::from_shared(endpoint).expect("an address");
                let channel = channel.tcp_nodelay(true).connect().await.expect("etcd accepts");
                let mut number = client.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
                while begun.elapsed() < time {
                    // xorshift64: any spread will do.
                    number ^= number << 13;
                    number ^= number >> 7;
                    number ^= number << 17;
                    let key = format!("key:{:012}", number % KEYS).into_bytes();
                    let answered = match puts {
                        true => {
                            call(&channel, "/etcdserverpb.KV/Put", Put { key, value: vec![b'v'; 64] }).await
                        }
                        false => call(&channel, "/etcdserverpb.KV/Range", Range { key }).await,
                    };
                    if answered { &done } else { &failed }.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no client panics");
    }
    println!(
        "{{\"requests\": {}, \"seconds\": {:.3}, \"errors\": {}}}",
        done.load(Ordering::Relaxed),
        begun.elapsed().as_secs_f64(),
        failed.load(Ordering::Relaxed)
    );
}

async fn call<M: prost::Message + 'static>(channel: &Channel, path: &'static str, message: M) -> bool {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    if grpc.ready().await.is_err() {
        return false;
    }
    let codec = ProstCodec::<M, Answer>::default();
    grpc.unary(tonic::Request::new(message), PathAndQuery::from_static(path), codec).await.is_ok()
}
