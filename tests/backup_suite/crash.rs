//! Restores that the power goes out on, or that the disk fails.

use kvorum::disk::{Disk, Fault, Faulty, Operation};
use kvorum::raft::{Lifetimes, Node, OpenError};

use super::restored::backup;
use super::support::*;

/// How many outcomes of each power cut are looked at.
const SEEDS: u64 = 4;

/// Whether a node is there.
fn has_node(disk: &Faulty) -> bool {
    disk.exists(&data_dir().join("node.json")).expect("asked")
}

/// Checks that the node on this disk has what is in the backup, and nothing of a restore about it.
async fn assert_serves(disk: &Faulty, case: &str) {
    let node = match Node::open(options(disk, &clock())).await {
        Ok(node) => node,
        Err(error) => panic!("{case}: {error}"),
    };
    assert!(version(&node, "k1").await.is_some_and(|version| version.0 > REVISIONS), "{case}");
    assert_eq!(node.store_status().keys, 10, "{case}");
    node.close().await.expect("a clean stop");
    let names = disk.read_dir(data_dir()).expect("a directory");
    assert!(!names.contains(&"restore.json".to_owned()), "{case}: {names:?}");
}

/// Checks what a machine finds on this disk: a node that serves; or none, whose start is refused or makes an empty one only
/// where nothing had been begun, and a restore then begins anew.
async fn assert_recovers(disk: &Faulty, done: bool, case: &str) {
    if has_node(disk) {
        return assert_serves(disk, case).await;
    }
    assert!(!done, "{case}: a restore that was done is lost");
    let begun = disk.exists(&data_dir().join("restore.json")).expect("asked");
    if begun {
        let error =
            Node::open(options(disk, &clock())).await.err().unwrap_or_else(|| panic!("{case}: it starts"));
        assert!(
            matches!(&error, OpenError::Foreign { what, .. } if what.contains("restore")),
            "{case}: {error}"
        );
    } else {
        let names = disk.read_dir(data_dir()).unwrap_or_default();
        let beginnings = ["lock", "restore.json.tmp"];
        assert!(names.iter().all(|name| beginnings.contains(&name.as_str())), "{case}: {names:?}");
    }
    restore_on(disk, &clock(), Lifetimes::Deadline).unwrap_or_else(|error| panic!("{case}: {error}"));
    assert_serves(disk, case).await;
}

/// Goal: whatever operation of a restore the power fails at, there is either a node with the whole backup, or a directory
/// that no node starts in and in which the restore can be begun anew.
#[test]
fn a_crash_at_every_operation_is_begun_anew_or_done() {
    let runtime = runtime();
    let (bytes, _) = runtime.block_on(backup());
    for point in 0.. {
        let disk = disk_with(&bytes);
        disk.cut_off_at(disk.operations() + point);
        let done = restore_on(&disk, &clock(), Lifetimes::Deadline).is_ok();
        let case = format!("cut off at operation {point}");
        for seed in 0..SEEDS {
            let image = disk.after_power_cut(seed);
            runtime.block_on(assert_recovers(&image, done, &format!("{case}, seed {seed}")));
        }
        runtime.block_on(assert_recovers(&disk.after_kill(), done, &format!("{case}, killed")));
        if !disk.is_off() {
            assert!(done && point > 25, "there were operations to crash at: {point}");
            return;
        }
    }
}

/// Goal: the same for a node whose configuration names the backup: each start goes on until one serves the whole of it.
#[test]
fn a_crash_while_a_new_node_restores_is_begun_anew() {
    let runtime = runtime();
    let (bytes, _) = runtime.block_on(backup());
    for point in (0..).step_by(2) {
        let disk = disk_with(&bytes);
        let seeded = |disk: &Faulty| {
            let mut options = options(disk, &clock());
            options.restore_from = Some(what(Lifetimes::Deadline));
            options
        };
        disk.cut_off_at(disk.operations() + point);
        let opened = runtime.block_on(async {
            match Node::open(seeded(&disk)).await {
                Ok(node) => node.close().await.is_ok(),
                Err(_) => false,
            }
        });
        let image = disk.after_power_cut(point);
        runtime.block_on(async {
            let node = Node::open(seeded(&image)).await;
            let node = node.unwrap_or_else(|error| panic!("cut off at operation {point}: {error}"));
            assert!(version(&node, "k1").await.is_some_and(|version| version.0 > REVISIONS), "{point}");
            node.close().await.expect("a clean stop");
        });
        if opened && !disk.is_off() {
            return;
        }
    }
}

/// Goal: an error of any one operation fails the restore with the file that it was about, and the next try succeeds.
#[test]
fn an_error_of_any_operation_can_be_tried_again() {
    let runtime = runtime();
    let (bytes, _) = runtime.block_on(backup());
    let whole = disk_with(&bytes);
    let begun = whole.trace().len();
    restore_on(&whole, &clock(), Lifetimes::Deadline).expect("restored");
    let operations: Vec<Operation> = whole.trace()[begun..].iter().map(|(operation, _)| *operation).collect();
    for kind in [Operation::Create, Operation::Write, Operation::Sync, Operation::Rename, Operation::SyncDir]
    {
        let count = operations.iter().filter(|operation| **operation == kind).count() as u64;
        assert!(count > 1, "{kind:?} is part of it");
        for skip in 0..count {
            let disk = disk_with(&bytes);
            let errno = if skip % 2 == 0 { 5 } else { 28 };
            disk.inject(Fault { operation: kind, name: String::new(), skip, times: 1, errno });
            let failed = restore_on(&disk, &clock(), Lifetimes::Deadline);
            disk.clear_faults();
            let case = format!("{kind:?} {skip}: {failed:?}");
            if !has_node(&disk) {
                assert!(failed.is_err(), "{case}");
                restore_on(&disk, &clock(), Lifetimes::Deadline)
                    .unwrap_or_else(|error| panic!("{case}: {error}"));
            }
            runtime.block_on(assert_serves(&disk, &case));
        }
    }
}

/// Goal: without room nothing is begun.
#[test]
fn without_room_it_is_said() {
    let (bytes, _) = runtime().block_on(backup());
    let disk = disk_with(&bytes);
    disk.set_capacity(Some(bytes.len() as u64 + 100));
    let error = restore_on(&disk, &clock(), Lifetimes::Deadline).expect_err("no room");
    assert!(matches!(error, OpenError::NoSpace(_)), "{error}");
    disk.set_capacity(None);
    restore_on(&disk, &clock(), Lifetimes::Deadline).expect("with room it goes on");
}
