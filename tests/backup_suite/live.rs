//! Backups of a node that works.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kvorum::disk::{Disk, Fault, Faulty, Operation};
use kvorum::model::codec;
use kvorum::raft::AdminError;
use kvorum::store::{Effects, Store};
use kvorum::wal::{Identity, Wal};

use super::support::*;

/// The log's group of keys.
const GROUP: u16 = 0;

/// The node's identity as `node.json` has it.
fn identity(disk: &Faulty) -> Identity {
    let mark = disk.content(&data_dir().join("node.json")).expect("a node");
    let mark: serde_json::Value = serde_json::from_slice(&mark).expect("JSON");
    let id = |name: &str| {
        u128::from_str_radix(mark[name].as_str().expect("digits"), 16).expect("32 hexadecimal digits")
    };
    let node = mark["node"].as_u64().expect("a number");
    Identity { cluster: id("cluster"), node, incarnation: id("incarnation") }
}

/// A second store that has applied the log of a stopped node up to this index.
fn replayed(disk: &Faulty, upto: u64) -> Store {
    let wal = Wal::open(Arc::new(disk.clone()), &data_dir().join("wal"), identity(disk), log())
        .expect("its log opens");
    let (mut store, mut effects) = (Store::new(), Effects::new());
    let mut next = 0;
    while next <= upto {
        let entries = wal.read(GROUP, next..upto + 1, 1 << 20).expect("entries");
        next = entries.last().expect("the log has no holes").id.index + 1;
        // From 0x80 on: what concerns raft alone.
        for entry in entries.iter().filter(|entry| entry.payload[0] < 0x80) {
            let decoded = codec::decode(&entry.payload).expect("an entry");
            store.open_entry(decoded.at, &decoded.touches, &mut effects);
            for transaction in &decoded.transactions {
                store.transact(transaction, &[], &mut effects);
            }
            effects.clear();
        }
    }
    wal.close().expect("closed");
    store
}

/// Goal: each of several backups taken while writers write, set deadlines and delete is the state at the log index that it
/// names: its state hash, and every entry, equal those of a second store that applied the log up to there.
#[test]
fn a_backup_under_load_is_the_state_at_its_log_index() {
    let (disk, clock) = (Faulty::new(), clock());
    let backups = runtime().block_on(async {
        let node = open(&disk, &clock).await;
        for number in 0..300 {
            write(&node, set(&format!("k{number}"), vec![b'x'; 900])).await;
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..3_u64)
            .map(|writer| {
                let (node, is_over, clock) = (node.clone(), Arc::clone(&is_over), Arc::clone(&clock));
                tokio::spawn(async move {
                    for step in (writer..).step_by(3).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                        let name = format!("k{}", step * 7_919 % 400);
                        match step % 4 {
                            0 => write(&node, set_for(&name, 40 + step % 100)).await,
                            1 => {
                                let condition = kvorum::model::Condition::Always;
                                let key = key(&name);
                                write(&node, kvorum::model::Command::Delete { key, condition }).await
                            }
                            _ => write(&node, set(&name, vec![b'y'; 500])).await,
                        };
                        clock.advance(std::time::Duration::from_millis(1));
                    }
                    step_count(&node)
                })
            })
            .collect();
        let mut backups = Vec::new();
        for _ in 0..5 {
            let before = node.status().applied_index;
            let backup = node.backup().await.expect("a backup");
            let taken = *backup.taken();
            assert!(taken.index >= before, "what was applied before it was asked for is in it");
            backups.push((taken, bytes_of(backup)));
        }
        is_over.store(true, Ordering::Relaxed);
        for writer in writers {
            assert!(writer.await.expect("a writer") > 300, "they wrote");
        }
        node.close().await.expect("a clean stop");
        backups
    });
    assert!(backups.windows(2).all(|pair| pair[0].0.index < pair[1].0.index), "writes went on in between");
    for (taken, bytes) in &backups {
        let loaded = load(bytes, identity(&disk).cluster);
        assert_eq!((loaded.meta.last_log.index, loaded.meta.last_log.term), (taken.index, taken.term));
        let expected = replayed(&disk, taken.index);
        assert_eq!(taken.state_hash, expected.state_hash(), "at index {}", taken.index);
        assert!(contents(&loaded.store) == contents(&expected), "at index {}", taken.index);
    }
}

/// How many changes there were.
fn step_count(node: &kvorum::raft::Node) -> u64 {
    node.store_status().revision
}

/// Goal: a backup stays readable to its end though newer snapshots push its file out of the folder; at most two are read at
/// a time, and a place is free again when its reader goes away before the end.
#[test]
fn a_backup_outlives_its_file_and_places_come_back() {
    let (disk, clock) = (Faulty::new(), clock());
    runtime().block_on(async {
        let node = open(&disk, &clock).await;
        write(&node, set("k", vec![b'x'; 30_000])).await;
        let mut first = node.backup().await.expect("a backup");
        let begun = first.next(10).expect("a piece");
        for _ in 0..3 {
            write(&node, set("k", "other")).await;
            node.snapshot().await.expect("a snapshot");
        }
        let second = node.backup().await.expect("a second one");
        assert!(second.taken().index > first.taken().index);
        assert!(matches!(node.backup().await, Err(AdminError::Busy)), "no third one");
        let (length, cluster) = (first.taken().bytes, first.taken().cluster);
        let mut bytes = begun;
        while (bytes.len() as u64) < length {
            bytes.extend(first.next(1_000).expect("a piece"));
        }
        assert_eq!(contents(&load(&bytes, cluster).store).1[0].value, vec![b'x'; 30_000]);
        assert!(matches!(node.backup().await, Err(AdminError::Busy)), "it has not gone away yet");
        drop(first);
        assert_eq!(bytes_of(node.backup().await.expect("a free place")), bytes_of(second), "nothing changed");
        let names = disk.read_dir(&data_dir().join("snapshots")).expect("a folder");
        assert!(names.len() == 2 && names.iter().all(|name| name.ends_with(".snap")), "{names:?}");
        node.close().await.expect("a clean stop");
    });
}

/// Goal: a snapshot that is asked for says what it is, leaves the log as it is, and is not taken twice.
#[test]
fn a_snapshot_leaves_the_log() {
    let (disk, clock) = (Faulty::new(), clock());
    runtime().block_on(async {
        let node = open(&disk, &clock).await;
        write(&node, set("k", "v")).await;
        let before = node.status();
        let taken = node.snapshot().await.expect("a snapshot");
        let status = node.status();
        assert_eq!((taken.index, taken.cluster, taken.keys), (before.applied_index, before.cluster, 1));
        assert_eq!((status.snapshot_index, status.purged_index), (taken.index, before.purged_index));
        let again = node.snapshot().await.expect("the same");
        assert_eq!((again.index, again.state_hash), (taken.index, taken.state_hash));
        let names = disk.read_dir(&data_dir().join("snapshots")).expect("a folder");
        assert_eq!(names.len(), 1, "{names:?}");
        node.close().await.expect("a clean stop");
    });
}

/// Goal: a disk without room, or one that fails while the snapshot is written, fails the backup and nothing else: no file is
/// left, writes go on, and the next one succeeds.
#[test]
fn a_backup_on_a_full_disk_fails_alone() {
    let (disk, clock) = (Faulty::new(), clock());
    runtime().block_on(async {
        let node = open(&disk, &clock).await;
        for number in 0..40 {
            write(&node, set(&format!("k{number}"), vec![number; 3_000])).await;
        }
        let full = |skip| Fault {
            operation: Operation::Write,
            name: "unfinished".to_owned(),
            skip,
            times: 1,
            errno: 28,
        };
        for skip in 0..3 {
            disk.inject(full(skip));
            let failed = node.backup().await;
            assert!(matches!(failed, Err(AdminError::OutOfDisk)), "write {skip}: {failed:?}");
            disk.clear_faults();
            let names = disk.read_dir(&data_dir().join("snapshots")).expect("a folder");
            assert_eq!(names, Vec::<String>::new(), "write {skip}");
        }
        disk.set_capacity(Some(1));
        assert!(matches!(node.backup().await, Err(AdminError::OutOfDisk)));
        disk.set_capacity(None);
        write(&node, set("k", "v")).await;
        let backup = node.backup().await.expect("room again");
        assert_eq!(backup.taken().keys, 41);
        assert!(disk.exists(Path::new("/data/node.json")).expect("asked"));
        node.close().await.expect("a clean stop");
    });
}

/// Goal: two backups asked for at once are both taken, one after the other, though one snapshot is taken at a time.
#[test]
fn two_at_once_are_both_taken() {
    let (disk, clock) = (Faulty::new(), clock());
    runtime().block_on(async {
        let node = open(&disk, &clock).await;
        for number in 0..200 {
            write(&node, set(&format!("k{number}"), vec![b'x'; 3_000])).await;
        }
        let (first, second) = tokio::join!(node.backup(), node.backup());
        let (first, second) = (first.expect("a backup"), second.expect("another one"));
        assert_eq!((first.taken().keys, second.taken().keys), (200, 200));
        node.close().await.expect("a clean stop");
    });
}
