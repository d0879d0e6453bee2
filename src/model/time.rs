//! Cluster time and times to live, in milliseconds.

use std::fmt;

use super::limits::MAX_DEADLINE_MS;

/// A point in cluster time: milliseconds since the Unix epoch, at most [`MAX_DEADLINE_MS`] as a deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Milliseconds from `earlier` to this point, 0 if it lies before.
    pub fn millis_since(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The deadline `ttl` from here, capped at [`MAX_DEADLINE_MS`].
    pub fn after(self, ttl: Ttl) -> Timestamp {
        Timestamp(self.0.saturating_add(ttl.millis()).min(MAX_DEADLINE_MS))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A time to live: 1 to [`MAX_DEADLINE_MS`] milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(u64);

/// Why a number is not a time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TtlError {
    /// Zero milliseconds.
    #[error("a time to live is at least 1 ms")]
    Zero,
    /// More than [`MAX_DEADLINE_MS`].
    #[error("a time to live is at most {MAX_DEADLINE_MS} ms")]
    TooLarge,
}

impl Ttl {
    /// A time to live of `millis` milliseconds.
    pub fn from_millis(millis: u64) -> Result<Ttl, TtlError> {
        match millis {
            0 => Err(TtlError::Zero),
            1..=MAX_DEADLINE_MS => Ok(Ttl(millis)),
            _ => Err(TtlError::TooLarge),
        }
    }

    /// Milliseconds.
    pub fn millis(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_overflow_are_refused_and_deadlines_are_capped() {
        assert_eq!(Ttl::from_millis(0), Err(TtlError::Zero));
        assert_eq!(Ttl::from_millis(u64::MAX), Err(TtlError::TooLarge));
        let longest = Ttl::from_millis(MAX_DEADLINE_MS).expect("the largest allowed");
        assert_eq!(Timestamp(5).after(longest), Timestamp(MAX_DEADLINE_MS));
    }
}
