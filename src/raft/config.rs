//! Settings of the raft floor.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::TlsFiles;
use super::address::check_address;
use super::members::FOUNDERS_MAX;

/// How raft keeps time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Milliseconds between two heartbeats of a leader.
    pub heartbeat_ms: u64,
    /// Shortest time without a heartbeat after which a follower stands for election, in milliseconds.
    pub election_min_ms: u64,
    /// Longest such time; also how long a leader's lease lasts.
    pub election_max_ms: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config { heartbeat_ms: 50, election_min_ms: 250, election_max_ms: 500 }
    }
}

impl Config {
    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), String> {
        if self.heartbeat_ms == 0 {
            return Err("raft.heartbeat_ms must be at least 1".into());
        }
        if self.election_min_ms < 2 * self.heartbeat_ms {
            return Err("raft.election_min_ms must be at least twice raft.heartbeat_ms".into());
        }
        if self.election_max_ms <= self.election_min_ms {
            return Err("raft.election_max_ms must be larger than raft.election_min_ms".into());
        }
        Ok(())
    }
}

/// How a node meets others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// Where it listens to other members; `None`: it stays alone.
    pub listen: Option<SocketAddr>,
    /// Where they reach it: host and port; `None`: where it listens.
    pub advertise: Option<String>,
    /// Whom a new node asks: hosts and ports.
    pub seeds: Vec<String>,
    /// The secrets that members share.
    pub secret_file: Option<PathBuf>,
    /// With which certificates members talk to one another by TLS; `None`: they talk in the clear.
    pub tls: Option<TlsFiles>,
    /// It is never to vote.
    pub learner: bool,
    /// How long a member must be silent before a new one of its name takes its place.
    pub replace_after: Duration,
    /// After how long a level that every member understands is raised by itself, if ever.
    pub level_auto_raise_after: Option<Duration>,
    /// For how long the disk of a leader must be slow before it hands over to a voter with a fast one, if it ever does.
    pub hand_over_after: Option<Duration>,
}

impl Default for PeerConfig {
    fn default() -> PeerConfig {
        PeerConfig {
            listen: None,
            advertise: None,
            seeds: Vec::new(),
            secret_file: None,
            tls: None,
            learner: false,
            replace_after: Duration::from_secs(30),
            level_auto_raise_after: None,
            hand_over_after: Some(Duration::from_secs(60)),
        }
    }
}

impl PeerConfig {
    /// Whether it knows somebody who could admit it to a cluster.
    pub(super) fn has_others(&self) -> bool {
        let own = self.advertise.clone().or(self.listen.map(|address| address.to_string()));
        self.listen.is_some() && self.seeds.iter().any(|seed| Some(seed) != own.as_ref())
    }

    /// Says which setting is wrong, and why.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        for (at, seed) in self.seeds.iter().enumerate() {
            check_address(seed).map_err(|what| ("cluster.seeds", format!("{seed} {what}")))?;
            // A new cluster is created by a quorum of its seeds: a slip must not make it smaller than it looks.
            if self.seeds.iter().take(at).any(|other| other.eq_ignore_ascii_case(seed)) {
                return Err(("cluster.seeds", format!("{seed} stands there twice")));
            }
        }
        if self.seeds.len() as u64 > FOUNDERS_MAX {
            return Err(("cluster.seeds", format!("at most {FOUNDERS_MAX} seeds are possible")));
        }
        if let Some(advertise) = &self.advertise {
            check_address(advertise).map_err(|what| ("peer.advertise", format!("{advertise} {what}")))?;
        }
        let Some(listen) = self.listen else {
            return match self.seeds.is_empty() && !self.learner {
                true => Ok(()),
                false => {
                    Err(("peer.listen", "a node that is to be one of several must listen to them".into()))
                }
            };
        };
        // `::ffff:127.0.0.1` is 127.0.0.1.
        if !listen.ip().to_canonical().is_loopback() && self.secret_file.is_none() && self.tls.is_none() {
            let reason = format!(
                "{listen} can be reached from other machines: cluster.secret_file or peer.tls_* must be set"
            );
            return Err(("peer.listen", reason));
        }
        if listen.ip().is_unspecified() && self.advertise.is_none() {
            return Err(("peer.advertise", format!("{listen} is no address where others reach this node")));
        }
        Ok(())
    }
}

/// When snapshots are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotConfig {
    /// After this many bytes of log.
    pub every_bytes: u64,
    /// After this many entries of log.
    pub every_entries: u64,
    /// After this many seconds, if anything changed.
    pub every_s: u64,
    /// Bytes of old states kept for a snapshot under way; past it the snapshot is given up and tried again.
    pub side_buffer_bytes: u64,
}

impl Default for SnapshotConfig {
    fn default() -> SnapshotConfig {
        SnapshotConfig {
            every_bytes: 512 << 20,
            every_entries: 1_000_000,
            every_s: 3_600,
            side_buffer_bytes: 256 << 20,
        }
    }
}

impl SnapshotConfig {
    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), String> {
        let named = [
            ("snapshot.every_bytes", self.every_bytes),
            ("snapshot.every_entries", self.every_entries),
            ("snapshot.every_s", self.every_s),
            ("snapshot.side_buffer_bytes", self.side_buffer_bytes),
        ];
        match named.into_iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(format!("{name} must be at least 1")),
            None => Ok(()),
        }
    }
}

/// How openraft is set up. The reasons of its values stand beside them.
pub(super) fn openraft(config: &Config) -> openraft::Config {
    openraft::Config {
        cluster_name: "kvorum".into(),
        heartbeat_interval: config.heartbeat_ms,
        election_timeout_min: config.election_min_ms,
        election_timeout_max: config.election_max_ms,
        enable_pre_vote: Some(true),
        // Beyond the lease (election_max) and an election, so that a healthy leader is never probed.
        quorum_loss_probe_interval: Some(2 * config.election_max_ms),
        // A restarted leader must be elected anew: its state is what it can prove from disk.
        enable_leader_restore: Some(false),
        max_payload_entries: 64,
        // Snapshots and purging are triggered by `snapshots` and `compaction`.
        snapshot_policy: openraft::SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        purge_batch_size: 1_024,
        replication_lag_threshold: 200_000,
        // The time in which a whole snapshot must be sent.
        install_snapshot_timeout: 600_000,
        api_channel_size: Some(4_096),
        // A full channel to the state machine stops the core, heartbeats and votes included.
        state_machine_channel_size: Some(4_096),
        ..openraft::Config::default()
    }
}
