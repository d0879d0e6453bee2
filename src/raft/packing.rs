//! Transactions that wait to travel together, in the order in which they came, and how many such parcels are under way.
//!
//! ```text
//!  push --> waiting --(full, or few are under way)--> parcel
//! ```
//!
//! There is no timer: what waits goes at once while little is under way, so a lone write never waits. A crowd is packed:
//! what each log entry costs (a sync on every member, two messages to each) is shared by all that came while the one
//! before was under way. Only full parcels go beyond [`EAGER`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Commands after which a parcel is full. A larger transaction travels alone.
const PARCEL_COMMANDS: usize = 512;

/// Bytes of keys and values after which a parcel is full. A larger transaction travels alone.
const PARCEL_BYTES: usize = 256 << 10;

/// Parcels that are under way before one that is not full waits.
const EAGER: usize = 2;

/// Parcels that are under way at most.
const MOST: usize = 8;

/// What waits, oldest first.
pub(super) struct Packing<T> {
    /// Tickets ascend.
    waiting: VecDeque<Waiting<T>>,
    next_ticket: u64,
    /// Sums over what waits.
    commands: usize,
    bytes: usize,
}

struct Waiting<T> {
    ticket: u64,
    commands: usize,
    bytes: usize,
    item: T,
}

impl<T> Default for Packing<T> {
    fn default() -> Packing<T> {
        Packing { waiting: VecDeque::new(), next_ticket: 0, commands: 0, bytes: 0 }
    }
}

impl<T> Packing<T> {
    /// Queues a transaction of so many commands, and bytes of keys and values. The ticket withdraws it.
    pub(super) fn push(&mut self, item: T, commands: usize, bytes: usize) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.commands += commands;
        self.bytes += bytes;
        self.waiting.push_back(Waiting { ticket, commands, bytes, item });
        ticket
    }

    /// Takes a transaction back. `false`: it has gone already.
    pub(super) fn withdraw(&mut self, ticket: u64) -> bool {
        let found = self.waiting.binary_search_by_key(&ticket, |waiting| waiting.ticket);
        let Some(waiting) = found.ok().and_then(|at| self.waiting.remove(at)) else { return false };
        self.commands -= waiting.commands;
        self.bytes -= waiting.bytes;
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether what waits fills a parcel.
    pub(super) fn is_full(&self) -> bool {
        self.commands >= PARCEL_COMMANDS || self.bytes >= PARCEL_BYTES
    }

    /// The next parcel: as many as fit.
    pub(super) fn take(&mut self) -> Vec<T> {
        let (mut commands, mut bytes) = (0, 0);
        let mut parcel = Vec::with_capacity(self.waiting.len().min(PARCEL_COMMANDS));
        while let Some(waiting) = self.waiting.front() {
            commands += waiting.commands;
            bytes += waiting.bytes;
            if !parcel.is_empty() && (commands > PARCEL_COMMANDS || bytes > PARCEL_BYTES) {
                break;
            }
            let Some(waiting) = self.waiting.pop_front() else { break };
            self.commands -= waiting.commands;
            self.bytes -= waiting.bytes;
            parcel.push(waiting.item);
        }
        parcel
    }

    /// Everything, whatever its size.
    pub(super) fn take_all(&mut self) -> Vec<T> {
        (self.commands, self.bytes) = (0, 0);
        self.waiting.drain(..).map(|waiting| waiting.item).collect()
    }
}

/// How many parcels are under way. One task lets them go.
pub(super) struct Flight {
    under_way: Arc<AtomicUsize>,
    /// Told when one has come back.
    changed: Arc<Notify>,
}

impl Flight {
    pub(super) fn new(changed: Arc<Notify>) -> Flight {
        Flight { under_way: Arc::default(), changed }
    }

    /// Whether a parcel may go. If not, there is no need to wake who lets them go: that happens when one has come back.
    pub(super) fn is_open(&self, is_full: bool) -> bool {
        let most = if is_full { MOST } else { EAGER };
        self.under_way.load(Ordering::Acquire) < most
    }

    /// Lets a parcel go, if it may.
    pub(super) fn enter(&self, is_full: bool) -> Option<Place> {
        if !self.is_open(is_full) {
            return None;
        }
        self.under_way.fetch_add(1, Ordering::AcqRel);
        Some(Place { under_way: Arc::clone(&self.under_way), changed: Arc::clone(&self.changed) })
    }
}

/// The place of one parcel under way. Dropped when it has come back.
pub(super) struct Place {
    under_way: Arc<AtomicUsize>,
    changed: Arc<Notify>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.under_way.fetch_sub(1, Ordering::AcqRel);
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_takes_as_much_as_fits_and_a_larger_transaction_travels_alone() {
        let mut packing = Packing::default();
        for (item, (commands, bytes)) in
            [(1, 10), (400, 10), (200, 10), (9_000, 10), (1, PARCEL_BYTES), (1, 1)].into_iter().enumerate()
        {
            packing.push(item, commands, bytes);
        }
        let parcels: Vec<Vec<usize>> = std::iter::from_fn(|| {
            let parcel = packing.take();
            (!parcel.is_empty()).then_some(parcel)
        })
        .collect();
        assert_eq!(parcels, [vec![0, 1], vec![2], vec![3], vec![4], vec![5]]);
        assert!(packing.is_empty() && !packing.is_full());
    }

    #[test]
    fn what_has_gone_cannot_be_withdrawn() {
        let mut packing = Packing::default();
        let tickets: Vec<u64> = (0..3).map(|item| packing.push(item, 200, 0)).collect();
        assert!(packing.is_full());
        assert!(packing.withdraw(tickets[1]) && !packing.withdraw(tickets[1]));
        assert!(!packing.is_full());
        assert_eq!(packing.take(), [0, 2]);
        assert!(!packing.withdraw(tickets[0]));
        packing.push(3, 600, 0);
        assert_eq!((packing.take_all(), packing.is_full()), (vec![3], false));
    }

    /// Goal: a few go at once, full ones beyond that, and each that comes back lets one more go.
    #[tokio::test]
    async fn only_full_parcels_go_while_some_are_under_way() {
        let changed = Arc::new(Notify::new());
        let flight = Flight::new(Arc::clone(&changed));
        let mut places: Vec<Place> = std::iter::from_fn(|| flight.enter(false)).collect();
        assert_eq!(places.len(), EAGER);
        places.extend(std::iter::from_fn(|| flight.enter(true)));
        assert_eq!(places.len(), MOST);
        places.truncate(EAGER);
        changed.notified().await;
        assert!(flight.enter(false).is_none());
        places.truncate(EAGER - 1);
        assert!(flight.enter(false).is_some());
    }
}
