//! Snapshots: any file is refused, or loads to a store that works; and whatever loads is found valid by looking, too.
//!
//! ```text
//! byte 0   1 = lengths and checksums are made right, so that what is behind them is reached
//! 1..      the file
//! ```

use std::path::Path;
use std::sync::Arc;

use kvorum::disk::Faulty;
use kvorum::model::{Command, Condition, Expiry, Key, Query, Timestamp, Transaction};
use kvorum::raft::snapshot::{Folder, verify};
use kvorum::store::{Effects, Store};
use xxhash_rust::xxh3::xxh3_128;

const DIR: &str = "/data/snapshots";

/// Fields of the header that are needed here, and the length of a block's head.
const CLUSTER: std::ops::Range<usize> = 20..36;
const LAST_LOG: std::ops::Range<usize> = 36..60;
const HEAD: usize = 24;

/// A byte of choices and a file.
pub fn check(bytes: &[u8]) -> bool {
    let Some((choices, file)) = bytes.split_first() else { return false };
    let mut file = file.to_vec();
    if choices & 1 != 0 {
        seal(&mut file);
    }
    let field = |range| file.get::<std::ops::Range<usize>>(range).unwrap_or_default();
    let cluster = field(CLUSTER).try_into().map_or(0, u128::from_le_bytes);
    let last: Vec<u64> =
        field(LAST_LOG).chunks(8).filter_map(|n| n.try_into().ok()).map(u64::from_le_bytes).collect();
    let [index, term, leader] = last[..] else { return false };
    let path = Path::new(DIR).join(format!("{index:016x}-{term:016x}-{leader:016x}.snap"));
    let disk = Faulty::new();
    disk.put(&path, &file);
    let verified = verify(&disk, &path);
    let folder = Folder::open(Arc::new(disk), Path::new(DIR)).expect("the folder can be opened");
    match folder.load_newest(cluster) {
        Ok(loaded) => {
            let loaded = loaded.expect("there is a file");
            let summary = verified.expect("what loads is valid");
            assert_eq!(loaded.store.globals(), summary.globals, "the store is the one that was written");
            assert_eq!(loaded.meta, summary.meta);
            assert!(folder.load_newest(cluster ^ 1).is_err(), "of another cluster");
            works(loaded.store);
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty(), "a refusal says why");
            false
        }
    }
}

/// Reads everything and changes something, as a running node would.
fn works(mut store: Store) {
    let (mut cursor, mut keys) = (Some(0), 0);
    while let Some(at) = cursor {
        let query = Query::Scan { cursor: at, limit: 100, prefix: Default::default(), values: true };
        let kvorum::model::Answer::Page(page) = store.read(Timestamp(0), &query) else { return };
        keys += page.items.len() as u64;
        cursor = page.cursor;
    }
    assert_eq!(keys, store.len(), "a scan meets every key");
    let mut effects = Effects::new();
    for command in [
        Command::Set {
            key: Key::new("new").expect("a short key"),
            value: "value".into(),
            expiry: Expiry::Never,
            condition: Condition::Always,
        },
        Command::Delete { key: Key::new("plain").expect("a short key"), condition: Condition::Always },
    ] {
        store.open_entry(store.now(), &[], &mut effects);
        store.transact(&Transaction::single(command), &[], &mut effects);
    }
}

/// Makes lengths and checksums right: a second writing of what `snapshot::header`, `block` and `end` draw.
fn seal(file: &mut [u8]) {
    let Some(membership) = file.get(208..212).and_then(|bytes| bytes.try_into().ok()) else { return };
    let body = 196 + u64::from(u32::from_le_bytes(membership));
    let header_end = 20 + body as usize;
    if header_end > file.len() {
        return;
    }
    // What follows byte 20 counts its checksum, too.
    file[12..16].copy_from_slice(&(body as u32).to_le_bytes());
    let sum = crc32c::crc32c(&file[..16]);
    file[16..20].copy_from_slice(&sum.to_le_bytes());
    let sum = crc32c::crc32c(&file[..header_end - 4]);
    file[header_end - 4..header_end].copy_from_slice(&sum.to_le_bytes());
    let mut at = header_end;
    while at + HEAD <= file.len() {
        let (before, block) = file.split_at_mut(at);
        let stored = u32::from_le_bytes(block[12..16].try_into().expect("4 bytes")) as usize;
        if block[0] == 3 && stored == 48 && block.len() >= HEAD + stored {
            block[HEAD + 32..HEAD + 48].copy_from_slice(&xxh3_128(before).to_le_bytes());
        }
        let Some(content) = block.get(HEAD..HEAD + stored) else { break };
        let seed = crc32c::crc32c_append(sum, &(at as u64).to_le_bytes());
        let content_sum = crc32c::crc32c_append(seed, content);
        block[16..20].copy_from_slice(&content_sum.to_le_bytes());
        let head_sum = crc32c::crc32c_append(seed, &block[..20]);
        block[20..24].copy_from_slice(&head_sum.to_le_bytes());
        at += HEAD + stored;
    }
}
