//! Disks that are slow, or full, and snapshots that cannot be installed.

use std::fs;
use std::time::Duration;

use super::figures::{State, Whole};
use super::group::Group;
use super::small_disk::SmallDisk;
use super::truth::Says;
use crate::cluster_suite::harness::Cluster;
use crate::cluster_suite::shim::{self, SlowDisk};
use crate::node::eventually;

/// What each sync takes longer.
const SLOW: Duration = Duration::from_millis(300);

/// Size of the small disk: some segments, a history, and a snapshot of what is written here.
const SMALL_MIB: u64 = 64;

/// Bytes of a value of which a snapshot gets long, and how many there are.
const LARGE_BYTES: usize = 1 << 20;
const LARGE_KEYS: u64 = 12;

/// Entries by which a member that lags is behind.
const BEHIND: u64 = 1_100;

/// Space that is left for a node that is to get a snapshot of more.
const TOO_LITTLE: u64 = 6 << 20;

impl Group {
    /// Whether all but `away` are well and ready, as `leader` tells.
    fn goes_on_without(&self, leader: usize, away: usize, state: &str, is_ready: bool) -> Result<(), String> {
        let here: Vec<_> = self.running().into_iter().filter(|n| *n != away).collect();
        let states: Vec<_> = here.iter().map(|n| (*n, "ok")).chain([(away, state)]).collect();
        let says = Says { ready: true, leader: Some(leader), states: &states };
        here.iter().try_for_each(|n| self.says(*n, says))?;
        self.is_ready(away, is_ready)
    }

    /// Has another node lead than this one.
    fn leads_not(&self, n: usize) {
        eventually("another node leads", || {
            let leader = self.leader()?;
            if leader != n {
                return Some(());
            }
            self.member(leader).send("POST", "/v1/cluster/transfer", b"{}");
            None
        });
        self.is_well();
    }

    /// Drops the log of the nodes that run, so that a member that is away needs a snapshot.
    fn compact(&self) {
        for n in self.running() {
            eventually("a snapshot is taken", || {
                let taken = self.member(n).send("POST", "/v1/admin/compact", b"")?;
                (taken.status == 200).then_some(())
            });
        }
    }

    /// Writes values of that length. With one writer each of them is an entry of its own.
    fn write_values(&self, count: u64, bytes: usize, writers: u64) {
        let address = self.member(self.leader().expect("a leader")).address();
        std::thread::scope(|scope| {
            for writer in 0..writers {
                scope.spawn(move || {
                    let mut connection = crate::node::http::Connection::open(address);
                    for n in (writer..count).step_by(writers as usize) {
                        // It does not compress.
                        let mut seed = n + 1;
                        let value: Vec<u8> = std::iter::repeat_with(|| {
                            seed = seed
                                .wrapping_mul(6_364_136_223_846_793_005)
                                .wrapping_add(1_442_695_040_888_963_407);
                            (seed >> 56) as u8
                        })
                        .take(bytes)
                        .collect();
                        let path = format!("/v1/kv/bulk-{bytes}-{}", n % 100);
                        eventually("it is written", || {
                            let written = connection.send("PUT", &path, &[], &value);
                            matches!(written.status, 200 | 201).then_some(())
                        });
                    }
                });
            }
        });
    }
}

#[test]
fn a_disk_of_a_follower_that_is_slow_or_full_disturbs_nobody() {
    let mut group = Group::at(Cluster::of(3, 3).with("wal.keep_bytes", "0"));
    let small = SmallDisk::at(&group.places.path(2), SMALL_MIB);
    if small.is_none() {
        assert!(std::env::var_os("CI").is_none(), "nothing can be mounted here");
        println!("without a small disk: nothing can be mounted here");
    }
    group.own[2].runner = small.as_ref().map(SmallDisk::runner).unwrap_or_default();
    let slow = SlowDisk::at(group.places.directory_of("disk"));
    let variables = shim::variables(Some(&slow), &[]);
    group.own[2].variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    group.start_all(0..3);
    group.leads_not(2);
    let whole = group.whole("whole cluster of three");
    let (leader, _) = group.roles();

    let mark = group.mark();
    slow.take(SLOW);
    group.endures(&whole, &mark, &State { name: "disk of a follower slow", lines: 1, ..State::default() });
    let mark = group.mark();
    slow.take(Duration::ZERO);
    group.is_mended(2, &mark, 1);

    is_damaged(&mut group, &whole, leader);
    if let Some(small) = small {
        is_too_large(&mut group, &whole, &small);
        is_full(&mut group, &whole, &small);
    }
    group.finish();
}

/// The snapshots of those that could send one are damaged, and a member needs one.
fn is_damaged(group: &mut Group, whole: &Whole, leader: usize) {
    group.kill(2);
    group.write_values(BEHIND, 100, 1);
    group.compact();
    for n in group.running() {
        for file in fs::read_dir(group.places.path(n).join("snapshots")).expect("a directory").flatten() {
            let mut bytes = fs::read(file.path()).expect("a snapshot");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(file.path(), bytes).expect("it can be written");
        }
    }
    let mark = group.mark();
    group.start(2);
    let truth = |group: &Group| group.goes_on_without(leader, 2, "!ok", false);
    // That it is damaged, and that the member was back.
    let state =
        State { name: "snapshot for a follower damaged", truth: &truth, lines: 4, ..State::default() };
    group.endures(whole, &mark, &state);
    let mark = group.mark();
    group.compact();
    group.is_mended(2, &mark, usize::MAX);
}

/// A member needs a snapshot for which its disk has no room.
fn is_too_large(group: &mut Group, whole: &Whole, small: &SmallDisk) {
    let (leader, _) = group.roles();
    group.kill(2);
    group.write_values(LARGE_KEYS, LARGE_BYTES, 4);
    group.write_values(BEHIND, 100, 1);
    group.compact();
    small.fill(TOO_LITTLE);
    let mark = group.mark();
    group.start(2);
    let truth = |group: &Group| group.goes_on_without(leader, 2, "!ok", false);
    let state = State {
        name: "disk of a follower too small for the snapshot",
        truth: &truth,
        lines: 4,
        ..State::default()
    };
    group.endures(whole, &mark, &state);
    let mark = group.mark();
    small.free();
    group.is_mended(2, &mark, usize::MAX);
}

/// The disk of a follower is full while it runs.
fn is_full(group: &mut Group, whole: &Whole, small: &SmallDisk) {
    let (leader, _) = group.roles();
    let mark = group.mark();
    small.fill(0);
    // Until its last segment is full.
    group.write_values(BEHIND, 4_000, 8);
    group.write_values(BEHIND, 100, 1);
    // It answers reads: it goes on within what it can free of its own.
    let truth = |group: &Group| group.goes_on_without(leader, 2, "full", true);
    let state = State { name: "disk of a follower full", truth: &truth, lines: 3, ..State::default() };
    group.endures(whole, &mark, &state);
    let mark = group.mark();
    small.free();
    group.is_mended(2, &mark, 2);
}
