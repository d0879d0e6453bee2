//! Numbers as the snapshot format writes them.
//!
//! Fixed numbers are little endian. A varint has seven bits a byte, the lowest first; all bytes but the last have
//! their top bit set; ten bytes hold any u64.

/// Most bytes of a varint.
pub(super) const MAX_VARINT_BYTES: usize = 10;

/// Appends a varint.
#[inline]
pub(super) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads from the front of a slice; `None` where it ends too early or a varint is too long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// At the front of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes }
    }

    /// Whether all was read.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `length` bytes.
    #[inline]
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    /// One byte.
    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    /// Two bytes.
    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Sixteen bytes.
    pub(super) fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_le_bytes)
    }

    /// One to ten bytes.
    #[inline]
    pub(super) fn varint(&mut self) -> Option<u64> {
        let (&first, rest) = self.rest.split_first()?;
        if first < 0x80 {
            self.rest = rest;
            return Some(u64::from(first));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for (position, &byte) in self.rest.iter().enumerate().take(MAX_VARINT_BYTES) {
            let bits = u64::from(byte & 0x7F);
            let shift = 7 * position as u32;
            if bits << shift >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                self.rest = self.rest.get(position + 1..)?;
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: every number comes back from its varint, and nothing that is cut short or too long is a number.
    #[test]
    fn varints_round_trip_and_broken_ones_are_refused() {
        for bit in 0..64 {
            for number in [(1 << bit) - 1, 1 << bit, u64::MAX >> bit] {
                let mut bytes = Vec::new();
                put_varint(&mut bytes, number);
                assert!(bytes.len() <= MAX_VARINT_BYTES);
                let mut cursor = Cursor::new(&bytes);
                assert_eq!(cursor.varint(), Some(number));
                assert!(cursor.is_empty());
                for length in 0..bytes.len() {
                    assert_eq!(
                        Cursor::new(&bytes[..length]).varint(),
                        None,
                        "{number} cut to {length} bytes"
                    );
                }
            }
        }
        assert_eq!(Cursor::new(&[0xFF; 11]).varint(), None, "more than ten bytes");
        let mut beyond = [0xFF; 10];
        beyond[9] = 0x02;
        assert_eq!(Cursor::new(&beyond).varint(), None, "more than 64 bits");
    }

    #[test]
    fn fixed_numbers_are_little_endian_and_end_with_the_slice() {
        let bytes: Vec<u8> = (1..=31).collect();
        let mut cursor = Cursor::new(&bytes);
        assert_eq!(cursor.u8(), Some(1));
        assert_eq!(cursor.u16(), Some(0x0302));
        assert_eq!(cursor.u32(), Some(0x0706_0504));
        assert_eq!(cursor.u64(), Some(0x0F0E_0D0C_0B0A_0908));
        assert_eq!(cursor.u128(), Some(0x1F1E_1D1C_1B1A_1918_1716_1514_1312_1110));
        assert_eq!((cursor.u8(), cursor.take(1), cursor.take(0)), (None, None, Some(&[][..])));
    }
}
