//! Goal: a log written by an earlier build is read. The bytes stand in `tests/golden/wal_segments.txt`, which
//! the unit test beside the encoder keeps equal to what is written today (`UPDATE_GOLDEN=1` writes it anew).

use kvorum::disk::Faulty;
use kvorum::wal::{LogId, Vote, inspect, verify};

use crate::support::{dir, open, segment_path, tiny, wait};

const GOLDEN: &str = include_str!("../golden/wal_segments.txt");

/// Puts the files of the golden text on a disk.
fn golden() -> Faulty {
    let disk = Faulty::new();
    let mut file: Option<(u32, Vec<u8>)> = None;
    let put = |file: Option<(u32, Vec<u8>)>| {
        file.iter().for_each(|(number, bytes)| disk.put(&segment_path(*number), bytes))
    };
    for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
        if let Some((number, length)) = line.strip_prefix("segment ").and_then(|rest| rest.split_once(' ')) {
            let bytes = vec![0; length.parse().unwrap()];
            put(file.replace((u32::from_str_radix(number, 16).unwrap(), bytes)));
        } else {
            let (offset, hex) = line.split_once(": ").unwrap();
            let start = usize::from_str_radix(offset, 16).unwrap();
            for (at, byte) in hex.split(' ').enumerate() {
                file.as_mut().unwrap().1[start + at] = u8::from_str_radix(byte, 16).unwrap();
            }
        }
    }
    put(file);
    disk
}

#[test]
fn a_log_written_in_format_1_is_read() {
    let disk = golden();
    let (reports, findings) = verify(&disk, dir()).unwrap();
    assert_eq!((reports.len(), findings), (2, Vec::new()));
    let wal = open(&disk, tiny()).unwrap();
    let id = |index| LogId { term: 3, leader: 1, index };
    let state = wal.state(0);
    assert_eq!(state.vote, Some(Vote { term: 3, node: 1, committed: true }));
    assert_eq!((state.purged, state.committed, state.last), (Some(id(0)), Some(id(1)), Some(id(3))));
    let entries = wal.read(0, 0..9, usize::MAX).unwrap();
    let payloads: Vec<&[u8]> = entries.iter().map(|entry| entry.payload.as_ref()).collect();
    assert_eq!(payloads, [b"".as_slice(), &[0; 40], b"last"]);
    assert_eq!(wal.state(7).last, None);
    wait(|done| wal.roll(done)).unwrap();
}

/// What an operator sees of it: one line a record.
#[test]
fn inspect_names_every_record_of_the_golden_log() {
    let mut kinds = Vec::new();
    inspect(&golden(), dir(), &mut |line| {
        let kind = format!("{:?}", line.kind);
        kinds.push(kind.split([' ', '(']).next().unwrap().to_string());
    })
    .unwrap();
    let expected = "Head GroupState Synced Vote Entry Entry Entry Entry Truncate Committed Purge Entry Truncate \
                    SegmentEnd Zeros Head GroupState GroupState Entry Zeros";
    assert_eq!(kinds.join(" "), expected);
}
