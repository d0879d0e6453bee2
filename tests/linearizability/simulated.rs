//! Histories of an invented store: every operation takes effect at one moment of its interval, unless a fault is planted.
//!
//! A planted fault is a violation for certain, not only likely. Every value is set once; additions are powers of 4, each
//! made once, far below the distance of numbers that are set. So whoever sees a value knows who set it and what was added
//! to it, and the faults strike only where the operations that matter returned before the next was invoked.

use std::collections::BTreeMap;

use super::history::{Answer, Condition, History, Operation, Outcome, Record};
use super::register::{Cell, Random, apply, unversioned};

/// Numbers that are set are multiples of this; all additions together are below it.
const DISTANCE: i64 = 1 << 32;

/// Additions to one key.
const ADDITIONS: u32 = 16;

/// What is invented.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) clients: usize,
    pub(crate) operations: usize,
    pub(crate) keys: u64,
    /// Whether answers have versions.
    pub(crate) versions: bool,
    /// Chance in a hundred of an unknown outcome, and of a refusal.
    pub(crate) trouble: u64,
}

/// What the store does wrong, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A read finds what was overwritten or removed before it was invoked.
    StaleRead,
    /// A write is acknowledged and has no effect.
    LostWrite,
    /// A write takes effect a second time, after a later one was acknowledged.
    LateRepeat,
    /// An addition takes effect twice, and is answered with the second sum.
    DoubleAddition,
    /// As before, but it is answered with the first.
    HiddenAddition,
    /// A removed key comes back.
    Resurrection,
    /// A write that is said not to be applied is.
    BrokenRefusal,
}

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It takes effect and its client hears of it.
    Answered,
    /// It takes effect, perhaps after its client has given up.
    Unheard,
    /// It never takes effect, and nobody knows.
    Dropped,
    /// It is refused.
    Refused,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    client: usize,
    invoked: u64,
    effect: u64,
    returned: u64,
    fate: Fate,
    /// The key of a read that is there to see a fault.
    probe: Option<u64>,
}

/// A change that took effect and was acknowledged before the next was invoked, if `returned` says so.
#[derive(Clone, Debug)]
struct Change {
    cell: Cell,
    operation: Operation,
    invoked: u64,
    /// Never, if nobody heard of it.
    returned: u64,
}

struct Store {
    cells: BTreeMap<u64, Cell>,
    changes: BTreeMap<u64, Vec<Change>>,
    additions: BTreeMap<u64, u32>,
    revision: u64,
    values: i64,
    random: Random,
}

/// Invents a history without faults.
pub(crate) fn correct(seed: u64, setup: Setup) -> History {
    run(seed, setup, None).0
}

/// Invents a history with one fault; `None` if there was no place for it.
pub(crate) fn faulty(seed: u64, setup: Setup, fault: Fault) -> Option<History> {
    let first = setup.operations / 4 + Random::new(seed).below(setup.operations as u64 / 4) as usize;
    (first..setup.operations).step_by(3).find_map(|from| {
        let (history, struck) = run(seed, setup, Some((fault, from)));
        struck.then_some(history)
    })
}

/// Runs the store. The fault strikes at the first place from that operation on. Returns whether it did, and was seen.
fn run(seed: u64, setup: Setup, fault: Option<(Fault, usize)>) -> (History, bool) {
    let mut random = Random::new(seed);
    let mut slots = schedule(setup, &mut random);
    let mut store = Store {
        cells: BTreeMap::new(),
        changes: BTreeMap::new(),
        additions: BTreeMap::new(),
        revision: 0,
        values: 0,
        random,
    };
    let mut history = History::default();
    let (mut wanted, mut expected, mut seen) = (fault, None, false);
    let mut n = 0;
    while n < slots.len() {
        let slot = slots[n];
        let key = slot.probe.unwrap_or_else(|| store.random.below(setup.keys));
        let operation = if slot.probe.is_some() { Operation::Get } else { store.invent(key, setup.versions) };
        let strikes = wanted.filter(|(_, from)| n >= *from && slot.probe.is_none());
        let struck = strikes.and_then(|(fault, _)| store.strike(fault, key, &operation, &slot));
        let answer = match &struck {
            Some(strike) => strike.answer.clone(),
            None => store.take(key, &operation, &slot),
        };
        if slot.probe.is_some() && expected.as_ref() == Some(&unversioned(answer.clone())) {
            seen = true;
        }
        let outcome = match slot.fate {
            Fate::Answered if setup.versions => Outcome::Done(answer),
            Fate::Answered => Outcome::Done(unversioned(answer)),
            Fate::Unheard | Fate::Dropped => Outcome::Unknown,
            Fate::Refused => Outcome::NotApplied,
        };
        let (client, invoked, returned) = (slot.client, slot.invoked, slot.returned);
        let key_name = format!("k{key}");
        history.records.push(Record {
            client,
            node: 0,
            key: key_name,
            operation,
            outcome,
            invoked,
            returned,
        });
        if let Some(strike) = struck {
            wanted = None;
            match strike.probe {
                None => seen = true,
                Some(answer) => {
                    expected = Some(answer);
                    let at = returned + 1;
                    let (fate, probe) = (Fate::Answered, Some(key));
                    let probe = Slot {
                        client: setup.clients,
                        invoked: at,
                        effect: at,
                        returned: at + 1,
                        fate,
                        probe,
                    };
                    let place = slots.partition_point(|slot| slot.effect <= at).max(n + 1);
                    slots.insert(place, probe);
                }
            }
        }
        n += 1;
    }
    (history, seen)
}

/// Who does something when, by the time of its effect.
fn schedule(setup: Setup, random: &mut Random) -> Vec<Slot> {
    let mut free = vec![0; setup.clients];
    let mut slots = Vec::with_capacity(setup.operations);
    for _ in 0..setup.operations {
        let client = random.below(setup.clients as u64) as usize;
        let invoked = free[client] + 10 * (1 + random.below(10));
        let mut effect = invoked + 10 * random.below(20);
        let returned = effect + 10 * random.below(20);
        let fate = match random.below(100) {
            chance if chance < setup.trouble => Fate::Refused,
            chance if chance < 2 * setup.trouble => Fate::Dropped,
            chance if chance < 3 * setup.trouble => Fate::Unheard,
            _ => Fate::Answered,
        };
        if fate == Fate::Unheard {
            effect += 10 * random.below(100);
        }
        free[client] = returned + 10;
        slots.push(Slot { client, invoked, effect, returned, fate, probe: None });
    }
    slots.sort_by_key(|slot| slot.effect);
    slots
}

/// What a fault answers, and what a read right after it must find if nobody else came between.
struct Strike {
    answer: Answer,
    probe: Option<Answer>,
}

impl Store {
    fn invent(&mut self, key: u64, versions: bool) -> Operation {
        let version = self.cells.get(&key).cloned().flatten().map_or(0, |(_, version)| version);
        let condition = match self.random.below(10) {
            0 | 1 if versions => Condition::Version(version),
            2 if versions => Condition::Version(self.random.below(self.revision + 1)),
            3 => Condition::Absent,
            4 => Condition::Present,
            _ => Condition::Always,
        };
        let additions = self.additions.entry(key).or_default();
        match self.random.below(10) {
            0..=3 => Operation::Get,
            4 => {
                Operation::Delete(if condition == Condition::Absent { Condition::Always } else { condition })
            }
            5 | 6 if *additions < ADDITIONS => {
                *additions += 1;
                Operation::Incr(1 << (2 * (*additions - 1)))
            }
            _ => {
                self.values += 1;
                let text = self.random.percent(20);
                let value =
                    if text { format!("x{}", self.values) } else { (self.values * DISTANCE).to_string() };
                Operation::Set(value, condition)
            }
        }
    }

    /// Does it as it should be done.
    fn take(&mut self, key: u64, operation: &Operation, slot: &Slot) -> Answer {
        match slot.fate {
            Fate::Answered | Fate::Unheard => self.change(key, operation, slot),
            Fate::Dropped | Fate::Refused => Answer::Absent,
        }
    }

    fn change(&mut self, key: u64, operation: &Operation, slot: &Slot) -> Answer {
        // Other keys, and what is not looked at here, move the revision too.
        let next = self.revision + 1 + self.random.below(3);
        let cell = self.cells.entry(key).or_default();
        let answer = apply(cell, operation, next);
        if answer.is_change() {
            self.revision = next;
            let returned = if slot.fate == Fate::Answered { slot.returned } else { u64::MAX };
            let (cell, operation, invoked) = (cell.clone(), operation.clone(), slot.invoked);
            self.changes.entry(key).or_default().push(Change { cell, operation, invoked, returned });
        }
        answer
    }

    /// Does it wrong, if it can be told for certain that it is wrong.
    fn strike(&mut self, fault: Fault, key: u64, operation: &Operation, slot: &Slot) -> Option<Strike> {
        let (last, before) = {
            let mut changes = self.changes.get(&key)?.iter().rev();
            (changes.next()?.clone(), changes.next().cloned())
        };
        let set = |change: &Change| matches!(change.operation, Operation::Set(..));
        let is_settled = last.returned < slot.invoked;
        let answered = slot.fate == Fate::Answered;
        let found = |cell: &Cell| {
            cell.clone().map_or(Answer::Absent, |(value, _)| Answer::Found { value, version: None })
        };
        match (fault, operation) {
            (Fault::StaleRead, Operation::Get) if is_settled && answered => {
                let before = before.filter(|before| set(before) && before.returned < last.invoked)?;
                let (value, version) = before.cell?;
                Some(Strike { answer: Answer::Found { value, version: Some(version) }, probe: None })
            }
            (Fault::LostWrite, Operation::Set(..)) if is_settled && set(&last) && answered => {
                let answer = self.change(key, operation, slot);
                self.cells.insert(key, last.cell.clone());
                answer.is_change().then(|| Strike { answer, probe: Some(found(&last.cell)) })
            }
            (Fault::LateRepeat, Operation::Set(..)) if is_settled && set(&last) && answered => {
                let answer = self.change(key, operation, slot);
                if answer.is_change() {
                    self.change(key, &Operation::Set(last.cell.clone()?.0, Condition::Always), slot);
                }
                answer.is_change().then(|| Strike { answer, probe: Some(found(&last.cell)) })
            }
            (Fault::DoubleAddition | Fault::HiddenAddition, Operation::Incr(_)) if answered => {
                let first = self.change(key, operation, slot);
                let second = if first.is_change() { self.change(key, operation, slot) } else { return None };
                let probe = found(&self.cells[&key]);
                Some(match fault {
                    Fault::DoubleAddition => Strike { answer: second, probe: None },
                    _ => Strike { answer: first, probe: Some(probe) },
                })
            }
            (Fault::Resurrection, Operation::Delete(_)) if is_settled && set(&last) && answered => {
                let answer = self.change(key, operation, slot);
                self.cells.insert(key, last.cell.clone());
                answer.is_change().then(|| Strike { answer, probe: Some(found(&last.cell)) })
            }
            (Fault::BrokenRefusal, Operation::Set(..)) if slot.fate == Fate::Refused => {
                let answer = self.change(key, operation, slot);
                let probe = found(&self.cells[&key]);
                answer.is_change().then_some(Strike { answer, probe: Some(probe) })
            }
            _ => None,
        }
    }
}
