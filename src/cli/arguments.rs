//! What can be said on the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A replicated in-memory key-value store. Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "kvorum", version, args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) settings: Settings,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a node (the default)
    Serve(Settings),
    /// Print the value of a key, byte for byte
    Get(Get),
    /// Write a key
    Set(Set),
    /// Remove keys
    Del(Del),
    /// Print the milliseconds that a key has left, or "none"
    Ttl(Ttl),
    /// Print figures of the node
    Stats(Server),
    /// Take a snapshot and drop the log behind it
    Compact(Server),
    /// Ask whether the node is ready; for container health checks
    Healthcheck(Healthcheck),
    /// Check or show the configuration
    Config(Config),
    /// Print the OpenAPI document of the HTTP API
    Openapi,
    /// Look at the log of a stopped node
    Wal(Wal),
    /// Look at snapshot files
    Snapshot(Snapshot),
}

/// Where settings come from. Each flag stands above the environment, which stands above the file.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Settings {
    /// Configuration file (TOML)
    #[arg(short, long, value_name = "FILE", env = "KVORUM_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// Directory of log and snapshots (data.dir)
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<String>,
    /// Address and port of the HTTP API (http.listen)
    #[arg(long, value_name = "ADDRESS")]
    pub(super) listen: Option<String>,
    /// Any setting, as in --set wal.durability=always; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
}

/// Which server to ask.
#[derive(Args, Clone, Debug)]
pub(super) struct Server {
    /// Where the server is
    #[arg(long, env = "KVORUM_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub(super) url: String,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Consistency {
    /// Holds every write that was acknowledged before
    Linearizable,
    /// The leader trusts its lease
    Lease,
    /// What the asked node has
    Stale,
}

#[derive(Args, Debug)]
pub(super) struct Get {
    /// The key
    pub(super) key: OsString,
    /// How fresh the answer must be
    #[arg(long)]
    pub(super) consistency: Option<Consistency>,
    #[command(flatten)]
    pub(super) server: Server,
}

#[derive(Args, Debug)]
pub(super) struct Set {
    /// The key
    pub(super) key: OsString,
    /// The value, or - to read it from standard input
    #[arg(allow_hyphen_values = true)]
    pub(super) value: OsString,
    /// Time to live in milliseconds
    #[arg(long, value_name = "MS", conflicts_with = "keep_ttl")]
    pub(super) ttl_ms: Option<u64>,
    /// Keep the deadline that the key has
    #[arg(long)]
    pub(super) keep_ttl: bool,
    /// Write only if the key has this version
    #[arg(long, value_name = "VERSION", conflicts_with = "if_absent")]
    pub(super) if_version: Option<u64>,
    /// Write only if the key is absent
    #[arg(long)]
    pub(super) if_absent: bool,
    #[command(flatten)]
    pub(super) server: Server,
}

#[derive(Args, Debug)]
pub(super) struct Del {
    /// The key
    pub(super) key: OsString,
    /// Remove only if the key has this version
    #[arg(long, value_name = "VERSION")]
    pub(super) if_version: Option<u64>,
    #[command(flatten)]
    pub(super) server: Server,
}

#[derive(Args, Debug)]
pub(super) struct Ttl {
    /// The key
    pub(super) key: OsString,
    /// How fresh the answer must be
    #[arg(long)]
    pub(super) consistency: Option<Consistency>,
    #[command(flatten)]
    pub(super) server: Server,
}

#[derive(Args, Debug)]
pub(super) struct Healthcheck {
    /// Ask only whether the process lives
    #[arg(long)]
    pub(super) live: bool,
    #[command(flatten)]
    pub(super) server: Server,
}

#[derive(Args, Debug)]
pub(super) struct Config {
    #[command(subcommand)]
    pub(super) action: ConfigAction,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigAction {
    /// Say whether the configuration can be used
    Check(Settings),
    /// Print every setting, its value and where it stood
    Show(Settings),
}

#[derive(Args, Debug)]
pub(super) struct Wal {
    #[command(subcommand)]
    pub(super) action: WalAction,
}

#[derive(Debug, Subcommand)]
pub(super) enum WalAction {
    /// Print segments and records
    Inspect(Files),
    /// Check every record
    Verify(Files),
}

#[derive(Args, Debug)]
pub(super) struct Snapshot {
    #[command(subcommand)]
    pub(super) action: SnapshotAction,
}

#[derive(Debug, Subcommand)]
pub(super) enum SnapshotAction {
    /// Check a whole snapshot file
    Verify(Files),
}

#[derive(Args, Debug)]
pub(super) struct Files {
    /// The file or directory
    pub(super) path: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}
