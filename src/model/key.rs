//! Keys: 1 to 4,096 bytes of anything.

use std::fmt;

use bytes::Bytes;

use super::limits::MAX_KEY_BYTES;

/// A key, checked for its length when it is made.
///
/// Cloning shares the bytes. `Debug` prints the length only: keys never reach logs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

/// Why bytes are not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No bytes at all.
    #[error("a key has at least 1 byte")]
    Empty,
    /// More than [`MAX_KEY_BYTES`].
    #[error("a key has at most {MAX_KEY_BYTES} bytes, this one has {0}")]
    TooLarge(usize),
}

impl Key {
    /// Takes over `bytes` if they are 1 to [`MAX_KEY_BYTES`] long.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Key, KeyError> {
        let bytes = bytes.into();
        match bytes.len() {
            0 => Err(KeyError::Empty),
            1..=MAX_KEY_BYTES => Ok(Key(bytes)),
            length => Err(KeyError::TooLarge(length)),
        }
    }

    /// The bytes of the key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The shared bytes of the key.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_one_to_4096() {
        assert_eq!(Key::new(""), Err(KeyError::Empty));
        assert!(Key::new("k").is_ok());
        assert!(Key::new(vec![0; MAX_KEY_BYTES]).is_ok());
        assert_eq!(Key::new(vec![0; MAX_KEY_BYTES + 1]), Err(KeyError::TooLarge(MAX_KEY_BYTES + 1)));
    }
}
