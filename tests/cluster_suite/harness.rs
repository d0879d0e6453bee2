//! Nodes that know one another by their ports.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::node::ports::free_port;
use crate::node::{Ended, Node, PROGRAM, eventually, serve};

/// Where some nodes are to be.
pub(crate) struct Cluster {
    directory: TempDir,
    /// Where each of them listens to peers.
    pub(crate) peers: Vec<SocketAddr>,
    /// Who is in the list of seeds of all.
    seeds: Vec<usize>,
    settings: Vec<(String, String)>,
}

impl Drop for Cluster {
    /// Ends the nodes that still wait for others: a test that expects one to wait never gets it in hand.
    fn drop(&mut self) {
        let own = self.directory.path().as_os_str().as_encoded_bytes();
        for process in std::fs::read_dir("/proc").expect("Linux").flatten() {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let id = process.file_name().to_str().and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
            if let Some(id) = id.filter(|_| line.windows(own.len()).any(|part| part == own)) {
                // It may have ended meanwhile.
                let _ = rustix::process::kill_process(id, Signal::KILL);
            }
        }
    }
}

impl Cluster {
    /// Places for `count` nodes, the first `seeds` of which are seeds.
    pub(crate) fn of(count: usize, seeds: usize) -> Cluster {
        let peers = (0..count).map(|_| free_port()).collect();
        let directory = tempfile::tempdir().expect("a directory");
        Cluster { directory, peers, seeds: (0..seeds).collect(), settings: Vec::new() }
    }

    /// With a setting for every node.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Cluster {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The data directory of node `n`.
    pub(crate) fn path(&self, n: usize) -> PathBuf {
        self.directory.path().join(n.to_string())
    }

    /// A directory beside those of the nodes.
    pub(crate) fn directory_of(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts node `n`, which is there when this returns but may still wait for others.
    pub(crate) fn begin(&self, n: usize) -> JoinHandle<Node> {
        let trying = self.try_begin(n, &[]);
        std::thread::spawn(move || trying.join().expect("no panic").expect("the node starts"))
    }

    /// Starts node `n` with further settings; it may refuse.
    pub(crate) fn try_begin(&self, n: usize, further: &[(&str, &str)]) -> JoinHandle<Result<Node, Ended>> {
        self.try_begin_in(self.path(n), self.peers[n], further)
    }

    /// Starts a node elsewhere.
    pub(crate) fn try_begin_in(
        &self,
        path: PathBuf,
        listen: SocketAddr,
        further: &[(&str, &str)],
    ) -> JoinHandle<Result<Node, Ended>> {
        self.try_begin_as(Command::new(PROGRAM), path, listen, further)
    }

    fn try_begin_as(
        &self,
        command: Command,
        path: PathBuf,
        listen: SocketAddr,
        further: &[(&str, &str)],
    ) -> JoinHandle<Result<Node, Ended>> {
        std::fs::create_dir_all(&path).expect("a directory");
        let mut settings = self.settings_at(listen);
        settings.extend(further.iter().map(|(key, value)| ((*key).into(), (*value).into())));
        std::thread::spawn(move || Node::try_start(command, &path, &borrowed(&settings)))
    }

    /// The settings of a node that listens there.
    fn settings_at(&self, listen: SocketAddr) -> Vec<(String, String)> {
        let seeds: Vec<_> = self.seeds.iter().map(|seed| self.peers[*seed].to_string()).collect();
        let mut settings = self.settings.clone();
        settings.push(("peer.listen".into(), listen.to_string()));
        settings.push(("cluster.seeds".into(), seeds.join(",")));
        settings
    }

    /// Node `n`, yet to be started, for tests that do not wait until it serves.
    pub(crate) fn command(&self, n: usize) -> Command {
        self.command_as(Command::new(PROGRAM), n, &[])
    }

    /// As [`Cluster::command`], with further settings. `command` is the program, or something that runs it.
    pub(crate) fn command_as(&self, command: Command, n: usize, further: &[(&str, &str)]) -> Command {
        let mut settings = self.settings_at(self.peers[n]);
        settings.extend(further.iter().map(|(key, value)| ((*key).into(), (*value).into())));
        serve(command, &self.path(n), &borrowed(&settings))
    }

    /// Starts node `n` with further variables of the environment.
    pub(crate) fn try_begin_with(
        &self,
        n: usize,
        variables: &[(&str, impl AsRef<OsStr>)],
    ) -> JoinHandle<Result<Node, Ended>> {
        let mut command = Command::new(PROGRAM);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        self.try_begin_as(command, self.path(n), self.peers[n], &[])
    }

    /// The place that none of `nodes` has.
    pub(crate) fn place_of_missing(&self, nodes: &[Node]) -> usize {
        let is_free = |n: &usize| nodes.iter().all(|node| node.directory() != self.path(*n));
        (0..self.peers.len()).find(is_free).expect("one is missing")
    }

    /// Starts node `n` and waits until it serves.
    pub(crate) fn start(&self, n: usize) -> Node {
        self.begin(n).join().expect("it starts")
    }

    /// Starts all nodes at the same time and waits until they serve.
    pub(crate) fn start_all(&self) -> Vec<Node> {
        let starting: Vec<_> = (0..self.peers.len()).map(|n| self.begin(n)).collect();
        starting.into_iter().map(|node| node.join().expect("it starts")).collect()
    }
}

fn borrowed(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// The cluster as a node tells it.
pub(crate) fn cluster(node: &Node) -> Value {
    node.get("/v1/cluster").json()
}

/// The member of the asked node.
pub(crate) fn id(node: &Node) -> u64 {
    cluster(node)["node"].as_u64().expect("an id")
}

/// The members as a node tells them: id, role, state.
pub(crate) fn members(node: &Node) -> Vec<(u64, String, String)> {
    let cluster = cluster(node);
    let members = cluster["members"].as_array().expect("a list");
    let text = |member: &Value, field: &str| member[field].as_str().unwrap_or_default().to_owned();
    let told = |member: &Value| {
        (member["node"].as_u64().expect("an id"), text(member, "role"), text(member, "state"))
    };
    members.iter().map(told).collect()
}

/// Which of the nodes leads, as it says itself.
pub(crate) fn leader_of(nodes: &[Node]) -> usize {
    eventually("a leader", || nodes.iter().position(|node| cluster(node)["role"] == "leader"))
}

/// Waits until a leader tells that so many members vote and all is well with every member.
pub(crate) fn settled(node: &Node, voters: usize, members_in_all: usize) {
    eventually("all members are well", || {
        let members = members(node);
        let votes = members.iter().filter(|(_, role, _)| role == "leader" || role == "voter").count();
        let well = members.iter().all(|(_, _, state)| state == "ok");
        (cluster(node)["told_by_leader"] == true
            && well
            && votes == voters
            && members.len() == members_in_all)
            .then_some(())
    });
}

/// Has a member removed, whoever leads. A busy machine may make the others look silent for a moment, or another node the
/// leader, so that it is not known whether it was done.
pub(crate) fn removed(node: &Node, id: u64) {
    let mut is_unknown = false;
    eventually("it is removed", || {
        let done = node.client(&["cluster", "remove", &id.to_string()]);
        match done.status.code() {
            Some(0) => Some(()),
            Some(1) if is_unknown => Some(()),
            Some(5) => None,
            Some(6) => {
                is_unknown = true;
                None
            }
            _ => panic!("{done:?}"),
        }
    });
}

/// Writes on one node and reads on all of them.
pub(crate) fn serves(nodes: &[Node], key: &str) {
    for (n, node) in nodes.iter().enumerate() {
        let path = format!("/v1/kv/{key}-{n}");
        let written = node.put(&path, b"v");
        assert!(matches!(written.status, 200 | 201), "written on node {n}: {written:?}");
        for (m, other) in nodes.iter().enumerate() {
            assert_eq!(other.get(&path).status, 200, "written on {n}, read on {m}");
        }
    }
}

/// The term that a node knows.
pub(crate) fn term(node: &Node) -> u64 {
    node.get("/v1/stats").json()["raft"]["term"].as_u64().expect("a term")
}

/// The keys that a node holds, as it sees them by itself.
pub(crate) fn keys(node: &Node) -> BTreeSet<String> {
    let listed = node.client(&["keys", "--consistency", "stale"]);
    assert!(listed.status.success(), "{listed:?}");
    String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
}

/// Waits until all nodes are at the same entry: there they have the same keys, and had the same state where they noted its
/// hash, which they must have done.
pub(crate) fn one_history(nodes: &[Node]) {
    eventually("all are at the same entry", || {
        let before: Vec<_> = nodes.iter().map(cluster).collect();
        let keys: Vec<_> = nodes.iter().map(keys).collect();
        let after: Vec<_> = nodes.iter().map(cluster).collect();
        let at = |told: &Value| told["applied_index"].clone();
        let hashed = |told: &Value| told["state_hash"]["index"].as_u64();
        let same = before.iter().chain(&after).all(|told| at(told) == at(&before[0]))
            && before.iter().all(|told| hashed(told).is_some() && hashed(told) == hashed(&before[0]));
        if same {
            assert!(keys.iter().all(|of_node| *of_node == keys[0]), "{keys:?}");
            let hashes: Vec<_> = before.iter().map(|told| &told["state_hash"]).collect();
            assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
        }
        same.then_some(())
    });
    for node in nodes {
        assert_eq!(cluster(node)["state_hash_mismatches"], 0);
    }
}
