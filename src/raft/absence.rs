//! Who wants to stop, and who was let go.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Where this node stands with its wish to stop.
#[derive(Debug, Default)]
pub(super) struct Stopping {
    /// It has asked.
    pub(super) asks: AtomicBool,
    /// It was told that it may.
    pub(super) may: AtomicBool,
}

/// Whom this leader has let go.
#[derive(Default)]
pub(super) struct Absent(pub(super) Mutex<BTreeMap<u64, LetGo>>);

/// A member that was told that it may stop.
pub(super) struct LetGo {
    /// The process that it was.
    pub(super) boot: u128,
    pub(super) at: Instant,
}
