//! Clients that write all the time, and know what was acknowledged.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::node::http::{Connection, Response};
use crate::node::{Node, eventually};

/// Writers at the same time.
const WRITERS: u64 = 8;

/// Clients that write keys of their own, each once.
pub(crate) struct Load {
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    stopped: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    writers: Vec<JoinHandle<Told>>,
}

/// What became of a load.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Keys whose write was acknowledged.
    pub(crate) acknowledged: Vec<String>,
    /// Requests that failed, and failed again when they were tried once more elsewhere.
    pub(crate) failed: Vec<String>,
    /// Longest time that a write took, its second try included.
    pub(crate) longest: Duration,
}

impl Load {
    /// Writes to these nodes from now on.
    pub(crate) fn on(nodes: &[&Node]) -> Load {
        let addresses = Arc::new(Mutex::new(nodes.iter().map(|node| node.address()).collect::<Vec<_>>()));
        let (stopped, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writers = (0..WRITERS).map(|writer| {
            let (addresses, stopped) = (Arc::clone(&addresses), Arc::clone(&stopped));
            let written = Arc::clone(&written);
            std::thread::spawn(move || write(writer, &addresses, &stopped, &written))
        });
        let writers = writers.collect();
        Load { addresses, stopped, written, writers }
    }

    /// From now on to these nodes.
    pub(crate) fn turn_to(&self, nodes: &[&Node]) {
        *self.addresses.lock().expect("no panic") = nodes.iter().map(|node| node.address()).collect();
    }

    /// Writes acknowledged so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Waits until so many more writes were acknowledged.
    pub(crate) fn goes_on(&self, more: u64) {
        let before = self.written();
        eventually("writes go on", || (self.written() >= before + more).then_some(()));
    }

    /// Stops, and tells.
    pub(crate) fn stop(self) -> Told {
        self.stopped.store(true, Ordering::Relaxed);
        let mut all = Told::default();
        for writer in self.writers {
            let told = writer.join().expect("a writer does not panic");
            all.acknowledged.extend(told.acknowledged);
            all.failed.extend(told.failed);
            all.longest = all.longest.max(told.longest);
        }
        all
    }
}

fn write(writer: u64, addresses: &Mutex<Vec<SocketAddr>>, stopped: &AtomicBool, written: &AtomicU64) -> Told {
    let mut told = Told::default();
    let mut connection: Option<(SocketAddr, Connection)> = None;
    for n in 0.. {
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("load-{writer}-{n}");
        let begun = Instant::now();
        let mut why = String::new();
        // Once more elsewhere, as clients do.
        let done = (0..2_u64).any(|attempt| {
            let known = addresses.lock().expect("no panic").clone();
            let address = known[((writer + n + attempt) % known.len() as u64) as usize];
            match put(&mut connection, address, &key) {
                Some(response) if matches!(response.status, 200 | 201) => true,
                Some(response) => {
                    why += &format!(
                        "{address}: {} {}; ",
                        response.status,
                        String::from_utf8_lossy(&response.body)
                    );
                    connection = None;
                    false
                }
                None => {
                    why += &format!("{address}: no answer; ");
                    connection = None;
                    false
                }
            }
        });
        told.longest = told.longest.max(begun.elapsed());
        if done {
            written.fetch_add(1, Ordering::Relaxed);
            told.acknowledged.push(key);
        } else {
            told.failed.push(format!("{key}: {why}"));
        }
    }
    told
}

fn put(
    connection: &mut Option<(SocketAddr, Connection)>,
    address: SocketAddr,
    key: &str,
) -> Option<Response> {
    if connection.as_ref().is_none_or(|(to, _)| *to != address) {
        *connection = Some((address, Connection::try_open(address)?));
    }
    let (_, connection) = connection.as_mut()?;
    connection.try_send("PUT", &format!("/v1/kv/{key}"), &[], b"value")
}

/// Checks that everything that was acknowledged can be read.
pub(crate) fn nothing_is_lost(node: &Node, told: &Told) {
    let mut connection = node.connect();
    let mut is_lost = |key: &&String| {
        let status = eventually("an answer", || {
            let read = connection.send("GET", &format!("/v1/kv/{key}"), &[], b"");
            Some(read.status).filter(|status| *status != 503)
        });
        assert!(matches!(status, 200 | 404), "{status}");
        status == 404
    };
    let lost: Vec<_> = told.acknowledged.iter().filter(|key| is_lost(key)).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), told.acknowledged.len());
}
