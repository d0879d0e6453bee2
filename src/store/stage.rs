//! The dry run of a transaction: what the store would look like after it, without changing anything.
//!
//! Only sizes, versions and the values that later commands depend on are followed; the commands themselves are
//! carried out afterwards by the same code as single ones.

use super::cells::Address;
use super::decide::{Current, Decimal, Decision, Value, decide};
use super::effects::Effects;
use super::keyset::KeySet;
use super::keyspace::{Totals, cost_of};
use super::level::cost;
use super::record::Records;
use super::room::Need;
use super::state::Store;
use super::transact::Verdict;
use super::warm::WINDOW;
use crate::model::{Command, Mode, Outcome, Reason, Settings, Timestamp, Transaction, Version};

/// Scratch memory of dry runs.
#[derive(Default)]
pub(super) struct Stage {
    keys: KeySet,
    entries: Vec<Staged>,
}

/// A key of the transaction as it would be.
struct Staged {
    /// What the key has in the store: what a refused transaction leaves it with.
    base: Version,
    present: Option<Present>,
}

struct Present {
    origin: Origin,
    version: u64,
    deadline: Option<Timestamp>,
    cost: u64,
}

/// Where the value is found.
enum Origin {
    Stored(Address),
    Command(usize),
    Number(Decimal),
}

/// The store as it would be, but for its entries.
struct Draft<'a> {
    transaction: &'a Transaction,
    now: Timestamp,
    revision: u64,
    totals: Totals,
    settings: Settings,
    initialized: bool,
    is_cleared: bool,
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

impl Store {
    /// Judges a transaction of mode `multi` or `all` whose checks hold, and makes the room that it needs.
    pub(super) fn dry_run(&mut self, transaction: &Transaction, effects: &mut Effects) -> Verdict {
        let mut stage = std::mem::take(&mut self.stage);
        self.load_stage(&mut stage, transaction, effects);
        let mut draft = Draft {
            transaction,
            now: self.now,
            revision: self.revision,
            totals: self.keyspace.totals,
            settings: self.settings,
            initialized: self.initialized,
            is_cleared: false,
        };
        let failure = draft.run(&mut stage, &self.keyspace.records);
        self.stage = stage;
        match failure {
            Some((at, outcome)) => Verdict::Refuse(Outcome::Aborted, Some((at, outcome))),
            None => self.judge_room(&draft, effects),
        }
    }

    fn judge_room(&mut self, draft: &Draft<'_>, effects: &mut Effects) -> Verdict {
        let need = Need::over(draft.totals, self.limits(&draft.settings));
        if !need.is_some() {
            return Verdict::Publish;
        }
        // After a FLUSHALL only the transaction's own keys are left, and they are no victims.
        let has_room =
            !draft.is_cleared && self.make_room(need, draft.transaction, draft.settings.eviction, effects);
        if has_room { Verdict::Publish } else { Verdict::Refuse(Outcome::OutOfMemory, None) }
    }

    /// Looks up the keys of the transaction; removes those that have expired.
    fn load_stage(&mut self, stage: &mut Stage, transaction: &Transaction, effects: &mut Effects) {
        stage.keys.collect(transaction, self.keyspace.index.hasher());
        stage.entries.clear();
        for (n, key) in stage.keys.keys(transaction).enumerate() {
            if n % WINDOW == 0 {
                self.warm_commands(&transaction.commands[n..]);
            }
            let mut found = self.keyspace.find(self.keyspace.index.hash(key), key);
            if let Some(address) = found
                && self.keyspace.records.at(address).is_expired(self.now)
            {
                self.release(address, Reason::Expired, effects);
                found = None;
            }
            let present = found.map(|address| {
                let record = self.keyspace.records.at(address);
                Present {
                    origin: Origin::Stored(address),
                    version: record.version(),
                    deadline: record.deadline(),
                    cost: cost_of(&record),
                }
            });
            let base = Version(present.as_ref().map_or(0, |present| present.version));
            stage.entries.push(Staged { base, present });
        }
    }
}

impl Draft<'_> {
    /// Goes through all commands. Returns the first that fails, if the mode is `all`.
    fn run(&mut self, stage: &mut Stage, records: &Records) -> Option<(usize, Outcome)> {
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
