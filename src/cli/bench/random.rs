//! Random numbers that are the same on every machine: one small generator per request, seeded with its number.

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014: the golden gamma.
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64 (Steele, Lea and Flood, 2014). Not for secrets.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The generator of one `stream` (a request) of a run with `seed`.
    pub(super) fn new(seed: u64, stream: u64) -> Random {
        Random(scatter(seed.wrapping_add(GAMMA)) ^ scatter(stream.wrapping_mul(GAMMA)))
    }

    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        scatter(self.0)
    }

    /// A number below `bound`, or 0 if that is 0. Lemire's multiplication; its bias is below `bound` / 2^64.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from 0 up to, not including, 1: a multiple of 2^-53.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The finalizer of SplitMix64: a bijection of 64 bits whose every output bit depends on every input bit.
pub(super) fn scatter(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the generator is the published one. First outputs of the reference implementation for seed 1234567.
    #[test]
    fn splitmix64_as_published() {
        let mut random = Random(1_234_567);
        let drawn = [random.next(), random.next(), random.next()];
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    /// Goal: bounded draws stay in bounds and reach all of them, about equally often.
    #[test]
    fn draws_are_even() {
        let mut counts = [0_u32; 10];
        for stream in 0..100_000 {
            let mut random = Random::new(7, stream);
            counts[random.below(10) as usize] += 1;
            assert!((0.0..1.0).contains(&random.unit()));
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        assert_eq!(Random::new(1, 1).below(0), 0);
    }

    /// Goal: neighbouring streams and seeds have nothing in common, the same ones everything.
    #[test]
    fn streams_differ() {
        let first = |seed, stream| Random::new(seed, stream).next();
        assert_eq!(first(3, 4), first(3, 4));
        let distinct: std::collections::BTreeSet<u64> =
            (0..100).flat_map(|seed| (0..100).map(move |stream| first(seed, stream))).collect();
        assert_eq!(distinct.len(), 10_000);
    }
}
