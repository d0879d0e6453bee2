//! The tables: what may import what, and where each foreign crate lives.

/// A floor of the house: a folder or file directly below src/, and the layers that it may import from.
pub(crate) type Layer = (&'static str, &'static str);

/// From the roof to the ground. A layer imports only from layers below it, and of those only from the ones listed.
pub(crate) const LAYERS: &[Layer] = &[
    ("main", "cli"),
    (
        "lib",
        "cli app config http resp ui grpc service raft store wal history clock model disk auth telemetry shutdown",
    ),
    ("cli", "app config http service raft store wal history clock model disk auth telemetry shutdown"),
    (
        "app",
        "config http resp ui grpc service raft store wal history clock model disk auth telemetry shutdown",
    ),
    ("config", "http resp ui grpc service raft store wal history model disk auth telemetry shutdown"),
    // Front-ends translate between a protocol and the service, and do not know each other.
    ("http", "service clock model auth telemetry shutdown"),
    ("resp", "service clock model auth telemetry shutdown"),
    ("ui", "service clock model auth telemetry shutdown"),
    ("grpc", "service clock model auth telemetry shutdown"),
    ("service", "raft history clock model auth telemetry shutdown"),
    ("raft", "store wal clock model disk telemetry shutdown"),
    // The deterministic core: values in, outcomes out.
    ("store", "model"),
    // Bytes and indexes: neither raft nor commands.
    ("wal", "clock disk telemetry"),
    ("history", "clock model disk telemetry"),
    ("clock", "model"),
    ("model", ""),
    ("disk", ""),
    ("auth", ""),
    ("telemetry", "shutdown"),
    ("shutdown", ""),
];

/// Whether the table lets one layer import from another.
pub(crate) fn may_import(from: &str, to: &str) -> bool {
    LAYERS.iter().any(|(name, list)| *name == from && list.split_whitespace().any(|other| other == to))
}

/// Protocol front-ends: no pair of them may stand in an import.
pub(crate) const FRONT_ENDS: [&str; 4] = ["http", "resp", "ui", "grpc"];

/// A foreign crate and the places below src/ that may name it: `raft/` is a folder, `clock.rs` a file.
pub(crate) struct Home {
    pub(crate) name: &'static str,
    pub(crate) places: &'static [&'static str],
}

/// Every dependency has a row. Crates of later issues have theirs already.
pub(crate) const HOMES: &[Home] = &[
    Home { name: "anyhow", places: &["cli/", "main.rs"] },
    Home { name: "argon2", places: &["auth/"] },
    Home { name: "axum", places: &[] },
    Home { name: "base64", places: &["http/"] },
    Home { name: "bytes", places: ANYWHERE },
    Home { name: "clap", places: &["cli/"] },
    Home { name: "clap_complete", places: &["cli/"] },
    Home { name: "clap_mangen", places: &["cli/"] },
    Home { name: "config", places: &["config/"] },
    Home { name: "crc32c", places: &["wal/", "raft/"] },
    Home { name: "futures_util", places: ANYWHERE },
    Home { name: "getrandom", places: &["app.rs", "auth/", "cli/", "raft/", "service/", "wal/"] },
    Home { name: "hdrhistogram", places: &["cli/"] },
    Home { name: "http_body_util", places: &["http/"] },
    Home { name: "httparse", places: &["cli/"] },
    Home { name: "hyper", places: &["http/"] },
    Home { name: "hyper_util", places: &["http/", "raft/peer/"] },
    Home { name: "indicatif", places: &["cli/"] },
    Home { name: "lz4_flex", places: &["raft/"] },
    Home { name: "mimalloc", places: &["main.rs"] },
    Home { name: "openraft", places: &["raft/"] },
    Home { name: "opentelemetry", places: &["telemetry/"] },
    Home { name: "opentelemetry_http", places: &["telemetry/"] },
    Home { name: "opentelemetry_otlp", places: &["telemetry/"] },
    Home { name: "opentelemetry_prometheus", places: &["telemetry/"] },
    Home { name: "opentelemetry_sdk", places: &["telemetry/"] },
    Home { name: "parking_lot", places: ANYWHERE },
    Home { name: "poem", places: &["http/", "ui/"] },
    Home { name: "poem_openapi", places: &["http/", "ui/"] },
    Home { name: "prometheus", places: &["telemetry/"] },
    Home { name: "prost", places: &["raft/peer/", "grpc/"] },
    Home { name: "rmp", places: &["model/", "raft/"] },
    Home { name: "rmpv", places: &["http/"] },
    Home { name: "rustix", places: &["disk/", "clock.rs", "app.rs"] },
    Home { name: "rustls", places: &["raft/peer/"] },
    Home { name: "serde", places: &["cli/", "config/", "history/", "http/", "raft/", "ui/"] },
    Home { name: "serde_json", places: &["cli/", "history/", "http/", "raft/", "ui/"] },
    Home { name: "sha2", places: &["auth/", "http/"] },
    Home { name: "siphasher", places: &["store/"] },
    Home { name: "sled", places: &["history/"] },
    Home { name: "strsim", places: &["config/"] },
    Home { name: "thiserror", places: ANYWHERE },
    Home { name: "tokio", places: ANYWHERE },
    Home { name: "tokio_rustls", places: &["raft/peer/"] },
    Home { name: "tokio_stream", places: ANYWHERE },
    Home { name: "tokio_util", places: ANYWHERE },
    Home { name: "tonic", places: &["raft/peer/", "grpc/"] },
    Home { name: "tonic_prost", places: &["raft/peer/", "grpc/"] },
    Home { name: "tracing", places: ANYWHERE },
    Home { name: "tracing_opentelemetry", places: &["telemetry/"] },
    Home { name: "tracing_subscriber", places: &["telemetry/"] },
    Home { name: "ureq", places: &["cli/"] },
    Home { name: "x509_cert", places: &["raft/peer/"] },
    Home { name: "xxhash_rust", places: &["store/", "raft/", "wal/"] },
];

/// Everywhere but in the deterministic core, which [`NOT_IN_CORE`] guards.
pub(crate) const ANYWHERE: &[&str] = &[""];

/// A path that only the given places below src/ may name, and what to use instead.
pub(crate) struct Place {
    pub(crate) path: &'static [&'static str],
    pub(crate) places: &'static [&'static str],
    pub(crate) instead: &'static str,
}

/// A path matches if, imports resolved, it holds these segments next to each other or is the end of them (which a glob
/// import leaves: `Instant::now`). The time of tokio's timers is no wall time and may be read anywhere.
pub(crate) const PLACES: &[Place] = &[
    Place { path: &["std", "fs"], places: &["disk/"], instead: "`disk::Disk`" },
    Place { path: &["tokio", "fs"], places: &[], instead: "`disk::Disk`" },
    Place { path: &["std", "os", "unix", "fs"], places: &["disk/"], instead: "`disk::Disk`" },
    Place { path: &["std", "time", "SystemTime", "now"], places: &["clock.rs"], instead: "`clock::Clock`" },
    Place { path: &["std", "time", "Instant", "now"], places: &["clock.rs"], instead: "`clock::Clock`" },
    Place {
        path: &["std", "process", "exit"],
        places: &["main.rs"],
        instead: "an exit code returned to main.rs",
    },
    Place {
        path: &["std", "process", "abort"],
        places: &["main.rs"],
        instead: "an exit code returned to main.rs",
    },
    Place { path: &["std", "thread", "sleep"], places: &[], instead: "a condition with a deadline" },
];

/// The layers whose result may depend on nothing but their arguments.
pub(crate) const CORE: [&str; 2] = ["store", "model"];

/// Paths that the core may not name: no I/O, clock, async, locks, randomness, logs.
pub(crate) const NOT_IN_CORE: &[&[&str]] = &[
    &["std", "env"],
    &["std", "fs"],
    &["std", "net"],
    &["std", "process"],
    &["std", "sync", "Barrier"],
    &["std", "sync", "Condvar"],
    &["std", "sync", "LazyLock"],
    &["std", "sync", "Mutex"],
    &["std", "sync", "OnceLock"],
    &["std", "sync", "RwLock"],
    &["std", "sync", "mpsc"],
    &["std", "thread"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["futures_util"],
    &["getrandom"],
    &["parking_lot"],
    &["rand"],
    &["tokio"],
    &["tokio_util"],
    &["tracing"],
];

/// Words that the core may not use, and why.
pub(crate) const WORDS_NOT_IN_CORE: &[(&str, &str)] = &[
    ("async", "the core does not wait"),
    ("await", "the core does not wait"),
    ("HashMap", "its order differs from node to node: use the index or a BTreeMap"),
    ("HashSet", "its order differs from node to node: use a BTreeSet"),
    ("RandomState", "its seed differs from node to node"),
    ("DefaultHasher", "its result may change with the toolchain"),
    ("thread_local", "state belongs to the store"),
];

/// Longest file without its test items, in lines.
pub(crate) const MAX_FILE_LINES: usize = 500;

/// Longest function from `fn` to its closing brace, in lines.
pub(crate) const MAX_FUNCTION_LINES: usize = 70;

#[test]
fn a_layer_imports_only_from_below() {
    for (floor, (layer, list)) in LAYERS.iter().enumerate() {
        for name in list.split_whitespace() {
            let below = LAYERS.iter().skip(floor + 1).any(|(other, _)| *other == name);
            assert!(below, "{layer} may import {name}, which is not below it");
        }
    }
}

#[test]
fn front_ends_do_not_know_each_other() {
    for (a, b) in FRONT_ENDS.iter().flat_map(|a| FRONT_ENDS.map(|b| (a, b))) {
        assert!(LAYERS.iter().any(|(name, _)| name == a), "{a} is no layer");
        assert!(!may_import(a, b), "{a} imports {b}");
    }
}

#[test]
fn homes_are_in_order_and_named_as_in_code() {
    assert!(HOMES.is_sorted_by(|a, b| a.name < b.name), "sort the rows by name");
    assert!(HOMES.iter().all(|home| !home.name.contains('-')), "write the name as Rust does, with `_`");
}
