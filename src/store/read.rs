//! Reads: they take `&self` and change nothing.

use bytes::Bytes;

use super::record::Record;
use super::state::Store;
use super::warm::WINDOW;
use crate::model::limits::{MAX_SCAN_BYTES, MAX_SCAN_ITEMS, MAX_SCAN_SLOTS};
use crate::model::{Answer, Found, Item, Key, Page, Query, Slot, Timestamp, Version};

impl Store {
    /// Answers a query. A key whose deadline is at or before `now` is absent; callers pass [`Store::now`], or
    /// their estimate of cluster time where a read may be stale. Get and describe are O(1), a scan visits at
    /// most [`MAX_SCAN_SLOTS`] slots.
    pub fn read(&self, now: Timestamp, query: &Query) -> Answer {
        match query {
            Query::Get(key) => Answer::Value(self.lookup(now, key).map(|record| found(&record))),
            Query::Describe(key) => Answer::Item(self.lookup(now, key).map(|record| item(&record, false))),
            Query::Scan { cursor, limit, prefix, values } => {
                Answer::Page(self.scan(now, *cursor, *limit, prefix, *values))
            }
            Query::Many(queries) => {
                let mut answers = Vec::new();
                self.read_all(now, queries, &mut answers);
                Answer::Many(answers)
            }
        }
    }

    /// Answers several queries, as [`Store::read`] does for one, and faster than one by one.
    pub fn read_all(&self, now: Timestamp, queries: &[Query], answers: &mut Vec<Answer>) {
        answers.reserve(queries.len());
        for window in queries.chunks(WINDOW) {
            if window.len() > 1 {
                self.keyspace.warm_for_read(window.iter().filter_map(|query| match query {
                    Query::Get(key) | Query::Describe(key) => Some(key.as_bytes()),
                    Query::Scan { .. } | Query::Many(_) => None,
                }));
            }
            answers.extend(window.iter().map(|query| self.read(now, query)));
        }
    }

    fn lookup(&self, now: Timestamp, key: &Key) -> Option<Record<'_>> {
        let key = key.as_bytes();
        let address = self.keyspace.find(self.keyspace.index.hash(key), key)?;
        Some(self.keyspace.records.at(address)).filter(|record| !record.is_expired(now))
    }

    /// A cursor is the next slot. An entry keeps its slot for life, so one that is present during the whole
    /// scan comes out exactly once, whatever is written meanwhile and whichever node answers the pages.
    fn scan(&self, now: Timestamp, cursor: u64, limit: usize, prefix: &[u8], values: bool) -> Page {
        let slots = &self.keyspace.slots;
        let end = slots.end();
        let mut at = u32::try_from(cursor).unwrap_or(u32::MAX).min(end);
        let stop = at.saturating_add(MAX_SCAN_SLOTS as u32).min(end);
        let limit = limit.clamp(1, MAX_SCAN_ITEMS);
        let (mut items, mut bytes) = (Vec::new(), 0);
        while at < stop && items.len() < limit && bytes < MAX_SCAN_BYTES {
            let record = slots.get(Slot(at)).map(|address| self.keyspace.records.at(address));
            let wanted = record.filter(|record| record.key().starts_with(prefix) && !record.is_expired(now));
            if let Some(record) = wanted {
                bytes += record.key().len() + if values { record.value().len() } else { 0 };
                items.push(item(&record, values));
            }
            at += 1;
        }
        Page { items, cursor: (at < end).then_some(u64::from(at)) }
    }
}

/// A small value is copied, so that no reader pins a page; a large one is shared, so that no reader copies
/// megabytes.
fn value(record: &Record<'_>) -> Bytes {
    match record.shared_value() {
        Some(shared) => shared.clone(),
        None => Bytes::copy_from_slice(record.value()),
    }
}

fn found(record: &Record<'_>) -> Found {
    let value = value(record);
    Found { value, version: Version(record.version()), deadline: record.deadline(), slot: record.slot() }
}

fn item(record: &Record<'_>, with_value: bool) -> Item {
    Item {
        key: Key::new(Bytes::copy_from_slice(record.key())).expect("stored keys were checked"),
        size: record.value().len() as u64,
        version: Version(record.version()),
        deadline: record.deadline(),
        value: with_value.then(|| value(record)),
    }
}
