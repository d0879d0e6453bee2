//! `serve`.

use super::arguments::Settings;
use super::exit::{Exit, Failure};
use super::settings::loaded;
use crate::{app, telemetry};

/// Runs a node until it is told to stop.
pub(super) fn serve(settings: &Settings) -> Result<Exit, Failure> {
    let config = loaded(settings)?.config;
    telemetry::start(&config.telemetry).map_err(|reason| Failure::new(Exit::Configuration, reason))?;
    // From here on the log is where the process speaks, in its own format.
    Ok(match app::serve(config) {
        Ok(()) => Exit::Done,
        Err(error) => {
            let Failure { exit, message } = Failure::from(error);
            tracing::error!(status = exit as u8, reason = message, "the node ends");
            exit
        }
    })
}
