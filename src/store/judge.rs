//! The verdict on a transaction, before anything of it is done.

use super::decide::{Current, holds};
use super::draft::{Draft, Origin, Present, Stage, Staged};
use super::effects::Effects;
use super::keyspace::cost_of;
use super::limits::Need;
use super::state::Store;
use super::warm::WINDOW;
use crate::model::{Check, FailedCheck, Mode, Outcome, Reason, Transaction, Version};

/// What is to become of a transaction.
pub(super) enum Verdict {
    /// Carry out every command, judging the room for each by itself.
    Single,
    /// Carry out every command; the room is made.
    Publish,
    /// Carry out nothing; every command has this outcome, except perhaps one.
    Refuse(Outcome, Option<(usize, Outcome)>),
}

impl Store {
    /// What is to become of `transaction`; makes the room that it needs.
    pub(super) fn judge(&mut self, transaction: &Transaction, effects: &mut Effects) -> Verdict {
        effects.failed_check = None;
        if transaction.mode == Mode::Each {
            return Verdict::Single;
        }
        effects.failed_check = self.failed_check(&transaction.checks);
        if effects.failed_check.is_some() {
            return Verdict::Refuse(Outcome::Aborted, None);
        }
        if transaction.commands.len() <= 1 {
            return Verdict::Single;
        }
        self.dry_run(transaction, effects)
    }

    fn failed_check(&self, checks: &[Check]) -> Option<FailedCheck> {
        let mut unmet = checks.iter().map(|check| self.unmet(check)).enumerate();
        unmet.find_map(|(at, version)| Some(FailedCheck { at, version: version? }))
    }

    /// The version of the check's key, if the check does not hold.
    fn unmet(&self, check: &Check) -> Option<Version> {
        let key = check.key.as_bytes();
        let found = self.keyspace.find(self.keyspace.index.hash(key), key);
        let record = found.map(|address| self.keyspace.records.at(address));
        let current = record.filter(|record| !record.is_expired(self.now)).map(|record| Current {
            version: record.version(),
            value: &[],
            deadline: record.deadline(),
        });
        let version = Version(current.as_ref().map_or(0, |current| current.version));
        (!holds(check.condition, current)).then_some(version)
    }

    /// Judges a transaction of mode `multi` or `all` whose checks hold, and makes the room that it needs.
    fn dry_run(&mut self, transaction: &Transaction, effects: &mut Effects) -> Verdict {
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
