//! Transactions that wait to travel together, in the order in which they came, and how many such parcels are under way.
//!
//! ```text
//!  push --> small, in order --(full, or few are under way)--> parcel
//!       \-> large, in order --(few of them are under way)----> parcel of one
//! ```
//!
//! There is no timer: what waits goes at once while little is under way, so a lone write never waits. A crowd is packed:
//! what each log entry costs (a sync on every member, two messages to each) is shared by all that came while the one
//! before was under way. Only full parcels go beyond [`EAGER`].
//!
//! Megabytes hold up all that goes after them, as long as they take to every member and its disk. So only [`LARGE`] large
//! ones are under way, and small and large ones take turns. Those that wait at the same time have no order among them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Commands after which a parcel is full. A transaction of more travels alone.
const PARCEL_COMMANDS: usize = 512;

/// Bytes of keys and values after which a parcel is full. A transaction of more travels alone.
const PARCEL_BYTES: usize = 256 << 10;

/// Transactions of more bytes than this are large.
const SMALL_BYTES: usize = 1 << 20;

/// Parcels that are under way before one that is not full waits.
const EAGER: usize = 2;

/// Parcels that are under way at most.
const MOST: usize = 8;

/// Large transactions that are under way at most: the next one is sent while the one before is synced.
const LARGE: usize = 2;

/// Whether a transaction of so many bytes of keys and values keeps others waiting.
pub(super) fn is_large(bytes: usize) -> bool {
    bytes > SMALL_BYTES
}

/// Transactions that wait, small and large.
pub(super) struct Packing<T> {
    small: Line<T>,
    large: Line<T>,
    next_number: u64,
    /// A large one is the next if both may go.
    turn_of_large: bool,
}

/// Waiting transactions of one kind, oldest first.
struct Line<T> {
    /// Numbers ascend.
    waiting: VecDeque<Waiting<T>>,
    /// Sums over what waits.
    commands: usize,
    bytes: usize,
}

struct Waiting<T> {
    number: u64,
    commands: usize,
    bytes: usize,
    item: T,
}

/// Withdraws a transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    number: u64,
    is_large: bool,
}

/// Content of a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// Less than fits, or nothing.
    Part,
    /// As much as fits.
    Full,
    /// A large transaction.
    Large,
}

impl<T> Default for Line<T> {
    fn default() -> Line<T> {
        Line { waiting: VecDeque::new(), commands: 0, bytes: 0 }
    }
}

impl<T> Default for Packing<T> {
    fn default() -> Packing<T> {
        Packing { small: Line::default(), large: Line::default(), next_number: 0, turn_of_large: false }
    }
}

impl<T> Packing<T> {
    /// Queues a transaction of so many commands, and bytes of keys and values.
    pub(super) fn push(&mut self, item: T, commands: usize, bytes: usize) -> Ticket {
        let ticket = Ticket { number: self.next_number, is_large: is_large(bytes) };
        self.next_number += 1;
        self.line(ticket).push(Waiting { number: ticket.number, commands, bytes, item });
        ticket
    }

    /// Takes a transaction back. `false`: it has gone already.
    pub(super) fn withdraw(&mut self, ticket: Ticket) -> bool {
        let line = self.line(ticket);
        let found = line.waiting.binary_search_by_key(&ticket.number, |waiting| waiting.number);
        let Some(waiting) = found.ok().and_then(|at| line.waiting.remove(at)) else { return false };
        line.take_off(&waiting);
        true
    }

    fn line(&mut self, ticket: Ticket) -> &mut Line<T> {
        if ticket.is_large { &mut self.large } else { &mut self.small }
    }

    /// Whether something waits that may go.
    pub(super) fn may_go(&self, flight: &Flight) -> bool {
        [self.small.load(), self.large.load().and(Some(Load::Large))]
            .into_iter()
            .flatten()
            .any(|load| flight.is_open(load))
    }

    /// The next parcel, if something waits that may go.
    pub(super) fn take(&mut self, flight: &Flight) -> Option<(Vec<T>, Place)> {
        let small = self.small.load().filter(|load| flight.is_open(*load));
        let large = self.large.load().and(Some(Load::Large)).filter(|load| flight.is_open(*load));
        let load = if self.turn_of_large { large.or(small)? } else { small.or(large)? };
        let place = flight.enter(load)?;
        self.turn_of_large = load != Load::Large;
        Some((if load == Load::Large { self.large.take() } else { self.small.take() }, place))
    }

    /// Everything, whatever its size.
    pub(super) fn take_all(&mut self) -> Vec<T> {
        let (small, large) = (std::mem::take(&mut self.small), std::mem::take(&mut self.large));
        small.waiting.into_iter().chain(large.waiting).map(|waiting| waiting.item).collect()
    }
}

impl<T> Line<T> {
    fn push(&mut self, waiting: Waiting<T>) {
        self.commands += waiting.commands;
        self.bytes += waiting.bytes;
        self.waiting.push_back(waiting);
    }

    fn take_off(&mut self, waiting: &Waiting<T>) {
        self.commands -= waiting.commands;
        self.bytes -= waiting.bytes;
    }

    /// Content of the next parcel; `None`: nothing waits.
    fn load(&self) -> Option<Load> {
        self.waiting.front()?;
        let is_full = self.commands >= PARCEL_COMMANDS || self.bytes >= PARCEL_BYTES;
        Some(if is_full { Load::Full } else { Load::Part })
    }

    /// As many as fit.
    fn take(&mut self) -> Vec<T> {
        let (mut commands, mut bytes) = (0, 0);
        let mut parcel = Vec::with_capacity(self.waiting.len().min(PARCEL_COMMANDS));
        while let Some(waiting) = self.waiting.front() {
            commands += waiting.commands;
            bytes += waiting.bytes;
            if !parcel.is_empty() && (commands > PARCEL_COMMANDS || bytes > PARCEL_BYTES) {
                break;
            }
            let Some(waiting) = self.waiting.pop_front() else { break };
            self.take_off(&waiting);
            parcel.push(waiting.item);
        }
        parcel
    }
}

/// How many parcels are under way. One task lets them go.
pub(super) struct Flight {
    under_way: Arc<UnderWay>,
    /// Told when one has come back.
    changed: Arc<Notify>,
}

#[derive(Default)]
struct UnderWay {
    all: AtomicUsize,
    large: AtomicUsize,
}

impl Flight {
    pub(super) fn new(changed: Arc<Notify>) -> Flight {
        Flight { under_way: Arc::default(), changed }
    }

    /// Whether a parcel may go. If not, there is no need to wake who lets them go: that happens when one has come back.
    pub(super) fn is_open(&self, load: Load) -> bool {
        let large = self.under_way.large.load(Ordering::Acquire);
        let all = self.under_way.all.load(Ordering::Acquire);
        all < MOST
            && match load {
                // Those may be under way for long, and a lone small one is not to wait for them.
                Load::Part => all.saturating_sub(large) < EAGER,
                Load::Full => true,
                Load::Large => large < LARGE,
            }
    }

    /// Lets a parcel go, if it may.
    pub(super) fn enter(&self, load: Load) -> Option<Place> {
        if !self.is_open(load) {
            return None;
        }
        let is_large = load == Load::Large;
        self.under_way.all.fetch_add(1, Ordering::AcqRel);
        self.under_way.large.fetch_add(usize::from(is_large), Ordering::AcqRel);
        Some(Place { under_way: Arc::clone(&self.under_way), changed: Arc::clone(&self.changed), is_large })
    }
}

/// The place of one parcel under way. Dropped when it has come back.
pub(super) struct Place {
    under_way: Arc<UnderWay>,
    changed: Arc<Notify>,
    is_large: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.under_way.large.fetch_sub(usize::from(self.is_large), Ordering::AcqRel);
        self.under_way.all.fetch_sub(1, Ordering::AcqRel);
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight() -> Flight {
        Flight::new(Arc::default())
    }

    #[test]
    fn a_parcel_takes_as_much_as_fits_and_a_larger_transaction_travels_alone() {
        let mut packing = Packing::default();
        for (item, (commands, bytes)) in
            [(1, 10), (400, 10), (200, 10), (9_000, 10), (1, PARCEL_BYTES), (1, 1)].into_iter().enumerate()
        {
            packing.push(item, commands, bytes);
        }
        let parcels: Vec<Vec<usize>> =
            std::iter::from_fn(|| packing.take(&flight()).map(|(parcel, _)| parcel)).collect();
        assert_eq!(parcels, [vec![0, 1], vec![2], vec![3], vec![4], vec![5]]);
        assert!(!packing.may_go(&flight()));
    }

    #[test]
    fn what_has_gone_cannot_be_withdrawn() {
        let mut packing = Packing::default();
        let tickets: Vec<Ticket> = (0..3).map(|item| packing.push(item, 200, 0)).collect();
        assert_eq!(packing.small.load(), Some(Load::Full));
        assert!(packing.withdraw(tickets[1]) && !packing.withdraw(tickets[1]));
        assert_eq!(packing.small.load(), Some(Load::Part));
        assert_eq!(packing.take(&flight()).map(|(parcel, _)| parcel), Some(vec![0, 2]));
        assert!(!packing.withdraw(tickets[0]));
        let large = packing.push(3, 1, SMALL_BYTES + 1);
        assert!(packing.withdraw(large) && !packing.withdraw(large));
        packing.push(4, 1, SMALL_BYTES + 1);
        packing.push(5, 600, 0);
        assert_eq!((packing.take_all(), packing.may_go(&flight())), (vec![5, 4], false));
    }

    /// Goal: a few go at once, full ones beyond that, and each that comes back lets one more go.
    #[tokio::test]
    async fn only_full_parcels_go_while_some_are_under_way() {
        let changed = Arc::new(Notify::new());
        let flight = Flight::new(Arc::clone(&changed));
        let mut places: Vec<Place> = std::iter::from_fn(|| flight.enter(Load::Part)).collect();
        assert_eq!(places.len(), EAGER);
        places.extend(std::iter::from_fn(|| flight.enter(Load::Full)));
        assert_eq!(places.len(), MOST);
        places.truncate(EAGER);
        changed.notified().await;
        assert!(flight.enter(Load::Part).is_none());
        places.truncate(EAGER - 1);
        assert!(flight.enter(Load::Part).is_some());
    }

    /// Goal: a small write waits for two large ones at most, however many came before it, and large ones get on too while
    /// small ones keep coming.
    #[test]
    fn large_ones_let_small_ones_pass_and_have_their_turn() {
        let flight = flight();
        let mut packing = Packing::default();
        for _ in 0..5 {
            packing.push("large", 1, SMALL_BYTES + 1);
        }
        let mut under_way: Vec<_> = std::iter::from_fn(|| packing.take(&flight)).collect();
        assert_eq!(under_way.len(), LARGE);
        packing.push("small", 1, 1);
        let (passed, place) = packing.take(&flight).expect("it may pass");
        assert_eq!(passed, ["small"]);
        assert!(!packing.may_go(&flight), "the other large ones wait");
        drop(place);
        under_way.pop();
        for _ in 0..5 {
            packing.push("small", PARCEL_COMMANDS, 1);
        }
        assert_eq!(packing.take(&flight).map(|(parcel, _)| parcel), Some(vec!["large"]));
    }
}
