//! Which server a client command asks.

use clap::Args;

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
