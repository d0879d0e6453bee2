//! What the front-ends know of the node's life: it starts, it serves, it drains.

use std::sync::OnceLock;

use tokio_util::sync::CancellationToken;

use crate::service::{Error, Kv};

/// Holds the service once the node has recovered, so that the listeners can answer from the start.
pub struct Gate {
    kv: OnceLock<Kv>,
    /// Why it is closed, as long as it is.
    closed: &'static str,
    draining: CancellationToken,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate::new()
    }
}

impl Gate {
    /// A gate that is closed: the node starts.
    pub fn new() -> Gate {
        Gate::closed("the node is starting and recovers its data")
    }

    /// A gate that is closed for another reason.
    pub fn closed(reason: &'static str) -> Gate {
        Gate { kv: OnceLock::new(), closed: reason, draining: CancellationToken::new() }
    }

    /// Lets requests through to `kv`. Only the first call counts.
    pub fn open(&self, kv: Kv) {
        let _ = self.kv.set(kv);
    }

    /// Turns readiness off; requests are still served.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Ends when readiness was turned off.
    pub(super) async fn drained(&self) {
        self.draining.cancelled().await;
    }

    /// The service, or [`Error::Unavailable`] while the gate is closed.
    pub fn kv(&self) -> Result<&Kv, Error> {
        self.kv.get().ok_or(Error::Unavailable(self.closed))
    }

    /// Whether the disk takes writes: `ok` or `full`. A full one is no reason to be unready, for reads are served.
    pub(super) fn disk(&self) -> &'static str {
        if self.kv().is_ok_and(|kv| kv.is_out_of_disk()) { "full" } else { "ok" }
    }

    /// Why the node should not get requests, if so.
    pub fn unready(&self) -> Option<Error> {
        match self.kv() {
            Err(closed) => Some(closed),
            Ok(_) if self.draining.is_cancelled() => Some(Error::Unavailable("the node is stopping")),
            Ok(kv) if !kv.is_ready() => Some(Error::Unavailable("the node is not ready to serve")),
            Ok(_) => None,
        }
    }
}
