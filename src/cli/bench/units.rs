//! Times and lengths as the command line has them.

use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

/// Longest value that is sent.
const MAX_VALUE_BYTES: u64 = 64 << 20;

/// Longest run.
const MAX_DURATION: Duration = Duration::from_secs(30 * 24 * 3_600);

/// A time as the command line has it: `500ms`, `30s`, `5m`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Time(pub(super) Duration);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Time, String> {
        let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err("a time is a whole number with ms, s, m or h, as in 30s".to_owned()),
        };
        let ms = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms));
        let time = ms.map(Duration::from_millis).filter(|time| *time <= MAX_DURATION);
        time.filter(|time| !time.is_zero()).map(Time).ok_or_else(|| "a time is 1ms to 30 days".to_owned())
    }
}

/// Lengths of values as the command line has them: `64`, or a range with both ends, `64-1024`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Lengths(pub(super) Range<u64>);

impl FromStr for Lengths {
    type Err = String;

    fn from_str(text: &str) -> Result<Lengths, String> {
        let (shortest, longest) = text.split_once('-').unwrap_or((text, text));
        let parsed = (shortest.parse::<u64>(), longest.parse::<u64>());
        let (Ok(shortest), Ok(longest)) = parsed else {
            return Err("a length is a number of bytes, or a range of them, as in 64 or 64-1024".to_owned());
        };
        if shortest > longest || longest > MAX_VALUE_BYTES {
            return Err(format!("a range goes from short to long, up to {MAX_VALUE_BYTES} bytes"));
        }
        Ok(Lengths(shortest..longest + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: times and lengths are read as they are meant, and nothing else is taken for one.
    #[test]
    fn times_and_lengths() {
        for (text, ms) in [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000)] {
            assert_eq!(text.parse(), Ok(Time(Duration::from_millis(ms))));
        }
        for text in ["", "5", "s", "0s", "-1s", "1.5s", "1d", "99999999999999999999s", "800h"] {
            assert!(text.parse::<Time>().is_err(), "{text:?}");
        }
        assert_eq!("64".parse(), Ok(Lengths(64..65)));
        assert_eq!("0-1024".parse(), Ok(Lengths(0..1_025)));
        for text in ["", "-", "64-", "9-8", "64KiB", "99999999999", "1-2-3"] {
            assert!(text.parse::<Lengths>().is_err(), "{text:?}");
        }
    }
}
