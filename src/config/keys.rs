//! Every setting there is.

/// One setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Section and key, joined by a dot.
    pub name: &'static str,
    /// The default, as it would stand in the environment.
    pub default: &'static str,
    /// What it does, with unit and range.
    pub doc: &'static str,
    /// Whether it only seeds a new cluster: afterwards it is a replicated setting, and a difference is warned about.
    pub seeds: bool,
    /// Whether its value must not be shown.
    pub secret: bool,
    /// Whether an empty environment variable is a value of this key. For every other key it is as if the variable were not
    /// there: Compose and shells write `NAME=` for what nobody has set.
    pub takes_empty: bool,
}

impl Key {
    /// The environment variable of this setting.
    pub fn variable(&self) -> String {
        format!("KVORUM_{}", self.name.replacen('.', "__", 1).to_uppercase())
    }
}

const fn key(name: &'static str, default: &'static str, doc: &'static str) -> Key {
    Key { name, default, doc, seeds: false, secret: false, takes_empty: false }
}

/// A key with a default that an empty value turns off.
const fn switchable(name: &'static str, default: &'static str, doc: &'static str) -> Key {
    Key { name, default, doc, seeds: false, secret: false, takes_empty: true }
}

const fn seed(name: &'static str, default: &'static str, doc: &'static str) -> Key {
    Key { name, default, doc, seeds: true, secret: false, takes_empty: false }
}

/// All settings, in the order of the README's table. Sizes take a number of bytes or `64MiB`, `1GiB`, ..
pub const KEYS: &[Key] = &[
    key("http.listen", "127.0.0.1:8080", "Address and port of the HTTP API; port 0 takes a free one"),
    key(
        "http.allowed_hosts",
        "",
        "Names with commas, which clients may call the API by (`Host`) beside IP addresses, `localhost` and the node's own names; `*.example.com` stands for every name below it, `*` for every name",
    ),
    key(
        "http.default_consistency",
        "linearizable",
        "Consistency of reads that do not say: `linearizable`, `lease` or `stale`",
    ),
    key("http.request_timeout_ms", "5000", "Time after which a request without an answer fails"),
    key(
        "http.max_connections",
        "10000",
        "Most connections at a time; a further one gets the place of the one that has been idle longest, or waits",
    ),
    key(
        "http.header_timeout_ms",
        "10000",
        "Time from the opening of a connection, or the first byte of a later request, until its head is whole",
    ),
    key(
        "http.body_timeout_ms",
        "10000",
        "Time in which a body must have arrived; each 16 KiB of it that have arrived give it a second more",
    ),
    key(
        "http.idle_timeout_ms",
        "60000",
        "Time after which a connection ends that asks for nothing, or takes nothing of its answer",
    ),
    switchable(
        "ops.listen",
        "127.0.0.1:9100",
        "Address and port where `/healthz` and `/readyz` are answered too, apart from the API; empty: nowhere",
    ),
    key(
        "peer.listen",
        "",
        "Address and port for other members; port 0 takes a free one; empty: nowhere, the node stays alone",
    ),
    key("peer.advertise", "", "Host and port where other members reach this one; empty: as `peer.listen`"),
    key(
        "peer.tls_cert_file",
        "",
        "Certificate of this node for TLS among members, as PEM, with those between it and the authority; its name is the host of `peer.advertise`",
    ),
    key("peer.tls_key_file", "", "Key of that certificate, as PEM"),
    key(
        "peer.tls_ca_file",
        "",
        "Authorities that certificates of members come from, as PEM; with all three set, members talk by TLS only",
    ),
    key("data.dir", "./data", "Directory of log, snapshots and identity"),
    seed("store.max_bytes", "0", "Most accounted bytes of keys and values; 0 is no limit"),
    seed("store.max_keys", "0", "Most keys; 0 is no limit"),
    seed("store.eviction", "lru", "What makes room: `lru`, `volatile-lru`, `volatile-ttl` or `noeviction`"),
    seed("store.max_value_bytes", "8MiB", "Longest value"),
    key(
        "cluster.seeds",
        "",
        "Hosts and ports of members, with commas: whom a new node asks to get into a cluster, or creates one with if it is one of them",
    ),
    key(
        "cluster.secret_file",
        "",
        "File with the secrets that members share, one a line: the first is sent, all are accepted; needed where `peer.listen` is not loopback",
    ),
    key("cluster.role", "voter", "`voter`, or `learner` for a read replica that never votes"),
    key(
        "cluster.replace_after_s",
        "30",
        "Time for which a member must be silent before a new one of its name takes its place",
    ),
    key(
        "cluster.hand_over_after_s",
        "60",
        "Time for which the disk of a leader must be slow before it hands over to a voter with a fast one; 0: never",
    ),
    key(
        "cluster.max_level",
        "0",
        "Highest level that this node is to understand; 0: all that its version knows",
    ),
    key(
        "cluster.level_auto_raise_after_s",
        "0",
        "Time after which a level that every member understands is raised by itself; 0: never, `kvorum cluster level raise` does it",
    ),
    key(
        "cluster.state_hash_every",
        "4096",
        "Members compare the hashes of their states each time after this many log entries; the same for all of them",
    ),
    seed(
        "cluster.restore_from",
        "",
        "Backup that a new cluster begins with; of several seeds only the one that creates the cluster reads it, and an existing cluster ignores it",
    ),
    seed(
        "cluster.restore_ttl",
        "deadline",
        "When the keys of that backup expire: `deadline`: at the moments at which they would have; `remaining`: each has as long left as when the backup was taken",
    ),
    key(
        "wal.durability",
        "always",
        "`always`: a write is acknowledged when it is on disk; `interval`: synced every `wal.interval_ms`, power loss may lose that much",
    ),
    key("wal.interval_ms", "100", "Time between syncs with `wal.durability = interval`"),
    key("wal.segment_bytes", "64MiB", "Size of a log segment"),
    key("wal.cache_bytes", "16MiB", "Memory for recent log entries"),
    key(
        "wal.keep_bytes",
        "256MiB",
        "Log kept behind the older snapshot, so that a lagging member need not take a snapshot; at most a 16th of the disk",
    ),
    key(
        "snapshot.every_bytes",
        "512MiB",
        "A snapshot is taken after this much log; on a small disk after a 16th of it, or as much as the store holds",
    ),
    key("snapshot.every_entries", "1000000", "A snapshot is taken after this many entries"),
    key("snapshot.every_s", "3600", "A snapshot is taken after this time, if something changed"),
    key(
        "snapshot.side_buffer_bytes",
        "256MiB",
        "Memory for old states while a snapshot is taken; past it the snapshot is given up and tried again",
    ),
    key("raft.heartbeat_ms", "50", "Time between heartbeats of the leader"),
    key(
        "raft.election_min_ms",
        "250",
        "Shortest time without a heartbeat after which a member stands for election",
    ),
    key(
        "raft.election_max_ms",
        "500",
        "Longest time without a heartbeat after which a member stands for election",
    ),
    key("history.sample_s", "10", "Time between two samples of the node's figures, in seconds"),
    key("history.slow_ms", "100", "Requests that take at least this long are noted in the slow log; 0: none"),
    key(
        "lifecycle.wait_s",
        "30",
        "Time for which `kvorum lifecycle pre-stop` waits for the permission to stop before it goes on without",
    ),
    key("shutdown.drain_ms", "500", "Time between turning unready and closing the listeners"),
    key("shutdown.deadline_ms", "25000", "Time from the signal to the end of the process at the latest"),
    key(
        "log.level",
        "info",
        "`error`, `warn`, `info`, `debug` or `trace`, or directives such as `info,kvorum::raft=debug`",
    ),
    key("log.format", "text", "`text` or `json`"),
    key(
        "auth.allow_anonymous",
        "false",
        "Whether a listener may be reachable from other machines without accounts",
    ),
];

/// The setting whose name is most like `name`, if one is like it at all.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let likeness = |key: &Key| {
        let whole = strsim::jaro_winkler(key.name, name);
        // A key without its section, or in the wrong one, is a common slip.
        let last = |name: &str| name.rsplit('.').next().map(str::to_owned).unwrap_or_default();
        let part = strsim::jaro_winkler(&last(key.name), &last(name)) * 0.95;
        whole.max(part)
    };
    // Of equals the one that stands first in the table, which `max_by` would pass over.
    let best = KEYS.iter().rev().map(|key| (likeness(key), key.name)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(likeness, _)| *likeness > 0.75).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_the_key_that_was_meant() {
        let cases = [
            ("http.lisen", Some("http.listen")),
            ("store.maxbytes", Some("store.max_bytes")),
            ("max_bytes", Some("store.max_bytes")),
            ("wal.durabilty", Some("wal.durability")),
            ("store.heartbeat_ms", Some("raft.heartbeat_ms")),
            ("xyzzy.q", None),
        ];
        for (name, meant) in cases {
            assert_eq!(nearest(name), meant, "{name}");
        }
    }

    #[test]
    fn variables_join_section_and_key() {
        let key = KEYS.iter().find(|key| key.name == "wal.segment_bytes").expect("a known key");
        assert_eq!(key.variable(), "KVORUM_WAL__SEGMENT_BYTES");
    }
}
