//! What a command does to a key, as a pure function: the one place where commands are interpreted.
//!
//! Both the dry run of a transaction and its execution ask here, so they cannot differ.

use crate::model::limits::MAX_DEADLINE_MS;
use crate::model::{Command, Condition, Expiry, Outcome, Timestamp, Version};

/// An entry as a command sees it. One past its deadline is not seen at all.
#[derive(Clone, Copy)]
pub(super) struct Current<'a> {
    pub(super) version: u64,
    pub(super) value: &'a [u8],
    pub(super) deadline: Option<Timestamp>,
}

/// A decimal integer as it is stored.
#[derive(Clone, Copy)]
pub(super) struct Decimal {
    digits: [u8; 20],
    start: u8,
}

impl Decimal {
    /// The number in the format of level 1: no leading zeros, `-` for negatives.
    pub(super) fn new(number: i64) -> Decimal {
        let (mut digits, mut start, mut rest) = ([0; 20], 20, number.unsigned_abs());
        loop {
            start -= 1;
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            start -= 1;
            digits[start] = b'-';
        }
        Decimal { digits, start: start as u8 }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.digits[usize::from(self.start)..]
    }
}

/// A value to be written.
pub(super) enum Value<'a> {
    Bytes(&'a [u8]),
    Number(i64, Decimal),
}

impl Value<'_> {
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Value::Bytes(bytes) => bytes,
            Value::Number(_, decimal) => decimal.as_bytes(),
        }
    }
}

/// What is to be done with the command's key.
pub(super) enum Decision<'a> {
    /// Nothing.
    Leave(Outcome),
    /// Write a value.
    Write(Value<'a>, Option<Timestamp>),
    /// Set another deadline.
    Restamp(Option<Timestamp>),
    /// Write with a deadline that is past already: the key is gone at once.
    Vanish(Timestamp),
    /// Remove the key.
    Delete,
}

/// What `command`, which is about one key, does to it. `None` for the commands about no key.
pub(super) fn decide<'a>(
    command: &'a Command,
    current: Option<Current<'_>>,
    now: Timestamp,
    max_value_bytes: u64,
) -> Option<Decision<'a>> {
    let unmet = Decision::Leave(Outcome::Unmet { version: Version(current.map_or(0, |c| c.version)) });
    let decision = match command {
        Command::Set { value, .. } if value.len() as u64 > max_value_bytes => {
            Decision::Leave(Outcome::ValueTooLarge)
        }
        Command::Set { value, expiry, condition, .. } => match holds(*condition, current) {
            false => unmet,
            true => with_deadline(*expiry, current, now, |deadline| {
                Decision::Write(Value::Bytes(value), deadline)
            }),
        },
        Command::Delete { condition, .. } => match (holds(*condition, current), current) {
            (false, _) => unmet,
            (true, None) => Decision::Leave(Outcome::Absent),
            (true, Some(_)) => Decision::Delete,
        },
        Command::Expire { expiry, condition, .. } => match (holds(*condition, current), current) {
            (false, _) => unmet,
            (true, None) => Decision::Leave(Outcome::Absent),
            (true, Some(_)) => with_deadline(*expiry, current, now, Decision::Restamp),
        },
        Command::Add { by, .. } => add(*by, current),
        Command::Clear | Command::Configure(_) | Command::Initialize { .. } | Command::Raise(_) => {
            return None;
        }
    };
    Some(decision)
}

/// Whether `condition` holds of a key.
pub(super) fn holds(condition: Condition, current: Option<Current<'_>>) -> bool {
    match condition {
        Condition::Always => true,
        Condition::Absent => current.is_none(),
        Condition::Present => current.is_some(),
        Condition::Version(version) => version.0 == current.map_or(0, |current| current.version),
    }
}

fn with_deadline<'a>(
    expiry: Expiry,
    current: Option<Current<'_>>,
    now: Timestamp,
    then: impl FnOnce(Option<Timestamp>) -> Decision<'a>,
) -> Decision<'a> {
    let deadline = match expiry {
        Expiry::Never => None,
        Expiry::Keep => current.and_then(|current| current.deadline),
        Expiry::After(ttl) => Some(now.after(ttl)),
        Expiry::At(deadline) => Some(Timestamp(deadline.0.min(MAX_DEADLINE_MS))),
    };
    match deadline {
        Some(deadline) if deadline <= now => Decision::Vanish(deadline),
        deadline => then(deadline),
    }
}

fn add<'a>(by: i64, current: Option<Current<'_>>) -> Decision<'a> {
    let Some(number) = current.map_or(Some(0), |current| parse(current.value)) else {
        return Decision::Leave(Outcome::NotAnInteger);
    };
    match number.checked_add(by) {
        None => Decision::Leave(Outcome::Overflow),
        Some(sum) => Decision::Write(
            Value::Number(sum, Decimal::new(sum)),
            current.and_then(|current| current.deadline),
        ),
    }
}

/// The number that `value` spells, if it is spelled as [`Decimal`] spells it.
fn parse(value: &[u8]) -> Option<i64> {
    let number = std::str::from_utf8(value).ok()?.parse().ok()?;
    (Decimal::new(number).as_bytes() == value).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_spelled_in_one_way_only() {
        for number in [0, 1, -1, 10, i64::MAX, i64::MIN, 1_000_000_007] {
            assert_eq!(Decimal::new(number).as_bytes(), number.to_string().as_bytes());
            assert_eq!(parse(number.to_string().as_bytes()), Some(number));
        }
        for text in ["", "-", "+1", "01", "-0", " 1", "1 ", "1.0", "9223372036854775808"] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
