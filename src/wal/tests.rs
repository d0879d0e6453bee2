//! The golden bytes of the format: two segments with fixed ids and every kind of record.
//!
//! `UPDATE_GOLDEN=1 cargo test golden` writes `tests/golden/wal_segments.txt` anew. A change of that file is
//! a change of the format: it needs a new format number and a reader for the old one. That what stands there
//! is also read back is tested from outside, in `tests/wal_suite/golden.rs`.

use std::fmt::Write;
use std::path::Path;

use super::head::Head;
use super::layout::HEAD;
use super::record::{Record, encode};
use super::values::{GroupState, Identity, LogId, Vote};
use crate::disk::{Disk, Real, replace};

const LENGTH: u32 = 4096;

/// A segment, its bytes and the lines that show them.
struct Sample {
    head: Head,
    bytes: Vec<u8>,
    text: String,
}

impl Sample {
    fn new(sequence: u32, id: u64, previous_id: u64) -> Sample {
        let identity = Identity { cluster: 0xC1, node: 2, incarnation: 0x1D };
        let head = Head { identity, sequence, id, length: LENGTH, previous_id };
        let mut sample =
            Sample { head, bytes: head.encode(), text: format!("segment {sequence:016x} {LENGTH}\n") };
        sample.show("head", 0);
        sample
    }

    fn put(&mut self, record: Record, payload: &[u8]) {
        let start = self.bytes.len();
        encode(&mut self.bytes, (self.head.id, start as u32), HEAD, &record, payload);
        self.show(&format!("{record:?}"), start);
    }

    fn show(&mut self, what: &str, start: usize) {
        writeln!(self.text, "# {what}").unwrap();
        for (at, line) in
            self.bytes[start..].chunks(16).enumerate().filter(|(_, line)| line.iter().any(|byte| *byte != 0))
        {
            let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(self.text, "{:04x}: {}", start + at * 16, hex.join(" ")).unwrap();
        }
    }
}

fn samples() -> String {
    let id = |index| LogId { term: 3, leader: 1, index };
    let vote = Vote { term: 3, node: 1, committed: true };
    let state =
        GroupState { vote: Some(vote), last: Some(id(2)), committed: Some(id(1)), purged: Some(id(0)) };
    let mut first = Sample::new(1, 0x1111_2222_3333_4444, 0);
    first.put(Record::GroupState { group: 0, state: GroupState::default(), following: 0 }, &[]);
    first.put(Record::Synced, &[]);
    first.put(Record::Vote { group: 0, vote }, &[]);
    for (index, payload) in [(0, b"first".as_slice()), (1, b""), (2, &[0; 40]), (3, b"truncated")] {
        first.put(Record::Entry { group: 0, id: id(index) }, payload);
    }
    first.put(Record::Truncate { group: 0, to: Some(id(2)) }, &[]);
    first.put(Record::Committed { group: 0, id: id(1) }, &[]);
    first.put(Record::Purge { group: 0, upto: id(0) }, &[]);
    first.put(Record::Entry { group: 7, id: id(9) }, b"gone");
    first.put(Record::Truncate { group: 7, to: None }, &[]);
    let length = first.bytes.len() as u64;
    first.put(Record::SegmentEnd { length, next_id: 0x5555_6666_7777_8888 }, &[]);
    let mut second = Sample::new(2, 0x5555_6666_7777_8888, first.head.id);
    second.put(Record::GroupState { group: 0, state, following: 1 }, &[]);
    second.put(Record::GroupState { group: 7, state: GroupState::default(), following: 0 }, &[]);
    second.put(Record::Entry { group: 0, id: id(3) }, b"last");
    first.text + &second.text
}

#[test]
fn the_bytes_of_the_format_are_those_of_the_golden_file() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let name = "wal_segments.txt";
    let text = samples();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        replace(&Real, &dir, name, text.as_bytes()).unwrap();
    }
    let file = Real.open_read(&dir.join(name)).unwrap();
    let mut golden = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(0, &mut golden).unwrap();
    assert_eq!(text, String::from_utf8(golden).unwrap(), "the format changed; see the top of this file");
}
