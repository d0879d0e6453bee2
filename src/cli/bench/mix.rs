//! Which operations are asked for, and how often.

use std::str::FromStr;

use super::random::Random;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Reads a value.
    Get,
    /// Writes a value.
    Set,
    /// Removes a key.
    Del,
    /// Adds one to a counter.
    Incr,
    /// Reads how long a key has left.
    Ttl,
}

impl Operation {
    /// Every operation, in the order of reports.
    pub(super) const ALL: [Operation; 5] =
        [Operation::Get, Operation::Set, Operation::Del, Operation::Incr, Operation::Ttl];

    /// As the command line and reports name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Operation::Get => "get",
            Operation::Set => "set",
            Operation::Del => "del",
            Operation::Incr => "incr",
            Operation::Ttl => "ttl",
        }
    }

    /// Whether "no such key" is an answer as good as any other.
    pub(super) fn may_miss(self) -> bool {
        matches!(self, Operation::Get | Operation::Del | Operation::Ttl)
    }
}

/// Operations with their weights, as in `get=80,set=20`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Mix {
    weights: Vec<(Operation, u64)>,
    total: u64,
}

/// Largest weight of an operation.
const MAX_WEIGHT: u64 = 1_000_000;

impl Mix {
    /// One of the operations, each as often as its weight says.
    pub(super) fn draw(&self, random: &mut Random) -> Operation {
        let mut at = random.below(self.total);
        for (operation, weight) in &self.weights {
            match at.checked_sub(*weight) {
                Some(rest) => at = rest,
                None => return *operation,
            }
        }
        unreachable!("a number below the sum of the weights lies within one of them")
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Mix, String> {
        let mut weights: Vec<(Operation, u64)> = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part
                .split_once('=')
                .ok_or_else(|| format!("{part:?} is no OPERATION=WEIGHT, as in get=80,set=20"))?;
            let operation = Operation::ALL.into_iter().find(|operation| operation.name() == name.trim());
            let operation = operation
                .ok_or_else(|| format!("{name:?} is no operation: there are get, set, del, incr and ttl"))?;
            if weights.iter().any(|(known, _)| *known == operation) {
                return Err(format!("{name} stands there twice"));
            }
            let weight = weight.trim().parse().ok().filter(|weight| *weight <= MAX_WEIGHT);
            let weight =
                weight.ok_or_else(|| format!("the weight of {name} is a whole number up to {MAX_WEIGHT}"))?;
            weights.push((operation, weight));
        }
        let total = weights.iter().map(|(_, weight)| weight).sum();
        if total == 0 {
            return Err("at least one weight is more than 0".to_owned());
        }
        weights.retain(|(_, weight)| *weight > 0);
        Ok(Mix { weights, total })
    }
}

impl std::fmt::Display for Mix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, (operation, weight)) in self.weights.iter().enumerate() {
            write!(f, "{}{}={weight}", if number == 0 { "" } else { "," }, operation.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: weights are shares.
    #[test]
    fn shares() {
        let mix: Mix = "get=70,set=20,incr=10,del=0".parse().expect("a mix");
        let mut counts = [0_u32; 5];
        for stream in 0..100_000 {
            counts[mix.draw(&mut Random::new(5, stream)) as usize] += 1;
        }
        assert!((69_000..71_000).contains(&counts[Operation::Get as usize]), "{counts:?}");
        assert!((19_000..21_000).contains(&counts[Operation::Set as usize]), "{counts:?}");
        assert!((9_000..11_000).contains(&counts[Operation::Incr as usize]), "{counts:?}");
        assert_eq!(counts[Operation::Del as usize] + counts[Operation::Ttl as usize], 0);
        assert_eq!(mix.to_string(), "get=70,set=20,incr=10");
    }

    /// Goal: what is no mix is refused in words that help.
    #[test]
    fn refusals() {
        for (text, reason) in [
            ("", "is no OPERATION=WEIGHT"),
            ("get", "is no OPERATION=WEIGHT"),
            ("read=1", "there are get, set, del, incr and ttl"),
            ("get=1,get=2", "twice"),
            ("get=-1", "whole number"),
            ("get=1000001", "whole number"),
            ("get=0,set=0", "more than 0"),
        ] {
            let refused = text.parse::<Mix>().expect_err(text);
            assert!(refused.contains(reason), "{text:?}: {refused}");
        }
    }
}
