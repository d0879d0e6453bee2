//! Goal: what a closed log held is missed if it is gone, even if the disk itself turned the end of the log to zeros; and no
//! crash between closing and writing again leads to a log being refused for nothing.

use std::path::Path;
use std::sync::Arc;

use kvorum::disk::{Disk, Faulty, Operation};
use kvorum::wal::{Error, Wal, verify};

use crate::support::{History, IDENTITY, Luck, Model, dir, entry, open, segment_path, tiny, wait};

const SECTOR: usize = 512;

fn mark() -> std::path::PathBuf {
    dir().join("closed")
}

fn closed_log() -> Faulty {
    let disk = Faulty::new();
    let wal = open(&disk, tiny()).unwrap();
    for index in 0..5 {
        wait(|done| wal.append(0, vec![entry(index, &[b'x'; 200])], done)).unwrap();
    }
    wal.close().unwrap();
    drop(wal);
    disk.after_kill()
}

/// Where the bytes of a file end that are not zero.
fn content_end(disk: &Faulty, path: &Path) -> usize {
    let bytes = disk.content(path).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

#[test]
fn zeros_over_the_end_of_a_closed_log_are_refused_however_far_they_reach() {
    let disk = closed_log();
    let path = segment_path(1);
    let end = content_end(&disk, &path);
    let mut count = 0;
    // All but the head, whose loss is found without the mark.
    for from in (SECTOR..end).step_by(SECTOR) {
        let image = disk.after_kill();
        let mut bytes = image.content(&path).unwrap();
        bytes[from..].fill(0);
        image.put(&path, &bytes);
        let refused = open(&image, tiny()).expect_err("acknowledged entries are missing");
        let Error::Corrupt { file, offset, .. } = &refused else { panic!("{from}: {refused}") };
        assert_eq!(Path::new(file), path);
        assert!((*offset as usize) <= end, "{refused}");
        let (_, findings) = verify(&image, dir()).unwrap();
        assert!(findings.iter().any(|finding| finding.refused), "the tool says so too");
        count += 1;
    }
    assert!(count >= 2, "the log fills {count} sectors");
}

#[test]
fn a_mark_that_is_damaged_or_names_another_segment_is_refused() {
    let disk = closed_log();
    let bytes = disk.content(&mark()).unwrap();
    for at in 0..bytes.len() {
        let image = disk.after_kill();
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        image.put(&mark(), &flipped);
        assert!(open(&image, tiny()).is_err(), "byte {at}");
    }
    let image = disk.after_kill();
    image.remove(&segment_path(1)).unwrap();
    let refused = Wal::open(Arc::new(image), dir(), IDENTITY, tiny()).expect_err("its segment is missing");
    assert!(refused.to_string().contains("missing"), "{refused}");
}

/// The mark must be gone for good before anything is written, and be there only once everything is.
#[test]
fn a_power_cut_at_any_operation_of_closing_and_opening_again_refuses_nothing() {
    for seed in 0..2 {
        for point in 0.. {
            let disk = closed_log();
            disk.cut_off_at(point);
            let mut history = History::new();
            if let Ok(wal) = open(&disk, tiny()) {
                if let Some(found) = Model::try_of(&wal) {
                    history = History::of(&wal, found);
                    history.run(&wal, &mut Luck(seed), 6);
                }
                let _cut_off = wal.close();
            }
            let done = !disk.is_off();
            for draw in 0..4 {
                let image = disk.after_power_cut(draw);
                let context = format!("workload {seed} cut at {point}, draw {draw}");
                let wal = open(&image, tiny()).unwrap_or_else(|error| panic!("{context}: {error}"));
                assert!(wal.state(0).last.is_some(), "{context}: what was acknowledged before is there");
                if history.acknowledged > 0 {
                    history.check(&wal, &Model::of(&wal), history.acknowledged, &context);
                }
            }
            if done {
                assert!(point > 10, "closing and opening take more than {point} operations");
                break;
            }
        }
    }
}

#[test]
fn a_log_that_cannot_leave_its_mark_is_closed_all_the_same() {
    let disk = Faulty::new();
    let wal = open(&disk, tiny()).unwrap();
    wait(|done| wal.append(0, vec![entry(0, b"kept")], done)).unwrap();
    disk.inject(kvorum::disk::Fault {
        operation: Operation::Create,
        name: "closed".into(),
        skip: 0,
        times: 1,
        errno: 28,
    });
    wal.close().unwrap();
    drop(wal);
    assert!(!disk.exists(&mark()).unwrap());
    assert_eq!(
        open(&disk.after_power_cut(1), tiny()).unwrap().read(0, 0..1, 0).unwrap(),
        [entry(0, b"kept")]
    );
}
