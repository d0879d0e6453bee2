//! Plain values that every floor above speaks in: keys, times, commands, outcomes.
//!
//! Nothing here does I/O, reads a clock or keeps state. Values are checked once, where they are made
//! (`Key::new`, `Ttl::from_millis`), and trusted from then on.
//!
//! ```text
//! front-end --Transaction--> raft --LogEntry (bytes)--> store --Outcome--> front-end
//!           --Query-------------------------------------------> Answer
//! ```

pub mod codec;
mod command;
mod entry;
mod ids;
mod key;
pub mod limits;
mod outcome;
mod query;
mod settings;
mod time;

pub use command::{Check, Command, Condition, Expiry, Mode, Principal, Transaction, TransactionTooLarge};
pub use entry::{LogEntry, Touch};
pub use ids::{Level, NodeId, Recency, Slot, Version};
pub use key::{Key, KeyError};
pub use outcome::{FailedCheck, Outcome, Reason};
pub use query::{Answer, Found, Item, Page, Query};
pub use settings::{Eviction, Settings, SettingsChange, UnknownEviction};
pub use time::{Timestamp, Ttl, TtlError};
