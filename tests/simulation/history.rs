//! What happened: every operation of every client with what it was told, what the rig did, and what was found wrong.
//!
//! Moments are numbered in the order in which they were seen; the simulation has one thread, so that the order is exact.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Write this value.
    Set(u64),
    /// Write this value if the version is that.
    Swap(u64, u64),
    /// Write this value, to live for so many milliseconds.
    Lend(u64, u64),
    /// Add one.
    Add,
    /// Read, from the leader's lease if so.
    Get { lease: bool },
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Written, with this version and, of [`Ask::Add`], this value.
    Written { version: u64, number: Option<i64> },
    /// The version is another one.
    Unmet { version: u64 },
    /// What is there: value and version; and cluster time.
    Found { value: Option<(i64, u64)>, now_ms: u64 },
    /// Certainly not applied.
    Not,
    /// Nobody knows.
    Unknown,
}

/// One operation.
#[derive(Clone)]
pub(crate) struct Op {
    pub(crate) client: usize,
    pub(crate) host: usize,
    pub(crate) key: String,
    pub(crate) ask: Ask,
    pub(crate) told: Told,
    /// Moments at which it began and ended.
    pub(crate) span: (u64, u64),
    /// Simulated times at which it began and ended, since the begin.
    pub(crate) times: (Duration, Duration),
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Op { client, host, key, ask, told, times, .. } = self;
        let (begin, end) = (times.0.as_secs_f64(), times.1.as_secs_f64());
        write!(
            f,
            "[client {client} asked host {host} at {begin:.3} s: {ask:?} of {key}; told at {end:.3} s: {told:?}]"
        )
    }
}

/// Something that must not be.
#[derive(Clone, Debug)]
pub(crate) struct Wrong {
    /// The name of the invariant.
    pub(crate) what: &'static str,
    pub(crate) seen: String,
    pub(crate) at: Duration,
}

/// The record of a simulation. Cheap to clone.
#[derive(Clone)]
pub(crate) struct History(Arc<Mutex<Record>>);

struct Record {
    begin: Instant,
    moment: u64,
    ops: Vec<Op>,
    notes: Vec<String>,
    wrongs: Vec<Wrong>,
    leaders: BTreeMap<u64, u64>,
    hashes: BTreeMap<u64, (String, usize)>,
    /// Cluster time may have been begun anew from wall clocks.
    cold: bool,
}

impl History {
    pub(crate) fn new(begin: Instant) -> History {
        History(Arc::new(Mutex::new(Record {
            begin,
            moment: 0,
            ops: Vec::new(),
            notes: Vec::new(),
            wrongs: Vec::new(),
            leaders: BTreeMap::new(),
            hashes: BTreeMap::new(),
            cold: false,
        })))
    }

    /// A moment that is later than all before.
    pub(crate) fn moment(&self) -> (u64, Duration) {
        let mut record = self.0.lock();
        record.moment += 1;
        (record.moment, record.begin.elapsed())
    }

    pub(crate) fn push(&self, op: Op) {
        self.0.lock().ops.push(op);
    }

    /// The rig did something.
    pub(crate) fn note(&self, what: String) {
        let mut record = self.0.lock();
        let at = record.begin.elapsed();
        record.notes.push(format!("{:>9.3} {what}", at.as_secs_f64()));
    }

    /// An invariant does not hold.
    pub(crate) fn wrong(&self, what: &'static str, seen: String) {
        let mut record = self.0.lock();
        let at = record.begin.elapsed();
        record.notes.push(format!("{:>9.3} WRONG {what}: {seen}", at.as_secs_f64()));
        record.wrongs.push(Wrong { what, seen, at });
    }

    /// `node` says that it leads in `term`.
    pub(crate) fn leads(&self, term: u64, node: u64) {
        let before = *self.0.lock().leaders.entry(term).or_insert(node);
        if before != node {
            self.wrong("one leader a term", format!("nodes {before} and {node} both lead in term {term}"));
        }
    }

    /// The state of `host` after entry `index` has this hash.
    pub(crate) fn hash(&self, index: u64, host: usize, hash: &str) {
        let (before, of) = self.0.lock().hashes.entry(index).or_insert((hash.to_owned(), host)).clone();
        if before != hash {
            let seen = format!("after entry {index} host {of} has {before} and host {host} has {hash}");
            self.wrong("state hashes equal", seen);
        }
    }

    pub(crate) fn set_cold(&self) {
        self.0.lock().cold = true;
    }

    pub(crate) fn is_cold(&self) -> bool {
        self.0.lock().cold
    }

    pub(crate) fn ops(&self) -> Vec<Op> {
        self.0.lock().ops.clone()
    }

    pub(crate) fn wrongs(&self) -> Vec<Wrong> {
        self.0.lock().wrongs.clone()
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        self.0.lock().notes.clone()
    }

    /// How many terms had a leader that was seen.
    pub(crate) fn terms(&self) -> usize {
        self.0.lock().leaders.len()
    }
}
