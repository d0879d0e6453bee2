//! How many bytes of transactions wait or are under way on a node, and who may join them.
//!
//! ```text
//!  small --> a room of its own, in order of arrival; who finds no place until its deadline is refused then
//!  large --> another room, so that none stands before small ones; refused at once if what is ahead takes too long
//! ```
//!
//! A large transaction that waits for most of its time is on its way when its deadline passes: nobody knows its outcome
//! then, and it has held megabytes for nothing. So each is weighed when it comes: what is ahead of it, at the pace at which
//! large ones got through lately, must leave it half of its time. The first one is never refused: its pace is how a node
//! finds out that a slow disk has recovered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, Instant, timeout_at};

use super::WriteError;
use super::packing::is_large;

/// Bytes of small transactions that have a place, and as many of large ones.
const ROOM_BYTES: usize = 64 << 20;

/// Cost of a transaction beside its keys and values.
const OVERHEAD_BYTES: usize = 256;

/// The pace of large ones that is assumed before any got through, in microseconds a MiB: 50 MiB a second.
const FIRST_PACE: u64 = 20_000;

const MIB: u64 = 1 << 20;

/// Gives places to transactions.
pub(super) struct Budget {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    backlog: Arc<Backlog>,
}

/// The large transactions that wait or are under way.
struct Backlog {
    bytes: AtomicU64,
    /// How long a MiB of them took lately, in microseconds.
    pace: AtomicU64,
}

/// The place of one transaction. Held until it has come through, or certainly will not.
pub(super) struct Place {
    _room: OwnedSemaphorePermit,
    large: Option<Weighed>,
}

/// A large transaction among the others.
struct Weighed {
    backlog: Arc<Backlog>,
    bytes: u64,
    /// With this one.
    ahead: u64,
    since: Instant,
}

impl Budget {
    pub(super) fn new() -> Budget {
        let room = || Arc::new(Semaphore::new(ROOM_BYTES));
        let backlog = Backlog { bytes: AtomicU64::new(0), pace: AtomicU64::new(FIRST_PACE) };
        Budget { small: room(), large: room(), backlog: Arc::new(backlog) }
    }

    /// A place for a transaction of so many bytes, which is to come through until `deadline`.
    ///
    /// # Errors
    /// [`WriteError::Overloaded`]; [`WriteError::Unavailable`] once closed.
    pub(super) async fn admit(&self, bytes: usize, deadline: Instant) -> Result<Place, WriteError> {
        let cost = (bytes + OVERHEAD_BYTES).min(ROOM_BYTES);
        let large = is_large(bytes).then(|| self.backlog.weigh(cost as u64, deadline)).transpose()?;
        let room = Arc::clone(if large.is_some() { &self.large } else { &self.small });
        let cost = u32::try_from(cost).expect("a room is far below 2^32 bytes");
        if let Ok(room) = Arc::clone(&room).try_acquire_many_owned(cost) {
            return Ok(Place { _room: room, large });
        }
        match timeout_at(deadline, room.acquire_many_owned(cost)).await {
            Ok(Ok(room)) => Ok(Place { _room: room, large }),
            Ok(Err(_)) => Err(WriteError::Unavailable),
            Err(_) => Err(WriteError::Overloaded),
        }
    }

    /// Gives no more places. Who waits for one is refused.
    pub(super) fn close(&self) {
        self.small.close();
        self.large.close();
    }
}

impl Backlog {
    fn weigh(self: &Arc<Backlog>, bytes: u64, deadline: Instant) -> Result<Weighed, WriteError> {
        let since = Instant::now();
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // From here on it leaves again when dropped.
        let weighed = Weighed { backlog: Arc::clone(self), bytes, ahead: before + bytes, since };
        let expected = Duration::from_micros(weighed.ahead * self.pace.load(Ordering::Relaxed) / MIB);
        let left = deadline.saturating_duration_since(since);
        if before > 0 && expected > left / 2 { Err(WriteError::Overloaded) } else { Ok(weighed) }
    }
}

impl Place {
    /// The transaction has come through.
    pub(super) fn came_through(&self) {
        let Some(Weighed { backlog, ahead, since, .. }) = &self.large else { return };
        let took = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let pace = took.saturating_mul(MIB) / ahead;
        let _ = backlog.pace.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
            Some((before.saturating_mul(3).saturating_add(pace)) / 4)
        });
    }
}

impl Drop for Weighed {
    fn drop(&mut self) {
        self.backlog.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const LARGE: usize = 8 << 20;

    fn in_5_s() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    /// Goal: what cannot come through in time is refused before anything of it is under way, and not after 5 s; what is
    /// alone is tried however slow the last one was.
    #[tokio::test(start_paused = true)]
    async fn what_would_wait_too_long_is_refused_at_once() {
        let budget = Budget::new();
        for _ in 0..20 {
            let place = budget.admit(LARGE, in_5_s()).await.expect("it is alone");
            tokio::time::advance(Duration::from_secs(1)).await;
            place.came_through();
        }
        // 8 MiB a second: two come through in 2 s, and three in 3 s, which is more than half of the time.
        let mut places = Vec::new();
        for _ in 0..2 {
            places.push(budget.admit(LARGE, in_5_s()).await.expect("two are no crowd"));
        }
        places.push(budget.admit(1, in_5_s()).await.expect("a small one has nothing to do with it"));
        let refused = budget.admit(LARGE, in_5_s()).now_or_never();
        assert!(matches!(refused, Some(Err(WriteError::Overloaded))));
        assert!(budget.admit(LARGE, in_5_s() + Duration::from_secs(60)).await.is_ok(), "it has the time");
        places.clear();
        let alone = budget.admit(LARGE, Instant::now() + Duration::from_millis(100)).await;
        assert!(alone.is_ok());
    }

    /// Goal: large ones, under way or waiting for a place, never keep a small one from its place.
    #[tokio::test(start_paused = true)]
    async fn large_ones_stand_before_no_small_one() {
        let budget = Budget::new();
        let later = Instant::now() + Duration::from_secs(3_600);
        let mut large = Vec::new();
        while let Some(place) = budget.admit(LARGE, later).now_or_never() {
            large.push(place.expect("they have an hour"));
        }
        assert_eq!(large.len(), ROOM_BYTES / (LARGE + OVERHEAD_BYTES));
        let mut waits = Box::pin(budget.admit(LARGE, later));
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(budget.admit(1_000, later).now_or_never().is_some());
        large.pop();
        assert!(waits.now_or_never().is_some());
        budget.close();
        assert!(matches!(budget.admit(LARGE, later).await, Err(WriteError::Unavailable)));
    }
}
