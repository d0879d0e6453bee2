//! The faulty disk, on which a sync takes simulated time.
//!
//! Only the log's writer waits: it is the one whose slowness the cluster must live with, and it has a thread of its own to
//! wait on. Everything else is instant.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kvorum::disk::{Disk, Faulty, File, Lock, LockError, Space};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::quiet::Threads;
use crate::random::Random;

/// A sync that waits for its time.
struct Waiting {
    latency: Duration,
    done: std::sync::mpsc::Sender<()>,
}

/// The disk of one process. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct SlowDisk {
    pub(crate) faulty: Faulty,
    arm: Arc<Arm>,
}

#[derive(Debug)]
struct Arm {
    threads: Threads,
    waiting: mpsc::UnboundedSender<Waiting>,
    random: Mutex<Random>,
    /// Longest time of a sync, in microseconds.
    latency_us: Arc<AtomicU64>,
    instant: AtomicBool,
    /// Lets everybody go who waits.
    free: CancellationToken,
}

impl SlowDisk {
    /// Must be called on the runtime. `latency_us` may change at any time.
    pub(crate) fn new(
        faulty: Faulty,
        threads: Threads,
        random: Random,
        latency_us: Arc<AtomicU64>,
    ) -> SlowDisk {
        let (waiting, mut waits) = mpsc::unbounded_channel::<Waiting>();
        let free = CancellationToken::new();
        let freed = free.clone();
        tokio::spawn(async move {
            while let Some(Waiting { latency, done }) = waits.recv().await {
                let freed = freed.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = tokio::time::sleep(latency) => {}
                        () = freed.cancelled() => {}
                    }
                    // Nobody waits any more if the thread has ended.
                    let _ = done.send(());
                });
            }
        });
        let (random, instant) = (Mutex::new(random), AtomicBool::new(false));
        SlowDisk { faulty, arm: Arc::new(Arm { threads, waiting, random, latency_us, instant, free }) }
    }

    /// From now on nothing takes time: before something waits for the log's thread on a thread that holds the time.
    pub(crate) fn free(&self) {
        self.arm.instant.store(true, Ordering::SeqCst);
        self.arm.free.cancel();
    }

    /// The power is off: from now on everything fails.
    pub(crate) fn cut(&self) {
        self.faulty.cut_off_at(0);
        // The first operation after that is the one in which it happens.
        let _ = self.faulty.create(Path::new("/off"));
        self.free();
    }

    fn wrap(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(SlowFile { file, arm: Arc::clone(&self.arm) })
    }
}

impl Arm {
    fn sync(&self) {
        if !self.threads.here() || self.instant.load(Ordering::SeqCst) {
            return;
        }
        let most = self.latency_us.load(Ordering::SeqCst);
        let latency = self.random.lock().micros(most / 4, most);
        let (done, wait) = std::sync::mpsc::channel();
        if self.waiting.send(Waiting { latency, done }).is_ok() {
            // An error: the simulation is over.
            let _ = wait.recv();
        }
    }
}

impl Disk for SlowDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.arm.threads.here();
        self.faulty.create(path).map(|file| self.wrap(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.faulty.open(path).map(|file| self.wrap(file))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.faulty.open_read(path).map(|file| self.wrap(file))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        self.faulty.read_dir(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.faulty.exists(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faulty.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.faulty.remove(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.faulty.remove_dir_all(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.faulty.create_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.faulty.sync_dir(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.faulty.space(path)
    }

    fn lock(&self, path: &Path) -> Result<Lock, LockError> {
        self.faulty.lock(path)
    }
}

#[derive(Debug)]
struct SlowFile {
    file: Arc<dyn File>,
    arm: Arc<Arm>,
}

impl File for SlowFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.arm.threads.here();
        self.file.write_at(offset, bytes)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.arm.sync();
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.arm.sync();
        self.file.sync_all()
    }
}
