//! Holds simulated time while a thread of the product works.
//!
//! The log writes on threads of its own, which tokio's paused clock knows nothing of: left alone it would jump to the next
//! timer while a thread has yet to wake up, and every write to disk would seem to take as long as some timer. So whenever the runtime
//! is out of work, and before it moves the clock, it waits here until all those threads sleep. Whether they do is what the
//! kernel says of them; nothing in the product is told. A thread is known from its first use of the disk on.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use parking_lot::Mutex;

/// The threads of one simulation. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Threads(Arc<Mutex<BTreeMap<u64, File>>>);

thread_local! {
    /// The simulation in which this thread is known, and that it is a thread of the log.
    static KNOWN: Cell<Option<bool>> = const { Cell::new(None) };
}

impl Threads {
    /// The calling thread uses the disk. Says whether it is one that writes the log.
    pub(crate) fn here(&self) -> bool {
        KNOWN.with(|known| {
            if let Some(writes) = known.get() {
                return writes;
            }
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            if name.starts_with("wal-") {
                self.note();
            }
            let writes = name == "wal-writer";
            known.set(Some(writes));
            writes
        })
    }

    fn note(&self) {
        let link = std::fs::read_link("/proc/thread-self").expect("Linux has it");
        let id = link.file_name().and_then(|id| id.to_str()?.parse().ok()).expect("a thread id");
        let stat = File::open("/proc/thread-self/stat").expect("a thread has its figures");
        self.0.lock().insert(id, stat);
    }

    /// Returns when all threads sleep. Called when the runtime has nothing to do.
    pub(crate) fn settle(&self) {
        let mut threads = self.0.lock();
        let mut any_awake = true;
        while std::mem::take(&mut any_awake) {
            threads.retain(|_, stat| match state(stat) {
                Some(b'S') => true,
                Some(b'Z' | b'X') | None => false,
                Some(_) => {
                    any_awake = true;
                    true
                }
            });
            if any_awake {
                std::thread::yield_now();
            }
        }
    }
}

/// What a thread does, in the kernel's letters; `None` if it has ended.
fn state(stat: &File) -> Option<u8> {
    let mut text = [0; 64];
    let length = stat.read_at(&mut text, 0).ok()?;
    let text = text.get(..length)?;
    let after = text.iter().rposition(|byte| *byte == b')')?;
    text.get(after + 2).copied()
}
