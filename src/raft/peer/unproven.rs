//! Connections whose other side has not shown yet that it is a peer.
//!
//! Whoever reaches the port can open connections; each costs a file, which the log and clients need. So only a few such
//! connections are held at a time, and none for long. When one more comes the oldest goes: a peer shows what it is within
//! one round trip, so it gets through beside any number that stay silent.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::transport::server::Connected;

/// Connections that are held before they have proved anything.
pub(super) const UNPROVEN: usize = 64;

/// How long one of them is held.
const PROVING: Duration = Duration::from_secs(5);

/// Connections of peers: four each of the most members that a cluster can have, and as many again of those that are replaced.
const PROVEN: usize = 256;

/// Counts connections, and cuts those that prove nothing. Cheap to clone; clones are the same.
#[derive(Clone, Default)]
pub(super) struct Admission(Arc<Inner>);

#[derive(Default)]
struct Inner {
    unproven: Mutex<VecDeque<Weak<State>>>,
    proven: AtomicUsize,
}

/// Knowledge of one connection. Cheap to clone; clones are the same.
#[derive(Clone)]
pub(super) struct Proof(Arc<State>);

struct State {
    admission: Admission,
    is_proven: AtomicBool,
    /// Another connection takes its place.
    is_cut: AtomicBool,
    cut: Notify,
}

impl Admission {
    /// Holds a connection that was accepted.
    pub(super) fn hold<IO>(&self, io: IO) -> Guarded<IO> {
        let state = Arc::new(State {
            admission: self.clone(),
            is_proven: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            cut: Notify::new(),
        });
        let mut unproven = self.0.unproven.lock();
        unproven.retain(|held| held.upgrade().is_some_and(|held| !held.is_proven.load(Ordering::Relaxed)));
        if unproven.len() >= UNPROVEN
            && let Some(oldest) = unproven.pop_front().and_then(|held| held.upgrade())
        {
            oldest.is_cut.store(true, Ordering::Relaxed);
            oldest.cut.notify_one();
        }
        unproven.push_back(Arc::downgrade(&state));
        drop(unproven);
        let watch = Some(Box::pin(watch(Arc::clone(&state), Instant::now() + PROVING)) as Watch);
        Guarded { io, proof: Proof(state), watch }
    }
}

/// Resolves when a connection that has proved nothing is to be cut.
async fn watch(state: Arc<State>, until: Instant) {
    let late: Sleep = sleep_until(until);
    tokio::select! {
        () = late => {}
        () = state.cut.notified() => {}
    }
}

impl Proof {
    /// The other side is a peer. `false`: there are too many connections of peers already.
    pub(super) fn prove(&self) -> bool {
        if self.0.is_proven.load(Ordering::Relaxed) {
            return true;
        }
        let proven = &self.0.admission.0.proven;
        if proven.fetch_add(1, Ordering::Relaxed) >= PROVEN {
            proven.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        if self.0.is_proven.swap(true, Ordering::Relaxed) {
            // Another request of the same connection was faster.
            proven.fetch_sub(1, Ordering::Relaxed);
        }
        true
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if self.is_proven.load(Ordering::Relaxed) {
            self.admission.0.proven.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

type Watch = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection that ends by itself unless it is proved in time.
pub(super) struct Guarded<IO> {
    io: IO,
    proof: Proof,
    /// `None` once it is proved.
    watch: Option<Watch>,
}

impl<IO> Guarded<IO> {
    /// The knowledge of this connection.
    pub(super) fn proof(&self) -> Proof {
        self.proof.clone()
    }
}

impl<IO> Connected for Guarded<IO> {
    type ConnectInfo = Proof;

    fn connect_info(&self) -> Proof {
        self.proof()
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Guarded<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.watch.is_some() && self.proof.0.is_proven.load(Ordering::Relaxed) {
            self.watch = None;
        }
        if let Some(watch) = &mut self.watch {
            let is_over = watch.as_mut().poll(context).is_ready();
            if is_over && !self.proof.0.is_proven.load(Ordering::Relaxed) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            if is_over {
                self.watch = None;
            }
        }
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Guarded<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};

    use super::*;

    fn held(admission: &Admission) -> (Guarded<DuplexStream>, DuplexStream) {
        let (here, there) = duplex(64);
        (admission.hold(here), there)
    }

    async fn is_cut(mut connection: Guarded<DuplexStream>, within: Duration) -> bool {
        let read = tokio::time::timeout(within, connection.read_u8()).await;
        matches!(read, Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut)
    }

    /// Goal: silent connections hold few files, for seconds, and take no place from a peer.
    #[tokio::test(start_paused = true)]
    async fn silent_connections_are_cut_and_the_oldest_make_room() {
        let admission = Admission::default();
        let mut connections: Vec<_> = (0..UNPROVEN).map(|_| held(&admission)).collect();
        let (peer, _there) = connections.pop().expect("there are some");
        assert!(peer.proof().prove());
        let (oldest, _there) = connections.remove(0);
        let _newcomers = [held(&admission), held(&admission)];
        assert!(is_cut(oldest, Duration::from_millis(1)).await, "it makes room");
        let (young, _there) = connections.pop().expect("there are some");
        let begun = Instant::now();
        assert!(is_cut(young, PROVING * 2).await, "it proved nothing");
        assert!(begun.elapsed() <= PROVING + Duration::from_millis(1));
        assert!(!is_cut(peer, PROVING * 2).await, "a peer may be silent");
    }

    #[tokio::test]
    async fn connections_of_peers_are_counted_while_they_last() {
        let admission = Admission::default();
        let peers: Vec<_> = (0..PROVEN).map(|_| held(&admission)).collect();
        assert!(peers.iter().all(|(connection, _)| connection.proof().prove()));
        let (one_more, _there) = held(&admission);
        assert!(!one_more.proof().prove());
        drop(peers);
        assert!(one_more.proof().prove());
        assert!(one_more.proof().prove(), "again");
    }
}
