//! A face, a node behind it, and what is looked for in its answers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use poem::test::{TestClient, TestResponse};

use crate::clock::SystemClock;
use crate::disk::{Disk, Faulty};
use crate::http::face::Face;
use crate::http::gate::Gate;
use crate::http::hosts::Hosts;
use crate::http::refusal::status;
use crate::model::Settings;
use crate::raft::{Config, Node, Options, PeerConfig, SnapshotConfig, Yielding};
use crate::service::{Code, Consistency, Kv};
use crate::{service, wal};

pub(super) fn client(gate: &Arc<Gate>) -> TestClient<Face> {
    let (consistency, timeout) = (Consistency::Linearizable, Duration::from_secs(10));
    let face = Face::new(Arc::clone(gate), Hosts::default(), consistency, timeout);
    TestClient::new(face).default_header("host", "localhost")
}

pub(super) fn options(seed: Settings, disk: Arc<dyn Disk>) -> Options {
    Options {
        data_dir: PathBuf::from("/data"),
        raft: Config::default(),
        wal: wal::Config { segment_bytes: 1 << 20, ..wal::Config::default() },
        wal_keep_bytes: 1 << 20,
        snapshot: SnapshotConfig::default(),
        peer: PeerConfig::default(),
        seed,
        restore_from: None,
        max_level: crate::model::Level::LATEST,
        state_hash_every: 4_096,
        clock: Arc::new(SystemClock),
        disk,
        turns: Arc::new(Yielding),
    }
}

/// A node on a disk in memory.
async fn node(seed: Settings) -> Node {
    let options = options(seed, Arc::new(Faulty::new()));
    Node::open(options).await.expect("a node on a disk in memory opens")
}

pub(super) async fn serving(seed: Settings) -> (Arc<Gate>, Node) {
    let (gate, node) = (Arc::new(Gate::new()), node(seed).await);
    gate.open(Kv::new(node.clone(), service::Config::default(), None));
    (gate, node)
}

pub(super) async fn assert_problem(response: TestResponse, code: Code) {
    response.assert_status(status(code));
    response.assert_header("content-type", "application/problem+json");
    response.json().await.value().object().get("code").assert_string(code.name());
}
