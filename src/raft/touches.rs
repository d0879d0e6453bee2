//! The sample of keys read lately, on its way to the LRU order.
//!
//! A read moves no key by itself. It leaves a note here: a reservoir of at most [`SAMPLE`] notes a second, in
//! which each read of that second has the same chance (Vitter's algorithm R), so that hot keys are almost
//! always among them. The leader takes the notes along with its next entry.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::model::Touch;

/// Most notes kept between two collections, and so per second.
pub(super) const SAMPLE: usize = 4_096;

/// A reservoir sample of the reads since it was last emptied.
#[derive(Default)]
pub(super) struct Touches {
    /// Reads since the reservoir was last started anew.
    seen: AtomicU64,
    notes: Mutex<Vec<Touch>>,
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
        let Some(mut notes) = self.notes.try_lock() else { return };
        match place {
            Some(place) if notes.len() == SAMPLE => notes[place as usize] = touch,
            _ if notes.len() < SAMPLE => notes.push(touch),
            _ => {}
        }
    }

    /// Whether there is anything to take.
    pub(super) fn is_empty(&self) -> bool {
        self.seen.load(Ordering::Relaxed) == 0
    }

    /// Drops all notes.
    pub(super) fn forget(&self) {
        drop(self.take(usize::MAX));
    }

    /// Takes up to `most` notes. The rest stays.
    pub(super) fn take(&self, most: usize) -> Vec<Touch> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut notes = self.notes.lock();
        let rest = notes.len().saturating_sub(most);
        let taken = notes.split_off(rest);
        self.seen.store(notes.len() as u64, Ordering::Relaxed);
        taken
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
        let sample = touches.take(usize::MAX);
        assert_eq!(sample.len(), SAMPLE);
        assert!(sample.contains(&touch(0)), "1 % of the reads and not one of 4,096 notes");
        let late = sample.iter().filter(|t| t.slot.0 >= 100_000).count();
        assert!(late > SAMPLE / 4, "late reads have the same chance: {late}");
    }

    #[test]
    fn what_is_taken_is_gone_and_the_rest_stays() {
        let touches = Touches::default();
        (0..10).for_each(|n| touches.note(touch(n)));
        assert_eq!(touches.take(4).len(), 4);
        assert_eq!(touches.take(100).len(), 6);
        assert!(touches.is_empty());
    }
}
