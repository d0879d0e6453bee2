//! The rules of the house that a compiler does not hold: layers, circles, homes of foreign crates, sizes,
//! words, papers.
//!
//! The tables stand in `table.rs` and are the written form of the architecture: change them on purpose and
//! with a reason. Every rule is a function from a [`project::Project`] to violations; a test here runs it on
//! the checkout, and tests beside it run it on small planted checkouts, where it must find what is wrong.
//! Comments and strings are removed before anything is matched.
//!
//! Test code (`#[cfg(test)]`, `#[test]`, files behind a `#[cfg(test)] mod`, everything below tests/) is held
//! to the banned words, to the opening `//!` and to the rule on dead files, but not to layers, circles, homes
//! and sizes: a test may use whatever makes it clear.

#![cfg(test)]
#![allow(clippy::disallowed_methods, reason = "reads the checkout, which is not the data of a node")]

mod circles;
mod foreign;
mod layers;
mod leftovers;
mod lexer;
mod papers;
mod project;
mod sizes;
mod syntax;
mod table;
mod words;

use std::path::Path;
use std::sync::LazyLock;

use project::{Project, Violation};

fn check(rule: fn(&Project) -> Vec<Violation>) {
    static PROJECT: LazyLock<Project> =
        LazyLock::new(|| Project::load(Path::new(env!("CARGO_MANIFEST_DIR"))));
    let mut violations = rule(&PROJECT);
    violations.sort();
    violations.dedup();
    let list: String = violations.iter().map(|v| format!("\n  {v}")).collect();
    assert!(violations.is_empty(), "{} broken:{list}", violations.len());
}

#[test]
fn modules_import_only_from_floors_below() {
    check(layers::check);
}

#[test]
fn files_do_not_import_each_other_in_a_circle() {
    check(circles::check);
}

#[test]
fn foreign_crates_stay_in_their_homes() {
    check(foreign::check_homes);
}

#[test]
fn every_dependency_has_a_home_and_is_used() {
    check(foreign::check_dependencies);
}

#[test]
fn files_time_and_process_are_reached_through_one_place() {
    check(foreign::check_places);
}

#[test]
fn the_core_is_deterministic() {
    check(foreign::check_determinism);
}

#[test]
fn files_and_functions_are_small() {
    check(sizes::check);
}

#[test]
fn module_files_hold_only_modules_and_imports() {
    check(sizes::check_module_files);
}

#[test]
fn banned_words_do_not_occur() {
    check(words::check);
}

#[test]
fn every_file_says_what_it_is_for() {
    check(words::check_openings);
}

#[test]
fn config_keys_stand_in_the_readme() {
    check(papers::check_keys);
}

#[test]
fn exit_codes_stand_in_the_readme() {
    check(papers::check_exit_codes);
}

#[test]
fn metric_names_stand_in_the_readme() {
    check(papers::check_metrics);
}

#[test]
fn every_source_file_is_part_of_a_crate() {
    check(leftovers::check_sources);
}

#[test]
fn every_golden_and_planted_file_is_used() {
    check(leftovers::check_test_files);
}
