//! Goal: damage is refused with file and offset, unless it looks like the torn end of a write nobody was told
//! of; and never is an acknowledged value wrong or missing in a log that was opened.

use std::collections::BTreeMap;

use kvorum::disk::Faulty;
use kvorum::wal::{Error, Identity, Kind, LogId, Vote, Wal, inspect, is_blank, verify};

use crate::support::{IDENTITY, Model, dir, entry, id, open, segment_path, tiny, wait, wait_for_spare};

/// The files of a small log, and what was acknowledged in it.
struct Small {
    disk: Faulty,
    files: BTreeMap<u32, Vec<u8>>,
    acknowledged: Model,
}

impl Small {
    /// Segment 1 is sealed, 2 is the last one, with records of all kinds and a final payload of so many
    /// bytes; 3 is the spare. `closed` says whether a Synced record covers the end, or the power went right
    /// after the last answer.
    fn new(closed: bool, final_bytes: usize) -> Small {
        let disk = Faulty::new();
        let wal = open(&disk, tiny()).unwrap();
        for index in 0..6 {
            wait(|done| wal.append(0, vec![entry(index, &vec![index as u8; 300])], done)).unwrap();
        }
        wait(|done| wal.save_vote(1, Vote { term: 4, node: 2, committed: true }, done)).unwrap();
        wait(|done| wal.roll(done)).unwrap();
        wait(|done| wal.append(0, vec![entry(6, &[0; 1200]), entry(7, b"")], done)).unwrap();
        wait(|done| wal.truncate_after(0, Some(id(1, 6)), done)).unwrap();
        wait(|done| wal.purge_upto(0, id(1, 1), done)).unwrap();
        wal.save_committed(0, id(1, 5));
        wait(|done| wal.append(0, vec![entry(7, &[7; 900]), entry(8, &vec![8; final_bytes])], done)).unwrap();
        wait_for_spare(&disk, 3);
        let acknowledged = Model::of(&wal);
        let disk = if closed {
            wal.close().unwrap();
            disk.after_kill()
        } else {
            disk.after_power_cut(0)
        };
        let files =
            (1..=3).map(|sequence| (sequence, disk.content(&segment_path(sequence)).unwrap())).collect();
        Small { disk, files, acknowledged }
    }

    /// A disk with these files, one of them replaced or (`None`) missing.
    fn with(&self, sequence: u32, content: Option<&[u8]>) -> Faulty {
        let disk = Faulty::new();
        for (other, original) in &self.files {
            let content = if *other == sequence { content } else { Some(original.as_slice()) };
            if let Some(content) = content {
                disk.put(&segment_path(*other), content);
            }
        }
        disk
    }

    /// The law for one damage to `file`. Returns whether it was refused. `thorough` compares opening, looking
    /// and verifying, which otherwise are taken to agree.
    fn judge(&self, disk: &Faulty, file: u32, context: &str, thorough: bool) -> bool {
        let refused = Small::look(disk, file, context);
        if thorough {
            let (_, findings) = verify(disk, dir()).unwrap();
            let found = findings.iter().any(|finding| finding.refused);
            assert_eq!(found, refused, "{context}: {findings:?}");
            match open(disk, tiny()) {
                Ok(wal) => {
                    assert!(!refused, "{context}: opened");
                    assert!(Model::of(&wal) == self.acknowledged, "{context}: {:#?}", Model::of(&wal));
                }
                Err(Error::Corrupt { .. }) => assert!(refused, "{context}: not seen by looking"),
                Err(error) => panic!("{context}: {error}"),
            }
        }
        refused
    }

    /// Whether the log is refused, by the file that was damaged or the one after it.
    fn look(disk: &Faulty, file: u32, context: &str) -> bool {
        let refused = match is_blank(disk, dir()) {
            Ok(_) => None,
            Err(Error::Corrupt { file, offset, what }) => Some((file, offset, what)),
            Err(error) => panic!("{context}: {error}"),
        };
        if let Some((named, offset, what)) = &refused {
            // Damage to a head or to a SegmentEnd may show first in the neighbour that does not fit any more.
            let near = *named == name(file) || *named == name(file + 1);
            assert!(near && *offset <= 2 * 4096, "{context}: {named} at {offset}: {what}");
        }
        refused.is_some()
    }
}

fn name(sequence: u32) -> String {
    segment_path(sequence).display().to_string()
}

fn corrupt(disk: &Faulty) -> (String, u64, String) {
    match open(disk, tiny()) {
        Err(Error::Corrupt { file, offset, what }) => (file, offset, what),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn every_flipped_bit_is_refused_by_name_or_changes_nothing_acknowledged() {
    // The last segment is tried with and without a Synced record at its end; to the others that makes no
    // difference.
    std::thread::scope(|scope| {
        for (closed, sequence) in [(true, 1), (true, 2), (true, 3), (false, 2)] {
            scope.spawn(move || every_flipped_bit(closed, sequence));
        }
    });
}

fn every_flipped_bit(closed: bool, sequence: u32) {
    let small = Small::new(closed, 560);
    let mut content = small.files[&sequence].clone();
    let end = content.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for bit in 0..content.len() * 8 {
        content[bit / 8] ^= 1 << (bit % 8);
        let disk = small.with(sequence, Some(&content));
        let context = format!("segment {sequence}, byte {}, bit {}, closed {closed}", bit / 8, bit % 8);
        // Behind the records, one bit of each byte is enough to see that opening keeps all.
        let thorough = if bit / 8 < end { bit % 193 == 0 } else { sequence == 2 && bit % 8 == bit / 8 % 8 };
        let refused = small.judge(&disk, sequence, &context, thorough);
        // Where something was written, and anywhere in a sealed segment or the spare, a flip is never
        // accepted.
        assert!(refused || (sequence == 2 && bit / 8 >= end), "{context}: accepted");
        content[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn every_truncation_and_every_extension_is_refused() {
    let small = Small::new(true, 4);
    for sequence in 1..=3 {
        let content = &small.files[&sequence];
        for length in 0..content.len() {
            let disk = small.with(sequence, Some(&content[..length]));
            let context = format!("segment {sequence} cut to {length}");
            assert!(small.judge(&disk, sequence, &context, length % 101 == 0), "{context}: accepted");
        }
        for more in [1, 8, 512, 4096] {
            let longer = [content.as_slice(), &vec![0; more]].concat();
            let disk = small.with(sequence, Some(&longer));
            assert!(
                small.judge(&disk, sequence, "longer", true),
                "segment {sequence} with {more} more bytes"
            );
        }
    }
}

/// A zeroed sector looks as if it had never been written. Only later records can say that it had been.
#[test]
fn a_zeroed_sector_of_what_was_synced_is_no_torn_end() {
    let small = Small::new(true, 4);
    for sequence in 1..=2 {
        let content = &small.files[&sequence];
        let end = content.iter().rposition(|byte| *byte != 0).unwrap();
        // Behind the sector with the last record (in segment 2 the Synced one) nothing stands.
        for sector in 0..end / 512 {
            let mut zeroed = content.clone();
            zeroed[sector * 512..(sector + 1) * 512].fill(0);
            let disk = small.with(sequence, Some(&zeroed));
            let context = format!("segment {sequence}, sector {sector}");
            assert!(small.judge(&disk, sequence, &context, true), "{context}: accepted");
        }
    }
}

#[test]
fn the_zeroed_end_of_a_write_nobody_was_told_of_is_cut_off() {
    let small = Small::new(true, 4);
    let wal = open(&small.disk, tiny()).unwrap();
    wait(|done| wal.append(0, vec![entry(9, &[9; 550])], done)).unwrap();
    let content = small.disk.content(&segment_path(2)).unwrap();
    let start = content.iter().rposition(|byte| *byte != 0).unwrap() + 1 - 595;
    for sector in start / 512..=(start + 594) / 512 {
        let mut torn = content.clone();
        torn[(sector * 512).max(start)..(sector + 1) * 512].fill(0);
        let disk = small.with(2, Some(&torn));
        let (_, findings) = verify(&disk, dir()).unwrap();
        assert!(findings.iter().all(|finding| !finding.refused), "sector {sector}: {findings:?}");
        let wal = open(&disk, tiny()).unwrap();
        assert_eq!(Model::of(&wal), small.acknowledged, "sector {sector}");
        assert_eq!(wal.stats().torn_ends, 1, "sector {sector}");
    }
}

/// Of a write whose first record was lost, later ones may have reached the disk. They must not come back once something of
/// the same size stands where the first one was.
#[test]
fn what_was_torn_off_never_comes_back() {
    let small = Small::new(true, 4);
    let before = small.files[&2].iter().rposition(|byte| *byte != 0).unwrap() / 8 * 8 + 8;
    let wal = open(&small.disk, tiny()).unwrap();
    // Opening wrote a Synced record of 48 bytes; an entry without payload is as long, and so is the next Synced record.
    let lost = before + 48..before + 96;
    wait(|done| wal.append(0, vec![entry(9, b""), entry(10, b"survivor")], done)).unwrap();
    let mut torn = small.disk.content(&segment_path(2)).unwrap();
    torn[lost].fill(0);
    let disk = small.with(2, Some(&torn));
    for round in 0..3 {
        let wal = open(&disk, tiny()).unwrap();
        assert!(Model::of(&wal) == small.acknowledged, "round {round}: {:?}", wal.state(0));
        assert_eq!(wal.stats().torn_ends, u64::from(round == 0));
    }
}

#[test]
fn a_missing_segment_is_refused_and_named() {
    let small = Small::new(true, 4);
    let (file, ..) = corrupt(&small.with(1, None));
    assert_eq!(file, name(1), "the oldest, which still holds entries");
    let disk = Faulty::new();
    disk.put(&segment_path(1), &small.files[&1]);
    assert_eq!(corrupt(&disk).0, name(2), "the one after a sealed segment");
    assert_eq!(corrupt(&small.with(2, None)).0, name(2), "one in the middle");
    let wal = open(&small.with(3, None), tiny()).unwrap();
    assert_eq!(Model::of(&wal), small.acknowledged, "an unused spare may be missing");
}

#[test]
fn a_foreign_or_stale_file_in_the_chain_is_refused() {
    let (small, other) = (Small::new(true, 4), Small::new(true, 4));
    for sequence in 1..=3 {
        let (file, ..) = corrupt(&small.with(sequence, Some(&other.files[&sequence])));
        assert!(file == name(sequence) || file == name(sequence + 1), "segment {sequence}: {file}");
    }
    let (file, _, what) = corrupt(&small.with(3, Some(&small.files[&2])));
    assert!(file == name(3) && what.contains("head"), "{file}: {what}");
}

#[test]
fn a_log_of_another_cluster_node_or_incarnation_is_refused_and_left_alone() {
    let small = Small::new(true, 4);
    let others = [
        ("cluster", Identity { cluster: 9, ..IDENTITY }),
        ("node", Identity { node: 9, ..IDENTITY }),
        ("incarnation", Identity { incarnation: 9, ..IDENTITY }),
    ];
    for (part, identity) in others {
        let disk = small.with(9, None);
        let opened = Wal::open(std::sync::Arc::new(disk.clone()), dir(), identity, tiny());
        assert!(matches!(opened, Err(Error::Identity { what, .. }) if what == part), "{part}");
        assert_eq!(disk.operations(), 0, "{part}: nothing was changed");
    }
}

#[test]
fn segments_below_what_was_purged_may_be_missing() {
    let disk = Faulty::new();
    let wal = open(&disk, tiny()).unwrap();
    for index in 0..30 {
        wait(|done| wal.append(0, vec![entry(index, &[1; 700])], done)).unwrap();
    }
    let old: Vec<Vec<u8>> = (1..=3).map(|sequence| disk.content(&segment_path(sequence)).unwrap()).collect();
    wait(|done| wal.purge_upto(0, id(1, 20), done)).unwrap();
    wal.close().unwrap();
    assert!(disk.content(&segment_path(3)).is_none(), "purged segments are removed");
    // As if the removal of 1 and 3 had been lost, but not that of 2.
    disk.put(&segment_path(1), &old[0]);
    disk.put(&segment_path(3), &old[2]);
    let wal = open(&disk, tiny()).unwrap();
    assert_eq!((wal.state(0).purged, wal.state(0).last), (Some(id(1, 20)), Some(id(1, 29))));
    assert_eq!(wal.read(0, 0..99, usize::MAX).unwrap().len(), 9);
    wal.close().unwrap();
    assert!(disk.content(&segment_path(1)).is_none() && disk.content(&segment_path(3)).is_none());
}

#[test]
fn verify_and_inspect_change_nothing_and_show_every_record() {
    let small = Small::new(true, 4);
    let disk = small.with(9, None);
    let (reports, findings) = verify(&disk, dir()).unwrap();
    assert_eq!((reports.len(), findings.len()), (3, 0), "{findings:?}");
    let mut lines = Vec::new();
    inspect(&disk, dir(), &mut |line| lines.push(line)).unwrap();
    assert_eq!(disk.operations(), 0);
    let count = |matches: fn(&Kind) -> bool| lines.iter().filter(|line| matches(&line.kind)).count();
    assert_eq!(count(|kind| matches!(kind, Kind::Entry { .. })), 10);
    assert_eq!(count(|kind| matches!(kind, Kind::Head { .. })), 3);
    assert_eq!(count(|kind| matches!(kind, Kind::SegmentEnd { .. })), 1);
    assert_eq!(count(|kind| matches!(kind, Kind::Damage(_) | Kind::TornEnd)), 0);
    let mut flipped = small.files[&1].clone();
    flipped[700] ^= 1;
    let mut damaged = Vec::new();
    inspect(&small.with(1, Some(&flipped)), dir(), &mut |line| damaged.push(line)).unwrap();
    assert!(damaged.iter().any(|line| line.file == name(1) && matches!(line.kind, Kind::Damage(_))));
}

#[test]
fn a_log_is_blank_until_something_is_logged() {
    let disk = Faulty::new();
    assert!(is_blank(&disk, dir()).unwrap(), "no directory");
    for _ in 0..2 {
        open(&disk, tiny()).unwrap().close().unwrap();
        assert!(is_blank(&disk, dir()).unwrap(), "opened and closed");
    }
    let wal = open(&disk, tiny()).unwrap();
    wal.save_committed(0, LogId { term: 1, leader: 1, index: 1 });
    wal.close().unwrap();
    assert!(!is_blank(&disk, dir()).unwrap());
}
