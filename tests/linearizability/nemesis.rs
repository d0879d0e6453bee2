//! A cluster of real nodes, and what is done to it while clients work.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::client::Addresses;
use super::register::Random;
use crate::node::ports::free_port;
use crate::node::{Node, eventually};

/// Settings that make much happen in little time: an election takes about as long as a request may, and who was away for
/// a few seconds finds no log any more but a snapshot.
const SETTINGS: [(&str, &str); 4] = [
    ("http.request_timeout_ms", "800"),
    ("wal.segment_bytes", "8KiB"),
    ("wal.keep_bytes", "0"),
    ("snapshot.every_entries", "20"),
];

/// What is done to the cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The leader is killed, and started again after a while.
    KillLeader(Duration),
    /// The same with another node.
    KillFollower(Duration),
    /// A follower is killed, and away until the log that it needs is gone.
    LeaveBehind,
    /// The leader is stopped as a debugger would, and goes on after a while.
    StopLeader(Duration),
    /// The same with another node.
    StopFollower(Duration),
    /// The leader is asked to end, and started again.
    EndLeader(Duration),
    /// All are killed at once, and started again.
    KillAll,
    /// Whoever leads is stopped for about as long as it takes to elect another one, again and again.
    Flap,
    /// The leader is stopped; a follower is killed and started again meanwhile.
    StopLeaderKillFollower(Duration),
}

impl Fault {
    pub(crate) fn random(random: &mut Random) -> Fault {
        let short = Duration::from_millis(50 + random.below(2_000));
        match random.below(18) {
            0..=2 => Fault::KillLeader(short),
            3 => Fault::KillFollower(short),
            4..=7 => Fault::StopLeader(short),
            8 => Fault::StopFollower(short),
            9 | 10 => Fault::EndLeader(short),
            11 => Fault::KillAll,
            12 | 13 => Fault::Flap,
            14 | 15 => Fault::LeaveBehind,
            _ => Fault::StopLeaderKillFollower(short),
        }
    }
}

/// Three nodes.
pub(crate) struct Cluster {
    directory: TempDir,
    settings: Vec<(&'static str, &'static str)>,
    ports: Vec<u16>,
    nodes: Vec<Option<Node>>,
    /// Where clients find them.
    pub(crate) addresses: Arc<Addresses>,
}

impl Cluster {
    /// Starts three nodes in which much happens in little time, and waits until one leads.
    pub(crate) fn start() -> Cluster {
        Cluster::start_with(&SETTINGS)
    }

    /// Starts three nodes with these settings and waits until one leads.
    pub(crate) fn start_with(settings: &[(&'static str, &'static str)]) -> Cluster {
        let settings = settings.to_vec();
        let ports = (0..3).map(|_| free_port().port()).collect();
        let directory = tempfile::tempdir().expect("a directory");
        let nodes = (0..3).map(|_| None).collect();
        let mut cluster =
            Cluster { directory, settings, ports, nodes, addresses: Arc::new(Mutex::new(vec![None; 3])) };
        cluster.begin(&[0, 1, 2]);
        cluster.leader();
        cluster
    }

    /// Starts these nodes, all at once.
    fn begin(&mut self, which: &[usize]) {
        let starting: Vec<_> = which.iter().map(|n| (*n, self.starting(*n))).collect();
        for (n, starting) in starting {
            let node = starting.join().expect("it starts");
            self.addresses.lock().expect("nobody panics with it")[n] = Some(node.address());
            self.nodes[n] = Some(node);
        }
    }

    fn starting(&self, n: usize) -> std::thread::JoinHandle<Node> {
        let seeds: Vec<_> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let (path, listen, seeds) = (self.path(n), seeds[n].clone(), seeds.join(","));
        let of_cluster = self.settings.clone();
        std::thread::spawn(move || {
            std::fs::create_dir_all(&path).expect("a directory");
            let mut settings: Vec<(&str, &str)> = of_cluster;
            settings.extend([("peer.listen", listen.as_str()), ("cluster.seeds", seeds.as_str())]);
            Node::start_with(&path, &settings)
        })
    }

    fn path(&self, n: usize) -> PathBuf {
        self.directory.path().join(n.to_string())
    }

    /// Takes a node out of the cluster, for clients too.
    fn take(&mut self, n: usize) -> Node {
        self.addresses.lock().expect("nobody panics with it")[n] = None;
        self.nodes[n].take().expect("it runs")
    }

    /// The node that leads, as it says itself.
    fn leader(&self) -> usize {
        eventually("a leader", || {
            let leads = |node: &Node| node.get("/v1/stats").json()["role"] == "leader";
            self.nodes.iter().position(|node| node.as_ref().is_some_and(leads))
        })
    }

    /// Does this to the cluster. All nodes run when it returns.
    pub(crate) fn suffer(&mut self, fault: Fault) {
        let leader = self.leader();
        let follower = (leader + 1) % 3;
        match fault {
            Fault::KillLeader(away) => self.kill(&[leader], away),
            Fault::KillFollower(away) => self.kill(&[follower], away),
            Fault::LeaveBehind => self.kill(&[follower], Duration::from_secs(4)),
            Fault::StopLeader(away) => self.stop(leader, away),
            Fault::StopFollower(away) => self.stop(follower, away),
            Fault::EndLeader(away) => {
                // Clients still go there while it ends.
                let node = self.nodes[leader].take().expect("it runs");
                let ended = node.terminate();
                self.addresses.lock().expect("nobody panics with it")[leader] = None;
                assert_eq!(ended.status, Some(0), "{}", ended.said);
                pause(away);
                self.begin(&[leader]);
            }
            Fault::KillAll => self.kill(&[0, 1, 2], Duration::ZERO),
            Fault::Flap => {
                for n in 0..6 {
                    self.stop(self.leader(), Duration::from_millis(200 + 60 * n));
                }
            }
            Fault::StopLeaderKillFollower(away) => {
                let stopped = self.nodes[leader].take().expect("it runs");
                stopped.signal(Signal::STOP);
                pause(away);
                self.kill(&[follower], Duration::ZERO);
                stopped.signal(Signal::CONT);
                self.nodes[leader] = Some(stopped);
            }
        }
    }

    fn kill(&mut self, which: &[usize], away: Duration) {
        for n in which {
            // Clients learn of it the hard way first.
            self.nodes[*n].as_ref().expect("it runs").signal(Signal::KILL);
        }
        for n in which {
            self.take(*n).kill();
        }
        pause(away);
        self.begin(which);
    }

    fn stop(&self, n: usize, away: Duration) {
        let node = self.nodes[n].as_ref().expect("it runs");
        node.signal(Signal::STOP);
        pause(away);
        node.signal(Signal::CONT);
    }
}

/// Lets time pass: the faults have a length.
pub(crate) fn pause(length: Duration) {
    let end = Instant::now() + length;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}
