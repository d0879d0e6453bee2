//! What can be said on the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::bench::{Lengths, Mix, Time};
use super::cluster_arguments::{Cluster, Lifecycle};
use super::home::Home;
pub(super) use super::home::Settings;
pub(super) use super::server::Server;
use crate::raft::Lifetimes;

/// A replicated in-memory key-value store. Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "kvorum", version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    /// When to use colours; `auto`: on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(super) color: Colour,
    #[command(flatten)]
    pub(super) settings: Settings,
}

const EXAMPLES: &str = "\
Examples:
  kvorum                                  run a node with its data in ./data
  kvorum set greeting hello --ttl-ms 60000
  kvorum get greeting
  kvorum keys --prefix user: --long
  kvorum batch steps.json
  kvorum backup store.backup

Client commands ask the server of --url or KVORUM_URL. Exit statuses are in the manual: kvorum man";

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Colour {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
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
    /// Add to a number
    Incr(Incr),
    /// Print the milliseconds that a key has left, or "none"; or change them
    Ttl(Ttl),
    /// List keys
    Keys(Keys),
    /// Remove every key
    Clear(Clear),
    /// Do several steps, or none of them
    Batch(Batch),
    /// Print figures of the node
    Stats(Server),
    /// Look at the cluster, and change it
    #[command(subcommand)]
    Cluster(Cluster),
    /// For orchestrators
    #[command(subcommand)]
    Lifecycle(Lifecycle),
    /// Take a snapshot and drop the log behind it
    Compact(Server),
    /// Put load on servers and measure what they do
    Bench(Bench),
    /// Stream a backup of the store into a file, and check it
    Backup(Backup),
    /// Make a backup the beginning of a new cluster, in an empty data directory
    Restore(Restore),
    /// Last resort when most voters are lost for good: make this node a cluster of its own
    Recover(Recover),
    /// Run no node, but keep its container alive while somebody works in its data directory
    Maintenance(Settings),
    /// Ask whether the node is ready; for container health checks
    Healthcheck(Healthcheck),
    /// Check or show the configuration
    Config(Config),
    /// Print the OpenAPI document of the HTTP API
    Openapi,
    /// Look at the log of a stopped node
    Wal(Wal),
    /// Take a snapshot on a node, or check a snapshot file
    Snapshot(Snapshot),
    /// Make what a cluster needs before it is started
    Generate(Generate),
    /// Print what makes a shell complete this command line
    Completions(Completions),
    /// Print the manual page, or write one for each command
    Man(Man),
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
    #[arg(allow_hyphen_values = true, required_unless_present = "file")]
    pub(super) value: Option<OsString>,
    /// Read the value from this file
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    pub(super) file: Option<PathBuf>,
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
    /// The keys, each removed by itself
    #[arg(required = true, value_name = "KEY")]
    pub(super) keys: Vec<OsString>,
    /// Remove only if the key has this version
    #[arg(long, value_name = "VERSION")]
    pub(super) if_version: Option<u64>,
    #[command(flatten)]
    pub(super) server: Server,
}

#[derive(Args, Debug)]
pub(super) struct Incr {
    /// The key
    pub(super) key: OsString,
    /// What to add
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    pub(super) by: i64,
    #[command(flatten)]
    pub(super) server: Server,
}

#[derive(Args, Debug)]
pub(super) struct Keys {
    /// Only keys that begin with this
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub(super) prefix: OsString,
    /// Stop after so many keys
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<u64>,
    /// Show size, version and time to live too
    #[arg(short, long)]
    pub(super) long: bool,
    /// Print the values too (with --json only)
    #[arg(long, requires = "json")]
    pub(super) values: bool,
    /// How fresh the answers must be
    #[arg(long)]
    pub(super) consistency: Option<Consistency>,
    #[command(flatten)]
    pub(super) server: Server,
}

#[derive(Args, Debug)]
pub(super) struct Clear {
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) server: Server,
}

#[derive(Args, Debug)]
pub(super) struct Batch {
    /// The steps as JSON: a document {"steps": [...]}, a list, or a step a line; - for standard input
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) server: Server,
}

#[derive(Args, Debug)]
pub(super) struct Completions {
    /// The shell
    pub(super) shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
pub(super) struct Man {
    /// Write a page for each command into this directory
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct Ttl {
    /// The key
    pub(super) key: OsString,
    /// Give it so many milliseconds from now
    #[arg(long, value_name = "MS", conflicts_with_all = ["persist", "consistency"])]
    pub(super) set_ms: Option<u64>,
    /// Let it stay
    #[arg(long, conflicts_with = "consistency")]
    pub(super) persist: bool,
    /// How fresh the answer must be
    #[arg(long)]
    pub(super) consistency: Option<Consistency>,
    #[command(flatten)]
    pub(super) server: Server,
}

/// Without --requests and --duration it runs for ten seconds. Several servers are given as a list with commas.
#[derive(Args, Debug)]
pub(super) struct Bench {
    /// Connections, each with one request at a time
    #[arg(short, long, value_name = "N", default_value_t = 50)]
    pub(super) connections: usize,
    /// End after this many requests
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "duration")]
    pub(super) requests: Option<u64>,
    /// End after this time, as in 30s
    #[arg(short, long, value_name = "TIME")]
    pub(super) duration: Option<Time>,
    /// Send this many requests a second, whatever the server does, and measure from when each was due
    #[arg(short, long, value_name = "N")]
    pub(super) rate: Option<u64>,
    /// What to do how often: get, set, del, incr and ttl with their weights
    #[arg(short, long, value_name = "MIX", default_value = "get=80,set=20")]
    pub(super) mix: Mix,
    /// Bytes of a value, or a range of them, as in 64-1024
    #[arg(long, value_name = "BYTES", default_value = "64")]
    pub(super) value_size: Lengths,
    /// How many keys there are
    #[arg(short, long, value_name = "N", default_value_t = 100_000)]
    pub(super) keys: u64,
    /// What all keys start with
    #[arg(long, value_name = "TEXT", default_value = "bench:")]
    pub(super) key_prefix: String,
    /// Take keys by Zipf's law with this theta, between 0 and 1, instead of all alike
    #[arg(long, value_name = "THETA")]
    pub(super) zipf: Option<f64>,
    /// Time to live of what is written, in milliseconds
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) ttl_ms: Option<u64>,
    /// How fresh answers must be
    #[arg(long)]
    pub(super) consistency: Option<Consistency>,
    /// Runs with the same seed send the same requests
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// Write every key once before
    #[arg(long)]
    pub(super) preload: bool,
    /// Run this long before counting
    #[arg(long, value_name = "TIME")]
    pub(super) warmup: Option<Time>,
    /// Give up if no server could be reached for this long
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub(super) max_outage: Time,
    /// Threads; by default half as many as there are cores
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<usize>,
    #[command(flatten)]
    pub(super) server: Server,
}

#[derive(Args, Debug)]
pub(super) struct Backup {
    /// The file, or - for standard output (where what arrives is not checked but for its length)
    pub(super) file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) server: Server,
}

#[derive(Args, Debug)]
pub(super) struct Restore {
    /// The backup. The data directory that it goes into must be empty, or not there yet
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) home: Home,
    /// What becomes of times to live
    #[arg(long, value_enum, default_value_t)]
    pub(super) ttl: RestoredTtl,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Everything on the disk of this stopped node counts: writes that were never acknowledged may come to be, and acknowledged
/// ones that only the lost nodes had are gone. The others must be emptied before they join again. What was in the directory
/// is moved into one below it, and nothing is deleted.
#[derive(Args, Debug)]
pub(super) struct Recover {
    #[command(flatten)]
    pub(super) home: Home,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum RestoredTtl {
    /// Keys expire when they would have: those whose time ran out since the backup are gone
    #[default]
    Deadline,
    /// Each key has as long left as it had when the backup was taken
    Remaining,
}

impl From<RestoredTtl> for Lifetimes {
    fn from(ttl: RestoredTtl) -> Lifetimes {
        match ttl {
            RestoredTtl::Deadline => Lifetimes::Deadline,
            RestoredTtl::Remaining => Lifetimes::Remaining,
        }
    }
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
    /// Say whether the configuration can be used, and the files that it names
    Check(Settings),
    /// Print every setting, its value and where it stood
    Show(Settings),
}

#[derive(Args, Debug)]
pub(super) struct Generate {
    #[command(subcommand)]
    pub(super) action: GenerateAction,
}

#[derive(Debug, Subcommand)]
pub(super) enum GenerateAction {
    /// Write a random secret for cluster.secret_file, unless the file is there already
    Secret(SecretFile),
}

#[derive(Args, Debug)]
pub(super) struct SecretFile {
    /// The file; only its owner can read it
    pub(super) file: PathBuf,
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
    /// Have a node take a snapshot into its data directory, without touching the log
    Take(Server),
    /// Check a whole snapshot file, or a backup
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
