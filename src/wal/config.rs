//! What can be chosen about the log.

use std::time::Duration;

use super::error::Error;
use super::layout::SECTOR;

/// When an append is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// After `fdatasync`. Default.
    #[default]
    Always,
    /// After the write; `fdatasync` follows within [`Config::interval`]. A power cut may lose that much, a
    /// killed process loses nothing. Votes and what asks for it are synced all the same.
    Interval,
}

impl Durability {
    /// The name in configuration, API and marks.
    pub fn name(self) -> &'static str {
        match self {
            Durability::Always => "always",
            Durability::Interval => "interval",
        }
    }
}

/// The log's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Length of a segment file in bytes; a multiple of 512, from 4 KiB to 1 GiB. Default: 64 MiB.
    pub segment_bytes: u64,
    /// When an append is answered. Default: always.
    pub durability: Durability,
    /// The longest time between write and sync with [`Durability::Interval`]. Default: 100 ms.
    pub interval: Duration,
    /// Payload bytes of flushed and applied entries kept in memory. Default: 16 MiB.
    pub cache_bytes: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            segment_bytes: 64 << 20,
            durability: Durability::Always,
            interval: Duration::from_millis(100),
            cache_bytes: 16 << 20,
        }
    }
}

impl Config {
    /// The shortest segment.
    pub const SEGMENT_BYTES_MIN: u64 = 4 << 10;
    /// The longest segment.
    pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

    /// Checks the values against each other and their bounds.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the setting.
    pub fn validate(&self) -> Result<(), Error> {
        if !(Config::SEGMENT_BYTES_MIN..=Config::SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            return Err(Error::invalid("segment_bytes must be from 4 KiB to 1 GiB"));
        }
        if !self.segment_bytes.is_multiple_of(u64::from(SECTOR)) {
            return Err(Error::invalid("segment_bytes must be a multiple of 512"));
        }
        if self.interval.is_zero() || self.interval > Duration::from_secs(60) {
            return Err(Error::invalid("interval must be above 0 and at most 60 s"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_bounds_are_held() {
        let config = Config::default();
        assert!(config.validate().is_ok());
        assert!(Config { segment_bytes: 4096, ..config }.validate().is_ok());
        for segment_bytes in [0, 4095, 4097, 4100, (1 << 30) + 512] {
            assert!(Config { segment_bytes, ..config }.validate().is_err(), "{segment_bytes}");
        }
        assert!(Config { interval: Duration::ZERO, ..config }.validate().is_err());
    }
}
