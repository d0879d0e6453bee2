//! Snapshots of a store that changes while they are taken.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread;

use kvorum::disk::{Disk, Faulty, File, Lock, LockError, Space};
use kvorum::model::{Command, Slot};
use kvorum::raft::snapshot::{Error, Folder, Progress, build, verify};
use kvorum::store::Store;
use parking_lot::{Mutex, RwLock};

use super::support::*;

/// A store of 1,000 entries of 4 KB, so that a snapshot has some 60 blocks. Every fifth has a deadline.
fn store_of_4_mib() -> Store {
    let mut store = new_store();
    for number in 0..1_000_u64 {
        let command = match number % 5 {
            0 => set_for(format!("key {number}"), noise(4_000, number), 50 + number),
            _ => set(format!("key {number}"), noise(4_000, number)),
        };
        apply(&mut store, 1_000, command);
    }
    store
}

/// Changes of every kind, spread over the store by `round`.
fn disturb(store: &mut Store, round: u64) {
    let now = store.now().0;
    for step in 0..20 {
        let number = (round * 7_919 + step * 104_729) % 1_100;
        let name = format!("key {number}");
        match step % 6 {
            0 => apply(store, now, delete(name)),
            1 => apply(store, now, set_for(name, noise(100, round), 40)),
            2 => touch(store, Slot(number as u32)),
            3 => apply(store, now + 3, set(format!("new {number} {round}"), vec![1; 300])),
            4 => {
                touch(store, Slot(number as u32 / 2));
                apply(store, now, delete(format!("key {}", number / 2)));
            }
            _ => apply(store, now, set(name, noise(5_000, round))),
        }
    }
}

/// Goal: with threads that write through the lock all the while, the snapshot is the store at the cut.
#[test]
fn a_snapshot_under_concurrent_writes_is_the_state_at_the_cut() {
    let mut displaced = 0;
    for round in 0..5_u64 {
        let (disk, store) = (Faulty::new(), RwLock::new(store_of_4_mib()));
        let folder = open(&disk);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for writer in 0..3 {
                let (store, is_over) = (&store, &is_over);
                scope.spawn(move || {
                    for step in (writer + round..).step_by(3).take_while(|_| !is_over.load(Ordering::Relaxed))
                    {
                        disturb(&mut store.write(), step);
                    }
                });
            }
            let (globals, expected) = {
                let mut store = store.write();
                (store.begin_cut(BUDGET).unwrap(), contents(&store))
            };
            let built = build(&store, globals, meta(5), &folder, &Progress::default());
            is_over.store(true, Ordering::Relaxed);
            displaced += verify(&disk, &built.unwrap().path).unwrap().displaced;
            assert_loads(&folder, 5, &expected);
        });
    }
    assert!(displaced > 0, "the writers met the walk");
}

/// A disk that lets the test do something before each write to a file.
#[derive(Debug)]
struct Meddling {
    disk: Faulty,
    me: Weak<Meddling>,
    meddler: Mutex<Option<Meddler>>,
}

struct Meddler(Box<dyn FnMut(u64) + Send>, u64);

impl std::fmt::Debug for Meddler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meddler")
    }
}

#[derive(Debug)]
struct MeddledFile(Arc<dyn File>, Arc<Meddling>);

impl Meddling {
    /// `meddle` gets the number of the write.
    fn new(meddle: impl FnMut(u64) + Send + 'static) -> Arc<Meddling> {
        let meddler = Mutex::new(Some(Meddler(Box::new(meddle), 0)));
        Arc::new_cyclic(|me| Meddling { disk: Faulty::new(), me: me.clone(), meddler })
    }

    fn meddled(&self, file: io::Result<Arc<dyn File>>) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(MeddledFile(file?, self.me.upgrade().unwrap())))
    }
}

impl File for MeddledFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Some(Meddler(meddle, count)) = &mut *self.1.meddler.lock() {
            meddle(*count);
            *count += 1;
        }
        self.0.write_at(offset, bytes)
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
    fn allocate(&self, length: u64) -> io::Result<()> {
        self.0.allocate(length)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

impl Disk for Meddling {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.meddled(self.disk.create(path))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.meddled(self.disk.open(path))
    }
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.disk.open_read(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk.read_dir(path)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }
    fn lock(&self, path: &Path) -> Result<Lock, LockError> {
        self.disk.lock(path)
    }
}

/// A store and a folder whose disk calls `meddle` with the store and the number of the write before each write.
fn meddled(meddle: impl Fn(&mut Store, u64) + Send + 'static) -> (Arc<RwLock<Store>>, Folder, Faulty) {
    let store = Arc::new(RwLock::new(store_of_4_mib()));
    let shared = Arc::clone(&store);
    let disk = Meddling::new(move |write| meddle(&mut shared.write(), write));
    let faulty = disk.disk.clone();
    (store, Folder::open(disk, dir()).unwrap(), faulty)
}

/// Takes a snapshot; returns its result and what it should be.
macro_rules! take_while_meddling {
    ($store:expr, $folder:expr, $budget:expr) => {{
        let (globals, expected) = {
            let mut store = $store.write();
            (store.begin_cut($budget).unwrap(), contents(&store))
        };
        (build(&$store, globals, meta(7), &$folder, &Progress::default()), expected)
    }};
}

/// Goal: changes of every kind at every step of the walk, the same in each run: before and behind the walker.
#[test]
fn changes_between_any_two_blocks_do_not_show_in_the_snapshot() {
    let (store, folder, disk) = meddled(disturb);
    let (built, expected) = take_while_meddling!(store, folder, BUDGET);
    let built = built.unwrap();
    let summary = verify(&disk, &built.path).unwrap();
    assert!(summary.displaced > 20 && summary.walked > 500, "{summary:?}");
    assert!(store.read().revision() > expected.0.revision, "the store went on");
    assert_loads(&folder, 7, &expected);
}

/// Goal: FLUSHALL in the middle of the walk does not empty the snapshot.
#[test]
fn a_clear_in_the_middle_does_not_show_in_the_snapshot() {
    for at in [0, 1, 5, 14] {
        let (store, folder, _) = meddled(move |store, write| {
            if write == at {
                apply(store, 2_000, Command::Clear);
            }
            disturb(store, write);
        });
        let (built, expected) = take_while_meddling!(store, folder, BUDGET);
        built.unwrap();
        assert_eq!(expected.1.len(), 1_000);
        assert_loads(&folder, 7, &expected);
        assert!(store.read().len() < 900, "the store itself was cleared");
    }
}

/// Goal: when writers displace more than the budget, the snapshot is abandoned and leaves nothing, and the next one
/// succeeds.
#[test]
fn an_overflowing_side_buffer_abandons_the_snapshot() {
    let (store, folder, disk) = meddled(|store, write| {
        let now = store.now().0;
        (0..100).for_each(|n| apply(store, now, set(format!("key {}", 999 - n), write.to_string())));
    });
    let (built, _) = take_while_meddling!(store, folder, 100_000);
    assert!(matches!(built, Err(Error::Abandoned)), "{built:?}");
    assert!(names(&disk).is_empty(), "nothing is left: {:?}", names(&disk));
    let (built, expected) = take_while_meddling!(store, folder, BUDGET);
    built.unwrap();
    assert_loads(&folder, 7, &expected);
}

/// Goal: a store that was replaced under the walk (a snapshot was installed) abandons it and is left alone.
#[test]
fn a_replaced_store_abandons_the_snapshot() {
    let (store, folder, disk) = meddled(|store, write| {
        if write == 3 {
            *store = store_of_4_mib();
        }
    });
    let (built, _) = take_while_meddling!(store, folder, BUDGET);
    assert!(matches!(built, Err(Error::Abandoned)), "{built:?}");
    assert!(names(&disk).is_empty());
    assert_eq!(store.read().len(), 1_000);
}

/// Goal: a snapshot that is called off ends soon, leaves nothing, and lets the next one begin.
#[test]
fn a_cancelled_snapshot_leaves_nothing() {
    let progress = Arc::new(Progress::default());
    let shared = Arc::clone(&progress);
    let (store, folder, disk) = meddled(move |_, write| {
        if write == 4 {
            assert!(shared.keys() > 0 && shared.bytes() > 0, "progress shows");
            shared.cancel();
        }
    });
    let globals = store.write().begin_cut(BUDGET).unwrap();
    let built = build(&store, globals, meta(7), &folder, &progress);
    assert!(matches!(built, Err(Error::Cancelled)), "{built:?}");
    assert!(names(&disk).is_empty());
    assert!(progress.keys() < 1_000, "it ended in the middle");
    assert!(store.write().begin_cut(BUDGET).is_ok(), "the cut was given up");
}
