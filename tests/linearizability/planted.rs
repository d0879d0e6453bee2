//! Invented histories: all correct ones are accepted, all with a planted fault are refused.

use super::checker::{self, Verdict};
use super::history::History;
use super::report;
use super::simulated::{Fault, Setup, correct, faulty};

/// Steps that a search of these may take. Without versions there is less to go by.
const STEPS: u64 = 1_000_000;

fn setups() -> impl Iterator<Item = Setup> {
    let sizes = [(2, 1), (5, 2), (12, 2)].into_iter();
    sizes.flat_map(|(clients, keys)| {
        [(true, 0), (true, 5), (false, 0), (false, 3)].map(|(versions, trouble)| Setup {
            clients,
            operations: 60 * keys as usize,
            keys,
            versions,
            trouble,
        })
    })
}

/// Goal: whatever a store that keeps to the rules may answer is accepted.
#[test]
fn a_correct_history_is_accepted() {
    for setup in setups() {
        for seed in 0..60 {
            if let Err(report) = report::check_within(&correct(seed, setup), STEPS) {
                panic!("seed {seed}, {setup:?}:\n{report}");
            }
        }
    }
}

/// Goal: a long history with few operations of unknown outcome needs few steps for each operation.
#[test]
fn a_long_history_is_judged_in_a_few_steps_an_operation() {
    for (versions, seed) in [(true, 0), (true, 1), (false, 2), (false, 3)] {
        let setup = Setup { clients: 12, operations: 4_000, keys: 2, versions, trouble: 1 };
        if let Err(report) = report::check_within(&correct(seed, setup), 100 * 4_000) {
            panic!("seed {seed}, {setup:?}:\n{report}");
        }
    }
}

/// Whether some key's history is a violation, whatever versions say across keys.
fn is_refused(history: &History) -> bool {
    history.by_key().values().any(|records| match checker::check(records, STEPS) {
        Verdict::Linearizable => false,
        Verdict::Violation(_) => true,
        Verdict::Exhausted => panic!("undecided after {STEPS} steps on {} operations", records.len()),
    })
}

fn expect_refused(fault: Fault) {
    let (mut planted, mut tried) = (0, 0);
    for setup in setups() {
        // Nobody can break a refusal where nothing is refused.
        let trouble = if fault == Fault::BrokenRefusal { setup.trouble.max(12) } else { setup.trouble };
        let setup = Setup { trouble, ..setup };
        for seed in 0..40 {
            tried += 1;
            if let Some(history) = faulty(seed, setup, fault) {
                planted += 1;
                assert!(is_refused(&history), "{fault:?} was not found with seed {seed}, {setup:?}");
            }
        }
    }
    println!("{fault:?}: {planted} planted and refused, {tried} seeds");
    assert!(planted * 2 > tried, "{fault:?} found a place with {planted} seeds of {tried} only");
}

/// Goal: each kind of fault is found in every history that has it.
#[test]
fn a_planted_stale_read_is_refused() {
    expect_refused(Fault::StaleRead);
}

#[test]
fn a_planted_lost_write_is_refused() {
    expect_refused(Fault::LostWrite);
}

#[test]
fn a_planted_late_repeat_of_a_write_is_refused() {
    expect_refused(Fault::LateRepeat);
}

#[test]
fn a_planted_double_addition_is_refused() {
    expect_refused(Fault::DoubleAddition);
}

#[test]
fn a_planted_double_addition_with_the_right_answer_is_refused() {
    expect_refused(Fault::HiddenAddition);
}

#[test]
fn a_planted_resurrection_is_refused() {
    expect_refused(Fault::Resurrection);
}

#[test]
fn a_planted_effect_of_what_was_refused_is_refused() {
    expect_refused(Fault::BrokenRefusal);
}
