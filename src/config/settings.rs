//! The configuration as the layers take it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::raw::Raw;
use super::size::Size;
use crate::model::limits::MAX_VALUE_BYTES;
use crate::model::{Level, Settings};
use crate::service::Consistencies;
use crate::{history, http, raft, service, shutdown, telemetry, wal};

/// Longest wait for the permission to stop. No orchestrator waits for a hook that long.
const MAX_LIFECYCLE_WAIT: Duration = Duration::from_secs(86_400);

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// The HTTP listener.
    pub http: http::Config,
    /// How requests are served.
    pub service: service::Config,
    /// Directory of log, snapshots and identity.
    pub data_dir: PathBuf,
    /// The replicated settings that a new cluster begins with.
    pub seed: Settings,
    /// How the node meets others.
    pub peer: raft::PeerConfig,
    /// The highest level that the node is to understand.
    pub max_level: Level,
    /// After how many entries the hash of the state is compared among members.
    pub state_hash_every: u64,
    /// The backup that a new cluster begins with, if with any.
    pub restore_from: Option<raft::Restore>,
    /// The log on disk.
    pub wal: wal::Config,
    /// Bytes of log kept behind the older snapshot.
    pub wal_keep_bytes: u64,
    /// When snapshots are taken.
    pub snapshot: raft::SnapshotConfig,
    /// Agreement on the log.
    pub raft: raft::Config,
    /// How the node's own history is kept.
    pub history: history::Config,
    /// How long the permission to stop is waited for.
    pub lifecycle_wait: Duration,
    /// How the process ends.
    pub shutdown: shutdown::Config,
    /// What the process says.
    pub telemetry: telemetry::Config,
    /// Whether a listener may be reachable from other machines without accounts.
    pub allow_anonymous: bool,
}

/// What is wrong, and with which key, if it is one alone.
#[derive(Debug)]
pub(super) struct Invalid {
    pub(super) key: Option<&'static str>,
    pub(super) reason: String,
}

impl From<String> for Invalid {
    fn from(reason: String) -> Invalid {
        Invalid { key: None, reason }
    }
}

fn invalid(key: &'static str, reason: impl Into<String>) -> Invalid {
    Invalid { key: Some(key), reason: reason.into() }
}

impl Config {
    /// Converts and checks what was written.
    pub(super) fn from_raw(raw: Raw) -> Result<Config, Invalid> {
        let config = Config {
            http: http_of(&raw.http, &raw.ops, &raw.peer.advertise)?,
            service: service::Config { request_timeout: Duration::from_millis(raw.http.request_timeout_ms) },
            data_dir: data_dir_of(&raw)?,
            seed: seed_of(&raw.store)?,
            peer: peer_of(&raw.peer, &raw.cluster)?,
            max_level: max_level_of(raw.cluster.max_level)?,
            state_hash_every: raw.cluster.state_hash_every,
            restore_from: restore_from_of(raw.cluster)?,
            wal: wal_of(&raw.wal)?,
            wal_keep_bytes: raw.wal.keep_bytes.0,
            snapshot: raft::SnapshotConfig {
                every_bytes: raw.snapshot.every_bytes.0,
                every_entries: raw.snapshot.every_entries,
                every_s: raw.snapshot.every_s,
                side_buffer_bytes: raw.snapshot.side_buffer_bytes.0,
            },
            raft: raft::Config {
                heartbeat_ms: raw.raft.heartbeat_ms,
                election_min_ms: raw.raft.election_min_ms,
                election_max_ms: raw.raft.election_max_ms,
            },
            history: history::Config {
                sample: Duration::from_secs(raw.history.sample_s),
                slow: Duration::from_millis(raw.history.slow_ms),
            },
            lifecycle_wait: Duration::from_secs(raw.lifecycle.wait_s),
            shutdown: shutdown::Config {
                drain: Duration::from_millis(raw.shutdown.drain_ms),
                deadline: Duration::from_millis(raw.shutdown.deadline_ms),
            },
            telemetry: telemetry::Config {
                level: raw.log.level,
                format: telemetry::Format::from_str(&raw.log.format).map_err(|e| invalid("log.format", e))?,
            },
            allow_anonymous: raw.auth.allow_anonymous,
        };
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.http.validate()?;
        self.service.validate()?;
        self.wal.validate().map_err(|error| error.to_string())?;
        self.snapshot.validate()?;
        self.raft.validate()?;
        self.history.validate()?;
        self.shutdown.validate()?;
        if self.lifecycle_wait > MAX_LIFECYCLE_WAIT {
            let most = MAX_LIFECYCLE_WAIT.as_secs();
            return Err(invalid("lifecycle.wait_s", format!("0 to {most} seconds are possible")));
        }
        if self.state_hash_every == 0 {
            return Err(invalid("cluster.state_hash_every", "it must be at least 1"));
        }
        self.telemetry.validate().map_err(|reason| invalid("log.level", reason))?;
        // `::ffff:127.0.0.1` is 127.0.0.1.
        if !self.http.listen.ip().to_canonical().is_loopback() && !self.allow_anonymous {
            return Err(invalid(
                "http.listen",
                format!(
                    "{} can be reached from other machines, and there are no accounts; \
                     listen on 127.0.0.1, or say auth.allow_anonymous = true if that is what you want",
                    self.http.listen
                ),
            ));
        }
        Ok(())
    }
}

fn address_of(key: &'static str, text: &str) -> Result<SocketAddr, Invalid> {
    SocketAddr::from_str(text).map_err(|_| {
        invalid(key, "an IP address and a port are wanted, such as 127.0.0.1:8080 or [::1]:8080")
    })
}

fn http_of(raw: &super::raw::Http, ops: &super::raw::Ops, advertise: &str) -> Result<http::Config, Invalid> {
    let listen = address_of("http.listen", &raw.listen)?;
    let ops_listen = if ops.listen.is_empty() { None } else { Some(address_of("ops.listen", &ops.listen)?) };
    let default_consistency = Consistencies::named(&raw.default_consistency)
        .ok_or_else(|| invalid("http.default_consistency", "linearizable, lease or stale is wanted"))?;
    let mut hosts = http::Hosts::parse(&raw.allowed_hosts).map_err(|entry| {
        invalid(
            "http.allowed_hosts",
            format!("{entry:?} is no name, such as kv.example.com or *.example.com"),
        )
    })?;
    // The name by which other members know this one; an address needs no place in the list.
    hosts.add(advertise.rsplit_once(':').map_or("", |(host, _)| host));
    let max_connections = usize::try_from(raw.max_connections).unwrap_or(usize::MAX);
    Ok(http::Config {
        listen,
        hosts,
        ops_listen,
        default_consistency,
        max_connections,
        header_timeout: Duration::from_millis(raw.header_timeout_ms),
        body_timeout: Duration::from_millis(raw.body_timeout_ms),
        idle_timeout: Duration::from_millis(raw.idle_timeout_ms),
    })
}

fn data_dir_of(raw: &Raw) -> Result<PathBuf, Invalid> {
    if raw.data.dir.is_empty() {
        return Err(invalid("data.dir", "a directory is wanted"));
    }
    Ok(PathBuf::from(&raw.data.dir))
}

fn seed_of(raw: &super::raw::Store) -> Result<Settings, Invalid> {
    let Size(max_value_bytes) = raw.max_value_bytes;
    if max_value_bytes == 0 || max_value_bytes > MAX_VALUE_BYTES {
        return Err(invalid("store.max_value_bytes", format!("1 to {MAX_VALUE_BYTES} bytes are possible")));
    }
    Ok(Settings {
        max_bytes: raw.max_bytes.0,
        max_keys: raw.max_keys,
        eviction: raw.eviction.parse().map_err(|error| invalid("store.eviction", format!("{error}")))?,
        max_value_bytes,
        voters: 0,
    })
}

fn peer_of(peer: &super::raw::Peer, cluster: &super::raw::Cluster) -> Result<raft::PeerConfig, Invalid> {
    let listen = if peer.listen.is_empty() { None } else { Some(address_of("peer.listen", &peer.listen)?) };
    let seeds = cluster.seeds.split(',').map(str::trim).filter(|seed| !seed.is_empty()).map(str::to_owned);
    let learner = match cluster.role.as_str() {
        "voter" => false,
        "learner" => true,
        _ => return Err(invalid("cluster.role", "voter or learner is wanted")),
    };
    let secret_file = Some(PathBuf::from(&cluster.secret_file)).filter(|file| !file.as_os_str().is_empty());
    let config = raft::PeerConfig {
        listen,
        advertise: Some(peer.advertise.clone()).filter(|advertise| !advertise.is_empty()),
        seeds: seeds.collect(),
        secret_file,
        tls: tls_of(peer)?,
        learner,
        replace_after: Duration::from_secs(cluster.replace_after_s),
        hand_over_after: Some(cluster.hand_over_after_s)
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs),
        level_auto_raise_after: Some(cluster.level_auto_raise_after_s)
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs),
    };
    config.validate().map_err(|(key, reason)| invalid(key, reason))?;
    Ok(config)
}

fn tls_of(peer: &super::raw::Peer) -> Result<Option<raft::TlsFiles>, Invalid> {
    let [cert, key, ca] = [&peer.tls_cert_file, &peer.tls_key_file, &peer.tls_ca_file].map(PathBuf::from);
    let are_set = [&cert, &key, &ca].map(|file| !file.as_os_str().is_empty());
    match are_set {
        [true, true, true] => Ok(Some(raft::TlsFiles { cert, key, ca })),
        [false, false, false] => Ok(None),
        _ => Err(invalid(
            "peer.tls_cert_file",
            "certificate, key and authorities (peer.tls_*) belong together",
        )),
    }
}

fn max_level_of(level: u64) -> Result<Level, Invalid> {
    let known = u16::try_from(level).ok().map(Level).filter(|level| *level <= Level::LATEST);
    match known {
        Some(Level(0)) => Ok(Level::LATEST),
        Some(level) => Ok(level),
        None => {
            Err(invalid("cluster.max_level", format!("this version knows levels up to {}", Level::LATEST)))
        }
    }
}

fn restore_from_of(raw: super::raw::Cluster) -> Result<Option<raft::Restore>, Invalid> {
    let lifetimes = raft::Lifetimes::named(&raw.restore_ttl)
        .ok_or_else(|| invalid("cluster.restore_ttl", "deadline or remaining is wanted"))?;
    let file = PathBuf::from(raw.restore_from);
    Ok((!file.as_os_str().is_empty()).then_some(raft::Restore { file, lifetimes }))
}

fn wal_of(raw: &super::raw::Wal) -> Result<wal::Config, Invalid> {
    let durability = match raw.durability.as_str() {
        "always" => wal::Durability::Always,
        "interval" => wal::Durability::Interval,
        _ => return Err(invalid("wal.durability", "always or interval is wanted")),
    };
    Ok(wal::Config {
        segment_bytes: raw.segment_bytes.0,
        durability,
        interval: Duration::from_millis(raw.interval_ms),
        cache_bytes: usize::try_from(raw.cache_bytes.0).unwrap_or(usize::MAX),
    })
}
