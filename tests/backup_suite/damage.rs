//! Damaged backups: none is restored, and nothing is begun.

use std::path::Path;

use kvorum::disk::{Disk, Faulty};
use kvorum::raft::{Lifetimes, OpenError};

use super::restored::backup;
use super::support::*;

/// Checks that these bytes are refused at a place not behind the damage, and that the directory is still empty.
#[track_caller]
fn assert_refused(bytes: &[u8], damaged_at: usize, case: &str) {
    let disk = disk_with(bytes);
    let error = restore_on(&disk, &clock(), Lifetimes::Deadline).expect_err(case);
    let OpenError::Damaged { file, offset, .. } = &error else { panic!("{case}: {error}") };
    assert_eq!(file, Path::new(FILE), "{case}");
    assert!(*offset <= damaged_at as u64, "{case}: {error}");
    assert_empty(&disk, case);
}

#[track_caller]
fn assert_empty(disk: &Faulty, case: &str) {
    let names = disk.read_dir(data_dir()).expect("a directory");
    assert!(names.iter().all(|name| name == "lock"), "{case}: {names:?}");
}

/// Goal: every single flipped bit of a backup is found before anything is written, and named by file and offset.
#[test]
fn every_flipped_bit_is_refused() {
    let (bytes, _) = runtime().block_on(backup());
    assert!(bytes.len() < 1_500, "small enough to try all: {} bytes", bytes.len());
    for (at, bit) in (0..bytes.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << bit;
        assert_refused(&damaged, at, &format!("bit {bit} of byte {at}"));
    }
}

/// Goal: a backup that broke off anywhere, or with anything behind its end, is not restored.
#[test]
fn every_truncation_is_refused() {
    let (bytes, _) = runtime().block_on(backup());
    for length in 0..bytes.len() {
        assert_refused(&bytes[..length], length, &format!("cut to {length} bytes"));
    }
    assert_refused(&[&bytes[..], b"\n"].concat(), bytes.len(), "a byte behind the end");
}

/// Goal: a backup of a newer version is told from a damaged one.
#[test]
fn a_newer_level_is_refused_as_such() {
    let (mut bytes, _) = runtime().block_on(backup());
    bytes[10] = 0xFF;
    let checksum = crc32c::crc32c(&bytes[..16]);
    bytes[16..20].copy_from_slice(&checksum.to_le_bytes());
    let disk = disk_with(&bytes);
    let error = restore_on(&disk, &clock(), Lifetimes::Deadline).expect_err("a refusal");
    assert!(matches!(error, OpenError::LevelTooHigh(_)), "{error}");
    assert_empty(&disk, "newer");
}
