//! Measures the log alone: durable appends a second.
//!
//! `cargo bench --bench wal -- [DIR] [SECONDS]`: the log is made in a fresh directory inside `DIR` (default:
//! the working directory), which should be on the disk that is meant. Each writer appends one entry of 256
//! bytes to the same group and waits for its own callback before the next one. `threads` are operating system
//! threads that park; `tasks` are as cheap as a future: the callback itself hands the next append over,
//! through a queue that one thread serves.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark prints and measures time")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kvorum::disk::Real;
use kvorum::wal::{Config, Durability, Entry, Error, Identity, LogId, Wal};
use parking_lot::Mutex;

const PAYLOAD_BYTES: usize = 256;

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let dir = arguments.first().map_or_else(|| PathBuf::from("."), PathBuf::from);
    let seconds = arguments.get(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(2.0);
    let time = Duration::from_secs_f64(seconds);
    println!("durability  kind     writers  appends/s  entries/batch  fsyncs/s  mean fsync us  payload MB/s");
    for (durability, name) in [(Durability::Always, "always"), (Durability::Interval, "interval")] {
        for writers in [1, 16, 64, 256] {
            measure(&dir, (durability, name), ("threads", threads), writers, time);
            measure(&dir, (durability, name), ("tasks", tasks), writers, time);
        }
    }
}

type Load = fn(&Log, usize, Duration) -> u64;

fn measure(dir: &Path, durability: (Durability, &str), load: (&str, Load), writers: usize, time: Duration) {
    let fresh = tempfile::tempdir_in(dir).expect("the directory can be written");
    let config = Config { durability: durability.0, ..Config::default() };
    let identity = Identity { cluster: 1, node: 1, incarnation: 1 };
    let wal =
        Wal::open(Arc::new(Real), &fresh.path().join("wal"), identity, config).expect("a fresh log opens");
    let log = Log { wal: wal.clone(), next: Arc::new(Mutex::new(0)) };
    let begun = Instant::now();
    let appends = load.1(&log, writers, time);
    let took = begun.elapsed().as_secs_f64();
    let stats = wal.stats();
    wal.close().expect("the log closes");
    let per_second = appends as f64 / took;
    let fsyncs = stats.fsync_us.count().max(1);
    println!(
        "{:<11} {:<8} {writers:>7} {per_second:>10.0} {:>14.1} {:>9.0} {:>14.0} {:>13.1}",
        durability.1,
        load.0,
        stats.batch_entries.sum as f64 / stats.batch_entries.count().max(1) as f64,
        fsyncs as f64 / took,
        stats.fsync_us.sum as f64 / fsyncs as f64,
        per_second * PAYLOAD_BYTES as f64 / 1e6,
    );
}

/// A log whose writers agree on the next index.
#[derive(Clone)]
struct Log {
    wal: Wal,
    next: Arc<Mutex<u64>>,
}

impl Log {
    fn append(&self, payload: Bytes, done: impl FnOnce(Result<(), Error>) + Send + 'static) {
        let mut next = self.next.lock();
        let id = LogId { term: 1, leader: 1, index: *next };
        *next += 1;
        self.wal.append(0, vec![Entry { id, payload }], Box::new(done));
        // As raft would: nothing stays in memory longer than it must.
        if id.index.is_multiple_of(1024) {
            self.wal.note_applied(0, id.index);
        }
    }
}

fn threads(log: &Log, writers: usize, time: Duration) -> u64 {
    let until = Instant::now() + time;
    let writers: Vec<_> = (0..writers)
        .map(|_| {
            let log = log.clone();
            thread::spawn(move || {
                let payload = Bytes::from(vec![7; PAYLOAD_BYTES]);
                let mut appends = 0;
                while Instant::now() < until {
                    append_and_park(&log, payload.clone());
                    appends += 1;
                }
                appends
            })
        })
        .collect();
    writers.into_iter().map(|writer| writer.join().expect("no writer panics")).sum()
}

fn append_and_park(log: &Log, payload: Bytes) {
    let done = Arc::new(AtomicBool::new(false));
    let (told, waiting) = (Arc::clone(&done), thread::current());
    log.append(payload, move |result| {
        result.expect("the append is durable");
        told.store(true, Ordering::Release);
        waiting.unpark();
    });
    while !done.load(Ordering::Acquire) {
        thread::park();
    }
}

fn tasks(log: &Log, writers: usize, time: Duration) -> u64 {
    let until = Instant::now() + time;
    let payload = Bytes::from(vec![7; PAYLOAD_BYTES]);
    let (ready, next) = mpsc::channel();
    (0..writers).for_each(|_| ready.send(()).expect("the receiver is here"));
    let (mut appends, mut running) = (0, writers);
    while running > 0 {
        next.recv().expect("the sender is here");
        // Whoever is told goes on; once the time is up, it stops.
        if Instant::now() >= until {
            running -= 1;
            continue;
        }
        let ready = ready.clone();
        log.append(payload.clone(), move |result| {
            result.expect("the append is durable");
            ready.send(()).expect("the receiver is here");
        });
        appends += 1;
    }
    appends
}
