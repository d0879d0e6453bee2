//! The slow log: requests that took long.
//!
//! ```text
//!    0  version    u8   1
//!    1  duration   u64  in microseconds, little endian
//!    9  bytes      u64  of the value read or written, little endian
//!   17  operation       its name, to the end
//! ```

use std::time::Duration;

use crate::model::Timestamp;

const VERSION: u8 = 1;

/// A request that took long. Neither its key nor its value is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slow {
    /// When it ended, by the wall clock of the node.
    pub at: Timestamp,
    /// What it was: `get`, `set`, ...
    pub operation: String,
    /// How long it took.
    pub duration: Duration,
    /// Bytes of the value that was read or written.
    pub bytes: u64,
}

impl Slow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let micros = u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX);
        let mut bytes = vec![VERSION];
        bytes.extend(micros.to_le_bytes());
        bytes.extend(self.bytes.to_le_bytes());
        bytes.extend(self.operation.as_bytes());
        bytes
    }

    /// `None` for what this version did not write.
    pub(super) fn decode(at: Timestamp, bytes: &[u8]) -> Option<Slow> {
        let (&VERSION, rest) = bytes.split_first()? else { return None };
        let (micros, rest) = rest.split_first_chunk::<8>()?;
        let (length, operation) = rest.split_first_chunk::<8>()?;
        Some(Slow {
            at,
            operation: String::from_utf8(operation.to_vec()).ok()?,
            duration: Duration::from_micros(u64::from_le_bytes(*micros)),
            bytes: u64::from_le_bytes(*length),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the format stays as it is.
    #[test]
    fn entries_are_read_back() {
        let slow = Slow {
            at: Timestamp(9),
            operation: "get".to_owned(),
            duration: Duration::from_micros(258),
            bytes: 3,
        };
        let bytes = slow.encode();
        assert_eq!(bytes, b"\x01\x02\x01\0\0\0\0\0\0\x03\0\0\0\0\0\0\0get", "golden");
        assert_eq!(Slow::decode(slow.at, &bytes), Some(slow));
        assert_eq!(Slow::decode(Timestamp(9), &bytes[..12]), None);
        assert_eq!(Slow::decode(Timestamp(9), b""), None);
    }
}
