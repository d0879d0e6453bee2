//! What a client wants to know.

use std::fmt;

use bytes::Bytes;

use super::{Key, Slot, Timestamp, Version};

/// A question to the store. Answering it never changes state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// The value of a key. `Answer::Value`.
    Get(Key),
    /// What is known of a key but its value. `Answer::Item`.
    Describe(Key),
    /// A page of keys in slot order. `Answer::Page`.
    Scan {
        /// Where to go on: 0, or the cursor of the page before.
        cursor: u64,
        /// Most items in the page, at most [`MAX_SCAN_ITEMS`](super::limits::MAX_SCAN_ITEMS).
        limit: usize,
        /// Only keys that begin with this; empty for all.
        prefix: Bytes,
        /// Whether the items have their values.
        values: bool,
    },
    /// Several questions to one state. `Answer::Many`.
    Many(Vec<Query>),
}

/// The answer to a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The value, if the key is present.
    Value(Option<Found>),
    /// The key's description, if it is present.
    Item(Option<Item>),
    /// A page of a scan.
    Page(Page),
    /// One answer for each question, in order.
    Many(Vec<Answer>),
}

/// A value that was found. `Debug` prints its length only: values never reach logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Found {
    /// The value: a copy if small, a share of the stored buffer if large.
    pub value: Bytes,
    /// Its version.
    pub version: Version,
    /// Its deadline, if any.
    pub deadline: Option<Timestamp>,
    /// Where it is, for a touch.
    pub slot: Slot,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { value, version, deadline, slot } = self;
        write!(f, "Found({} bytes, {version:?}, {deadline:?}, {slot:?})", value.len())
    }
}

/// A key and what is known of it. `Debug` prints lengths only: keys and values never reach logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub key: Key,
    /// Length of the value in bytes.
    pub size: u64,
    /// Its version.
    pub version: Version,
    /// Its deadline, if any.
    pub deadline: Option<Timestamp>,
    /// The value, if it was asked for: as in [`Found::value`].
    pub value: Option<Bytes>,
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Item { key, size, version, deadline, value: _ } = self;
        write!(f, "Item({key:?}, {size} bytes, {version:?}, {deadline:?})")
    }
}

/// A page of a scan. It may be empty though the scan is not at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The items found.
    pub items: Vec<Item>,
    /// Where to go on; `None` at the end.
    pub cursor: Option<u64>,
}
