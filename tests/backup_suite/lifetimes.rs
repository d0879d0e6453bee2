//! What becomes of times to live between backup and restore.

use std::time::Duration;

use kvorum::disk::Faulty;
use kvorum::raft::Lifetimes;

use super::support::*;

const MINUTE_MS: u64 = 60_000;

/// A backup at one minute after [`NOW`], taken when nothing had been written for that minute: of `long` (an hour),
/// `short` (two minutes), `past` (ten seconds) and `lasting`.
async fn backup() -> Vec<u8> {
    let (disk, clock) = (Faulty::new(), clock());
    let node = open(&disk, &clock).await;
    write(&node, set_for("long", 60 * MINUTE_MS)).await;
    write(&node, set_for("short", 2 * MINUTE_MS)).await;
    write(&node, set_for("past", MINUTE_MS / 6)).await;
    write(&node, set("lasting", "v")).await;
    clock.advance(Duration::from_millis(MINUTE_MS));
    let backup = node.backup().await.expect("a backup");
    assert!(backup.taken().at.0 >= NOW.0 + MINUTE_MS, "it knows when it was taken: {:?}", backup.taken());
    let bytes = bytes_of(backup);
    node.close().await.expect("a clean stop");
    bytes
}

/// Half an hour passes; then the backup is restored, and the node started. What do the keys have left?
async fn left_after_half_an_hour(lifetimes: Lifetimes) -> [Option<Option<u64>>; 4] {
    let disk = disk_with(&backup().await);
    let clock = clock();
    clock.advance(Duration::from_millis(31 * MINUTE_MS));
    restore_on(&disk, &clock, lifetimes).expect("restored");
    let node = open(&disk, &clock).await;
    let mut left = [None; 4];
    for (left, name) in left.iter_mut().zip(["long", "short", "past", "lasting"]) {
        if version(&node, name).await.is_some() {
            *left = Some(left_ms(&node, name).await);
        }
    }
    node.close().await.expect("a clean stop");
    left
}

#[track_caller]
fn assert_about(left: Option<Option<u64>>, expected_ms: u64) {
    let Some(Some(left)) = left else { panic!("{left:?}") };
    assert!(left <= expected_ms && left + 2_000 > expected_ms, "{left} of {expected_ms}");
}

/// Goal: by default keys expire when they would have, so those whose moment has passed meanwhile are gone.
#[test]
fn deadlines_stay() {
    let [long, short, past, lasting] = runtime().block_on(left_after_half_an_hour(Lifetimes::Deadline));
    assert_about(long, 29 * MINUTE_MS);
    assert_eq!((short, past), (None, None));
    assert_eq!(lasting, Some(None));
}

/// Goal: if asked for, each key has left what it had when the backup was taken, not when something was last written before;
/// what had expired by then does not come back.
#[test]
fn remaining_times_stay() {
    let [long, short, past, lasting] = runtime().block_on(left_after_half_an_hour(Lifetimes::Remaining));
    assert_about(long, 59 * MINUTE_MS);
    assert_about(short, MINUTE_MS);
    assert_eq!(past, None);
    assert_eq!(lasting, Some(None));
}

/// Goal: a wall clock behind the backup's time takes nothing from anybody, and time does not run backwards.
#[test]
fn a_clock_behind_the_backup_moves_nothing() {
    for lifetimes in [Lifetimes::Deadline, Lifetimes::Remaining] {
        runtime().block_on(async {
            let disk = disk_with(&backup().await);
            let clock = clock();
            clock.set_wall(kvorum::model::Timestamp(NOW.0 - 60 * MINUTE_MS));
            restore_on(&disk, &clock, lifetimes).expect("restored");
            let node = open(&disk, &clock).await;
            assert_about(Some(left_ms(&node, "long").await), 59 * MINUTE_MS);
            assert_about(Some(left_ms(&node, "short").await), MINUTE_MS);
            assert_eq!(version(&node, "past").await, None);
            node.close().await.expect("a clean stop");
        });
    }
}
