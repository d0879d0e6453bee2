//! Damage to snapshots: whatever bit flips and wherever a file is cut, it is refused by name and place.

use std::path::Path;

use kvorum::disk::Faulty;
use kvorum::raft::snapshot::{Error, Folder, Progress, build, verify};
use parking_lot::RwLock;

use super::support::*;

/// A small snapshot at index 20 with every kind of block: compressed, raw, displaced.
fn small_snapshot() -> Vec<u8> {
    let (disk, mut store) = (Faulty::new(), new_store());
    let folder = open(&disk);
    apply(&mut store, 2_000, set("raw", "v"));
    apply(&mut store, 2_000, set_for("deadline", noise(20, 1), 1_000));
    apply(&mut store, 2_000, set("displaced", vec![b'x'; 90]));
    let globals = store.begin_cut(BUDGET).unwrap();
    apply(&mut store, 2_000, set("displaced", "new"));
    let built = build(&RwLock::new(store), globals, meta(20), &folder, &Progress::default()).unwrap();
    let summary = verify(&disk, &built.path).unwrap();
    assert_eq!((summary.walked, summary.displaced), (2, 1), "both kinds of block are there");
    disk.content(&built.path).unwrap()
}

/// A disk with these bytes as its only snapshot.
fn folder_with(bytes: &[u8]) -> (Faulty, Folder) {
    let disk = Faulty::new();
    let folder = open(&disk);
    disk.put(&path_of(20), bytes);
    (disk, folder)
}

/// Checks that an error names the snapshot, and a place in it that is not behind the damage.
#[track_caller]
fn assert_names(error: &Error, path: &Path, damaged_at: usize, case: &str) {
    let Error::Corrupt { file, offset, .. } = error else { panic!("{case}: {error}") };
    assert_eq!(file, path, "{case}");
    assert!(*offset <= damaged_at as u64, "{case}: {error}");
    let text = error.to_string();
    assert!(text.contains(&format!("byte {offset}")) && text.contains(".snap"), "{case}: {text}");
}

/// Checks that neither the tool nor start-up takes these bytes for a snapshot.
#[track_caller]
fn assert_refused(bytes: &[u8], damaged_at: usize, case: &str) {
    let (disk, folder) = folder_with(bytes);
    let error = verify(&disk, &path_of(20)).expect_err(case);
    assert_names(&error, &path_of(20), damaged_at, case);
    let Err(Error::NoneValid(errors)) = folder.load_newest(CLUSTER) else { panic!("{case}: not refused") };
    assert_eq!(errors.len(), 1, "{case}");
    assert_names(&errors[0], &path_of(20), damaged_at, case);
}

/// Goal: every single flipped bit of a snapshot is found, and named by file and offset.
#[test]
fn every_flipped_bit_is_refused() {
    let bytes = small_snapshot();
    assert!(bytes.len() < 1_000, "small enough to try all: {} bytes", bytes.len());
    for (at, bit) in (0..bytes.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << bit;
        assert_refused(&damaged, at, &format!("bit {bit} of byte {at}"));
    }
    let (_, folder) = folder_with(&bytes);
    assert!(folder.load_newest(CLUSTER).is_ok(), "the undamaged file is taken");
}

/// Goal: a snapshot cut anywhere, or with anything behind its end, is found.
#[test]
fn every_truncation_and_anything_behind_the_end_is_refused() {
    let bytes = small_snapshot();
    for length in 0..bytes.len() {
        assert_refused(&bytes[..length], length, &format!("cut to {length} bytes"));
    }
    for more in [&[0][..], b"\n", &[0; 512], &bytes] {
        let mut longer = bytes.clone();
        longer.extend_from_slice(more);
        assert_refused(&longer, bytes.len(), &format!("{} bytes behind the end", more.len()));
    }
}

/// Goal: sectors of zeros and parts of another snapshot do not pass, though each part has right checksums.
#[test]
fn zeroed_and_transplanted_parts_are_refused() {
    let disk = Faulty::new();
    let folder = open(&disk);
    let mut store = new_store();
    let mut files = Vec::new();
    for round in 0..2 {
        for number in 0..12_u64 {
            apply(&mut store, 3_000, set(format!("{number}"), noise(30_000, number + round)));
        }
        let shared = RwLock::new(store);
        let built = take(&shared, &folder, round + 1).unwrap();
        files.push(disk.content(&built.path).unwrap());
        store = shared.into_inner();
    }
    let (old, new) = (&files[0], &files[1]);
    assert!(old.len() == new.len() && old.len() > 300_000, "blocks stand at the same places in both");
    let sectors = (0..new.len()).step_by(512).map(|at| at..new.len().min(at + 512));
    for (number, sector) in sectors.enumerate().step_by(3) {
        let mut damaged = new.clone();
        match number % 2 {
            0 => damaged[sector.clone()].fill(0),
            _ => damaged[sector.clone()].copy_from_slice(&old[sector.clone()]),
        }
        let (disk, _) = folder_with(&damaged);
        let error = verify(&disk, &path_of(20)).expect_err("a sector is not what was written");
        assert_names(&error, &path_of(20), sector.start + 511, &format!("sector at {}", sector.start));
    }
    let head = 20 + 196 + meta(1).membership.len();
    let first_block = 24 + u32::from_le_bytes(new[head + 12..head + 16].try_into().unwrap()) as usize;
    let mut damaged = new.clone();
    damaged[head..head + first_block].copy_from_slice(&old[head..head + first_block]);
    let (disk, _) = folder_with(&damaged);
    let error = verify(&disk, &path_of(20)).expect_err("a block is of another snapshot");
    assert_names(&error, &path_of(20), head, "the first block");
}

/// Goal: a damaged newest snapshot falls back to the older one and says why; with none left, all are named.
#[test]
fn a_damaged_newest_snapshot_falls_back_to_the_older_one() {
    let disk = Faulty::new();
    let folder = open(&disk);
    assert!(folder.load_newest(CLUSTER).unwrap().is_none(), "no snapshots are no error");
    let store = RwLock::new(new_store());
    apply(&mut store.write(), 2_000, set("a", "1"));
    take(&store, &folder, 10).unwrap();
    let older = contents(&store.read());
    apply(&mut store.write(), 2_000, set("a", "2"));
    take(&store, &folder, 20).unwrap();

    flip(&disk, 20);
    let loaded = folder.load_newest(CLUSTER).unwrap().unwrap();
    assert_eq!(loaded.meta, meta(10));
    assert!(contents(&loaded.store) == older);
    assert_eq!(loaded.damaged.len(), 1);
    assert_names(&loaded.damaged[0], &path_of(20), 250, "the newest");

    let kept = open(&disk).retain(2).unwrap();
    assert_eq!(kept.len(), 1, "only the older one is valid");
    let kept = open(&disk).retain(1).unwrap();
    assert_eq!(kept[0].path, path_of(10), "the newest valid one is kept, whatever stands above it");
    assert!(disk.content(&path_of(10)).is_some());

    flip(&disk, 10);
    let Err(error @ Error::NoneValid(_)) = folder.load_newest(CLUSTER) else { panic!("both are damaged") };
    let text = error.to_string();
    for index in [10, 20] {
        let path = path_of(index).display().to_string();
        assert!(text.contains(&format!("{path} is damaged at byte ")), "{text}");
    }
}

/// Flips a bit in the middle of a snapshot.
fn flip(disk: &Faulty, index: u64) {
    let mut bytes = disk.content(&path_of(index)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    disk.put(&path_of(index), &bytes);
}

/// Goal: what an older snapshot cannot cure is not passed over: another cluster, a level from the future.
#[test]
fn another_cluster_and_a_newer_level_stop_the_search() {
    let (disk, folder) = folder_with(&small_snapshot());
    let error = folder.load_newest(CLUSTER + 1).expect_err("it is of another cluster");
    assert!(matches!(error, Error::WrongCluster { found: CLUSTER, .. }), "{error}");

    let mut newer = small_snapshot();
    newer[10] = 0xFF;
    let checksum = crc32c::crc32c(&newer[..16]);
    newer[16..20].copy_from_slice(&checksum.to_le_bytes());
    disk.put(&path_of(30), &newer);
    let error = folder.load_newest(CLUSTER).expect_err("its level is not known");
    assert!(matches!(error, Error::LevelTooHigh { found: kvorum::model::Level(0xFF), .. }), "{error}");
    assert!(matches!(verify(&disk, &path_of(30)), Err(Error::LevelTooHigh { .. })));
}

/// Goal: a valid file under the name of another position is not taken for it.
#[test]
fn a_snapshot_under_a_wrong_name_is_refused() {
    let disk = Faulty::new();
    let folder = open(&disk);
    disk.put(&path_of(21), &small_snapshot());
    let Err(Error::NoneValid(errors)) = folder.load_newest(CLUSTER) else { panic!("its own index is 20") };
    assert_names(&errors[0], &path_of(21), 0, "wrong name");
    assert!(folder.retain(1).unwrap().is_empty());
}

/// Goal: a snapshot from elsewhere becomes one of the folder's only if it arrived whole, unharmed and of this cluster.
#[test]
fn what_is_received_is_verified_before_it_is_visible() {
    let bytes = small_snapshot();
    let disk = Faulty::new();
    let folder = open(&disk);
    let receive = |bytes: &[u8], announced: usize, cluster| {
        let mut receiving = folder.receive(announced as u64)?;
        bytes.chunks(100).try_for_each(|piece| receiving.write(piece))?;
        assert_eq!(receiving.received(), bytes.len() as u64);
        folder.accept(receiving, cluster)
    };
    let length = bytes.len();
    let mut damaged = bytes.clone();
    damaged[length / 2] ^= 4;
    assert!(matches!(receive(&damaged, length, CLUSTER), Err(Error::Corrupt { .. })));
    assert!(matches!(receive(&bytes[..length - 1], length, CLUSTER), Err(Error::Corrupt { .. })));
    assert!(matches!(receive(&bytes, length - 1, CLUSTER), Err(Error::Corrupt { .. })));
    assert!(matches!(receive(&bytes[..length - 1], length - 1, CLUSTER), Err(Error::Corrupt { .. })));
    assert!(matches!(receive(&bytes, length, CLUSTER + 1), Err(Error::WrongCluster { .. })));
    drop(folder.receive(10).unwrap());
    assert!(names(&disk).is_empty(), "nothing is left behind: {:?}", names(&disk));

    let found = receive(&bytes, length, CLUSTER).unwrap();
    assert_eq!(
        (found.path.as_path(), found.last_log, found.bytes),
        (&*path_of(20), log_id(20), length as u64)
    );
    assert_eq!(folder.list().unwrap(), std::slice::from_ref(&found));
    assert_eq!(folder.load(&found, CLUSTER).unwrap().meta, meta(20));
    assert!(disk.after_power_cut(1).content(&found.path) == Some(bytes), "it is durable");
}
