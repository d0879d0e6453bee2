//! The bodies of the fuzz targets without libFuzzer: over their seeds, and over mutations of them drawn from a number, so
//! that every run of the tests tries the same.
//!
//! Goal: no parser panics, and each keeps what its module promises. `run` beside this file starts the real fuzzer. What it
//! finds goes to `seeds/`, where it stays tried.

#![cfg(test)]
#![allow(unreachable_pub, reason = "the modules are a library for the targets, too")]
#![allow(clippy::disallowed_methods, reason = "seeds are read outside the product")]

mod config;
mod document;
mod entry;
mod http;
mod snapshot;
mod wal;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// The seeds of a target, by name.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target);
    let files = std::fs::read_dir(folder).expect("the seeds of the target");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a seed").path()).collect();
    paths.sort();
    assert!(paths.len() >= 3, "{target} has seeds");
    let seed = |path: PathBuf| {
        let bytes = std::fs::read(&path).expect("a seed");
        (path.display().to_string(), bytes)
    };
    paths.into_iter().map(seed).collect()
}

/// Dice (splitmix64).
struct Luck(u64);

impl Luck {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }

    /// A few changes: bits, bytes that mean something, pieces taken out, doubled, or out of another seed.
    fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let end = (at + 1 + self.below(16)).min(bytes.len());
            match self.below(7) {
                0 | 1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                2 if at < bytes.len() => bytes[at] = [0, 1, 0x7F, 0x80, 0xC0, 0xFF][self.below(6)],
                3 if at < end => drop(bytes.drain(at..end)),
                4 if at < end => {
                    let piece = bytes[at..end].to_vec();
                    drop(bytes.splice(at..at, piece));
                }
                5 => bytes.truncate(at),
                _ => {
                    let from = self.below(other.len());
                    let piece = &other[from..(from + 1 + self.below(64)).min(other.len())];
                    drop(bytes.splice(at..end.max(at), piece.iter().copied()));
                }
            }
        }
    }
}

/// Tries the seeds and so many mutations. Enough of them must be taken and refused, or the body checks nothing.
fn exercise(target: &str, mutations: usize, check: fn(&[u8]) -> bool) {
    let seeds = seeds(target);
    let tried = |what: String, bytes: &[u8]| match catch_unwind(AssertUnwindSafe(|| check(bytes))) {
        Ok(taken) => usize::from(taken),
        Err(_) => panic!("{target} breaks at {what}: {}", bytes.escape_ascii()),
    };
    let taken: usize = seeds.iter().map(|(name, bytes)| tried(name.clone(), bytes)).sum();
    assert!(taken > 0, "no seed of {target} is taken");
    let mutation = |number: usize| {
        let mut luck = Luck(number as u64);
        let (name, seed) = &seeds[luck.below(seeds.len())];
        let (_, other) = &seeds[luck.below(seeds.len())];
        let mut bytes = seed.clone();
        luck.mutate(&mut bytes, other);
        tried(format!("mutation {number} of {name}"), &bytes)
    };
    let taken: usize = (0..mutations).map(mutation).sum();
    assert!((mutations / 500..mutations / 2).contains(&taken), "{taken} of {mutations} are taken");
}

#[test]
fn configuration_is_refused_or_taken() {
    exercise("config", 2_000, config::check);
}

#[test]
fn documents_are_refused_or_say_the_same_in_both_codings() {
    exercise("document", 20_000, document::check);
}

#[test]
fn log_entries_are_refused_or_applied() {
    exercise("entry", 20_000, entry::check);
}

#[test]
fn heads_of_requests_are_refused_or_read() {
    exercise("http", 20_000, http::check);
}

#[test]
fn snapshots_are_refused_or_loaded() {
    exercise("snapshot", 5_000, snapshot::check);
}

#[test]
fn segments_are_refused_or_recovered() {
    exercise("wal", 3_000, wal::check);
}
