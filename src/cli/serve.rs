//! `serve` and `maintenance`.

use super::arguments::Settings;
use super::exit::{Exit, Failure};
use super::settings::loaded;
use crate::config::Config;
use crate::{app, telemetry};

/// Runs a node until it is told to stop.
pub(super) fn serve(settings: &Settings) -> Result<Exit, Failure> {
    run(settings, "the node ends", app::serve)
}

/// Keeps a process alive beside a data directory in which no node is to run.
pub(super) fn maintenance(settings: &Settings) -> Result<Exit, Failure> {
    run(settings, "the maintenance ends", |config| app::maintain(&config))
}

fn run(
    settings: &Settings,
    ends: &str,
    work: impl FnOnce(Config) -> Result<(), app::Error>,
) -> Result<Exit, Failure> {
    let config = loaded(settings)?.config;
    telemetry::start(&config.telemetry).map_err(|reason| Failure::new(Exit::Configuration, reason))?;
    // From here on the log is where the process speaks, in its own format.
    Ok(match work(config) {
        Ok(()) => Exit::Done,
        Err(error) => {
            let Failure { exit, message } = Failure::from(error);
            tracing::error!(status = exit as u8, reason = message, "{ends}");
            exit
        }
    })
}
