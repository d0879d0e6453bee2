//! `serve`.

use super::arguments::Settings;
use super::exit::{Exit, Failure};
use super::settings::loaded;
use crate::{app, telemetry};

/// Runs a node until it is told to stop.
pub(super) fn serve(settings: &Settings) -> Result<Exit, Failure> {
    let config = loaded(settings)?.config;
    telemetry::start(&config.telemetry).map_err(|reason| Failure::new(Exit::Configuration, reason))?;
    app::serve(config).map_err(|error| {
        let failure = Failure::from(error);
        tracing::error!(status = failure.exit as u8, reason = failure.message, "the node ends");
        failure
    })?;
    Ok(Exit::Done)
}
