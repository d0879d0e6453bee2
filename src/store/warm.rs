//! Looking ahead: brings what the next commands need into the processor's caches, many misses at a time.
//!
//! A lookup is a chain of cache misses (bucket, record, neighbours in the list), each waiting for the one
//! before. A window of keys is taken through the chain in steps, and within a step the misses of all keys
//! overlap. Nothing depends on the result; a wrong guess costs a miss.

use std::hint::black_box;

use super::cells::Address;
use super::keyspace::Keyspace;
use crate::model::Touch;

/// Keys that are looked ahead at once: about as many misses as a core has in flight.
pub(super) const WINDOW: usize = 16;

/// Bytes of a cache line.
const LINE: usize = 64;

impl Keyspace {
    /// Looks ahead at entries that are to be touched, at most [`WINDOW`].
    pub(super) fn warm_for_touch(&self, touches: &[Touch]) {
        let mut addresses = [Address::NONE; WINDOW];
        for (address, touch) in addresses.iter_mut().zip(touches) {
            *address = self.slots.get(touch.slot).unwrap_or(Address::NONE);
        }
        self.warm_neighbours(&addresses);
    }

    /// Looks ahead at records that are to be linked, at most [`WINDOW`].
    pub(super) fn warm_for_link(&self, records: &[(u64, Address)]) {
        let seen = records.iter().fold(0, |seen, &(_, address)| seen ^ self.records.glance(address, 0));
        black_box(seen);
    }

    /// Looks ahead at keys that are to be written, at most [`WINDOW`]. Returns how many there were.
    pub(super) fn warm_for_write<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> usize {
        let (addresses, count) = self.warm_records(keys);
        self.warm_neighbours(&addresses);
        count
    }

    /// Looks ahead at keys that are to be read, at most [`WINDOW`].
    pub(super) fn warm_for_read<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) {
        let (addresses, _) = self.warm_records(keys);
        self.warm_cells(&addresses);
    }

    /// Records, their neighbours in the list, and their places in the order of deadlines.
    fn warm_neighbours(&self, addresses: &[Address; WINDOW]) {
        self.warm_cells(addresses);
        let (mut links, mut places) = ([Address::NONE; 2 * WINDOW], [None; WINDOW]);
        for ((links, place), address) in links.chunks_exact_mut(2).zip(&mut places).zip(addresses) {
            if let Some(address) = address.some() {
                let record = self.records.at(address);
                links.copy_from_slice(&[record.previous(), record.next()]);
                if record.has_deadline() {
                    *place = self.deadlines.glance(record.slot());
                }
            }
        }
        let mut seen = 0;
        for address in links.into_iter().filter_map(Address::some) {
            seen ^= self.records.glance(address, 0);
        }
        black_box(seen);
        for place in places.into_iter().flatten() {
            black_box(self.deadlines.glance_at(place));
        }
    }

    /// The cache lines of most records: nothing is computed from them, so that all are fetched at once.
    fn warm_cells(&self, addresses: &[Address; WINDOW]) {
        let mut seen = 0;
        for address in addresses.iter().copied().filter_map(Address::some) {
            seen ^= self.records.glance(address, 0)
                ^ self.records.glance(address, LINE)
                ^ self.records.glance(address, 2 * LINE - 1);
        }
        black_box(seen);
    }

    /// Where the records of the keys probably are, and how many keys there were, at most [`WINDOW`].
    fn warm_records<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> ([Address; WINDOW], usize) {
        let (mut hashes, mut addresses, mut count) = ([0; WINDOW], [Address::NONE; WINDOW], 0);
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = self.index.hash(key);
            count += 1;
        }
        let buckets = hashes[..count].iter().fold(0, |seen, &hash| seen ^ self.index.glance_at(hash));
        black_box(buckets);
        for (address, &hash) in addresses.iter_mut().zip(&hashes[..count]) {
            *address = self.index.glance(hash);
        }
        (addresses, count)
    }
}
