//! Sizes in bytes: `67108864`, `64MiB`, `1 GiB`, `10MB`.

use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

const UNITS: [(&str, u64); 13] = [
    ("", 1),
    ("B", 1),
    ("KIB", 1 << 10),
    ("MIB", 1 << 20),
    ("GIB", 1 << 30),
    ("TIB", 1 << 40),
    ("KI", 1 << 10),
    ("MI", 1 << 20),
    ("GI", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl Size {
    fn parse(text: &str) -> Option<Size> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim().to_uppercase();
        let (_, factor) = UNITS.into_iter().find(|(known, _)| *known == unit)?;
        number.parse::<u64>().ok()?.checked_mul(factor).map(Size)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        Size::parse(text).ok_or_else(|| WANTED.to_owned())
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

const WANTED: &str =
    "a size is a number of bytes, or a whole number with KiB, MiB, GiB, TiB, KB, MB, GB or TB";

impl Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(WANTED)
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
        u64::try_from(bytes).map(Size).map_err(|_| E::custom(WANTED))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
        Size::parse(text).ok_or_else(|| E::custom(WANTED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let cases = [
            ("0", Some(0)),
            ("64MiB", Some(64 << 20)),
            ("1 gib", Some(1 << 30)),
            ("2Gi", Some(2 << 30)),
            ("10MB", Some(10_000_000)),
            ("5B", Some(5)),
            ("", None),
            ("MiB", None),
            ("1.5GiB", None),
            ("-1", None),
            ("1XiB", None),
            ("99999999999999999999", None),
            ("99999999TiB", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(Size::parse(text).map(|size| size.0), bytes, "{text:?}");
        }
    }
}
