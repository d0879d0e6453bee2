//! Goal: the peers' port refuses before it reads, and does not fall to what is sent to it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::harness::{Cluster, serves};

/// Bytes that are no HTTP/2, and a connection that says nothing: the cluster goes on.
#[test]
fn nonsense_on_the_port_of_peers_does_no_harm() {
    let places = Cluster::of(3, 3);
    let nodes = places.start_all();
    let mut open = Vec::new();
    for peer in &places.peers {
        let mut stream = TcpStream::connect(peer).expect("it accepts");
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n\0\xff\xfe").expect("it takes them");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        let mut answer = [0; 64];
        // Closed, or an answer: whichever it is, no harm is done.
        let _ = stream.read(&mut answer);
        open.push(TcpStream::connect(peer).expect("it accepts"));
    }
    serves(&nodes, "k");
}
