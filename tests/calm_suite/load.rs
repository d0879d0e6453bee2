//! Clients that write at a constant rate, so that what a write costs can be compared: how many travel in one entry depends
//! on the rate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::node::http::Connection;

/// Clients.
const WRITERS: u32 = 4;

/// Time between two writes of a client.
const PACE: Duration = Duration::from_millis(20);

/// A client that is behind by more than this does not make up for it.
const LATE: Duration = Duration::from_millis(500);

/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(8);

/// Keys of each client.
const KEYS: u32 = 100;

/// Length of the values.
const VALUE_BYTES: usize = 100;

/// A running load.
pub(crate) struct Load {
    written: Arc<AtomicU64>,
    writers: Vec<(Sender<()>, JoinHandle<()>)>,
}

impl Load {
    /// Writes to these nodes from now on; a client that is refused goes on to the next one.
    pub(crate) fn on(addresses: &[SocketAddr]) -> Load {
        let written = Arc::<AtomicU64>::default();
        let writers = (0..WRITERS).map(|writer| {
            let (addresses, written) = (addresses.to_vec(), Arc::clone(&written));
            let (stop, ticks) = channel();
            // They do not write all at the same moment.
            let first = Instant::now() + PACE * writer / WRITERS;
            (stop, std::thread::spawn(move || write(writer, &addresses, first, &written, &ticks)))
        });
        let writers = writers.collect();
        Load { written, writers }
    }

    /// Writes that were acknowledged so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Ends it when every client has its answer.
    pub(crate) fn stop(self) {
        let writers: Vec<_> = self.writers.into_iter().map(|(_stop, writer)| writer).collect();
        writers.into_iter().for_each(|writer| writer.join().expect("a client does not panic"));
    }
}

fn write(writer: u32, addresses: &[SocketAddr], first: Instant, written: &AtomicU64, ticks: &Receiver<()>) {
    let (mut next, mut connection, mut tries) = (first, None, writer as usize);
    for n in 0.. {
        let rest = next.saturating_duration_since(Instant::now());
        if ticks.recv_timeout(rest) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
        next = (next + PACE).max(Instant::now().checked_sub(LATE).unwrap_or(next));
        let open = || Connection::try_open_for(addresses[tries % addresses.len()], ANSWER);
        let mut with = connection.take().or_else(open);
        let path = format!("/v1/kv/calm-{writer}-{}", n % KEYS);
        let answer = with.as_mut().and_then(|with| with.try_send("PUT", &path, &[], &[b'v'; VALUE_BYTES]));
        if answer.is_some_and(|answer| matches!(answer.status, 200 | 201)) {
            written.fetch_add(1, Ordering::Relaxed);
            connection = with;
        } else {
            tries += 1;
        }
    }
}
