//! What can be said after `cluster` and `lifecycle`.

use clap::{Args, Subcommand};

use super::home::Home;
use super::server::Server;
use crate::config::Size;

#[derive(Debug, Subcommand)]
pub(super) enum Cluster {
    /// Print who leads, what was agreed on, and the members
    Status(Server),
    /// List the members
    Members(Server),
    /// Admit a node that waits for a cluster
    Add {
        /// Where it listens to peers: host and port
        address: String,
        #[command(flatten)]
        server: Server,
    },
    /// Take a member out for good
    Remove(OfMember),
    /// Make a learner a voter
    Promote(OfMember),
    /// Hand over leadership
    Transfer {
        /// The id of the voter that is to lead; without it the one that has most of the log
        to: Option<u64>,
        #[command(flatten)]
        server: Server,
    },
    /// Have the asked node leave the cluster for good; it ends
    Leave(Server),
    /// Print the settings that the members have agreed on, or change some
    Settings(ClusterSettings),
    /// Print the level, or raise it
    Level {
        #[command(subcommand)]
        action: LevelAction,
    },
}

#[derive(Args, Debug)]
pub(super) struct OfMember {
    /// The id of the member
    pub(super) id: u64,
    #[command(flatten)]
    pub(super) server: Server,
}

#[derive(Args, Debug)]
pub(super) struct ClusterSettings {
    /// Most accounted bytes, as in 1GiB; 0: no limit
    #[arg(long, value_name = "SIZE")]
    pub(super) max_bytes: Option<Size>,
    /// Most keys; 0: no limit
    #[arg(long, value_name = "N")]
    pub(super) max_keys: Option<u64>,
    /// What makes room: lru, volatile-lru, volatile-ttl or noeviction
    #[arg(long, value_name = "POLICY")]
    pub(super) eviction: Option<String>,
    /// Longest value, as in 8MiB
    #[arg(long, value_name = "SIZE")]
    pub(super) max_value_bytes: Option<Size>,
    /// How many members are to vote, an odd number; 0: as many as there are
    #[arg(long, value_name = "N")]
    pub(super) voters: Option<u64>,
    #[command(flatten)]
    pub(super) server: Server,
}

#[derive(Debug, Subcommand)]
pub(super) enum LevelAction {
    /// Print the level in force
    Show(Server),
    /// Raise it; there is no way back
    Raise {
        /// The level; without it the highest that the asked node understands
        level: Option<u16>,
        #[command(flatten)]
        server: Server,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Lifecycle {
    /// Wait until the node may stop without the others losing their quorum; for orchestrators, before they stop it.
    ///
    /// It asks the node that runs in the data directory, over a socket there: without URL and credentials.
    PreStop {
        /// Go on without permission after so many seconds (lifecycle.wait_s)
        #[arg(long, value_name = "S")]
        wait_s: Option<u64>,
        /// Ask the API of a node, instead of the socket in the data directory
        #[arg(long, env = "KVORUM_URL", value_name = "URL")]
        url: Option<String>,
        #[command(flatten)]
        home: Home,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}
