//! What is known of each connection, and which of them have to go.
//!
//! ```text
//!            first byte            head is whole          body is whole        answer is sent
//!   Fresh ---------------> Head ----------------> Busy <------------> Body       |
//!     |                     ^                       |  `------------------------- +
//!     |                     |       first byte      v
//!     `-- too long: end     `-------------------- Idle -- too long: end
//! ```
//!
//! A connection tells its [`Watch`] where it stands: a few relaxed stores a request, no clock is read and no timer set.
//! One task a listener, [`Watches::sweep`], moves a coarse clock on and ends those that have taken too long. When all places
//! are taken, those who use theirs least have to go ([`Watches::make_room`]). HTTP/2 has no phases but `Busy` and `Idle`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often the sweep looks, unless a limit is shorter.
const SWEEP: Duration = Duration::from_millis(250);

/// How long a client may take nothing of an answer once the node stops.
const STOPPING: Duration = Duration::from_secs(1);

/// A client that has had this long is not sent away to make room for others before.
const GRACE_MS: u64 = 1_000;

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// From the opening of the connection, or the first byte of a later request, until the head is whole.
    pub(super) head: Duration,
    /// Between two requests, and for a client to take some of an answer.
    pub(super) idle: Duration,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// Nothing was sent yet.
    Fresh,
    /// A part of a head was sent.
    Head,
    /// A request is being served.
    Busy,
    /// The body of a request is being read.
    Body,
    /// The last request is answered.
    Idle,
}

impl Phase {
    fn of(code: u8) -> Phase {
        [Phase::Fresh, Phase::Head, Phase::Busy, Phase::Body]
            .into_iter()
            .find(|p| *p as u8 == code)
            .unwrap_or(Phase::Idle)
    }
}

/// What is known of one connection.
pub(super) struct Watch {
    clock: Arc<AtomicU64>,
    phase: AtomicU8,
    since_ms: AtomicU64,
    /// Since when the client takes nothing of what is sent; 0 if it does.
    stalled_ms: AtomicU64,
    requests: AtomicU32,
    /// Of those, answers that are being sent.
    answers: AtomicU32,
    /// When the client last took something, over HTTP/2.
    sent_ms: AtomicU64,
    is_http2: AtomicBool,
    /// Whether the body of the last request was not read to its end.
    has_unread: AtomicBool,
    /// Whether it was ended while a head was on its way, so that the client should be told.
    was_slow: AtomicBool,
    end: CancellationToken,
}

impl Watch {
    fn new(clock: Arc<AtomicU64>) -> Watch {
        let since_ms = AtomicU64::new(clock.load(Relaxed));
        Watch {
            clock,
            phase: AtomicU8::new(Phase::Fresh as u8),
            since_ms,
            stalled_ms: AtomicU64::new(0),
            requests: AtomicU32::new(0),
            answers: AtomicU32::new(0),
            sent_ms: AtomicU64::new(0),
            is_http2: AtomicBool::new(false),
            has_unread: AtomicBool::new(false),
            was_slow: AtomicBool::new(false),
            end: CancellationToken::new(),
        }
    }

    fn phase(&self) -> Phase {
        Phase::of(self.phase.load(Relaxed))
    }

    fn enter(&self, phase: Phase) {
        self.since_ms.store(self.clock.load(Relaxed), Relaxed);
        self.phase.store(phase as u8, Relaxed);
    }

    /// Bytes came.
    pub(super) fn received(&self, bytes: &[u8]) {
        match self.phase() {
            Phase::Fresh if bytes.starts_with(b"PRI ") => {
                self.is_http2.store(true, Relaxed);
                self.enter(Phase::Idle);
            }
            Phase::Fresh | Phase::Idle if !self.is_http2.load(Relaxed) => self.enter(Phase::Head),
            _ => {}
        }
    }

    /// The client took, or did not take, some of what is sent.
    pub(super) fn sent(&self, some: bool) {
        if some {
            self.stalled_ms.store(0, Relaxed);
            self.sent_ms.store(self.clock.load(Relaxed), Relaxed);
        } else if self.stalled_ms.load(Relaxed) == 0 {
            self.stalled_ms.store(self.clock.load(Relaxed).max(1), Relaxed);
        }
    }

    /// Whether an answer now would be one to a head that was never whole.
    pub(super) fn is_before_request(&self) -> bool {
        self.phase() == Phase::Head && !self.is_http2.load(Relaxed)
    }

    /// Whether the client should be told that it was too slow.
    pub(super) fn was_slow(&self) -> bool {
        self.was_slow.load(Relaxed)
    }

    /// A request is whole but for its body; until the guard is dropped, with the last byte of the answer, it is served.
    pub(super) fn begin(self: &Arc<Watch>, has_body: bool) -> Busy {
        self.has_unread.store(has_body, Relaxed);
        self.requests.fetch_add(1, Relaxed);
        self.enter(Phase::Busy);
        Busy { watch: Arc::clone(self), answers: AtomicBool::new(false) }
    }

    /// The body of the request is being read from now on.
    pub(super) fn reads_body(&self) {
        if !self.is_http2.load(Relaxed) {
            self.enter(Phase::Body);
        }
    }

    /// The body is not read any further; `whole` says whether it was to its end.
    pub(super) fn read_body(&self, whole: bool) {
        if !self.is_http2.load(Relaxed) {
            self.has_unread.store(!whole, Relaxed);
            self.enter(Phase::Busy);
        }
    }

    /// Whether the client may still be sending what nobody reads. On HTTP/2 that costs nothing.
    pub(super) fn has_unread(&self) -> bool {
        self.has_unread.load(Relaxed) && !self.is_http2.load(Relaxed)
    }

    /// Whether a request is being read or served.
    pub(super) fn is_busy(&self) -> bool {
        self.requests.load(Relaxed) > 0
    }

    /// Ends when the connection is to end at once.
    pub(super) async fn ended(&self) {
        self.end.cancelled().await;
    }

    fn end(&self, why: &'static str) {
        tracing::debug!(why, phase = ?self.phase(), "a connection was ended");
        self.was_slow.store(self.is_before_request(), Relaxed);
        self.end.cancel();
    }

    fn is_overdue(&self, now_ms: u64, patience: &Patience) -> bool {
        let past =
            |since_ms: u64, limit: Duration| u128::from(now_ms.saturating_sub(since_ms)) >= limit.as_millis();
        let stalled_ms = self.stalled_ms.load(Relaxed);
        let since_ms = self.since_ms.load(Relaxed);
        // Over HTTP/2 a client stops an answer without a full socket: it does not widen the stream's window.
        let holds_answer = self.is_http2.load(Relaxed) && self.answers.load(Relaxed) > 0;
        stalled_ms > 0 && past(stalled_ms, patience.idle)
            || holds_answer && past(self.sent_ms.load(Relaxed), patience.idle)
            || match self.phase() {
                Phase::Fresh | Phase::Head => past(since_ms, patience.head),
                Phase::Idle => past(since_ms, patience.idle),
                // These have deadlines of their own.
                Phase::Busy | Phase::Body => false,
            }
    }

    /// How long the client has kept its place without a use for it; `None` while it is served.
    fn lingers_ms(&self, now_ms: u64) -> Option<u64> {
        let lingers_ms = now_ms.saturating_sub(self.since_ms.load(Relaxed));
        match self.phase() {
            Phase::Busy => None,
            Phase::Idle => Some(lingers_ms),
            Phase::Fresh | Phase::Head | Phase::Body => Some(lingers_ms).filter(|ms| *ms >= GRACE_MS),
        }
    }
}

/// A request that is being served.
pub(super) struct Busy {
    watch: Arc<Watch>,
    answers: AtomicBool,
}

impl Busy {
    /// Its answer is being sent from now on.
    pub(super) fn answers(&self) {
        if !self.answers.swap(true, Relaxed) {
            self.watch.sent_ms.store(self.watch.clock.load(Relaxed), Relaxed);
            self.watch.answers.fetch_add(1, Relaxed);
        }
    }

    /// There is nothing of its answer to be sent at the moment: the client has nothing to take.
    pub(super) fn pauses(&self) {
        if self.answers.swap(false, Relaxed) {
            self.watch.answers.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if *self.answers.get_mut() {
            self.watch.answers.fetch_sub(1, Relaxed);
        }
        if self.watch.requests.fetch_sub(1, Relaxed) == 1 {
            self.watch.enter(Phase::Idle);
        }
    }
}

/// The connections of one listener.
pub(super) struct Watches {
    started: Instant,
    /// Milliseconds since the start, as of the last sweep.
    clock: Arc<AtomicU64>,
    patience: Patience,
    stopping: AtomicBool,
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    next: u64,
    watches: BTreeMap<u64, Arc<Watch>>,
}

impl Watches {
    pub(super) fn new(patience: Patience) -> Watches {
        Watches {
            started: Instant::now(),
            clock: Arc::default(),
            patience,
            stopping: AtomicBool::new(false),
            all: Mutex::default(),
        }
    }

    /// The node stops: from now on a client that takes nothing of its answer is waited for no longer than a moment.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Relaxed);
    }

    fn patience(&self) -> Patience {
        let Patience { head, idle } = self.patience;
        Patience { head, idle: if self.stopping.load(Relaxed) { idle.min(STOPPING) } else { idle } }
    }

    /// Watches over a new connection until the guard is dropped.
    pub(super) fn add(self: &Arc<Watches>) -> Watched {
        let watch = Arc::new(Watch::new(Arc::clone(&self.clock)));
        let mut all = self.all.lock();
        let number = all.next;
        all.next += 1;
        all.watches.insert(number, Arc::clone(&watch));
        Watched { watch, number, watches: Arc::clone(self) }
    }

    /// Ends connections that take too long, for ever.
    pub(super) async fn sweep(&self) {
        let shortest = self.patience.head.min(self.patience.idle);
        let mut ticks = interval(SWEEP.min(shortest / 4).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now_ms = self.now_ms();
            self.clock.store(now_ms, Relaxed);
            let patience = self.patience();
            let all = self.all.lock();
            let overdue = all.watches.values().filter(|watch| watch.is_overdue(now_ms, &patience));
            overdue.for_each(|watch| watch.end("it took too long"));
        }
    }

    /// Ends the connection that has kept its place longest without a use for it, if there is one.
    pub(super) fn make_room(&self) {
        self.make_room_at(self.now_ms());
    }

    fn make_room_at(&self, now_ms: u64) {
        let all = self.all.lock();
        let lingering = all.watches.values().filter(|watch| !watch.end.is_cancelled());
        let lingering = lingering.filter_map(|watch| Some((watch.lingers_ms(now_ms)?, watch)));
        if let Some((_, watch)) = lingering.max_by_key(|(lingers_ms, _)| *lingers_ms) {
            watch.end("its place is needed");
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A connection that is watched over.
pub(super) struct Watched {
    pub(super) watch: Arc<Watch>,
    number: u64,
    watches: Arc<Watches>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watches.all.lock().watches.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { head: Duration::from_millis(100), idle: Duration::from_millis(1_000) };

    fn watches() -> Arc<Watches> {
        Arc::new(Watches::new(PATIENCE))
    }

    /// Goal: each phase has its own limit, and being served has none here.
    #[test]
    fn each_phase_has_its_limit() {
        let watched = watches().add();
        let watch = &watched.watch;
        let overdue_at = |ms| watch.is_overdue(ms, &PATIENCE);
        assert!(!overdue_at(99) && overdue_at(100), "nothing was ever sent");
        watch.received(b"GE");
        assert!(overdue_at(100) && watch.is_before_request(), "half a head");
        let busy = watch.begin(true);
        assert!(!overdue_at(1_000_000) && watch.is_busy() && !watch.is_before_request());
        watch.reads_body();
        assert!(!overdue_at(1_000_000) && watch.has_unread());
        watch.read_body(true);
        assert!(!watch.has_unread());
        watch.sent(false);
        assert!(!overdue_at(999) && overdue_at(1_001), "the client takes nothing of the answer");
        watch.sent(true);
        drop(busy);
        assert!(!watch.is_busy() && !overdue_at(999) && overdue_at(1_000), "idle");
        watch.received(b"GET");
        assert!(overdue_at(100), "the head of the next request");
    }

    /// Goal: frames on an idle HTTP/2 connection are not taken for the head of a request.
    #[test]
    fn http2_is_busy_or_idle() {
        let watched = watches().add();
        watched.watch.received(b"PRI * HTTP/2.0");
        watched.watch.received(b"ping");
        assert!(!watched.watch.is_overdue(999, &PATIENCE) && !watched.watch.is_before_request());
        let (first, second) = (watched.watch.begin(false), watched.watch.begin(false));
        drop(first);
        assert!(watched.watch.is_busy());
        assert!(!watched.watch.is_overdue(1_000_000, &PATIENCE), "it is being served");
        second.answers();
        second.pauses();
        assert!(!watched.watch.is_overdue(1_000_000, &PATIENCE), "there is nothing for the client to take");
        second.answers();
        assert!(!watched.watch.is_overdue(999, &PATIENCE) && watched.watch.is_overdue(1_000, &PATIENCE));
        drop(second);
        assert!(!watched.watch.is_busy());
    }

    /// Goal: once the node stops, a client that takes nothing is waited for a second, and one that has nothing to take is not
    /// hurried.
    #[test]
    fn a_stop_is_not_patient_with_who_takes_nothing() {
        let watches = Arc::new(Watches::new(Patience { head: SWEEP, idle: Duration::from_secs(60) }));
        let (stuck, served) = (watches.add(), watches.add());
        let _busy = (stuck.watch.begin(false), served.watch.begin(false));
        stuck.watch.sent(false);
        let overdue = |ms| [&stuck, &served].map(|watched| watched.watch.is_overdue(ms, &watches.patience()));
        assert_eq!(overdue(59_000), [false, false]);
        watches.stop();
        assert_eq!(overdue(1_000), [false, false]);
        assert_eq!(overdue(1_001), [true, false]);
    }

    /// Goal: room is made by those who have been idle longest, never by one that is served.
    #[test]
    fn room_is_made_by_the_idle() {
        let watches = watches();
        let (served, older, newer) = (watches.add(), watches.add(), watches.add());
        let _busy = served.watch.begin(false);
        drop(older.watch.begin(false));
        watches.clock.store(5, Relaxed);
        drop(newer.watch.begin(false));
        let ended = || [&served, &older, &newer].map(|watched| watched.watch.end.is_cancelled());
        watches.make_room_at(10);
        assert_eq!(ended(), [false, true, false]);
        watches.make_room_at(10);
        assert_eq!(ended(), [false, true, true]);
        let fresh = watches.add();
        watches.make_room_at(10);
        assert!(!fresh.watch.end.is_cancelled(), "it has only just come");
        watches.make_room_at(5 + GRACE_MS);
        assert!(fresh.watch.end.is_cancelled());
        drop(older);
        assert_eq!(watches.all.lock().watches.len(), 3);
    }
}
