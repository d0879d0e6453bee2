//! The invariants of what clients were told.
//!
//! A version is the store's revision at a change, so versions put all writes in one order, and most of linearizability is
//! arithmetic: whatever was seen before an operation began must not be above what that operation finds or makes.
//!
//! * **real-time order**: a write gets a version above every one that anybody had seen when it began.
//! * **reads see what is acknowledged**: a read finds at least the version that anybody had seen of its key when it began. So no
//!   acknowledged write is lost: at the end every key is read on every host.
//! * **one version, one value**: a version never stands for two values, a value never for two versions, and no value is found that was not written.
//! * **not applied is not applied**: the value of a write that was refused is never found.
//! * **swaps are atomic**: nothing was written between the version that a swap asked for and its own.
//! * **counted once**: a counter is never above the additions that began, nor below those that were acknowledged.
//! * **cluster time**: never goes back; and it follows real time through every change of leader, unless the whole cluster was down.
//! * **times to live**: a key that was lent is there until its time, and not after it; once gone it stays gone.

use std::collections::BTreeMap;

use tokio::time::Duration;

use crate::history::{Ask, History, Op, Told};

/// How far expiry and cluster time may be off: delays of the network, and slewing at 500 ppm.
const EARLY: Duration = Duration::from_millis(60);
const LATE: Duration = Duration::from_millis(2_000);

/// Checks everything; what is wrong is noted in the history.
pub(crate) fn check(history: &History) {
    let mut ops = history.ops();
    ops.sort_by_key(|op| op.span.0);
    order(history, &ops);
    values(history, &ops);
    swaps(history, &ops);
    counters(history, &ops);
    loans(history, &ops);
    if !history.is_cold() {
        course(history, &ops);
    }
}

fn version(op: &Op) -> Option<u64> {
    match op.told {
        Told::Written { version, .. } | Told::Unmet { version } => Some(version),
        Told::Found { value, .. } => Some(value.map_or(0, |(_, version)| version)),
        Told::Not | Told::Unknown => None,
    }
}

fn is_loan(op: &Op) -> bool {
    op.key.starts_with('t')
}

/// What anybody had seen by some moment.
#[derive(Default)]
struct Seen {
    version: u64,
    of_key: BTreeMap<String, u64>,
    now_ms: u64,
}

fn order(history: &History, ops: &[Op]) {
    let mut ends: Vec<&Op> = ops.iter().collect();
    ends.sort_by_key(|op| op.span.1);
    let mut ends = ends.into_iter().peekable();
    let mut seen = Seen::default();
    for op in ops {
        while let Some(ended) = ends.next_if(|ended| ended.span.1 < op.span.0) {
            seen.add(ended);
        }
        let Some(found) = version(op) else { continue };
        let of_key = seen.of_key.get(&op.key).copied().unwrap_or(0);
        match op.told {
            Told::Written { .. } if found <= seen.version => {
                let what = format!("{op:?} although version {} had been seen", seen.version);
                history.wrong("real-time order", what);
            }
            Told::Found { .. } | Told::Unmet { .. } if found < of_key && !is_loan(op) => {
                let what = format!("{op:?} although version {of_key} had been seen");
                history.wrong("reads see what is acknowledged", what);
            }
            _ => {}
        }
        if let Told::Found { now_ms, .. } = op.told
            && !is_loan(op)
            && now_ms < seen.now_ms
        {
            history.wrong(
                "cluster time never goes back",
                format!("{op:?} although {} had been seen", seen.now_ms),
            );
        }
    }
}

impl Seen {
    fn add(&mut self, op: &Op) {
        if let Some(version) = version(op) {
            self.version = self.version.max(version);
            let of_key = self.of_key.entry(op.key.clone()).or_default();
            *of_key = version.max(*of_key);
        }
        if let Told::Found { now_ms, .. } = op.told
            && !is_loan(op)
        {
            self.now_ms = self.now_ms.max(now_ms);
        }
    }
}

/// What an operation says that a version stands for.
fn said(op: &Op) -> Option<(u64, i64)> {
    match (&op.ask, &op.told) {
        (Ask::Set(value) | Ask::Swap(value, _) | Ask::Lend(value, _), Told::Written { version, .. }) => {
            Some((*version, *value as i64))
        }
        (Ask::Add, Told::Written { version, number: Some(number) }) => Some((*version, *number)),
        (_, Told::Found { value: Some((value, version)), .. }) => Some((*version, *value)),
        _ => None,
    }
}

fn values(history: &History, ops: &[Op]) {
    let mut stands: BTreeMap<u64, (&str, i64)> = BTreeMap::new();
    let mut versions: BTreeMap<(&str, i64), u64> = BTreeMap::new();
    let mut writers: BTreeMap<i64, &Op> = BTreeMap::new();
    for op in ops {
        if let Ask::Set(value) | Ask::Swap(value, _) | Ask::Lend(value, _) = op.ask {
            writers.insert(value as i64, op);
        }
        let Some((version, value)) = said(op) else { continue };
        let before = *stands.entry(version).or_insert((&op.key, value));
        if before != (op.key.as_str(), value) {
            history.wrong(
                "one version, one value",
                format!("{op:?} although the version stands for {before:?}"),
            );
        }
        let before = *versions.entry((&op.key, value)).or_insert(version);
        if before != version {
            history
                .wrong("one version, one value", format!("{op:?} although the value had version {before}"));
        }
    }
    let found = ops.iter().filter(|op| matches!(op.told, Told::Found { .. }) && !op.key.starts_with('c'));
    for (op, (_, value)) in found.filter_map(|op| said(op).map(|said| (op, said))) {
        match writers.get(&value) {
            Some(writer) if writer.key == op.key && writer.span.0 < op.span.1 => {
                if matches!(writer.told, Told::Not | Told::Unmet { .. }) {
                    history
                        .wrong("not applied is not applied", format!("{op:?} found what {writer:?} wrote"));
                }
            }
            writer => history.wrong("one version, one value", format!("{op:?} found what {writer:?} wrote")),
        }
    }
}

fn swaps(history: &History, ops: &[Op]) {
    let mut known: BTreeMap<&str, BTreeMap<u64, i64>> = BTreeMap::new();
    for op in ops {
        if let Some((version, value)) = said(op) {
            known.entry(&op.key).or_default().insert(version, value);
        }
    }
    for op in ops {
        if let (Ask::Swap(_, wanted), Told::Written { version, .. }) = (&op.ask, &op.told)
            && let Some((between, value)) = known[op.key.as_str()].range(wanted + 1..*version).next()
        {
            history.wrong("swaps are atomic", format!("{op:?} although version {between} had {value}"));
        }
    }
}

fn counters(history: &History, ops: &[Op]) {
    let adds: Vec<&Op> = ops.iter().filter(|op| op.ask == Ask::Add).collect();
    for op in ops.iter().filter(|op| op.key.starts_with('c')) {
        let number = match (&op.told, said(op)) {
            (_, Some((_, number))) => number,
            (Told::Found { .. }, None) => 0,
            _ => continue,
        };
        let of_key = || adds.iter().filter(|add| add.key == op.key);
        let own = i64::from(op.ask == Ask::Add);
        let done = of_key().filter(|add| matches!(add.told, Told::Written { .. }) && add.span.1 < op.span.0);
        let begun = of_key().filter(|add| add.told != Told::Not && add.span.0 < op.span.1);
        let (least, most) = (done.count() as i64 + own, begun.count() as i64);
        if number < least || number > most {
            history.wrong("counted once", format!("{op:?}: {least} to {most} were added"));
        }
    }
}

fn loans(history: &History, ops: &[Op]) {
    let mut gone: BTreeMap<&str, u64> = BTreeMap::new();
    let lent = ops.iter().filter(|op| matches!(op.told, Told::Written { .. }));
    let lent: BTreeMap<&str, (&Op, Duration)> = lent
        .filter_map(|op| match op.ask {
            Ask::Lend(_, ms) => Some((op.key.as_str(), (op, Duration::from_millis(ms)))),
            _ => None,
        })
        .collect();
    let mut looks: Vec<&Op> = ops.iter().filter(|op| is_loan(op)).collect();
    looks.sort_by_key(|op| op.span.1);
    for op in &looks {
        let Told::Found { value, .. } = op.told else { continue };
        let Some((loan, ttl)) = lent.get(op.key.as_str()).filter(|(loan, _)| loan.span.1 < op.span.0) else {
            continue;
        };
        match value {
            None => {
                gone.entry(&op.key).or_insert(op.span.1);
                if op.times.1 + EARLY < loan.times.0 + *ttl && !history.is_cold() {
                    history.wrong("times to live", format!("{op:?} too early for {loan:?}"));
                }
            }
            Some(_) => {
                if gone.get(op.key.as_str()).is_some_and(|gone| *gone < op.span.0) {
                    history.wrong("times to live", format!("{op:?} had been gone"));
                }
                if op.times.0 > loan.times.1 + *ttl + LATE && !history.is_cold() {
                    history.wrong("times to live", format!("{op:?} too late for {loan:?}"));
                }
            }
        }
    }
}

/// Cluster time follows real time: it is never ahead of where it was by more than slewing, nor behind where writes have put it.
fn course(history: &History, ops: &[Op]) {
    let mut ahead: Option<(i64, &Op)> = None;
    let mut behind: Option<(i64, &Op)> = None;
    for op in ops.iter().filter(|op| !is_loan(op)) {
        let Told::Found { now_ms, .. } = op.told else { continue };
        let above = |at: Duration| now_ms as i64 - at.as_millis() as i64;
        let writes = ops.iter().filter(|w| matches!(w.told, Told::Written { .. }) && w.span.1 < op.span.0);
        let Some(written) = writes.map(|w| w.times.0).max() else { continue };
        ahead = Some((above(op.times.1), op)).into_iter().chain(ahead).max_by_key(|(ms, _)| *ms);
        behind = Some((above(written), op)).into_iter().chain(behind).min_by_key(|(ms, _)| *ms);
    }
    if let (Some((most, ahead)), Some((least, behind))) = (ahead, behind)
        && most - least > LATE.as_millis() as i64
    {
        let what = format!("{} ms between {ahead:?} and {behind:?}", most - least);
        history.wrong("cluster time follows real time", what);
    }
}
