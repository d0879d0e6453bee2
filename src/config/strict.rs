//! Numbers and switches, taken only as they are meant. The config crate by itself is generous: it rounds `1.5`, counts
//! `true` and `on` as 1, and takes any number but 0 for yes.

use serde::de::{Deserializer, Error, Visitor};

const WHOLE: &str = "a whole number that is not negative";
const SWITCH: &str = "a boolean, true or false";

/// A whole number, or its digits: the environment and flags know nothing but text.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(Whole)
}

/// `true` or `false`, also as text.
pub(super) fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    deserializer.deserialize_any(Switch)
}

struct Whole;

impl Visitor<'_> for Whole {
    type Value = u64;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(WHOLE)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        u64::try_from(number).map_err(|_| wanted(number, WHOLE))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| plain).ok_or_else(|| wanted(format_args!("{text:?}"), WHOLE))
    }
}

struct Switch;

impl Visitor<'_> for Switch {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(SWITCH)
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<bool, E> {
        Ok(yes)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        text.parse().map_err(|_| wanted(format_args!("{text:?}"), SWITCH))
    }
}

fn wanted<E: Error>(found: impl std::fmt::Display, wanted: &str) -> E {
    E::custom(format_args!("{found} is not {wanted}"))
}
