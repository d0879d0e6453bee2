//! Looking ahead: brings what the next commands need into the processor's caches, many misses at a time.
//!
//! A lookup is a chain of cache misses (bucket, record, neighbours in the list), each waiting for the one before. A
//! window of keys is taken through the chain in steps, and within a step the misses of all keys overlap. Nothing
//! depends on the result; a wrong guess costs a miss.

use std::hint::black_box;

use super::cells::Address;
use super::keyspace::Keyspace;
use super::state::Store;
use crate::model::{Answer, Command, Query, Timestamp, Transaction};

/// Keys that are looked ahead at once: about as many misses as a core has in flight.
pub(super) const WINDOW: usize = 16;

impl Store {
    /// Looks ahead at the transactions that come next, if they are single commands; longer ones do so for themselves.
    /// Returns how many transactions may be applied before it is worth while to call again, at least 1. Changes
    /// nothing.
    pub fn warm(&self, upcoming: &[Transaction]) -> usize {
        let singles =
            upcoming.iter().take(WINDOW).map_while(|transaction| match transaction.commands.as_slice() {
                [command] => command.key(),
                _ => None,
            });
        let seen = self.keyspace.warm_for_write(singles.map(|key| key.as_bytes()));
        seen.max(1)
    }

    /// Answers several queries, as [`Store::read`] does for one, and faster than one by one.
    pub fn read_all(&self, now: Timestamp, queries: &[Query], answers: &mut Vec<Answer>) {
        answers.reserve(queries.len());
        for window in queries.chunks(WINDOW) {
            if window.len() > 1 {
                self.keyspace.warm_for_read(window.iter().filter_map(|query| match query {
                    Query::Get(key) | Query::Describe(key) => Some(key.as_bytes()),
                    Query::Scan { .. } => None,
                }));
            }
            answers.extend(window.iter().map(|query| self.read(now, query)));
        }
    }

    /// Looks ahead at the commands that come next in a transaction.
    pub(super) fn warm_commands(&self, upcoming: &[Command]) {
        let keys = upcoming.iter().take(WINDOW).filter_map(Command::key);
        self.keyspace.warm_for_write(keys.map(|key| key.as_bytes()));
    }
}

impl Keyspace {
    fn warm_for_write<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> usize {
        let (records, count) = self.warm_records(keys);
        let (mut links, mut places) = ([Address::NONE; 2 * WINDOW], [None; WINDOW]);
        for ((links, place), address) in links.chunks_exact_mut(2).zip(&mut places).zip(&records[..count]) {
            if let Some(address) = address.some() {
                let record = self.records.at(address);
                links.copy_from_slice(&[record.previous(), record.next()]);
                black_box(record.last_byte());
                if record.has_deadline() {
                    *place = self.deadlines.glance(record.slot());
                }
            }
        }
        for address in links.into_iter().filter_map(Address::some) {
            black_box(self.records.at(address).slot());
        }
        for place in places.into_iter().flatten() {
            black_box(self.deadlines.glance_at(place));
        }
        count
    }

    fn warm_for_read<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) {
        let (records, count) = self.warm_records(keys);
        for address in records[..count].iter().copied().filter_map(Address::some) {
            black_box(self.records.at(address).last_byte());
        }
    }

    /// Where the records of the keys probably are, and how many keys there were.
    fn warm_records<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> ([Address; WINDOW], usize) {
        let (mut hashes, mut addresses, mut count) = ([0; WINDOW], [Address::NONE; WINDOW], 0);
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = self.index.hash(key);
            count += 1;
        }
        for (address, &hash) in addresses.iter_mut().zip(&hashes[..count]) {
            *address = self.index.glance(hash);
        }
        (addresses, count)
    }
}
