//! Snapshots and a disk that fails: power cuts at every operation, errors at every operation, no room.

use kvorum::disk::{Disk, Fault, Faulty, Operation};
use kvorum::raft::snapshot::{Error, Folder, verify};
use kvorum::store::{Globals, Store};
use parking_lot::RwLock;

use super::support::*;

/// How many outcomes of each power cut are looked at.
const SEEDS: u64 = 6;

/// A snapshot's position, and the store that it should hold.
type State = (u64, (Globals, Vec<Entry>));

/// Takes snapshots at 10, 20, 30 and 40 with a retain after each, until the disk fails. Returns what was completed, and
/// what the snapshot that was under way would have been.
fn workload(disk: &Faulty) -> (Vec<State>, Option<State>) {
    let mut completed = Vec::new();
    let store = RwLock::new(new_store());
    let Ok(folder) = Folder::open(std::sync::Arc::new(disk.clone()), dir()) else { return (completed, None) };
    for index in [10, 20, 30, 40] {
        grow(&mut store.write(), index);
        let state = (index, contents(&store.read()));
        if take(&store, &folder, index).is_err() {
            return (completed, Some(state));
        }
        completed.push(state);
        if folder.retain(2).is_err() {
            break;
        }
    }
    (completed, None)
}

/// Entries of a size that gives a snapshot several blocks, other ones for each round.
fn grow(store: &mut Store, round: u64) {
    for number in 0..3_u64 {
        apply(store, 2_000 + round, set(format!("key {number}"), noise(90_000, number + round)));
    }
    apply(store, 2_000 + round, set_for(format!("round {round}"), "x", 50));
}

/// Checks what a machine finds that starts with this disk.
#[track_caller]
fn assert_recovers(disk: &Faulty, completed: &[State], under_way: Option<&State>, case: &str) {
    let folder = open(disk);
    assert!(names(disk).iter().all(|name| name.ends_with(".snap")), "{case}: {:?}", names(disk));
    for found in folder.list().unwrap() {
        verify(disk, &found.path)
            .unwrap_or_else(|error| panic!("{case}: a half-written one is visible: {error}"));
    }
    for (index, _) in completed.iter().rev().take(2) {
        assert!(disk.exists(&path_of(*index)).unwrap(), "{case}: the one at {index} is lost");
    }
    let Some(loaded) = folder.load_newest(CLUSTER).unwrap_or_else(|error| panic!("{case}: {error}")) else {
        assert!(completed.is_empty(), "{case}: all are lost");
        return;
    };
    let index = loaded.meta.last_log.index;
    let known = completed.last().into_iter().chain(under_way).find(|(known, _)| *known == index);
    let (_, expected) = known.unwrap_or_else(|| panic!("{case}: {index} is older than the newest completed"));
    assert!(contents(&loaded.store) == *expected, "{case}: the store at {index} is another");
    assert!(loaded.damaged.is_empty(), "{case}: {:?}", loaded.damaged);
}

/// Goal: whatever operation of taking and retaining snapshots the power fails at, what was completed is there after
/// the restart, the newest one loads, and nothing half-written is visible.
#[test]
fn a_crash_at_every_operation_leaves_the_completed_snapshots() {
    for point in 0.. {
        let disk = Faulty::new();
        disk.cut_off_at(point);
        let (completed, under_way) = workload(&disk);
        let case = format!("cut off at operation {point}");
        for seed in 0..SEEDS {
            let image = disk.after_power_cut(seed);
            assert_recovers(&image, &completed, under_way.as_ref(), &format!("{case}, seed {seed}"));
        }
        assert_recovers(&disk.after_kill(), &completed, under_way.as_ref(), &format!("{case}, killed"));
        if !disk.is_off() {
            assert_eq!(completed.len(), 4, "the whole workload ran in the end");
            assert!(point > 30, "there were operations to crash at: {point}");
            return;
        }
    }
}

/// Goal: an error of any one operation fails the snapshot, leaves those before as they were and nothing else, and the
/// next attempt succeeds.
#[test]
fn an_error_of_any_operation_leaves_no_half_written_snapshot() {
    let run = |fault: Option<Fault>| {
        let disk = Faulty::new();
        let folder = open(&disk);
        let store = RwLock::new(new_store());
        grow(&mut store.write(), 1);
        take(&store, &folder, 10).unwrap();
        let begun = disk.trace().len();
        grow(&mut store.write(), 2);
        let expected = contents(&store.read());
        fault.iter().for_each(|fault| disk.inject(fault.clone()));
        let taken = take(&store, &folder, 20).map(|built| built.path);
        disk.clear_faults();
        (disk.clone(), begun, taken, store, expected)
    };
    let (disk, begun, taken, ..) = run(None);
    assert_eq!(taken.unwrap(), path_of(20));
    let operations: Vec<Operation> = disk.trace()[begun..].iter().map(|(operation, _)| *operation).collect();
    for kind in [Operation::Create, Operation::Write, Operation::Sync, Operation::Rename, Operation::SyncDir]
    {
        assert!(operations.contains(&kind), "{kind:?} is part of it");
    }
    for (number, &operation) in operations.iter().enumerate() {
        let skip = operations[..number].iter().filter(|other| **other == operation).count() as u64;
        let fault = Fault {
            operation,
            name: String::new(),
            skip,
            times: 1,
            errno: if number % 2 == 0 { 5 } else { 28 },
        };
        let (disk, _, taken, store, expected) = run(Some(fault));
        let Err(Error::Io { file, .. }) = taken else {
            panic!("operation {number}, {operation:?}: {taken:?}")
        };
        assert!(file.starts_with(dir()), "the error names the file: {}", file.display());
        let mut left = vec![path_of(10)];
        // The one step after which the snapshot is there already, whole but perhaps not durable.
        left.extend((operation == Operation::SyncDir).then(|| path_of(20)));
        let found: Vec<_> = names(&disk).iter().map(|name| dir().join(name)).collect();
        assert_eq!(found, left, "operation {number}, {operation:?}");
        let folder = open(&disk);
        take(&store, &folder, 20).unwrap();
        assert_loads(&folder, 20, &expected);
    }
}

/// Goal: a snapshot that might not fit is not begun, and what is refused says how much is needed.
#[test]
fn without_room_nothing_is_begun() {
    let disk = Faulty::new();
    let folder = open(&disk);
    let store = RwLock::new(new_store());
    grow(&mut store.write(), 1);
    let size = take(&store, &folder, 10).unwrap().bytes;
    let before = (disk.operations(), names(&disk));
    disk.set_capacity(Some(2 * size));
    let error = take(&store, &folder, 20).expect_err("the room left is what it takes, and no more");
    let Error::NoSpace { needed_bytes, free_bytes } = error else { panic!("{error}") };
    assert_eq!(free_bytes, size);
    assert!(needed_bytes >= size / 5 * 6 && needed_bytes < size * 3 / 2, "{needed_bytes} for {size}");
    assert!(matches!(folder.receive(size), Err(Error::NoSpace { .. })));
    assert_eq!((disk.operations(), names(&disk)), before, "nothing was touched");

    disk.set_capacity(Some(size + needed_bytes));
    take(&store, &folder, 20).unwrap();
}
