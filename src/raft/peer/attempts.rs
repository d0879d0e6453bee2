//! Tries to reach one member for one purpose: when the next one may begin, and why the last one failed.
//!
//! The delay doubles with each failure up to the longest of the purpose. A random share of it is left out, so that tries of
//! several senders spread. A failure is the first again once none came for a while: a stream that opens and breaks at once,
//! over and over, counts as a failure each time.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use super::error::CallError;
use crate::raft::identity::random_id;

/// Purpose of a connection to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    Entries,
    Heartbeats,
    Snapshots,
    Votes,
}

/// Delays between tries.
struct Pace {
    first: Duration,
    longest: Duration,
    /// Failures further apart than this do not belong together: longer than the longest delay and a try.
    forget: Duration,
}

/// A member that comes back is found within half a second.
const QUICK: Pace = Pace {
    first: Duration::from_millis(50),
    longest: Duration::from_millis(500),
    forget: Duration::from_secs(5),
};

/// Each try reads and sends the whole store.
const HEAVY: Pace = Pace {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(30),
    forget: Duration::from_secs(600),
};

/// For how long tries that take their time follow one another without a delay.
const UNANSWERED: Duration = Duration::from_secs(2);

/// The tries to reach one member for one purpose.
pub(crate) struct Attempts {
    pace: &'static Pace,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failures: Option<Failures>,
    /// Why the last try failed, and since when all have; `None`: it did not.
    reason: Option<(String, Instant)>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
    retry_at: Instant,
}

impl State {
    /// Takes note of the reason of a failure. Returns for how long tries have failed.
    fn blame(&mut self, error: &CallError) -> Duration {
        let since = self.reason.take().map_or_else(Instant::now, |(_, since)| since);
        self.reason = Some((error.to_string(), since));
        since.elapsed()
    }
}

impl Attempts {
    pub(super) fn new(purpose: Purpose) -> Attempts {
        let pace = match purpose {
            Purpose::Entries | Purpose::Heartbeats | Purpose::Votes => &QUICK,
            Purpose::Snapshots => &HEAVY,
        };
        Attempts { pace, state: Mutex::default() }
    }

    /// Notes that a try has failed at once.
    pub(super) fn failed(&self, error: &CallError) {
        let mut state = self.state.lock();
        state.blame(error);
        self.delay(&mut state);
    }

    /// Notes that a try was not answered in time. The next one may begin at once, unless that goes on: a member that is
    /// stopped has to take all of them when it goes on.
    pub(super) fn unanswered(&self, error: &CallError) {
        let mut state = self.state.lock();
        if state.blame(error) > UNANSWERED {
            self.delay(&mut state);
        }
    }

    fn delay(&self, state: &mut State) {
        let now = Instant::now();
        let before = state.failures.filter(|before| now.duration_since(before.last) < self.pace.forget);
        let count = before.map_or(0, |before| before.count).saturating_add(1);
        let delay = self.pace.first.saturating_mul(1 << (count - 1).min(16)).min(self.pace.longest);
        state.failures = Some(Failures { count, last: now, retry_at: now + jittered(delay) });
    }

    /// Notes that the member takes what is sent. The delay stays what it is for failures that follow soon.
    pub(super) fn succeeded(&self) {
        self.state.lock().reason = None;
    }

    /// The next try may begin now: it is about something else than the one that failed.
    pub(super) fn may_begin(&self) {
        if let Some(failures) = &mut self.state.lock().failures {
            failures.retry_at = Instant::now();
        }
    }

    /// Returns when the next try may begin.
    pub(super) async fn ready(&self) {
        let retry_at = self.state.lock().failures.map(|failures| failures.retry_at);
        if let Some(retry_at) = retry_at {
            sleep_until(retry_at).await;
        }
    }

    /// Whether the next try may begin now.
    pub(super) fn is_ready(&self) -> bool {
        self.state.lock().failures.is_none_or(|failures| failures.retry_at <= Instant::now())
    }

    /// Why the last try failed, if it did.
    pub(super) fn reason(&self) -> Option<String> {
        self.state.lock().reason.as_ref().map(|(reason, _)| reason.clone())
    }
}

/// Between half of `delay` and all of it.
fn jittered(delay: Duration) -> Duration {
    let share = (random_id() as u32) as f64 / f64::from(u32::MAX);
    delay.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Timers of a runtime are exact to the millisecond.
    const TIMER: Duration = Duration::from_millis(1);

    async fn waited(attempts: &Attempts) -> Duration {
        let begun = Instant::now();
        attempts.ready().await;
        begun.elapsed()
    }

    /// Goal: what fails at once is tried a few times a second at most, and what failed once is tried again soon.
    #[tokio::test(start_paused = true)]
    async fn delays_grow_to_the_longest_and_are_forgotten_after_a_while_without_failures() {
        let (attempts, error) = (Attempts::new(Purpose::Entries), CallError::Unsent("closed".into()));
        assert!(attempts.is_ready());
        assert_eq!(waited(&attempts).await, Duration::ZERO);
        attempts.failed(&error);
        assert!(!attempts.is_ready());
        let first = waited(&attempts).await;
        assert!(first >= QUICK.first / 2 && first <= QUICK.first + TIMER, "{first:?}");
        for _ in 0..10 {
            attempts.failed(&error);
            attempts.ready().await;
            attempts.succeeded();
        }
        attempts.failed(&error);
        let longest = waited(&attempts).await;
        assert!(longest >= QUICK.longest / 2 && longest <= QUICK.longest + TIMER, "{longest:?}");
        tokio::time::advance(QUICK.forget).await;
        attempts.failed(&error);
        assert!(waited(&attempts).await <= QUICK.first + TIMER, "an old failure counts no more");
    }

    /// Goal: a leader that is short of time leaves out no heartbeat, and one whose member is stopped does not fill its socket.
    #[tokio::test(start_paused = true)]
    async fn tries_that_are_not_answered_in_time_are_delayed_once_that_lasts() {
        let (attempts, error) = (Attempts::new(Purpose::Heartbeats), CallError::Lost("too late".into()));
        attempts.unanswered(&error);
        tokio::time::advance(UNANSWERED).await;
        attempts.unanswered(&error);
        assert!(attempts.is_ready());
        tokio::time::advance(TIMER).await;
        attempts.unanswered(&error);
        assert!(!attempts.is_ready());
        attempts.succeeded();
        tokio::time::advance(QUICK.longest).await;
        attempts.unanswered(&error);
        assert!(attempts.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn the_reason_is_that_of_the_last_try() {
        let attempts = Attempts::new(Purpose::Snapshots);
        assert_eq!(attempts.reason(), None);
        attempts.failed(&CallError::Unsent("closed".into()));
        assert_eq!(attempts.reason().as_deref(), Some("not reachable: closed"));
        attempts.succeeded();
        assert_eq!(attempts.reason(), None);
    }
}
