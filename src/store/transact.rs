//! Transactions: judged as a whole, then carried out command by command.
//!
//! ```text
//! each:        for each command: decide -> room? -> carry out
//! multi, all:  checks -> dry run of all commands -> room for the final state? -> carry out all
//! ```
//!
//! Nothing of a `multi` or `all` is done before its verdict, so nothing is ever rolled back, and the reads
//! between its commands see exactly the commands before them.

use super::cells::Address;
use super::decide::{Current, Decision, Value, decide};
use super::effects::Effects;
use super::judge::Verdict;
use super::keyspace::{Totals, cost_of};
use super::level::cost;
use super::limits::{Limits, Need};
use super::state::Store;
use super::warm::WINDOW;
use crate::model::{Command, Key, Outcome, Query, Reason, Settings, Timestamp, Transaction, Version};

impl Store {
    /// Applies a transaction. Outcomes go to `effects` in the order of commands, and answers in the order of
    /// `reads`: a read `(n, query)` is answered before command number `n` (after the last if `n` is their
    /// number) and sees the commands before it. `reads` are sorted by `n`. Mode `each` has no checks; any
    /// that are there are ignored.
    pub fn transact(&mut self, transaction: &Transaction, reads: &[(usize, Query)], effects: &mut Effects) {
        let before = self.keyspace.totals;
        let verdict = self.judge(transaction, effects);
        let mut reads = reads.iter().peekable();
        for (n, command) in transaction.commands.iter().enumerate() {
            while let Some((_, query)) = reads.next_if(|(before, _)| *before <= n) {
                effects.answers.push(self.read(self.now, query));
            }
            if n % WINDOW == 0 && transaction.commands.len() > 1 {
                self.warm_commands(&transaction.commands[n..]);
            }
            let outcome = match &verdict {
                Verdict::Single => {
                    let before = self.keyspace.totals;
                    let outcome = self.carry_out(command, Some(transaction), effects);
                    self.assert_within_limits(before);
                    outcome
                }
                Verdict::Publish => self.carry_out(command, None, effects),
                Verdict::Refuse(_, Some((at, outcome))) if *at == n => *outcome,
                Verdict::Refuse(outcome, _) => *outcome,
            };
            effects.push_outcome(outcome);
        }
        effects.answers.extend(reads.map(|(_, query)| self.read(self.now, query)));
        self.guard.disarm(&mut self.keyspace);
        if !matches!(verdict, Verdict::Single) {
            self.assert_within_limits(before);
        }
    }

    /// Looks ahead at the transactions that come next, if they are single commands; longer ones do so for
    /// themselves. Returns how many transactions may be applied before it is worth while to call again, at
    /// least 1. Changes nothing.
    pub fn warm(&self, upcoming: &[Transaction]) -> usize {
        let singles =
            upcoming.iter().take(WINDOW).map_while(|transaction| match transaction.commands.as_slice() {
                [command] => command.key(),
                _ => None,
            });
        let seen = self.keyspace.warm_for_write(singles.map(|key| key.as_bytes()));
        seen.max(1)
    }

    /// Looks ahead at the commands that come next in a transaction.
    pub(super) fn warm_commands(&self, upcoming: &[Command]) {
        let keys = upcoming.iter().take(WINDOW).filter_map(Command::key);
        self.keyspace.warm_for_write(keys.map(|key| key.as_bytes()));
    }

    /// Accounted bytes and keys never pass the effective limits where a transaction ends.
    fn assert_within_limits(&self, before: Totals) {
        let (totals, targets) = (self.keyspace.totals, Limits::targets(&self.settings));
        assert!(totals.bytes <= targets.max_bytes.max(before.bytes), "room was judged before the write");
        assert!(totals.keys <= targets.max_keys.max(before.keys), "room was judged before the write");
        assert!(totals.keys as usize == self.keyspace.index.len(), "every entry is in the index");
        assert!(
            totals.bytes >= self.keyspace.volatile_totals.bytes,
            "entries with a deadline are a part of all"
        );
    }

    /// Carries out one command. With `judged`, its transaction, room is made for it, or it is refused.
    fn carry_out(
        &mut self,
        command: &Command,
        judged: Option<&Transaction>,
        effects: &mut Effects,
    ) -> Outcome {
        match command {
            Command::Clear => Outcome::Cleared { keys: self.clear(effects) },
            Command::Configure(change) => {
                self.settings = change.applied_to(self.settings);
                Outcome::Configured
            }
            Command::Initialize { hash_seed, settings } => self.initialize(*hash_seed, *settings),
            Command::Raise(level) => {
                self.level = self.level.max(*level);
                Outcome::Configured
            }
            Command::Set { key, .. }
            | Command::Delete { key, .. }
            | Command::Expire { key, .. }
            | Command::Add { key, .. } => self.carry_out_on(key, command, judged, effects),
        }
    }

    fn carry_out_on(
        &mut self,
        key: &Key,
        command: &Command,
        judged: Option<&Transaction>,
        effects: &mut Effects,
    ) -> Outcome {
        let key = key.as_bytes();
        let hash = self.keyspace.index.hash(key);
        let mut found = self.keyspace.find(hash, key);
        if let Some(address) = found
            && self.keyspace.records.at(address).is_expired(self.now)
        {
            // Past its deadline a key is absent to every command, whether or not the sweep has come by.
            self.release(address, Reason::Expired, effects);
            found = None;
        }
        let record = found.map(|address| self.keyspace.records.at(address));
        let current =
            record.map(|r| Current { version: r.version(), value: r.value(), deadline: r.deadline() });
        let decision = decide(command, current, self.now, self.settings.max_value_bytes);
        match decision.expect("the command is about a key") {
            Decision::Leave(outcome) => outcome,
            Decision::Write(value, deadline) => {
                let old_cost = record.map(|record| cost_of(&record));
                let new_cost = cost(key.len(), value.as_bytes().len());
                if let Some(transaction) = judged
                    && !self.has_room(old_cost, new_cost, transaction, effects)
                {
                    return Outcome::OutOfMemory;
                }
                self.write(found, hash, key, &value, deadline, effects)
            }
            Decision::Restamp(deadline) => {
                let address = found.expect("only what is present gets another deadline");
                self.displace(address, effects);
                let stamp = self.next_stamp(deadline);
                self.keyspace.restamp(address, hash, stamp);
                effects.changes.written += 1;
                Outcome::Written { version: Version(stamp.version), created: false, deadline }
            }
            Decision::Vanish(deadline) => self.vanish(found, key, deadline, effects),
            Decision::Delete => {
                self.revision += 1;
                self.remove(found.expect("only what is present is deleted"), Reason::Deleted, effects);
                Outcome::Deleted
            }
        }
    }

    fn has_room(
        &mut self,
        old_cost: Option<u64>,
        new_cost: u64,
        transaction: &Transaction,
        effects: &mut Effects,
    ) -> bool {
        let mut totals = self.keyspace.totals;
        old_cost.into_iter().for_each(|cost| totals.subtract(cost));
        totals.add(new_cost);
        let need = Need::over(totals, self.limits(&self.settings));
        !need.is_some() || self.make_room(need, transaction, self.settings.eviction, effects)
    }

    fn write(
        &mut self,
        found: Option<Address>,
        hash: u64,
        key: &[u8],
        value: &Value<'_>,
        deadline: Option<Timestamp>,
        effects: &mut Effects,
    ) -> Outcome {
        let stamp = self.next_stamp(deadline);
        match found {
            None => self.keyspace.insert(hash, key, value.as_bytes(), stamp),
            Some(address) => {
                self.displace(address, effects);
                let given_up = self.keyspace.rewrite(address, hash, key, value.as_bytes(), stamp);
                effects.discard_value(given_up);
            }
        }
        effects.changes.written += 1;
        let version = Version(stamp.version);
        match value {
            Value::Bytes(_) => Outcome::Written { version, created: found.is_none(), deadline },
            Value::Number(number, _) => Outcome::Number { value: *number, version },
        }
    }

    /// A write whose deadline is past: it takes a revision as every write does, and leaves nothing.
    fn vanish(
        &mut self,
        found: Option<Address>,
        key: &[u8],
        deadline: Timestamp,
        effects: &mut Effects,
    ) -> Outcome {
        self.revision += 1;
        match found {
            Some(address) => self.remove(address, Reason::Expired, effects),
            None => self.vanished(key, self.revision, effects),
        }
        let version = Version(self.revision);
        Outcome::Written { version, created: found.is_none(), deadline: Some(deadline) }
    }

    /// The first one in a log counts. The seed is taken while there are no keys, as is so in every real log:
    /// changing it later would mean to hash everything again in one step.
    fn initialize(&mut self, hash_seed: u128, settings: Settings) -> Outcome {
        if !self.initialized {
            self.initialized = true;
            self.settings = settings;
            if self.is_empty() {
                self.reseed(hash_seed);
            }
        }
        Outcome::Configured
    }
}
