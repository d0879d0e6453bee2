//! The store as its document describes it, with no thought of speed: a map, and a search through all of it
//! for everything.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kvorum::model::{
    Answer, Command, Condition, Eviction, Expiry, Found, Item, Key, Mode, Outcome, Page, Query, Reason,
    Settings, Slot, Timestamp, Transaction, Version,
};

use crate::generate::{Contents, Entry};

const ENTRY_COST: u64 = 64;
const STEPS: usize = 1_024;

#[derive(Clone, Debug)]
struct Held {
    slot: u32,
    value: Vec<u8>,
    version: u64,
    deadline: Option<u64>,
    recency: u64,
}

/// The model.
#[derive(Clone, Default)]
pub(crate) struct Naive {
    pub(crate) now: u64,
    pub(crate) revision: u64,
    pub(crate) recency: u64,
    pub(crate) initialized: bool,
    pub(crate) settings: Settings,
    pub(crate) evictions: u64,
    pub(crate) expirations: u64,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) removals: Vec<(Vec<u8>, u64, Reason)>,
    entries: BTreeMap<Vec<u8>, Held>,
}

impl Naive {
    pub(crate) fn contents(&self) -> Contents {
        let mut contents: Contents = self
            .entries
            .iter()
            .map(|(key, e)| (e.slot, key.clone(), e.value.clone(), e.version, e.deadline, e.recency))
            .collect();
        contents.sort();
        contents
    }

    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.entries.values().filter_map(|e| e.deadline).min()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.entries.iter().map(|(key, e)| cost(key, e)).sum()
    }

    pub(crate) fn keys(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(crate) fn apply(&mut self, entry: &Entry) {
        self.now = self.now.max(entry.at.0);
        for touch in &entry.touches {
            let (now, recency) = (self.now, self.recency + 1);
            let named =
                |e: &&mut Held| e.slot == touch.slot.0 && e.version == touch.version.0 && !gone(e, now);
            if let Some(entry) = self.entries.values_mut().find(named) {
                entry.recency = recency;
                self.recency = recency;
            }
        }
        for _ in 0..STEPS {
            let Some(key) = self.first_expired() else { break };
            self.remove(&key, Reason::Expired);
        }
        let (max_bytes, max_keys) = targets(&self.settings);
        for _ in 0..STEPS {
            if self.bytes() <= max_bytes && self.keys() <= max_keys {
                break;
            }
            let Some((key, reason)) = self.victim(self.settings.eviction, &BTreeSet::new()) else { break };
            self.remove(&key, reason);
        }
        for (transaction, reads) in &entry.transactions {
            self.transact(transaction, reads);
        }
    }

    fn transact(&mut self, transaction: &Transaction, reads: &[(usize, Query)]) {
        let protected: BTreeSet<Vec<u8>> = keys(transaction).collect();
        let outcomes = match transaction.mode {
            Mode::Each => None,
            Mode::Multi | Mode::All => self.refusal(transaction, &protected),
        };
        let one_by_one = transaction.mode == Mode::Each || transaction.commands.len() < 2;
        for (n, command) in transaction.commands.iter().enumerate() {
            reads.iter().filter(|(at, _)| *at == n).for_each(|(_, query)| self.read(query));
            let outcome = match &outcomes {
                Some(outcomes) => outcomes[n],
                None => self.run(command, one_by_one.then_some(&protected)),
            };
            self.outcomes.push(outcome);
        }
        let last = transaction.commands.len();
        reads.iter().filter(|(at, _)| *at == last).for_each(|(_, query)| self.read(query));
    }

    /// Outcomes of a transaction that is refused as a whole. Makes room for one that is not.
    fn refusal(&mut self, transaction: &Transaction, protected: &BTreeSet<Vec<u8>>) -> Option<Vec<Outcome>> {
        let length = transaction.commands.len();
        let now = self.now;
        if transaction.checks.iter().any(|check| {
            let version = self.present(check.key.as_bytes()).map_or(0, |e| e.version);
            !holds(check.condition, version)
        }) {
            return Some(vec![Outcome::Aborted; length]);
        }
        if length < 2 {
            return None;
        }
        for key in keys(transaction) {
            if self.entries.get(&key).is_some_and(|e| gone(e, now)) {
                self.remove(&key, Reason::Expired);
            }
        }
        let mut trial = self.clone();
        for (n, command) in transaction.commands.iter().enumerate() {
            let mut outcome = trial.run(command, None);
            if transaction.mode == Mode::All && !outcome.is_success() {
                if let (Outcome::Unmet { version }, Some(key)) = (&mut outcome, command.key()) {
                    *version = Version(self.present(key.as_bytes()).map_or(0, |e| e.version));
                }
                let mut outcomes = vec![Outcome::Aborted; length];
                outcomes[n] = outcome;
                return Some(outcomes);
            }
        }
        let (max_bytes, max_keys) = targets(&trial.settings);
        let bytes = trial.bytes().saturating_sub(max_bytes.max(self.bytes()));
        let keys = trial.keys().saturating_sub(max_keys.max(self.keys()));
        let clears = transaction.commands.contains(&Command::Clear);
        let fits = match clears {
            true => bytes == 0 && keys == 0,
            false => self.make_room(bytes, keys, trial.settings.eviction, protected),
        };
        (!fits).then(|| vec![Outcome::OutOfMemory; length])
    }

    fn run(&mut self, command: &Command, judged: Option<&BTreeSet<Vec<u8>>>) -> Outcome {
        match command {
            Command::Clear => {
                let keys = self.keys();
                self.entries.clear();
                self.revision += 1;
                self.removals.push((Vec::new(), self.revision, Reason::Cleared));
                return Outcome::Cleared { keys };
            }
            Command::Configure(change) => {
                self.settings = change.applied_to(self.settings);
                return Outcome::Configured;
            }
            Command::Initialize { settings, .. } => {
                if !std::mem::replace(&mut self.initialized, true) {
                    self.settings = *settings;
                }
                return Outcome::Configured;
            }
            Command::Raise(_) => return Outcome::Configured,
            _ => {}
        }
        let key = command.key().expect("the rest is about keys").as_bytes().to_vec();
        if self.entries.get(&key).is_some_and(|e| gone(e, self.now)) {
            self.remove(&key, Reason::Expired);
        }
        let old = self.entries.get(&key).cloned();
        let version = old.as_ref().map_or(0, |e| e.version);
        let unmet = Outcome::Unmet { version: Version(version) };
        match command {
            Command::Set { value, expiry, condition, .. } => {
                if value.len() as u64 > self.settings.max_value_bytes {
                    return Outcome::ValueTooLarge;
                }
                if !holds(*condition, version) {
                    return unmet;
                }
                let deadline = self.deadline(*expiry, old.as_ref());
                self.write(key, value.to_vec(), deadline, judged)
            }
            Command::Delete { condition, .. } => match (holds(*condition, version), old) {
                (false, _) => unmet,
                (true, None) => Outcome::Absent,
                (true, Some(_)) => {
                    self.revision += 1;
                    self.remove(&key, Reason::Deleted);
                    Outcome::Deleted
                }
            },
            Command::Expire { expiry, condition, .. } => match (holds(*condition, version), &old) {
                (false, _) => unmet,
                (true, None) => Outcome::Absent,
                (true, Some(held)) => {
                    let deadline = self.deadline(*expiry, old.as_ref());
                    self.write(key, held.value.clone(), deadline, None)
                }
            },
            Command::Add { by, .. } => {
                let text = old.as_ref().map_or(b"0".to_vec(), |e| e.value.clone());
                let Some(number) = String::from_utf8(text)
                    .ok()
                    .and_then(|text| text.parse::<i64>().ok().filter(|number| number.to_string() == text))
                else {
                    return Outcome::NotAnInteger;
                };
                let Some(sum) = number.checked_add(*by) else { return Outcome::Overflow };
                let deadline = old.as_ref().and_then(|e| e.deadline);
                match self.write(key, sum.to_string().into_bytes(), deadline, judged) {
                    Outcome::Written { version, .. } => Outcome::Number { value: sum, version },
                    other => other,
                }
            }
            Command::Clear | Command::Configure(_) | Command::Initialize { .. } | Command::Raise(_) => {
                unreachable!("done above")
            }
        }
    }

    fn deadline(&self, expiry: Expiry, old: Option<&Held>) -> Option<u64> {
        match expiry {
            Expiry::Never => None,
            Expiry::Keep => old.and_then(|e| e.deadline),
            Expiry::After(ttl) => Some(self.now + ttl.millis()),
            Expiry::At(at) => Some(at.0),
        }
    }

    fn write(
        &mut self,
        key: Vec<u8>,
        value: Vec<u8>,
        deadline: Option<u64>,
        judged: Option<&BTreeSet<Vec<u8>>>,
    ) -> Outcome {
        let created = !self.entries.contains_key(&key);
        let written = |version| Outcome::Written {
            version: Version(version),
            created,
            deadline: deadline.map(Timestamp),
        };
        if deadline.is_some_and(|deadline| deadline <= self.now) {
            self.revision += 1;
            if created {
                self.expirations += 1;
                self.removals.push((key, self.revision, Reason::Expired));
            } else {
                self.remove(&key, Reason::Expired);
            }
            return written(self.revision);
        }
        if let Some(protected) = judged {
            let (max_bytes, max_keys) = targets(&self.settings);
            let old = self.entries.get(&key).map_or(0, |e| cost(&key, e));
            let bytes = self.bytes() - old + key.len() as u64 + value.len() as u64 + ENTRY_COST;
            let bytes = bytes.saturating_sub(max_bytes.max(self.bytes()));
            let keys = (self.keys() + u64::from(created)).saturating_sub(max_keys.max(self.keys()));
            if !self.make_room(bytes, keys, self.settings.eviction, protected) {
                return Outcome::OutOfMemory;
            }
        }
        self.revision += 1;
        self.recency += 1;
        let free = || (0..).find(|slot| self.entries.values().all(|e| e.slot != *slot)).expect("endless");
        let slot = self.entries.get(&key).map_or_else(free, |e| e.slot);
        let held = Held { slot, value, version: self.revision, deadline, recency: self.recency };
        self.entries.insert(key, held);
        written(self.revision)
    }

    /// Removes victims until bytes and keys are free; nothing if that cannot be, but what has expired under
    /// noeviction.
    fn make_room(&mut self, bytes: u64, keys: u64, policy: Eviction, protected: &BTreeSet<Vec<u8>>) -> bool {
        let may_go = |(key, e): &(&Vec<u8>, &Held)| {
            gone(e, self.now)
                || !protected.contains(*key) && (policy == Eviction::Lru || e.deadline.is_some())
        };
        let candidates: Vec<_> = self.entries.iter().filter(may_go).collect();
        let open: u64 = candidates.iter().map(|(key, e)| cost(key, e)).sum();
        if open < bytes || (candidates.len() as u64) < keys {
            return false;
        }
        let (mut freed, mut count) = (0, 0);
        while freed < bytes || count < keys {
            let Some((key, reason)) = self.victim(policy, protected) else { return false };
            freed += cost(&key, &self.entries[&key]);
            count += 1;
            self.remove(&key, reason);
        }
        true
    }

    fn victim(&self, policy: Eviction, protected: &BTreeSet<Vec<u8>>) -> Option<(Vec<u8>, Reason)> {
        if let Some(key) = self.first_expired() {
            return Some((key, Reason::Expired));
        }
        let open = self.entries.iter().filter(|(key, _)| !protected.contains(*key));
        let volatile = open.clone().filter(|(_, e)| e.deadline.is_some());
        let victim = match policy {
            Eviction::Lru => open.min_by_key(|(_, e)| e.recency),
            Eviction::VolatileLru => volatile.min_by_key(|(_, e)| e.recency),
            Eviction::VolatileTtl => volatile.min_by_key(|(_, e)| (e.deadline, e.slot)),
            Eviction::NoEviction => None,
        };
        victim.map(|(key, _)| (key.clone(), Reason::Evicted))
    }

    fn first_expired(&self) -> Option<Vec<u8>> {
        let expired = self.entries.iter().filter(|(_, e)| gone(e, self.now));
        expired.min_by_key(|(_, e)| (e.deadline, e.slot)).map(|(key, _)| key.clone())
    }

    fn remove(&mut self, key: &[u8], reason: Reason) {
        let held = self.entries.remove(key).expect("only what is there is removed");
        self.evictions += u64::from(reason == Reason::Evicted);
        self.expirations += u64::from(reason == Reason::Expired);
        self.removals.push((key.to_vec(), held.version, reason));
    }

    fn present(&self, key: &[u8]) -> Option<&Held> {
        self.entries.get(key).filter(|e| !gone(e, self.now))
    }

    fn read(&mut self, query: &Query) {
        let answer = self.answer(query);
        self.answers.push(answer);
    }

    fn answer(&self, query: &Query) -> Answer {
        let item = |key: &[u8], e: &Held, with_value: bool| Item {
            key: Key::new(key.to_vec()).expect("a stored key"),
            size: e.value.len() as u64,
            version: Version(e.version),
            deadline: e.deadline.map(Timestamp),
            value: with_value.then(|| Bytes::from(e.value.clone())),
        };
        match query {
            Query::Get(key) => Answer::Value(self.present(key.as_bytes()).map(|e| Found {
                value: Bytes::from(e.value.clone()),
                version: Version(e.version),
                deadline: e.deadline.map(Timestamp),
                slot: Slot(e.slot),
            })),
            Query::Describe(key) => {
                Answer::Item(self.present(key.as_bytes()).map(|e| item(key.as_bytes(), e, false)))
            }
            Query::Scan { cursor, limit, prefix, values } => {
                let mut here: Vec<_> =
                    self.entries.iter().filter(|(_, e)| u64::from(e.slot) >= *cursor).collect();
                here.sort_by_key(|(_, e)| e.slot);
                let wanted = here.iter().filter(|(key, e)| key.starts_with(prefix) && !gone(e, self.now));
                let items = wanted.take((*limit).max(1)).map(|(key, e)| item(key, e, *values)).collect();
                // Where the scan goes on is the store's own affair; the test of scans looks at it.
                Answer::Page(Page { items, cursor: None })
            }
            Query::Many(queries) => Answer::Many(queries.iter().map(|query| self.answer(query)).collect()),
        }
    }
}

fn cost(key: &[u8], held: &Held) -> u64 {
    key.len() as u64 + held.value.len() as u64 + ENTRY_COST
}

fn gone(held: &Held, now: u64) -> bool {
    held.deadline.is_some_and(|deadline| deadline <= now)
}

fn targets(settings: &Settings) -> (u64, u64) {
    let or_none = |limit| if limit == 0 { u64::MAX } else { limit };
    (or_none(settings.max_bytes), or_none(settings.max_keys))
}

fn keys(transaction: &Transaction) -> impl Iterator<Item = Vec<u8>> {
    transaction.commands.iter().filter_map(Command::key).map(|key| key.as_bytes().to_vec())
}

fn holds(condition: Condition, version: u64) -> bool {
    match condition {
        Condition::Always => true,
        Condition::Absent => version == 0,
        Condition::Present => version != 0,
        Condition::Version(wanted) => wanted.0 == version,
    }
}
