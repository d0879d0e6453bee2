//! The format of snapshots: its golden file, and that stores of every shape come back as they were.

use std::path::{Path, PathBuf};

use kvorum::disk::{Disk, Faulty};
use kvorum::model::limits::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use kvorum::model::{Command, Condition, Eviction, Expiry, Settings, SettingsChange, Slot, Timestamp};
use kvorum::raft::snapshot::{Progress, build, verify};
use kvorum::store::Store;
use parking_lot::RwLock;
use proptest::prelude::*;

use super::support::*;

/// Sixteen bytes a line, so that a diff shows where the format changed.
fn dump(bytes: &[u8]) -> String {
    let line = |(number, bytes): (usize, &[u8])| {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = |&byte: &u8| if (0x20..0x7F).contains(&byte) { byte as char } else { '.' };
        let text: String = bytes.iter().map(shown).collect();
        format!("{:06x}  {:47}  {text}\n", number * 16, hex.join(" "))
    };
    bytes.chunks(16).enumerate().map(line).collect()
}

fn undump(text: &str) -> Vec<u8> {
    let bytes = text.lines().flat_map(|line| line.get(8..55).unwrap_or_default().split_whitespace());
    bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// A store with one of everything that the format knows, taken with a displaced entry.
fn golden_store() -> RwLock<Store> {
    let mut store = Store::new();
    let settings =
        Settings { max_bytes: 1 << 30, max_keys: 77, eviction: Eviction::VolatileTtl, ..Settings::default() };
    apply(&mut store, 1_700_000_000_000, Command::Initialize { hash_seed: 0xABCD << 64 | 0x1234, settings });
    apply(&mut store, 1_700_000_000_100, set("plain", "value"));
    apply(&mut store, 1_700_000_000_200, set_for("with a deadline", "gone in an hour", 3_600_000));
    apply(&mut store, 1_700_000_000_300, set("empty", ""));
    apply(&mut store, 1_700_000_000_400, set("compressible", vec![b'z'; 300]));
    apply(&mut store, 1_700_000_000_500, set("deleted", "leaves its slot free"));
    apply(&mut store, 1_700_000_000_600, set("displaced", "as it was at the cut"));
    apply(&mut store, 1_700_000_000_700, delete("deleted"));
    touch(&mut store, Slot(0));
    RwLock::new(store)
}

/// Goal: the format changes only on purpose, and what an earlier build wrote is still read.
#[test]
fn the_format_is_that_of_the_golden_file() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/snapshot.txt");
    let (disk, store) = (Faulty::new(), golden_store());
    let folder = open(&disk);
    let expected = contents(&store.read());
    let globals = store.write().begin_cut(BUDGET).unwrap();
    apply(&mut store.write(), 1_700_000_000_800, set("displaced", "written after the cut"));
    apply(&mut store.write(), 1_700_000_000_900, set("new", "written after the cut"));
    let built = build(&store, globals, meta(42), &folder, &Progress::default()).unwrap();
    let bytes = disk.content(&built.path).unwrap();
    let real = kvorum::disk::Real;
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let (dir, name) = (golden.parent().unwrap(), "snapshot.txt");
        kvorum::disk::replace(&real, dir, name, dump(&bytes).as_bytes()).unwrap();
    }
    let file = real.open_read(&golden).unwrap();
    let mut text = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(0, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(dump(&bytes), text, "UPDATE_GOLDEN=1 writes the golden file anew");

    let other = Faulty::new();
    let folder = open(&other);
    other.put(&path_of(42), &undump(&text));
    assert_loads(&folder, 42, &expected);
    let summary = verify(&other, &path_of(42)).unwrap();
    assert_eq!((summary.walked, summary.displaced, summary.blocks), (4, 1, 2));
    assert_eq!((summary.meta, summary.globals), (meta(42), expected.0));
}

/// What a generated log does.
#[derive(Clone, Debug)]
enum Step {
    Set { key: u8, length: usize, ttl_ms: Option<u64> },
    Delete(u8),
    Touch(u32),
    Wait(u64),
    Clear,
    Limit(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![10 => 0..100_usize, 3 => 1_000..3_000_usize, 1 => 200_000..400_000_usize];
    let ttl = prop::option::of(1..5_000_u64);
    prop_oneof![
        12 => (any::<u8>(), length, ttl).prop_map(|(key, length, ttl_ms)| Step::Set { key, length, ttl_ms }),
        4 => any::<u8>().prop_map(Step::Delete),
        4 => (0..100_u32).prop_map(Step::Touch),
        2 => (1..2_000_u64).prop_map(Step::Wait),
        1 => Just(Step::Clear),
        1 => (0..100_u64).prop_map(Step::Limit),
    ]
}

fn run(store: &mut Store, step: &Step) {
    let now = store.now().0;
    match *step {
        Step::Set { key, length, ttl_ms: Some(ttl) } => {
            apply(store, now, set_for(vec![key; 1 + usize::from(key)], noise(length, u64::from(key)), ttl));
        }
        Step::Set { key, length, ttl_ms: None } => {
            apply(store, now, set(vec![key; 1 + usize::from(key)], vec![key; length]));
        }
        Step::Delete(key) => apply(store, now, delete(vec![key; 1 + usize::from(key)])),
        Step::Touch(slot) => touch(store, Slot(slot)),
        Step::Wait(ms) => apply(store, now + ms, delete("nothing")),
        Step::Clear => apply(store, now, Command::Clear),
        Step::Limit(keys) => {
            let change = SettingsChange { max_keys: Some(keys), ..SettingsChange::default() };
            apply(store, now, Command::Configure(change));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Goal: a store loaded from a snapshot is the store at the cut, whatever was done to it between cut and walk, and
    /// goes on like it: fed the same log, both stay equal.
    #[test]
    fn a_store_comes_back_as_it_was_and_goes_on_alike(
        before in prop::collection::vec(step(), 0..120),
        between in prop::collection::vec(step(), 0..40),
        after in prop::collection::vec(step(), 0..40),
    ) {
        let disk = Faulty::new();
        let folder = open(&disk);
        let mut store = new_store();
        before.iter().for_each(|step| run(&mut store, step));
        let expected = contents(&store);
        let globals = store.begin_cut(BUDGET).unwrap();
        prop_assert_eq!(globals, expected.0);
        between.iter().for_each(|step| run(&mut store, step));
        let store = RwLock::new(store);
        let built = build(&store, globals, meta(9), &folder, &Progress::default()).unwrap();
        prop_assert_eq!(built.keys, expected.1.len() as u64);
        let mut loaded = folder.load_newest(CLUSTER).unwrap().unwrap();
        prop_assert_eq!(&loaded.meta, &built.meta);
        prop_assert!(contents(&loaded.store) == expected, "the loaded store is not the one at the cut");
        let mut live = store.into_inner();
        for step in between.iter().chain(&after) {
            run(&mut loaded.store, step);
        }
        after.iter().for_each(|step| run(&mut live, step));
        prop_assert_eq!(loaded.store.state_hash(), live.state_hash());
        prop_assert!(contents(&loaded.store) == contents(&live), "the stores went apart");
    }
}

/// Goal: the ends of what is possible: no entries at all, the longest key with the longest value, and more than one
/// block full of entries.
#[test]
fn empty_and_extreme_stores_come_back() {
    let disk = Faulty::new();
    let folder = open(&disk);
    let store = RwLock::new(Store::new());
    let expected = contents(&store.read());
    take(&store, &folder, 1).unwrap();
    assert_loads(&folder, 1, &expected);

    let largest = usize::try_from(MAX_VALUE_BYTES).unwrap();
    let change = SettingsChange { max_value_bytes: Some(MAX_VALUE_BYTES), ..SettingsChange::default() };
    let mut store = store.into_inner();
    apply(&mut store, 5, Command::Initialize { hash_seed: 1, settings: Settings::default() });
    apply(&mut store, 5, Command::Configure(change));
    apply(&mut store, 5, set("before", "small"));
    apply(&mut store, 5, set(vec![0xFF; MAX_KEY_BYTES], noise(largest, 3)));
    apply(&mut store, 5, set("8 MiB of nothing", vec![0; 8 << 20]));
    let expiry = Expiry::At(Timestamp(kvorum::model::limits::MAX_DEADLINE_MS));
    let (key, value, condition) = (key("last deadline"), "x".into(), Condition::Always);
    apply(&mut store, 5, Command::Set { key, value, expiry, condition });
    for number in 0..9_000_u64 {
        apply(&mut store, 5, set(format!("key {number}"), noise(40, number)));
    }
    let expected = contents(&store);
    let store = RwLock::new(store);
    let built = take(&store, &folder, 2).unwrap();
    assert_loads(&folder, 2, &expected);
    let summary = verify(&disk, &built.path).unwrap();
    assert!(summary.blocks >= 5, "large values have blocks of their own: {} blocks", summary.blocks);
    assert_eq!((summary.bytes, summary.walked), (built.bytes, built.keys));
    assert!(summary.content_bytes > summary.bytes, "8 MiB of zeros compress");
}

/// Goal: names hold the whole position and stand in the order of the log; files of other names are left alone.
#[test]
fn the_folder_lists_snapshots_newest_first_and_clears_away_leftovers() {
    let disk = Faulty::new();
    let store = RwLock::new(new_store());
    let folder = open(&disk);
    for index in [0x9, 0x100, 0x20] {
        take(&store, &folder, index).unwrap();
    }
    disk.put(&dir().join("unfinished-0.tmp"), b"half a snapshot");
    disk.put(&dir().join("README"), b"whatever");
    let folder = open(&disk);
    let found = folder.list().unwrap();
    assert_eq!(found.iter().map(|found| found.last_log.index).collect::<Vec<_>>(), [0x100, 0x20, 0x9]);
    assert_eq!(found[0].path, path_of(0x100));
    assert_eq!(found[0].last_log, log_id(0x100));
    let kept = folder.retain(2).unwrap();
    assert_eq!(kept, found[..2]);
    let paths: Vec<PathBuf> = names(&disk).iter().map(|name| dir().join(name)).collect();
    assert_eq!(paths, [path_of(0x20), path_of(0x100), dir().join("README")]);
}
