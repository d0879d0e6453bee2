//! When requests are sent.
//!
//! Without a rate each connection sends its next request when the answer to the one before is there (a closed loop). A
//! server that stalls is then asked less while it stalls, and the few requests that meet the stall hide among the many
//! that do not: Gil Tene's "coordinated omission".
//!
//! With a rate the times are fixed in advance (an open loop): request `n` is due `n / rate` seconds after the start,
//! whatever the server does. Any free connection takes the next one; if none is free, requests wait, and their latency
//! is measured *from when they were due*, as a user who came at that moment would. What was due and could not be sent
//! before the end is counted as unsent, with the time that it waited.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

/// Most connections of a run.
pub(super) const MAX_CONNECTIONS: usize = 10_000;

/// Most requests that are made due in one go. The pacer comes back at once for the others.
const MAX_RELEASE: u64 = 1 << 16;

/// Leave to send one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    /// Which request.
    pub(super) number: u64,
    /// When it was due, since the start; none in a closed loop.
    pub(super) due: Option<Duration>,
}

impl Ticket {
    /// How long a request took that was `sent` and `answered` then, since the start.
    pub(super) fn latency(&self, sent: Duration, answered: Duration) -> Duration {
        answered.saturating_sub(self.due.unwrap_or(sent))
    }
}

/// Hands out tickets, each once.
#[derive(Debug)]
pub(super) struct Schedule {
    total: u64,
    rate: Option<u64>,
    next: AtomicU64,
    released: AtomicU64,
    permits: Semaphore,
    closed: AtomicBool,
}

impl Schedule {
    /// `total` requests, or as many as are asked for until [`Schedule::close`]; `rate` of them a second, or as many
    /// as are answered.
    pub(super) fn new(total: Option<u64>, rate: Option<u64>) -> Schedule {
        Schedule {
            total: total.unwrap_or(u64::MAX),
            rate,
            next: AtomicU64::new(0),
            released: AtomicU64::new(0),
            permits: Semaphore::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// The next ticket, once it is due; none at the end.
    pub(super) async fn next(&self) -> Option<Ticket> {
        if self.rate.is_some() {
            // Closing the semaphore is the end of the schedule.
            self.permits.acquire().await.ok()?.forget();
        }
        if self.closed.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number >= self.total {
            return None;
        }
        Some(Ticket { number, due: self.due(number) })
    }

    /// No tickets from here on.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.permits.close();
    }

    /// Makes due what is due at `now`, since the start, and says how long it is until the next one; none if nothing
    /// is to come, or there is no rate.
    pub(super) fn release(&self, now: Duration) -> Option<Duration> {
        let from = self.released.load(Ordering::Relaxed);
        if self.closed.load(Ordering::Relaxed) || from >= self.total {
            return None;
        }
        let most = self.total.min(from + MAX_RELEASE);
        let mut upto = from;
        while upto < most && self.due(upto)? <= now {
            upto += 1;
        }
        self.released.store(upto, Ordering::Relaxed);
        // Behind the last request each connection gets the leave that shows it the end.
        let ends = if upto == self.total { MAX_CONNECTIONS } else { 0 };
        self.permits.add_permits((upto - from) as usize + ends);
        self.due(upto).map(|due| due.saturating_sub(now))
    }

    /// The tickets that were due before `end` and that nobody took. For a schedule that is closed.
    pub(super) fn unsent(&self, end: Duration) -> impl Iterator<Item = Ticket> {
        let first = self.next.load(Ordering::Relaxed).min(self.total);
        (first..self.total)
            .map(|number| Ticket { number, due: self.due(number) })
            .take_while(move |ticket| ticket.due.is_some_and(|due| due < end))
    }

    fn due(&self, number: u64) -> Option<Duration> {
        let nanoseconds = u128::from(number) * 1_000_000_000 / u128::from(self.rate?);
        Some(Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Latencies in milliseconds of one connection to a server that takes 1 ms for an answer, and once, at 1,000 ms,
    /// does nothing for a second. Time is counted, not passed.
    async fn through_a_stall(schedule: Schedule) -> Vec<u64> {
        let (mut now, mut latencies) = (ms(0), Vec::new());
        while now < ms(3_000) {
            schedule.release(now);
            let ticket = schedule.next().await.expect("a ticket");
            let sent = now;
            now += if sent == ms(1_000) { ms(1_001) } else { ms(1) };
            latencies.push(ticket.latency(sent, now).as_millis() as u64);
        }
        latencies.sort_unstable();
        latencies
    }

    /// Goal: a stall of a second shows in the share of requests that were due in it, not in one. 1,000 requests a
    /// second for three seconds: a third of them is due during the stall or in the backlog behind it.
    #[tokio::test]
    async fn a_stall_is_not_omitted() {
        let share_above_10_ms = |latencies: &[u64]| {
            latencies.iter().filter(|latency| **latency > 10).count() as f64 / latencies.len() as f64
        };
        let closed = through_a_stall(Schedule::new(None, None)).await;
        assert_eq!(closed.iter().filter(|latency| **latency > 10).count(), 1, "a closed loop omits it");

        // 1 ms a request and 1,000 a second: the backlog never goes away.
        let open = through_a_stall(Schedule::new(None, Some(1_000))).await;
        assert!(share_above_10_ms(&open) > 0.49, "{}", share_above_10_ms(&open));
        assert_eq!(open.last(), Some(&1_001));

        // Half of what the server can do: the backlog of 500 is gone after another second.
        let mut now = ms(0);
        let (half, mut latencies) = (Schedule::new(Some(2_000), Some(500)), Vec::new());
        for number in 0..2_000 {
            now = now.max(half.due(number).expect("a rate"));
            half.release(now);
            let ticket = half.next().await.expect("a ticket");
            let sent = now;
            now += if sent == ms(1_000) { ms(1_001) } else { ms(1) };
            latencies.push(ticket.latency(sent, now).as_millis() as u64);
        }
        let late = latencies.iter().filter(|latency| **latency > 1).count();
        assert_eq!(late, 1_000, "the stalled one, and 999 behind it until it has caught up a second later");
        assert_eq!(latencies.iter().max(), Some(&1_001));
    }

    /// Goal: requests become due at the rate and not before, all of them, each once, and then it ends.
    #[tokio::test]
    async fn releases_follow_the_rate() {
        let schedule = Schedule::new(Some(10), Some(4));
        assert_eq!(schedule.release(ms(0)), Some(ms(250)));
        assert_eq!(schedule.permits.available_permits(), 1);
        assert_eq!(schedule.release(ms(100)), Some(ms(150)));
        assert_eq!(schedule.permits.available_permits(), 1);
        assert_eq!(schedule.release(ms(760)), Some(ms(240)));
        assert_eq!(schedule.permits.available_permits(), 4);
        schedule.release(ms(60_000));
        assert_eq!(schedule.release(ms(60_000)), None);
        for number in 0..10 {
            assert_eq!(schedule.next().await, Some(Ticket { number, due: Some(ms(250 * number)) }));
        }
        for _ in 0..MAX_CONNECTIONS {
            assert_eq!(schedule.next().await, None);
        }
    }

    /// Goal: what was due and not taken when the run ended is known.
    #[tokio::test]
    async fn unsent() {
        let schedule = Schedule::new(Some(100), Some(10));
        schedule.release(ms(500));
        schedule.next().await;
        schedule.close();
        assert_eq!(schedule.next().await, None);
        assert_eq!(schedule.release(ms(9_000)), None);
        assert_eq!(schedule.unsent(ms(500)).map(|ticket| ticket.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(Schedule::new(None, None).unsent(ms(500)).count(), 0);
    }

    /// Goal: a closed loop hands out its number of tickets without waiting.
    #[tokio::test]
    async fn a_closed_loop() {
        let schedule = Schedule::new(Some(2), None);
        assert_eq!(schedule.release(ms(0)), None);
        assert_eq!(schedule.next().await, Some(Ticket { number: 0, due: None }));
        assert_eq!(schedule.next().await, Some(Ticket { number: 1, due: None }));
        assert_eq!(schedule.next().await, None);
    }
}
