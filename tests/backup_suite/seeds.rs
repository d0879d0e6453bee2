//! A backup that several new nodes begin with: the one that creates their cluster crashes while it does.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kvorum::clock::SystemClock;
use kvorum::disk::{Disk, Faulty};
use kvorum::model::Level;
use kvorum::raft::{Config, Lifetimes, Node, OpenError, Options, PeerConfig};
use tokio::time::timeout;

use super::restored::backup;
use super::support::*;

/// Longest wait for a start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Crashes that are tried at a time: most of each is waiting.
const AT_ONCE: u64 = 8;

/// Three addresses, by name, that nobody else has: all of 127.0.0.0/8 is this machine.
fn peers(place: u64) -> Vec<SocketAddr> {
    let own = u8::try_from(std::process::id() % 250).expect("it is small") + 2;
    let place = u8::try_from(place).expect("there are few");
    (1..=3).map(|n| SocketAddr::from(([127, own, place, n], 7_000))).collect()
}

/// The options of the seed that listens at `peers[n]`.
fn seed(disk: &Faulty, peers: &[SocketAddr], n: usize) -> Options {
    let mut options = options(disk, &clock());
    options.raft = Config { heartbeat_ms: 50, election_min_ms: 250, election_max_ms: 500 };
    let seeds = peers.iter().map(SocketAddr::to_string).collect();
    options.peer = PeerConfig { listen: Some(peers[n]), seeds, ..PeerConfig::default() };
    options.restore_from = Some(what(Lifetimes::Deadline));
    options.clock = Arc::new(SystemClock);
    options
}

async fn start(options: Options) -> Result<Node, OpenError> {
    timeout(PATIENCE, Node::open(options)).await.expect("a start comes to an end")
}

/// Opens a seed as a process does of which nothing is left when it has ended, and says whether the power went out.
fn first_life(disk: &Faulty, peers: &[SocketAddr]) -> bool {
    let own = runtime();
    own.block_on(async {
        if let Ok(node) = start(seed(disk, peers, 0)).await {
            let crashed = disk.is_off();
            disk.cut_off_at(u64::MAX);
            // Without its disk it does not end cleanly.
            let closed = node.close().await;
            assert!(crashed || closed.is_ok(), "{closed:?}");
            return crashed;
        }
        disk.is_off()
    })
}

/// Opens three seeds; the power of the first, which creates the cluster, goes out at this operation of its start. Says
/// whether it did.
async fn crash_at(point: u64, backup: Arc<Vec<u8>>) -> bool {
    let case = format!("cut off at operation {point}");
    let peers = peers(point);
    let disks = [disk_with(&backup), Faulty::new(), Faulty::new()];
    let others = [1, 2].map(|n| tokio::spawn(start(seed(&disks[n], &peers, n))));
    disks[0].cut_off_at(disks[0].operations() + point);
    let (disk, of) = (disks[0].clone(), peers.clone());
    let crashed = tokio::task::spawn_blocking(move || first_life(&disk, &of)).await.expect("no panic");
    let image = if crashed { disks[0].after_power_cut(point) } else { disks[0].after_kill() };
    let first = start(seed(&image, &peers, 0)).await.unwrap_or_else(|error| panic!("{case}: {error}"));
    let mut nodes = vec![first];
    for other in others {
        let opened = other.await.expect("no panic");
        nodes.push(opened.unwrap_or_else(|error| panic!("{case}: {error}")));
    }
    for node in &nodes {
        let found = version(node, "k1").await;
        assert!(found.is_some_and(|version| version.0 > REVISIONS), "{case}: {found:?}");
        assert_eq!(node.status().cluster, nodes[0].status().cluster, "{case}");
        let members = node.cluster().await.members;
        assert_eq!(members.iter().filter(|member| member.is_voter).count(), 3, "{case}: {members:?}");
    }
    join_all(nodes.into_iter().map(Node::close)).await;
    crashed
}

/// Goal: whatever operation of the creator's start the power fails at, the next start goes on, and all three are one cluster
/// with the whole backup.
#[test]
fn a_crash_of_the_creator_at_any_operation_comes_to_the_same_end() {
    let runtime = runtime();
    runtime.block_on(async {
        let (bytes, _) = backup().await;
        let bytes = Arc::new(bytes);
        for base in (0..).step_by(AT_ONCE as usize) {
            let points =
                (base..base + AT_ONCE).map(|point| tokio::spawn(crash_at(point, Arc::clone(&bytes))));
            let crashed = join_all(points).await;
            if crashed.into_iter().any(|crashed| !crashed.expect("no panic")) {
                assert!(base > 20, "there were operations to crash at: {base}");
                return;
            }
        }
    });
}

/// Goal: a restore that was begun and not finished leaves nothing behind where the node joins a cluster that is there.
#[test]
fn a_restore_that_was_begun_is_given_up_where_a_cluster_is_there() {
    runtime().block_on(async {
        let (bytes, _) = backup().await;
        let peers = peers(255);
        let half = half_restored(&bytes);
        // One of the seeds has a cluster of its own meanwhile.
        let elsewhere = Faulty::new();
        let mut alone = seed(&elsewhere, &peers, 1);
        alone.peer.seeds = vec![peers[1].to_string()];
        alone.restore_from = None;
        let there = start(alone).await.expect("it creates a cluster");
        write(&there, set("other", "v")).await;
        let joined = start(seed(&half, &peers, 0)).await.expect("it joins");
        assert_eq!(joined.status().cluster, there.status().cluster);
        assert!(version(&joined, "other").await.is_some());
        assert_eq!(version(&joined, "k1").await, None, "nothing of the backup");
        let names = half.read_dir(data_dir()).expect("a directory");
        assert!(!names.contains(&"restore.json".to_owned()), "{names:?}");
        join_all([joined, there].map(Node::close)).await;
    });
}

/// A disk on which a restore was cut off between its beginning and its end.
fn half_restored(backup: &[u8]) -> Faulty {
    for point in 0.. {
        let disk = disk_with(backup);
        disk.cut_off_at(disk.operations() + point);
        assert!(restore_on(&disk, &clock(), Lifetimes::Deadline).is_err(), "it was cut off");
        let image = disk.after_kill();
        let snapshots = image.read_dir(&data_dir().join("snapshots")).unwrap_or_default();
        if snapshots.iter().any(|name| name.ends_with(".snap")) {
            assert!(!image.exists(&data_dir().join("node.json")).expect("asked"));
            return image;
        }
    }
    unreachable!("a restore writes a snapshot")
}

/// Goal: what is left of a node whose recovery was not finished is not taken for the beginnings of a restore.
#[test]
fn an_unfinished_recovery_is_not_overwritten() {
    runtime().block_on(async {
        let (bytes, _) = backup().await;
        let disk = half_restored(&bytes);
        disk.create_dir_all(&data_dir().join("recovery")).expect("a directory");
        disk.put(&data_dir().join("recovery/0.snap"), b"all that is left");
        let refused = restore_on(&disk, &clock(), Lifetimes::Deadline);
        assert!(matches!(refused, Err(OpenError::NotEmpty(_))), "{refused:?}");
        let mut seeded = options(&disk, &clock());
        seeded.restore_from = Some(what(Lifetimes::Deadline));
        let error = Node::open(seeded).await.err().expect("a refusal");
        assert!(
            matches!(&error, OpenError::Foreign { what, .. } if what.contains("kvorum recover")),
            "{error}"
        );
        assert_eq!(
            disk.content(Path::new("/data/recovery/0.snap")),
            Some(b"all that is left".to_vec()),
            "it is as it was"
        );
    });
}

/// Goal: a backup of a level that the node does not understand is refused before anything is there.
#[test]
fn a_backup_of_a_higher_level_is_refused() {
    runtime().block_on(async {
        let (bytes, _) = backup().await;
        let disk = disk_with(&bytes);
        let mut seeded = options(&disk, &clock());
        seeded.restore_from = Some(what(Lifetimes::Deadline));
        seeded.max_level = Level::FIRST;
        let error = Node::open(seeded).await.err().expect("a refusal");
        assert!(matches!(error, OpenError::LevelTooHigh(_)), "{error}");
        let names = disk.read_dir(data_dir()).expect("a directory");
        assert!(names.iter().all(|name| ["lock", "join.json"].contains(&name.as_str())), "{names:?}");
    });
}
