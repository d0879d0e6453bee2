//! `config check`, `config show`, and what `serve` shares with them.

use std::sync::Arc;

use super::arguments::{Config, ConfigAction, Settings};
use super::exit::{Exit, Failure};
use super::output;
use crate::config::{Loaded, Sources, load};
use crate::disk::Real;
use crate::raft;

/// Checks or shows the configuration.
pub(super) fn run(config: &Config) -> Result<Exit, Failure> {
    match &config.action {
        ConfigAction::Check(settings) => {
            let config = loaded(settings)?.config;
            let checked =
                raft::check_files(&(Arc::new(Real) as _), &config.peer, config.restore_from.as_ref());
            checked.map_err(|(key, what)| Failure::new(Exit::Configuration, format!("`{key}`: {what}")))?;
            output::line("the configuration can be used")
        }
        ConfigAction::Show(settings) => show(&loaded(settings)?),
    }
}

/// The configuration that the flags, the environment and the file make together.
pub(super) fn loaded(settings: &Settings) -> Result<Loaded, Failure> {
    let mut flags = Vec::new();
    let mut flag = |flag: &str, key: &str, value: &Option<String>| {
        flags.extend(value.iter().map(|value| (flag.to_owned(), key.to_owned(), value.clone())));
    };
    flag("--data-dir", "data.dir", &settings.data_dir);
    flag("--listen", "http.listen", &settings.listen);
    for pair in &settings.set {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(Failure::new(Exit::Usage, format!("--set {pair}: KEY=VALUE is wanted")));
        };
        flags.push(("--set".to_owned(), key.trim().to_owned(), value.trim().to_owned()));
    }
    let sources =
        Sources { file: settings.config.clone(), environment: std::env::vars_os().collect(), flags };
    load(&sources, &Real).map_err(|error| Failure::of(Exit::Configuration, &error))
}

/// TOML that can be used as a configuration file, with what is known of each setting.
fn show(loaded: &Loaded) -> Result<Exit, Failure> {
    let mut text = String::new();
    let mut section = "";
    for setting in &loaded.settings {
        let (of, key) = setting.key.name.split_once('.').unwrap_or(("", setting.key.name));
        if of != section {
            text += &format!("{}[{of}]\n", if section.is_empty() { "" } else { "\n" });
            section = of;
        }
        let seeds = if setting.key.seeds { " Seeds a new cluster only." } else { "" };
        text += &format!("# {}.{seeds}\n", setting.key.doc);
        text += &format!("{key} = {:?}  # {}\n", setting.value, setting.origin);
    }
    output::print(&text)
}
