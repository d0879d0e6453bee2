//! The log: one segment of two, or the mark of its end, is replaced by any bytes. It is refused, or opens; looking at it from outside says the
//! same; and a log that opened once opens again with the same in it.
//!
//! ```text
//! byte 0   bits: 1 = the first segment is replaced, else the last; 2 = checksums are made right, so that what is behind
//!          them is reached; 4 = it is the mark of a closed log that is put there
//! 1..      the file
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use kvorum::disk::Faulty;
use kvorum::wal::{Config, Error, GroupState, Identity, LogId, Wal, inspect, is_blank, verify};

const GOLDEN: &str = include_str!("../golden/wal_segments.txt");
const DIR: &str = "/data/wal";
const IDENTITY: Identity = Identity { cluster: 0xC1, node: 2, incarnation: 0x1D };
const GROUPS: [u16; 2] = [0, 7];

/// Longest segment that is tried.
const LONGEST: usize = 16 << 10;

/// A byte of choices and a segment.
pub fn check(bytes: &[u8]) -> bool {
    let Some((choices, segment)) = bytes.split_first() else { return false };
    let mut segment = segment[..segment.len().min(LONGEST)].to_vec();
    let (is_first, is_mark) = (choices & 1 != 0, choices & 4 != 0);
    if choices & 2 != 0 {
        if is_mark { seal_mark(&mut segment) } else { seal(&mut segment) }
    }
    let disk = Faulty::new();
    for (number, content) in golden() {
        let replaced = !is_mark && is_first == (number == 1);
        disk.put(&path_of(number), if replaced { &segment } else { &content });
    }
    if is_mark {
        disk.put(&Path::new(DIR).join("closed"), &segment);
    }
    inspect(&disk, Path::new(DIR), &mut |_| ()).expect("the directory can be read");
    let (_, findings) = verify(&disk, Path::new(DIR)).expect("the directory can be read");
    let sound = !findings.iter().any(|finding| finding.refused);
    assert_eq!(is_blank(&disk, Path::new(DIR)).is_ok(), sound, "{findings:?}");
    match open(&disk) {
        Ok(wal) => {
            assert!(sound, "opened in spite of {findings:?}");
            let found = contents(&wal);
            drop(wal.close());
            let wal = open(&disk).expect("what opened once opens again");
            assert_eq!(contents(&wal), found, "and holds the same");
            drop(wal.close());
            true
        }
        // Looking from outside does not know whose log it should be.
        Err(Error::Identity { .. }) => false,
        Err(error) => {
            assert!(!sound, "refused though it looked sound: {error}");
            false
        }
    }
}

fn open(disk: &Faulty) -> Result<Wal, Error> {
    let config = Config { segment_bytes: 4096, cache_bytes: 0, ..Config::default() };
    Wal::open(Arc::new(disk.clone()), Path::new(DIR), IDENTITY, config)
}

type Contents = Vec<(GroupState, Vec<(LogId, Bytes)>)>;

fn contents(wal: &Wal) -> Contents {
    let of_group = |group| {
        let entries = wal.read(group, 0..u64::MAX, usize::MAX).expect("what was recovered is readable");
        let entries = entries.into_iter().map(|entry| (entry.id, entry.payload)).collect();
        (wal.state(group), entries)
    };
    GROUPS.into_iter().map(of_group).collect()
}

fn path_of(number: u32) -> PathBuf {
    Path::new(DIR).join(format!("{number:016x}.seg"))
}

/// The segments of the golden file.
pub fn golden() -> BTreeMap<u32, Vec<u8>> {
    let mut segments = BTreeMap::<u32, Vec<u8>>::new();
    for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
        let hex = |text| usize::from_str_radix(text, 16).expect("a number");
        if let Some((number, length)) = line.strip_prefix("segment ").and_then(|rest| rest.split_once(' ')) {
            segments.insert(hex(number) as u32, vec![0; length.parse().expect("a length")]);
        } else {
            let (offset, digits) = line.split_once(": ").expect("an offset and bytes");
            let segment = segments.last_entry().expect("a segment").into_mut();
            for (at, digits) in digits.split(' ').enumerate() {
                segment[hex(offset) + at] = hex(digits) as u8;
            }
        }
    }
    segments
}

/// Makes the checksums of head and records right: a second writing of what `wal::head`, `wal::record` and `wal::layout`
/// draw.
fn seal(segment: &mut [u8]) {
    const HEAD: usize = 512;
    if segment.len() < HEAD {
        return;
    }
    let sum = crc32c::crc32c(&segment[..88]);
    segment[88..92].copy_from_slice(&sum.to_le_bytes());
    let id = u64::from_le_bytes(segment[64..72].try_into().expect("8 bytes"));
    let mut at = HEAD;
    while at + 44 < segment.len() && segment[at + 4] != 0 {
        let length = u32::from_le_bytes(segment[at..at + 4].try_into().expect("4 bytes")) as usize;
        let Some(record) = segment.get_mut(at..at + 45 + length) else { break };
        let seeds = mix(id ^ mix(at as u64));
        let (header_seed, payload_seed) = ((seeds >> 32) as u32, seeds as u32);
        let sum = crc32c::crc32c_append(payload_seed, &record[44..44 + length]);
        record[35..39].copy_from_slice(&sum.to_le_bytes());
        let sum = crc32c::crc32c_append(header_seed, &record[..39]);
        record[39..43].copy_from_slice(&sum.to_le_bytes());
        record[43] = 0xFF;
        record[44 + length] = 0xFF;
        at = (at + 45 + length).next_multiple_of(8);
    }
}

/// Makes the checksum of a mark right, as `wal::closed` draws it.
fn seal_mark(mark: &mut [u8]) {
    let Some((summed, rest)) = mark.split_at_mut_checked(28) else { return };
    let sum = crc32c::crc32c(summed).to_le_bytes();
    rest.iter_mut().zip(sum).for_each(|(place, byte)| *place = byte);
}

fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}
