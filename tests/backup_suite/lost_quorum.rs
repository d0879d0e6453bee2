//! The way back from a lost quorum, on disks that the power goes out on.

use std::sync::Arc;

use kvorum::disk::{Disk, Faulty};
use kvorum::raft::{Node, OpenError, Restored, recover};

use super::support::*;

/// How many outcomes of each power cut are looked at.
const SEEDS: u64 = 4;

fn recover_on(disk: &Faulty) -> Result<Restored, OpenError> {
    recover(Arc::new(disk.clone()), data_dir(), log(), clock().as_ref(), &mut |_, _| {})
}

/// A disk with a stopped node whose log and snapshot hold ten keys, five each.
async fn stopped() -> Faulty {
    let (disk, clock) = (Faulty::new(), clock());
    let node = open(&disk, &clock).await;
    for number in 0..10 {
        if number == 5 {
            node.compact().await.expect("a snapshot");
        }
        write(&node, set(&format!("k{number}"), "v")).await;
    }
    node.close().await.expect("a clean stop");
    disk
}

/// Everything that is in a directory or below it.
fn files_below(disk: &Faulty, directory: &std::path::Path) -> Vec<String> {
    let names = disk.read_dir(directory).unwrap_or_default();
    let below = names.iter().flat_map(|name| files_below(disk, &directory.join(name)));
    names.iter().cloned().chain(below).collect()
}

/// Recovers as often as it takes, and checks that all keys are there and that what was there before was set aside whole.
async fn assert_recovers(disk: &Faulty, before: &[String], case: &str) {
    let recovered = recover_on(disk);
    recovered.unwrap_or_else(|error| panic!("{case}: {error}"));
    let names = disk.read_dir(data_dir()).expect("a directory");
    let mut asides: Vec<&String> = names.iter().filter(|name| name.starts_with("lost-")).collect();
    // A node that was recovered already when the power went may be recovered once more: the first is that of the old cluster.
    asides.retain(|aside| {
        let files = files_below(disk, &data_dir().join(aside));
        before.iter().all(|name| files.contains(name))
    });
    assert!(!asides.is_empty(), "{case}: not all of {before:?} was set aside in {names:?}");
    assert!(!names.contains(&"recovery".to_owned()), "{case}: {names:?}");
    let node = match Node::open(options(disk, &clock())).await {
        Ok(node) => node,
        Err(error) => panic!("{case}: {error}"),
    };
    for number in 0..10 {
        let key = format!("k{number}");
        assert!(version(&node, &key).await.is_some_and(|version| version.0 > REVISIONS), "{case}: {key}");
    }
    node.close().await.expect("a clean stop");
}

/// Goal: whatever operation of a recovery the power fails at, or it is killed at, it can be run again, makes a node with
/// everything, and nothing that was there before is lost.
#[test]
fn a_crash_at_every_operation_of_a_recovery_is_begun_anew() {
    let runtime = runtime();
    let whole = runtime.block_on(stopped());
    let segments = files_below(&whole, data_dir()).into_iter();
    let before: Vec<String> = segments
        .filter(|name| name.ends_with(".seg") || name.ends_with(".snap") || name == "node.json")
        .collect();
    assert!(before.len() >= 3, "a log, a snapshot and a node: {before:?}");
    for point in 0.. {
        let disk = whole.after_kill();
        disk.cut_off_at(disk.operations() + point);
        let done = recover_on(&disk).is_ok();
        let case = format!("cut off at operation {point}");
        for seed in 0..SEEDS {
            let image = disk.after_power_cut(seed);
            runtime.block_on(assert_recovers(&image, &before, &format!("{case}, seed {seed}")));
        }
        runtime.block_on(assert_recovers(&disk.after_kill(), &before, &format!("{case}, killed")));
        if !disk.is_off() {
            assert!(done && point > 30, "there were operations to crash at: {point}");
            return;
        }
    }
}
