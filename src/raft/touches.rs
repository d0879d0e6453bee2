//! The sample of keys read lately, on its way to the LRU order.
//!
//! A read moves no key by itself. It leaves a note here: a reservoir of at most [`SAMPLE`] notes a second, in
//! which each read of that second has the same chance (Vitter's algorithm R), so that hot keys are almost
//! always among them. At the end of the second the notes are gathered, and the leader takes them along with its
//! next entries.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::model::Touch;

/// Most notes kept between two collections, and so per second.
pub(super) const SAMPLE: usize = 4_096;

/// A reservoir sample of the reads of this second, and that of the last one.
#[derive(Default)]
pub(super) struct Touches {
    /// Reads in this second.
    seen: AtomicU64,
    reservoir: Mutex<Vec<Touch>>,
    /// Notes of the last second that no entry has taken along yet.
    gathered: Mutex<Vec<Touch>>,
    /// What other members have gathered since then. It joins `gathered` when this node's own second ends, so that no
    /// member's notes are given up for want of an entry in the moment between.
    added: Mutex<Vec<Touch>>,
}

impl Touches {
    /// Notes a read. Costs an atomic add; takes the lock only if the note enters the sample and nobody holds it.
    pub(super) fn note(&self, touch: Touch) {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        let place = if seen < SAMPLE as u64 { None } else { Some(random_below(seen + 1)) };
        if place.is_some_and(|place| place >= SAMPLE as u64) {
            return;
        }
        // A sample may miss a note; a reader must not wait for one.
        let Some(mut reservoir) = self.reservoir.try_lock() else { return };
        match place {
            Some(place) if reservoir.len() == SAMPLE => reservoir[place as usize] = touch,
            _ if reservoir.len() < SAMPLE => reservoir.push(touch),
            _ => {}
        }
    }

    /// Ends the second: its notes, if `wanted`, are what entries take along from now on. Returns whether there are any.
    pub(super) fn gather(&self, wanted: bool) -> bool {
        let mut notes = std::mem::take(&mut *self.reservoir.lock());
        self.seen.store(0, Ordering::Relaxed);
        notes.append(&mut self.added.lock());
        let mut gathered = self.gathered.lock();
        *gathered = if wanted { notes } else { Vec::new() };
        !gathered.is_empty()
    }

    /// Adds notes that another member has gathered: of this second too. Past twice the sample's size they are dropped.
    pub(super) fn add(&self, notes: impl Iterator<Item = Touch>) {
        let mut added = self.added.lock();
        let room = (2 * SAMPLE).saturating_sub(added.len());
        added.extend(notes.take(room));
    }

    /// Takes up to `most` gathered notes. The rest stays.
    pub(super) fn take(&self, most: usize) -> Vec<Touch> {
        let mut gathered = self.gathered.lock();
        let rest = gathered.len().saturating_sub(most);
        gathered.split_off(rest)
    }
}

/// A number below `bound`, from a generator of this thread (xorshift64*, Vigna 2016). It decides which reads are
/// sampled and nothing that replicas must agree on.
fn random_below(bound: u64) -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(getrandom::u64().unwrap_or(0) | 1);
    }
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        state.set(x);
        let random = x.wrapping_mul(0x2545_F491_4F6C_DD1D);
        ((u128::from(random) * u128::from(bound)) >> 64) as u64
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Slot, Version};

    fn touch(slot: u32) -> Touch {
        Touch { slot: Slot(slot), version: Version(1) }
    }

    #[test]
    fn a_hot_key_is_in_the_sample_whenever_in_the_second_it_was_read() {
        let touches = Touches::default();
        for n in 0..200_000 {
            touches.note(if n % 100 == 99 { touch(0) } else { touch(n) });
        }
        assert!(touches.take(usize::MAX).is_empty(), "the second is not over");
        assert!(touches.gather(true));
        let sample = touches.take(usize::MAX);
        assert_eq!(sample.len(), SAMPLE);
        assert!(sample.contains(&touch(0)), "1 % of the reads and not one of 4,096 notes");
        let late = sample.iter().filter(|t| t.slot.0 >= 100_000).count();
        assert!(late > SAMPLE / 4, "late reads have the same chance: {late}");
    }

    #[test]
    fn what_others_have_gathered_goes_along_although_the_second_ends_before_an_entry_is_made() {
        let touches = Touches::default();
        touches.add((0..3).map(touch));
        assert!(touches.gather(true), "it is a reason for an entry by itself");
        assert_eq!(touches.take(100).len(), 3);
        assert!(!touches.gather(true), "it is taken along once");
        touches.add((0..3).map(touch));
        assert!(!touches.gather(false), "they are not wanted");
        assert!(!touches.gather(true), "and not kept");
    }

    #[test]
    fn what_is_taken_is_gone_and_the_rest_stays_until_the_next_second() {
        let touches = Touches::default();
        (0..10).for_each(|n| touches.note(touch(n)));
        assert!(touches.gather(true));
        assert_eq!(touches.take(4).len(), 4);
        assert_eq!(touches.take(100).len(), 6);
        (0..10).for_each(|n| touches.note(touch(n)));
        assert!(!touches.gather(false), "they are not wanted");
        assert!(touches.take(100).is_empty());
    }
}
