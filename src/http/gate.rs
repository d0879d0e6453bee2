//! What the front-ends know of the node's life: it starts, it serves, it drains.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::service::{Error, Kv};

/// Holds the service once the node has recovered, so that the listeners can answer from the start.
#[derive(Default)]
pub struct Gate {
    kv: OnceLock<Kv>,
    draining: AtomicBool,
}

impl Gate {
    /// A gate that is closed: the node starts.
    pub fn new() -> Gate {
        Gate::default()
    }

    /// Lets requests through to `kv`. Only the first call counts.
    pub fn open(&self, kv: Kv) {
        let _ = self.kv.set(kv);
    }

    /// Turns readiness off; requests are still served.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The service, or [`Error::Unavailable`] while the node starts.
    pub fn kv(&self) -> Result<&Kv, Error> {
        self.kv.get().ok_or(Error::Unavailable("the node is starting and recovers its data"))
    }

    /// Why the node should not get requests, if so.
    pub fn unready(&self) -> Option<Error> {
        match self.kv() {
            Err(starting) => Some(starting),
            Ok(_) if self.draining.load(Ordering::Relaxed) => {
                Some(Error::Unavailable("the node is stopping"))
            }
            Ok(kv) if !kv.is_ready() => Some(Error::Unavailable("the node is not ready to serve")),
            Ok(_) => None,
        }
    }
}
