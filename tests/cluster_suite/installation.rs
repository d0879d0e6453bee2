//! Goal: a node that is killed at any moment of taking in a snapshot comes back, and catches up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::harness::{Cluster, leader_of, one_history, settled};
use super::load::{Load, nothing_is_lost};
use super::shim::{self, SlowDisk};
use crate::node::{Node, PATIENCE, eventually, wait};

/// How often it is killed.
const KILLS: u64 = 20;

/// After so many of them it is let come back, and looked at.
const LOOK_AFTER: u64 = 5;

/// Kills that must have struck while a snapshot arrived, was made whole, or had just arrived.
const ENOUGH: u64 = 8;

/// Keys, and bytes of each of their values, which do not compress: so long is the snapshot.
const KEYS: u64 = 96;
const VALUE_BYTES: usize = 64 << 10;

/// How long its syncs take, so that every step on the disk has a length in which it can be killed.
const SYNC: Duration = Duration::from_millis(15);

/// Numbers that are always the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // A linear congruential generator; the upper bits are good enough.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 32
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

/// When it is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So long after its start.
    After(Duration),
    /// When so many bytes of the snapshot have arrived.
    Arrived(u64),
    /// So long after the snapshot has got its name: while it is loaded and put in place of the store.
    Named(Duration),
}

/// What a folder of snapshots holds.
#[derive(Default)]
struct Folder {
    /// Bytes under a temporary name.
    arriving: Option<u64>,
    named: Vec<String>,
}

impl Folder {
    fn look(path: &Path) -> Folder {
        let mut folder = Folder::default();
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".snap") {
                folder.named.push(name);
            } else if let Ok(found) = entry.metadata() {
                folder.arriving = Some(found.len());
            }
        }
        folder.named.sort_unstable();
        folder
    }
}

/// A node that will be killed before it is ready.
struct Doomed {
    child: Child,
    /// Where what it says goes.
    log: PathBuf,
    snapshots: PathBuf,
}

impl Doomed {
    /// Kills it at this moment. Says whether that was in the middle of something, and whether it has a new snapshot.
    fn kill_at(mut self, moment: Moment) -> (bool, bool) {
        let before = Folder::look(&self.snapshots);
        let (begun, mut named) = (Instant::now(), None);
        let (_sender, ticks) = mpsc::channel::<()>();
        let now = loop {
            let now = Folder::look(&self.snapshots);
            if named.is_none() && now.named.iter().any(|name| !before.named.contains(name)) {
                named = Some(Instant::now());
            }
            let is_reached = match moment {
                Moment::After(delay) => begun.elapsed() >= delay,
                Moment::Arrived(bytes) => named.is_some() || now.arriving.is_some_and(|at| at >= bytes),
                Moment::Named(delay) => named.is_some_and(|at| at.elapsed() >= delay),
            };
            if is_reached {
                break now;
            }
            assert!(begun.elapsed() < PATIENCE, "{moment:?} did not come: {}", self.said());
            let ended = self.child.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "it ended by itself with {ended:?}: {}", self.said());
            let _ = ticks.recv_timeout(Duration::from_micros(500));
        };
        self.child.kill().expect("it can be killed");
        wait(&mut self.child);
        let has_new = Folder::look(&self.snapshots).named.iter().any(|name| !before.named.contains(name));
        (now.arriving.is_some() || named.is_some(), has_new)
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A cluster of which one member is away.
struct Away {
    places: Cluster,
    away: usize,
    disk: SlowDisk,
    /// Those that are not.
    nodes: Vec<Node>,
}

impl Away {
    /// Three nodes with a few megabytes, then two.
    fn begin() -> Away {
        let places = Cluster::of(3, 3).with("wal.keep_bytes", "0").with("cluster.state_hash_every", "10");
        let mut nodes = places.start_all();
        settled(&nodes[0], 3, 3);
        let mut random = Random(7);
        let mut connection = nodes[0].connect();
        for n in 0..KEYS {
            let value: Vec<u8> =
                (0..VALUE_BYTES / 4).flat_map(|_| (random.next() as u32).to_le_bytes()).collect();
            let path = format!("/v1/kv/large-{n}");
            // A busy machine may elect another leader meanwhile.
            let is_written = || (connection.send("PUT", &path, &[], &value).status < 300).then_some(());
            eventually("it is written", is_written);
        }
        let away = (leader_of(&nodes) + 1) % 3;
        nodes.remove(away).kill();
        leader_of(&nodes);
        let disk = SlowDisk::at(places.directory_of("disk"));
        disk.take(SYNC);
        Away { places, away, disk, nodes }
    }

    /// Makes whoever may lead forget the log that the one that is away has not got. Returns how long the snapshot is.
    fn forget(&self) -> u64 {
        let mut bytes = 0;
        for node in self.nodes.iter().flat_map(|node| [node; 2]) {
            let done = node.send("POST", "/v1/admin/compact", &[], b"");
            assert_eq!(done.status, 200, "{done:?}");
            bytes = done.json()["snapshot_bytes"].as_u64().expect("a length");
        }
        bytes
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        shim::variables(Some(&self.disk), &[])
    }

    /// Starts the one that is away, to be killed.
    fn doom(&self) -> Doomed {
        let log = self.places.directory_of("doomed.log");
        let file = fs::File::create(&log).expect("a file");
        let mut command = self.places.command(self.away);
        command.envs(self.variables()).stderr(Stdio::from(file));
        let child = command.spawn().expect("the program runs");
        Doomed { child, log, snapshots: self.places.path(self.away).join("snapshots") }
    }

    /// Starts the one that is away and waits until it serves.
    fn back(&self) -> Node {
        let back = self.places.try_begin_with(self.away, &self.variables());
        back.join().expect("no panic").expect("it comes back after every kill")
    }
}

#[test]
fn a_node_that_is_killed_while_it_takes_in_a_snapshot_catches_up() {
    let mut cluster = Away::begin();
    let load = Load::on(&cluster.nodes.iter().collect::<Vec<_>>());
    load.goes_on(50);
    let mut bytes = cluster.forget();
    let begun = Instant::now();
    let mut back = cluster.back();
    back.wait_for("a snapshot was installed");
    let whole = u64::try_from(begun.elapsed().as_micros()).expect("a short time");
    back.kill();
    let (mut random, mut struck, mut is_near) = (Random(1), 0, true);
    for kill in 1..=KILLS {
        load.goes_on(20);
        // Who has got nothing since still needs a snapshot.
        if is_near {
            bytes = cluster.forget();
        }
        let moment = match kill % 4 {
            0 | 1 => Moment::After(Duration::from_micros(random.below(whole + whole / 8))),
            2 => Moment::Arrived(random.below(bytes)),
            _ => Moment::Named(Duration::from_micros(random.below(whole / 4))),
        };
        let (is_hit, has_new) = cluster.doom().kill_at(moment);
        struck += u64::from(is_hit);
        is_near = has_new || kill % LOOK_AFTER == 0;
        if kill % LOOK_AFTER == 0 {
            let back = cluster.back();
            settled(&back, 3, 3);
            assert_eq!(back.get("/v1/kv/large-0?consistency=stale").body.len(), VALUE_BYTES);
            back.kill();
        }
    }
    assert!(struck >= ENOUGH, "{struck} of {KILLS} kills struck while a snapshot arrived");
    let back = cluster.back();
    settled(&back, 3, 3);
    let told = load.stop();
    assert_eq!(told.failed, Vec::<String>::new(), "of {} writes", told.acknowledged.len());
    nothing_is_lost(&back, &told);
    cluster.nodes.push(back);
    one_history(&cluster.nodes);
}
