//! The checker against a search that tries every order, every choice among what has an unknown outcome and every version
//! that nobody was told, by the plain rules of `register`.

use super::checker::{self, Verdict};
use super::history::{Answer, Condition, Operation, Outcome, Record};
use super::register::{Cell, Random, apply, unversioned};

/// Histories that are judged both ways.
const CASES: u64 = 15_000;

/// What is tried.
struct Plain<'a> {
    records: &'a [Record],
    /// No version above this matters.
    last_version: u64,
}

impl Plain<'_> {
    /// Whether some order explains what is not placed yet.
    fn explains(&self, placed: &mut Vec<bool>, cell: &Cell, revision: u64) -> bool {
        let records = || self.records.iter().enumerate();
        let is_answered = |record: &Record| matches!(record.outcome, Outcome::Done(_));
        if records().all(|(n, record)| placed[n] || !is_answered(record)) {
            return true;
        }
        let first_return = records().filter(|(n, record)| !placed[*n] && is_answered(record));
        let first_return = first_return.map(|(_, record)| record.returned).min().unwrap_or(u64::MAX);
        for (n, record) in records() {
            if placed[n] || record.outcome == Outcome::NotApplied || record.invoked > first_return {
                continue;
            }
            placed[n] = true;
            let explained = (revision + 1..=self.last_version).any(|next| {
                let mut after = cell.clone();
                let answer = apply(&mut after, &record.operation, next);
                let revision = if answer.is_change() { next } else { revision };
                is_told(&record.outcome, &answer) && self.explains(placed, &after, revision)
            });
            placed[n] = false;
            if explained {
                return true;
            }
        }
        false
    }
}

/// Whether this outcome was told of an operation that was answered so.
fn is_told(outcome: &Outcome, answer: &Answer) -> bool {
    match outcome {
        Outcome::Done(told) => told == answer || *told == unversioned(answer.clone()),
        Outcome::Unknown => true,
        Outcome::NotApplied => false,
    }
}

fn is_linearizable(records: &[Record]) -> bool {
    let versions = records.iter().filter_map(|record| match &record.outcome {
        Outcome::Done(answer) => answer.version(),
        Outcome::NotApplied | Outcome::Unknown => None,
    });
    let asked = records.iter().filter_map(|record| match record.operation {
        Operation::Set(_, Condition::Version(version)) | Operation::Delete(Condition::Version(version)) => {
            Some(version)
        }
        _ => None,
    });
    let last_version = versions.chain(asked).max().unwrap_or(0) + records.len() as u64;
    let plain = Plain { records, last_version };
    plain.explains(&mut vec![false; records.len()], &None, 0)
}

fn operation(random: &mut Random, versions: bool) -> Operation {
    let condition = match random.below(8) {
        0 => Condition::Absent,
        1 => Condition::Present,
        2 | 3 if versions => Condition::Version(random.below(5)),
        _ => Condition::Always,
    };
    match random.below(8) {
        0 | 1 => Operation::Get,
        2 | 3 => Operation::Delete(condition),
        4 => Operation::Incr(1 + random.below(2) as i64),
        _ => Operation::Set(["a", "b", "1", "2"][random.below(4) as usize].to_owned(), condition),
    }
}

/// Answers of a store, some of them exchanged for others or for none.
fn invent(seed: u64) -> Vec<Record> {
    let mut random = Random::new(seed);
    let (versions, wrong) = (random.percent(60), random.percent(60));
    let (mut cell, mut revision) = (None, 0);
    let mut records = Vec::new();
    for at in 0..2 + random.below(4) {
        let operation = operation(&mut random, versions);
        let next = revision + 1 + random.below(2);
        let before = cell.clone();
        let mut answer = apply(&mut cell, &operation, next);
        if answer.is_change() {
            revision = next;
        }
        if random.percent(15) {
            // It does not take effect, or the effect of another takes its place.
            cell = before;
        }
        if wrong && random.percent(30) {
            let mut other = random.percent(60).then(|| ("1".to_owned(), 1 + random.below(4)));
            answer = apply(&mut other, &operation, 1 + random.below(6));
        }
        if !versions {
            answer = unversioned(answer);
        }
        let outcome = match random.below(10) {
            0..=2 => Outcome::Unknown,
            3 if random.percent(30) => Outcome::NotApplied,
            _ => Outcome::Done(answer),
        };
        let (early, late) = (random.below(8), random.below(8));
        let (invoked, returned) = ((at * 4).saturating_sub(early), at * 4 + late);
        let (client, key) = (at as usize, "k".to_owned());
        records.push(Record { client, node: 0, key, operation, outcome, invoked, returned });
    }
    records
}

/// Goal: nothing of what keeps the search short changes a verdict.
#[test]
fn the_checker_agrees_with_a_search_of_everything() {
    let (mut good, mut bad) = (0, 0);
    for seed in 0..CASES {
        let records = invent(seed);
        let expected = is_linearizable(&records);
        let found = match checker::check(&records.iter().collect::<Vec<_>>(), checker::STEPS) {
            Verdict::Linearizable => true,
            Verdict::Violation(_) => false,
            Verdict::Exhausted => panic!("seed {seed}: too much work for a few operations"),
        };
        let story: Vec<String> = records.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "seed {seed}, linearizable: {expected}\n{}", story.join("\n"));
        *(if expected { &mut good } else { &mut bad }) += 1;
    }
    println!("{good} linearizable, {bad} not");
    assert!(good > CASES / 5 && bad > CASES / 5, "{good} linearizable, {bad} not");
}
