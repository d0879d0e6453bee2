//! What each request of a run is. Request number `n` of a seed is the same in every run, whichever connection sends it.

use std::ops::Range;

use super::mix::{Mix, Operation};
use super::random::{Random, scatter};
use super::zipf::Choice;

/// How much longer than the longest value the pool of random bytes is, so that values differ.
const POOL_SLACK_BYTES: usize = 64 << 10;

/// Separates the stream that fills the pool from those of requests.
const POOL_STREAM: u64 = u64::MAX;

/// One request, without the words of a protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// What it does.
    pub(super) operation: Operation,
    /// Which key, as [`Workload::new`]'s `keys` are scattered over 64 bits.
    pub(super) key: u64,
    /// Which bytes of [`Workload::pool`] are the value; empty if nothing is written.
    pub(super) value: Range<usize>,
}

/// Where the requests of a phase come from.
#[derive(Debug)]
pub(super) struct Workload {
    seed: u64,
    keys: u64,
    choice: Choice,
    mix: Mix,
    value_bytes: Range<u64>,
    pool: Vec<u8>,
}

impl Workload {
    /// `value_bytes` are the lengths that values may have.
    pub(super) fn new(
        seed: u64,
        keys: u64,
        theta: Option<f64>,
        mix: Mix,
        value_bytes: Range<u64>,
    ) -> Workload {
        let mut random = Random::new(seed, POOL_STREAM);
        let pool_bytes = value_bytes.end as usize + POOL_SLACK_BYTES;
        let pool = (0..pool_bytes.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).collect();
        Workload { seed, keys, choice: Choice::new(keys, theta), mix, value_bytes, pool }
    }

    /// Random bytes that do not compress.
    pub(super) fn pool(&self) -> &[u8] {
        &self.pool
    }

    /// How many keys there are.
    pub(super) fn keys(&self) -> u64 {
        self.keys
    }

    /// Request `number` of the mix.
    pub(super) fn mixed(&self, number: u64) -> Request {
        let mut random = Random::new(self.seed, number);
        let operation = self.mix.draw(&mut random);
        let key = scatter(self.choice.draw(&mut random));
        let value = if operation == Operation::Set { self.value(&mut random) } else { 0..0 };
        Request { operation, key, value }
    }

    /// The write of key `number`, which makes every key present once all numbers were asked for.
    pub(super) fn filling(&self, number: u64) -> Request {
        let value = self.value(&mut Random::new(!self.seed, number));
        Request { operation: Operation::Set, key: scatter(number), value }
    }

    fn value(&self, random: &mut Random) -> Range<usize> {
        let lengths = self.value_bytes.end - self.value_bytes.start;
        let length = (self.value_bytes.start + random.below(lengths)) as usize;
        let start = random.below((self.pool.len() - length) as u64) as usize;
        start..start + length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(seed: u64) -> Workload {
        let mix = "get=50,set=50".parse().expect("a mix");
        Workload::new(seed, 1_000, Some(0.99), mix, 10..21)
    }

    /// Goal: a run can be repeated, and another seed is another run.
    #[test]
    fn requests_follow_from_the_seed() {
        let all = |seed| (0..1_000).map(|number| workload(seed).mixed(number)).collect::<Vec<_>>();
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
    }

    /// Goal: what fills the key space and what asks for keys mean the same keys, each filled once; values keep to
    /// their lengths, and reads have none.
    #[test]
    fn keys_and_values() {
        let workload = workload(3);
        let filled: Vec<Request> = (0..workload.keys()).map(|number| workload.filling(number)).collect();
        let keys: std::collections::BTreeSet<u64> = filled.iter().map(|request| request.key).collect();
        assert_eq!(keys.len(), 1_000);
        let mut lengths = std::collections::BTreeSet::new();
        for request in (0..2_000).map(|number| workload.mixed(number)) {
            assert!(keys.contains(&request.key), "{request:?}");
            assert!(request.value.end <= workload.pool().len());
            match request.operation {
                Operation::Get => assert!(request.value.is_empty()),
                _ => assert!(lengths.insert(request.value.len()) || lengths.len() <= 11),
            }
        }
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), (10..=20).collect::<Vec<_>>());
    }
}
