//! Logs, as text or as JSON, one line an event.

use std::io;
use std::str::FromStr;
use std::sync::OnceLock;

use parking_lot::Mutex;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// How the process logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// A level, or directives such as `info,kvorum::raft=debug`.
    pub level: String,
    /// Text or JSON.
    pub format: Format,
}

/// What a line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For humans.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Config {
        Config { level: "info".to_owned(), format: Format::Text }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Format, String> {
        match name {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            _ => Err("text or json is wanted".to_owned()),
        }
    }
}

impl Config {
    /// Says what is wrong with the settings.
    pub fn validate(&self) -> Result<(), String> {
        self.filter().map(|_| ())
    }

    /// A lone level is meant for Kvorum; libraries then speak only of trouble, and openraft only of errors: it warns of each
    /// message that a dead member does not take, many times a second. Kvorum itself says once that a member is gone. Of what
    /// openraft's functions return as an error it speaks as well (`openraft::raft`), even when a node stops in order: the
    /// caller decides whether that is worth a line. h2 warns of connections that broke.
    /// Directives are taken as they are.
    fn filter(&self) -> Result<EnvFilter, String> {
        filter_of(&self.level)
    }
}

fn filter_of(level: &str) -> Result<EnvFilter, String> {
    let level = level.trim();
    let directives = if level.contains(['=', ',']) {
        level.to_owned()
    } else if level.eq_ignore_ascii_case("off") {
        "off".to_owned()
    } else {
        let level = tracing::Level::from_str(level).map_err(|_| {
                "error, warn, info, debug, trace or off is wanted, or directives such as info,kvorum::raft=debug"
            })?;
        let of_libraries = level.min(tracing::Level::WARN);
        format!("{of_libraries},h2=error,openraft=error,openraft::raft=off,kvorum={level}")
    };
    EnvFilter::try_new(directives).map_err(|error| error.to_string())
}

/// The one subscriber of the process, as far as it can be changed.
static STARTED: OnceLock<Started> = OnceLock::new();

struct Started {
    level: Mutex<String>,
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Sends the logs of this process to standard error from now on. A second call changes nothing.
pub fn start(config: &Config) -> Result<(), String> {
    let (filter, handle) = reload::Layer::new(config.filter()?);
    let logs = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let colours = io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    let filtered = tracing_subscriber::registry().with(filter);
    let started = match config.format {
        Format::Text => filtered.with(logs.with_ansi(colours)).try_init(),
        Format::Json => filtered.with(logs.json().flatten_event(true)).try_init(),
    };
    // It fails only if logs were started before, as tests do.
    if started.is_ok() {
        let _ = STARTED.set(Started { level: Mutex::new(config.level.clone()), filter: handle });
    }
    Ok(())
}

/// Changes what is logged from now on, in the form of [`Config::level`], until the process ends. Returns what was in force
/// before.
///
/// # Errors
/// What is wrong with `level`, or that this process does not log.
pub fn set_level(level: &str) -> Result<String, String> {
    let filter = filter_of(level)?;
    let started = STARTED.get().ok_or("this process does not log")?;
    let mut current = started.level.lock();
    started.filter.reload(filter).map_err(|error| error.to_string())?;
    Ok(std::mem::replace(&mut current, level.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_taken_and_slips_refused() {
        let valid = |level: &str| Config { level: level.to_owned(), format: Format::Text }.validate().is_ok();
        for level in ["info", "warn", "off", "TRACE", "info,kvorum::raft=debug"] {
            assert!(valid(level), "{level}");
        }
        for level in ["", "inof", "kvorum=loud", "verbose"] {
            assert!(!valid(level), "{level}");
        }
    }
}
