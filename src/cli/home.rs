//! Which node on this machine a command is about, and where its settings come from.

use std::path::PathBuf;

use clap::Args;

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

/// A node on this machine, for commands that are about its data directory.
#[derive(Args, Clone, Debug)]
pub(super) struct Home {
    /// Configuration file (TOML)
    #[arg(short, long, value_name = "FILE", env = "KVORUM_CONFIG")]
    config: Option<PathBuf>,
    /// Directory of log and snapshots (data.dir)
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Any setting, as in --set wal.segment_bytes=16MiB; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Home {
    /// Where its settings come from.
    pub(super) fn settings(&self) -> Settings {
        let Home { config, data_dir, set } = self.clone();
        Settings { config, data_dir, listen: None, set }
    }
}
