//! Which key a request takes.
//!
//! Zipf's law by the method of Gray, Sundaresan, Englert, Baclawski and Weinberger, "Quickly generating billion-record
//! synthetic databases", SIGMOD 1994, as YCSB uses it (Cooper et al., "Benchmarking cloud serving systems with YCSB",
//! SoCC 2010): rank `r` (from 1) has a probability of about `1 / (r^theta * zeta(n, theta))`. The first two ranks
//! have exactly theirs, the others an approximation of it in constant time.

use super::random::Random;

/// Terms of zeta that are summed one by one; what follows them is an integral.
const SUMMED: u64 = 10_000;

/// How the ranks of keys are drawn.
#[derive(Clone, Debug)]
pub(super) enum Choice {
    /// All alike.
    Uniform {
        /// How many ranks there are.
        ranks: u64,
    },
    /// By Zipf's law.
    Zipf(Zipf),
}

impl Choice {
    /// Among `ranks`; by Zipf's law if there is a `theta`.
    pub(super) fn new(ranks: u64, theta: Option<f64>) -> Choice {
        theta.map_or(Choice::Uniform { ranks }, |theta| Choice::Zipf(Zipf::new(ranks, theta)))
    }

    /// A rank from 0 on; 0 is the most frequent one.
    pub(super) fn draw(&self, random: &mut Random) -> u64 {
        match self {
            Choice::Uniform { ranks } => random.below(*ranks),
            Choice::Zipf(zipf) => zipf.rank(random.unit()),
        }
    }
}

/// Gray's constants for one number of ranks and one theta. The names are those of the paper.
#[derive(Clone, Debug)]
pub(super) struct Zipf {
    ranks: u64,
    theta: f64,
    alpha: f64,
    zetan: f64,
    eta: f64,
}

impl Zipf {
    /// `ranks` of at least 1; `theta` between 0 and 1, neither included.
    pub(super) fn new(ranks: u64, theta: f64) -> Zipf {
        let zetan = zeta(ranks, theta);
        let eta = (1.0 - (2.0 / ranks as f64).powf(1.0 - theta)) / (1.0 - zeta(2, theta) / zetan);
        Zipf { ranks, theta, alpha: 1.0 / (1.0 - theta), zetan, eta }
    }

    /// The rank, from 0 on, that belongs to `unit`, which is from 0 up to 1.
    fn rank(&self, unit: f64) -> u64 {
        let last = self.ranks - 1;
        let scaled = unit * self.zetan;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5_f64.powf(self.theta) {
            return last.min(1);
        }
        let rank = self.ranks as f64 * (self.eta * unit - self.eta + 1.0).powf(self.alpha);
        // With two ranks `eta` is no number, and neither is what rounding lets come here; the cast makes it 0.
        last.min(rank as u64)
    }
}

/// The sum of `1 / r^theta` for `r` from 1 to `ranks`: term by term at first, then by the Euler-Maclaurin formula,
/// whose error is below 1e-9 there. A billion ranks cost as little as ten thousand.
fn zeta(ranks: u64, theta: f64) -> f64 {
    let summed = ranks.min(SUMMED);
    let head: f64 = (1..=summed).map(|rank| (rank as f64).powf(-theta)).sum();
    let (from, to) = (summed as f64, ranks as f64);
    let integral = (to.powf(1.0 - theta) - from.powf(1.0 - theta)) / (1.0 - theta);
    head + integral + (to.powf(-theta) - from.powf(-theta)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the shortcut of zeta is the sum.
    #[test]
    fn zeta_is_the_sum() {
        for theta in [0.01, 0.5, 0.99] {
            let sum: f64 = (1..=300_000_u32).map(|rank| f64::from(rank).powf(-theta)).sum();
            let quick = zeta(300_000, theta);
            assert!((quick - sum).abs() < 1e-6, "{theta}: {quick} is not {sum}");
        }
        // YCSB's constant for ten billion items and 0.99.
        assert!((zeta(10_000_000_000, 0.99) - 26.469_028_201_783_02).abs() < 1e-6);
    }

    /// Goal: ranks come as often as the law says: the first two one by one, the rest in groups, within what Gray's
    /// approximation and a million draws allow.
    #[test]
    fn shares_are_those_of_the_law() {
        const DRAWS: u64 = 1_000_000;
        for (ranks, theta) in [(1_000_u64, 0.5), (1_000, 0.99), (100_000, 0.8)] {
            let zipf = Choice::new(ranks, Some(theta));
            let mut counts = vec![0_u64; ranks as usize];
            for stream in 0..DRAWS {
                counts[zipf.draw(&mut Random::new(11, stream)) as usize] += 1;
            }
            let law = |from: u64, to: u64| (zeta(to, theta) - zeta_or_0(from, theta)) / zeta(ranks, theta);
            let seen = |from: u64, to: u64| {
                counts[from as usize..to as usize].iter().sum::<u64>() as f64 / DRAWS as f64
            };
            for (from, to, allowed) in
                [(0, 1, 0.02), (1, 2, 0.03), (0, 10, 0.15), (0, 100, 0.08), (0, ranks / 2, 0.03)]
            {
                let (law, seen) = (law(from, to), seen(from, to));
                assert!(
                    (seen / law - 1.0).abs() < allowed,
                    "{ranks} ranks, theta {theta}, {from}..{to}: {seen:.5} instead of {law:.5}"
                );
            }
            assert!(counts[0] > counts[1] && seen(0, ranks / 10) > seen(ranks / 10, ranks / 5));
        }
    }

    fn zeta_or_0(ranks: u64, theta: f64) -> f64 {
        if ranks == 0 { 0.0 } else { zeta(ranks, theta) }
    }

    /// Goal: the smallest key spaces work, and no draw leaves one, whatever rounding does.
    #[test]
    fn small_spaces() {
        for ranks in 1..=5 {
            let zipf = Zipf::new(ranks, 0.99);
            for unit in [0.0, 0.3, 0.6, 0.9, 1.0 - f64::EPSILON / 2.0, 1.0] {
                assert!(zipf.rank(unit) < ranks, "{ranks} ranks, {unit}");
            }
        }
        assert_eq!(Choice::new(1, None).draw(&mut Random::new(1, 1)), 0);
    }
}
