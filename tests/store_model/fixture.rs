//! A store with short words for what tests say often.

use bytes::Bytes;
use kvorum::model::{
    Answer, Command, Condition, Eviction, Expiry, Key, Mode, Outcome, Principal, Query, Reason, Settings,
    Slot, Timestamp, Touch, Transaction, Ttl, Version,
};
use kvorum::store::{Effects, RecordRef, Store};

pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) effects: Effects,
}

pub(crate) fn key(name: &str) -> Key {
    Key::new(name.to_owned()).expect("a short name is a key")
}

pub(crate) fn ttl(ms: u64) -> Expiry {
    Expiry::After(Ttl::from_millis(ms).expect("at least 1 ms"))
}

/// A command that writes `length` bytes.
pub(crate) fn set(name: &str, length: usize) -> Command {
    set_with(name, length, Expiry::Never)
}

pub(crate) fn set_with(name: &str, length: usize, expiry: Expiry) -> Command {
    let value = Bytes::from(vec![b'v'; length]);
    Command::Set { key: key(name), value, expiry, condition: Condition::Always }
}

pub(crate) fn set_if(name: &str, condition: Condition) -> Command {
    Command::Set { key: key(name), value: Bytes::from("v"), expiry: Expiry::Never, condition }
}

pub(crate) fn delete(name: &str) -> Command {
    Command::Delete { key: key(name), condition: Condition::Always }
}

pub(crate) fn expire(name: &str, expiry: Expiry) -> Command {
    Command::Expire { key: key(name), expiry, condition: Condition::Always }
}

pub(crate) fn add(name: &str, by: i64) -> Command {
    Command::Add { key: key(name), by }
}

pub(crate) fn transaction(mode: Mode, commands: Vec<Command>) -> Transaction {
    Transaction { mode, principal: Principal::Anonymous, checks: Vec::new(), commands }
}

impl Fixture {
    /// An empty store at time 1,000.
    pub(crate) fn new(settings: Settings) -> Fixture {
        let mut fixture = Fixture { store: Store::new(), effects: Effects::new() };
        fixture.effects.begin(1, true);
        fixture.at(1_000);
        fixture.run(Command::Initialize { hash_seed: 42, settings });
        fixture
    }

    pub(crate) fn unlimited() -> Fixture {
        Fixture::new(Settings::default())
    }

    pub(crate) fn limited(max_bytes: u64, eviction: Eviction) -> Fixture {
        Fixture::new(Settings { max_bytes, eviction, ..Settings::default() })
    }

    /// Opens an entry.
    pub(crate) fn at(&mut self, now: u64) {
        self.effects.clear();
        self.store.open_entry(Timestamp(now), &[], &mut self.effects);
    }

    pub(crate) fn touch(&mut self, slot: u32, version: u64) {
        let touch = Touch { slot: Slot(slot), version: Version(version) };
        self.store.open_entry(self.store.now(), &[touch], &mut self.effects);
    }

    pub(crate) fn run(&mut self, command: Command) -> Outcome {
        self.apply(&Transaction::single(command))[0]
    }

    pub(crate) fn run_all(&mut self, mode: Mode, commands: Vec<Command>) -> Vec<Outcome> {
        self.apply(&transaction(mode, commands))
    }

    pub(crate) fn apply(&mut self, transaction: &Transaction) -> Vec<Outcome> {
        self.effects.clear();
        self.store.transact(transaction, &[], &mut self.effects);
        self.effects.outcomes.clone()
    }

    pub(crate) fn configure(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.store.settings();
        change(&mut settings);
        self.run(Command::Configure(settings.into()));
    }

    pub(crate) fn get(&self, name: &str) -> Option<Bytes> {
        match self.store.read(self.store.now(), &Query::Get(key(name))) {
            Answer::Value(found) => found.map(|found| found.value),
            other => unreachable!("{other:?}"),
        }
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = RecordRef<'_>> {
        (0..self.store.end_slot().0).filter_map(|slot| self.store.entry(Slot(slot)))
    }

    /// The entry of a key, expired or not.
    pub(crate) fn entry(&self, name: &str) -> RecordRef<'_> {
        self.entries().find(|entry| entry.key == name.as_bytes()).expect("the key is there")
    }

    /// Names of all keys in slot order.
    pub(crate) fn names(&self) -> String {
        self.entries()
            .map(|entry| String::from_utf8_lossy(entry.key).into_owned())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// What the last entry or transaction removed.
    pub(crate) fn removed(&self) -> Vec<(String, Reason)> {
        let name = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
        self.effects.removals().map(|removal| (name(removal.key), removal.reason)).collect()
    }

    #[track_caller]
    pub(crate) fn assert_removed(&self, expected: &[(&str, Reason)]) {
        let expected: Vec<_> = expected.iter().map(|(name, reason)| ((*name).to_owned(), *reason)).collect();
        assert_eq!(self.removed(), expected);
    }
}
