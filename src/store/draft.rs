//! The dry run of a transaction: what the store would look like after it, without changing anything.
//!
//! Only sizes, versions and the values that later commands depend on are followed; the commands themselves
//! are carried out afterwards by the same code as single ones.

use super::cells::Address;
use super::decide::{Current, Decimal, Decision, Value, decide};
use super::keyset::KeySet;
use super::keyspace::Totals;
use super::level::cost;
use super::record::Records;
use crate::model::{Command, Mode, Outcome, Settings, Timestamp, Transaction, Version};

/// Scratch memory of dry runs.
#[derive(Default)]
pub(super) struct Stage {
    pub(super) keys: KeySet,
    pub(super) entries: Vec<Staged>,
}

/// A key of the transaction as it would be.
pub(super) struct Staged {
    /// What the key has in the store: what a refused transaction leaves it with.
    pub(super) base: Version,
    pub(super) present: Option<Present>,
}

pub(super) struct Present {
    pub(super) origin: Origin,
    pub(super) version: u64,
    pub(super) deadline: Option<Timestamp>,
    pub(super) cost: u64,
}

/// Where the value is found.
pub(super) enum Origin {
    Stored(Address),
    Command(usize),
    Number(Decimal),
}

/// The store as it would be, but for its entries.
pub(super) struct Draft<'a> {
    pub(super) transaction: &'a Transaction,
    pub(super) now: Timestamp,
    pub(super) revision: u64,
    pub(super) totals: Totals,
    pub(super) settings: Settings,
    pub(super) initialized: bool,
    pub(super) is_cleared: bool,
}

impl Present {
    fn current<'a>(&'a self, records: &'a Records, transaction: &'a Transaction) -> Current<'a> {
        let value = match &self.origin {
            Origin::Stored(address) => records.at(*address).value(),
            Origin::Number(decimal) => decimal.as_bytes(),
            Origin::Command(n) => match &transaction.commands[*n] {
                Command::Set { value, .. } => value,
                _ => unreachable!("values come from the commands that set them"),
            },
        };
        Current { version: self.version, value, deadline: self.deadline }
    }
}

impl Draft<'_> {
    /// Goes through all commands. Returns the first that fails, if the mode is `all`.
    pub(super) fn run(&mut self, stage: &mut Stage, records: &Records) -> Option<(usize, Outcome)> {
        for (n, command) in self.transaction.commands.iter().enumerate() {
            let failure = self.step(n, command, stage, records);
            if let (Mode::All, Some(outcome)) = (self.transaction.mode, failure) {
                return Some((n, outcome));
            }
        }
        None
    }

    /// One command. Returns its outcome if that is no success.
    fn step(&mut self, n: usize, command: &Command, stage: &mut Stage, records: &Records) -> Option<Outcome> {
        match command {
            Command::Clear => {
                self.revision += 1;
                self.totals = Totals::default();
                self.is_cleared = true;
                stage.entries.iter_mut().for_each(|staged| staged.present = None);
            }
            Command::Configure(change) => self.settings = change.applied_to(self.settings),
            Command::Initialize { settings, .. } if !self.initialized => {
                self.initialized = true;
                self.settings = *settings;
            }
            _ => return self.step_on_key(n, command, stage, records),
        }
        None
    }

    fn step_on_key(
        &mut self,
        n: usize,
        command: &Command,
        stage: &mut Stage,
        records: &Records,
    ) -> Option<Outcome> {
        let key = command.key()?.as_bytes();
        let number = stage.keys.find(self.transaction, key).expect("all keys were collected");
        let staged = &mut stage.entries[number];
        let current = staged.present.as_ref().map(|present| present.current(records, self.transaction));
        let decision = decide(command, current, self.now, self.settings.max_value_bytes)?;
        if let Decision::Leave(outcome) = decision {
            return failure(outcome, staged.base);
        }
        let old = staged.present.take();
        old.iter().for_each(|old| self.totals.subtract(old.cost));
        self.revision += 1;
        let version = self.revision;
        staged.present = match decision {
            Decision::Leave(_) | Decision::Vanish(_) | Decision::Delete => None,
            Decision::Restamp(deadline) => old.map(|old| Present { version, deadline, ..old }),
            Decision::Write(value, deadline) => {
                let cost = cost(key.len(), value.as_bytes().len());
                let origin = match value {
                    Value::Bytes(_) => Origin::Command(n),
                    Value::Number(_, decimal) => Origin::Number(decimal),
                };
                Some(Present { origin, version, deadline, cost })
            }
        };
        staged.present.iter().for_each(|present| self.totals.add(present.cost));
        None
    }
}

/// The outcome if it is no success. A version given within the transaction is not shown: it will never exist.
fn failure(outcome: Outcome, base: Version) -> Option<Outcome> {
    match outcome {
        Outcome::Unmet { .. } => Some(Outcome::Unmet { version: base }),
        outcome => (!outcome.is_success()).then_some(outcome),
    }
}
