//! Which slot holds which record, and which slot is the lowest free one.
//!
//! Free slots are found through a bitmap of bitmaps: a bit of level `n + 1` says that a word of level `n` is
//! not zero, so that the lowest is found in one step a level. Slots from `end` on have never been used and
//! are in no map.

use super::cells::Address;
use super::paged::Paged;
use crate::model::Slot;

const LEVELS: usize = 5;

/// The table of slots.
pub(super) struct Slots {
    addresses: Paged<Address, 4_096>,
    free: [Paged<u64, 512>; LEVELS],
}

impl Slots {
    pub(super) fn new() -> Slots {
        Slots { addresses: Paged::new(), free: [const { Paged::new() }; LEVELS] }
    }

    /// One past the highest slot ever used.
    pub(super) fn end(&self) -> u32 {
        self.addresses.len() as u32
    }

    /// The record in `slot`.
    pub(super) fn get(&self, slot: Slot) -> Option<Address> {
        if slot.0 >= self.end() {
            return None;
        }
        self.addresses.get(slot.0 as usize).some()
    }

    /// Takes the lowest free slot. Slots are names in touches and cursors of scans on every node, so which
    /// one a new key gets must not depend on the order in which others were freed.
    pub(super) fn take_lowest(&mut self) -> Slot {
        let slot = self.lowest_free();
        if slot.0 == self.end() {
            self.addresses.push(Address::NONE);
        } else {
            self.mark_taken(slot);
        }
        slot
    }

    /// Records where the record of a taken slot lies.
    pub(super) fn set(&mut self, slot: Slot, address: Address) {
        *self.addresses.get_mut(slot.0 as usize) = address;
    }

    /// Frees a slot.
    pub(super) fn release(&mut self, slot: Slot) {
        self.set(slot, Address::NONE);
        self.mark_free(slot);
    }

    /// Takes a slot by number, for loading. `false` if it is taken.
    pub(super) fn take(&mut self, slot: Slot, address: Address) -> bool {
        if self.get(slot).is_some() {
            return false;
        }
        if slot.0 < self.end() {
            self.mark_taken(slot);
        }
        for skipped in self.end()..slot.0 {
            self.addresses.push(Address::NONE);
            self.mark_free(Slot(skipped));
        }
        self.addresses.grow_to(slot.0 as usize + 1);
        self.set(slot, address);
        true
    }

    fn lowest_free(&self) -> Slot {
        let top = &self.free[LEVELS - 1];
        if top.len() == 0 || *top.get(0) == 0 {
            return Slot(self.end());
        }
        let below = self.free.iter().rev();
        Slot(below.fold(0, |word, level| word << 6 | level.get(word as usize).trailing_zeros()))
    }

    fn mark_free(&mut self, slot: Slot) {
        let mut bit = slot.0 as usize;
        for level in &mut self.free {
            level.grow_to(bit / 64 + 1);
            let word = level.get_mut(bit / 64);
            let was = std::mem::replace(word, *word | 1 << (bit % 64));
            if was != 0 {
                break;
            }
            bit /= 64;
        }
    }

    fn mark_taken(&mut self, slot: Slot) {
        let mut bit = slot.0 as usize;
        for level in &mut self.free {
            let word = level.get_mut(bit / 64);
            *word &= !(1 << (bit % 64));
            if *word != 0 {
                break;
            }
            bit /= 64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_takes_the_lowest_free_slot() {
        let mut slots = Slots::new();
        let record = Address::from_raw(8);
        for expected in 0..10_000 {
            let slot = slots.take_lowest();
            slots.set(slot, record);
            assert_eq!(slot, Slot(expected));
        }
        for slot in [9_999, 4_097, 64, 63, 5_000] {
            slots.release(Slot(slot));
        }
        let taken: Vec<u32> = (0..6).map(|_| slots.take_lowest().0).collect();
        assert_eq!(taken, [63, 64, 4_097, 5_000, 9_999, 10_000]);
    }

    #[test]
    fn loading_leaves_the_gaps_free() {
        let mut slots = Slots::new();
        assert!(slots.take(Slot(70), Address::from_raw(8)));
        assert!(slots.take(Slot(2), Address::from_raw(16)));
        assert!(!slots.take(Slot(70), Address::from_raw(24)));
        let taken: Vec<u32> = (0..4).map(|_| slots.take_lowest().0).collect();
        assert_eq!(taken, [0, 1, 3, 4]);
    }
}
