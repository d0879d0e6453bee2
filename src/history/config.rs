//! How history is kept.

use std::time::Duration;

/// How history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Between two samples.
    pub sample: Duration,
    /// Requests that take at least this long are noted; zero: none are.
    pub slow: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config { sample: Duration::from_secs(10), slow: Duration::from_millis(100) }
    }
}

impl Config {
    /// Says what is wrong with the settings.
    pub fn validate(&self) -> Result<(), String> {
        if !(1..=3_600).contains(&self.sample.as_secs()) {
            return Err("history.sample_s is 1 to 3600".to_owned());
        }
        if self.slow > Duration::from_secs(3_600) {
            return Err("history.slow_ms is 0 to 3600000".to_owned());
        }
        Ok(())
    }
}
