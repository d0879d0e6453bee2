//! `serve` and `maintenance`.

use super::arguments::Settings;
use super::exit::{Exit, Failure};
use super::settings::loaded;
use crate::config::Loaded;
use crate::{app, telemetry};

/// Runs a node until it is told to stop.
pub(super) fn serve(settings: &Settings) -> Result<Exit, Failure> {
    let again = settings.clone();
    let reread: app::Reread = Box::new(move || loaded(&again).map_err(|failure| failure.message));
    run(settings, "the node ends", |loaded| app::serve(loaded, reread))
}

/// Keeps a process alive beside a data directory in which no node is to run.
pub(super) fn maintenance(settings: &Settings) -> Result<Exit, Failure> {
    run(settings, "the maintenance ends", |loaded| app::maintain(&loaded.config))
}

fn run(
    settings: &Settings,
    ends: &str,
    work: impl FnOnce(Loaded) -> Result<(), app::Error>,
) -> Result<Exit, Failure> {
    let loaded = loaded(settings)?;
    telemetry::start(&loaded.config.telemetry).map_err(|reason| Failure::new(Exit::Configuration, reason))?;
    // From here on the log is where the process speaks, in its own format.
    Ok(match work(loaded) {
        Ok(()) => Exit::Done,
        Err(error) => {
            let Failure { exit, message } = Failure::from(error);
            tracing::error!(status = exit as u8, reason = message, "{ends}");
            exit
        }
    })
}
