//! The numbers that the format is made of, and the small tools for reading and sealing its bytes.
//!
//! Everything is little endian. Each record's checksums and the keystream over its payload depend on the
//! segment's random id and on the record's offset. So neither zeros, nor a record of an older file in the
//! same blocks, nor a record at the wrong place ever verifies. The keystream also makes it practically
//! impossible that a whole sector of a payload is zero on disk (the content would have to equal a keystream
//! nobody has seen); a zero sector thus is one that was never written. It is no encryption.

/// The unit that a power cut keeps or loses as a whole, in bytes.
pub(super) const SECTOR: u32 = 512;
/// The head of a segment fills one sector of its own, so no later write touches it.
pub(super) const HEAD: u32 = SECTOR;
/// Records start at multiples of this.
pub(super) const ALIGN: u32 = 8;
/// The last byte of a header and of a record.
pub(super) const CLOSING: u8 = 0xFF;

/// Binds bytes to one place of one segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seal {
    header_seed: u32,
    payload_seed: u32,
    stream: u64,
}

impl Seal {
    /// The seal of the record at `offset` of the segment with this id.
    pub(super) fn new(segment_id: u64, offset: u32) -> Seal {
        let seeds = mix(segment_id ^ mix(u64::from(offset)));
        let (header_seed, payload_seed) = ((seeds >> 32) as u32, seeds as u32);
        Seal { header_seed, payload_seed, stream: mix(seeds ^ 0x6B76_6F72_756D_0001) }
    }

    pub(super) fn header_checksum(&self, header: &[u8]) -> u32 {
        crc32c::crc32c_append(self.header_seed, header)
    }

    /// The checksum of a payload as it is stored, that is, masked.
    pub(super) fn payload_checksum(&self, stored: &[u8]) -> u32 {
        crc32c::crc32c_append(self.payload_seed, stored)
    }

    /// Combines a payload with the keystream (xor); a second time gives the payload back.
    pub(super) fn mask(&self, payload: &mut [u8]) {
        let mut counter = self.stream;
        let (words, rest) = payload.as_chunks_mut::<8>();
        for word in words {
            counter = counter.wrapping_add(GOLDEN);
            *word = (u64::from_le_bytes(*word) ^ mix(counter)).to_le_bytes();
        }
        let last = mix(counter.wrapping_add(GOLDEN)).to_le_bytes();
        rest.iter_mut().zip(last).for_each(|(byte, key)| *byte ^= key);
    }
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finalizer of splitmix64 (Steele, Lea, Flood 2014).
fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// Reads fixed-width numbers off the front of a slice; `None` once it is too short.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers<'a>(pub(super) &'a [u8]);

impl Numbers<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    pub(super) fn u128(&mut self) -> Option<u128> {
        self.take().map(u128::from_le_bytes)
    }
}

/// Whether all bytes are zero.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    // Comparing slices is one call of memcmp, and fast in every build.
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|piece| ZEROS.starts_with(piece))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masking_twice_gives_the_payload_back_and_depends_on_the_place() {
        for length in [0, 1, 7, 8, 9, 63, 64, 1000] {
            let plain: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut stored = plain.clone();
            Seal::new(7, 512).mask(&mut stored);
            assert!(length == 0 || stored != plain);
            let mut other = plain.clone();
            Seal::new(7, 520).mask(&mut other);
            assert!(length == 0 || other != stored, "another offset gives another stream");
            Seal::new(7, 512).mask(&mut stored);
            assert_eq!(stored, plain);
        }
    }

    #[test]
    fn a_payload_of_zeros_leaves_no_zero_sector() {
        let mut stored = vec![0; 1 << 20];
        Seal::new(1, 512).mask(&mut stored);
        assert!(stored.chunks(64).all(|piece| !is_zero(piece)));
    }

    #[test]
    fn checksums_differ_between_places_and_between_header_and_payload() {
        let (here, there, other) = (Seal::new(1, 512), Seal::new(1, 520), Seal::new(2, 512));
        let sums = [here, there, other].map(|seal| seal.header_checksum(b"same"));
        assert!(sums[0] != sums[1] && sums[0] != sums[2] && sums[1] != sums[2]);
        assert_ne!(here.header_checksum(b"same"), here.payload_checksum(b"same"));
    }
}
