//! Goal: with certificates members talk by TLS only, each shows one, and certificates are exchanged without a restart.

use std::fs;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use super::authority::Authority;
use super::harness::{Cluster, members, serves, settled};
use crate::node::{Ended, Node, eventually};

/// What a node says when it has read its files anew.
const EXCHANGED: &str = "the certificates for peers were exchanged";

/// Where the files of node `n` are.
fn files(places: &Cluster, n: usize) -> [PathBuf; 3] {
    ["cert", "key", "ca"].map(|name| places.directory_of(&format!("{name}{n}.pem")))
}

fn begin(places: &Cluster, n: usize) -> JoinHandle<Result<Node, Ended>> {
    let [cert, key, ca] = files(places, n).map(|file| file.display().to_string());
    places.try_begin(
        n,
        &[("peer.tls_cert_file", &cert), ("peer.tls_key_file", &key), ("peer.tls_ca_file", &ca)],
    )
}

#[test]
fn members_talk_by_tls_and_exchange_certificates_under_way() {
    let places = Cluster::of(4, 3);
    let (first, second) = (Authority::new(), Authority::new());
    for n in 0..4 {
        let [cert, key, ca] = files(&places, n);
        first.give(&cert, &key);
        fs::write(ca, &first.pem).expect("it can be written");
    }
    let starting: Vec<_> = (0..3).map(|n| begin(&places, n)).collect();
    let mut nodes: Vec<_> =
        starting.into_iter().map(|node| node.join().expect("no panic").expect("it starts")).collect();
    settled(&nodes[0], 3, 3);
    serves(&nodes, "first");
    // Without a certificate, and with one of another authority, nobody gets in.
    let clear = places.try_begin(3, &[]);
    std::thread::park_timeout(Duration::from_secs(2));
    assert!(!clear.is_finished());
    assert_eq!(members(&nodes[0]).len(), 3);
    // Both authorities are trusted first, then all get certificates of the second, then the first goes.
    let bundle = format!("{}{}", first.pem, second.pem);
    for step in 0..3 {
        let said: Vec<_> = nodes.iter_mut().map(|node| node.said().matches(EXCHANGED).count()).collect();
        for n in 0..3 {
            let [cert, key, ca] = files(&places, n);
            match step {
                0 => fs::write(ca, &bundle).expect("it can be written"),
                1 => second.give(&cert, &key),
                _ => fs::write(ca, &second.pem).expect("it can be written"),
            }
        }
        for (node, before) in nodes.iter_mut().zip(said) {
            eventually(EXCHANGED, || (node.said().matches(EXCHANGED).count() > before).then_some(()));
        }
        serves(&nodes, &format!("step{step}"));
    }
    // New connections are made by what is there now.
    nodes.remove(0).terminate();
    nodes.insert(0, begin(&places, 0).join().expect("no panic").expect("it starts"));
    settled(&nodes[0], 3, 3);
    serves(&nodes, "second");
}
