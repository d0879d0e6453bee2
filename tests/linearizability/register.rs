//! A key as a store has it, one operation at a time: the plain rules, told apart from the checker's model so that each is
//! a test of the other. And numbers that look random.

use super::history::{Answer, Condition, Operation};

/// Value and version of a key, if it is present.
pub(crate) type Cell = Option<(String, u64)>;

/// Does it; `next` is the version that a change gets.
pub(crate) fn apply(cell: &mut Cell, operation: &Operation, next: u64) -> Answer {
    let current = cell.as_ref().map_or(0, |(_, version)| *version);
    if let Operation::Set(_, condition) | Operation::Delete(condition) = operation {
        let holds = match condition {
            Condition::Always => true,
            Condition::Absent => cell.is_none(),
            Condition::Present => cell.is_some(),
            Condition::Version(version) => *version == current,
        };
        if !holds {
            return Answer::Unmet { version: Some(current) };
        }
    }
    match operation {
        Operation::Get => cell
            .clone()
            .map_or(Answer::Absent, |(value, version)| Answer::Found { value, version: Some(version) }),
        Operation::Set(value, _) => {
            let created = cell.replace((value.clone(), next)).is_none();
            Answer::Written { version: Some(next), created }
        }
        Operation::Delete(_) => cell.take().map_or(Answer::Absent, |_| Answer::Deleted),
        Operation::Incr(by) => {
            let number = cell.as_ref().map_or(Ok(0), |(value, _)| value.parse::<i64>());
            let Ok(number) = number else { return Answer::NotAnInteger };
            *cell = Some(((number + by).to_string(), next));
            Answer::Sum { value: number + by, version: Some(next) }
        }
    }
}

/// The answer without its version.
pub(crate) fn unversioned(answer: Answer) -> Answer {
    let version = None;
    match answer {
        Answer::Found { value, .. } => Answer::Found { value, version },
        Answer::Written { created, .. } => Answer::Written { version, created },
        Answer::Unmet { .. } => Answer::Unmet { version },
        Answer::Sum { value, .. } => Answer::Sum { value, version },
        Answer::Absent | Answer::Deleted | Answer::NotAnInteger => answer,
    }
}

/// Numbers from a seed (splitmix64, Steele, Lea and Flood, 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// One of `0..end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    /// Whether something of this chance in a hundred happens.
    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}
