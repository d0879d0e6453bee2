//! Random logs: few keys, small limits, short times, so that everything collides with everything.

use bytes::Bytes;
use kvorum::model::{
    Check, Command, Condition, Eviction, Expiry, Key, Level, Mode, Principal, Query, Settings,
    SettingsChange, Slot, Timestamp, Touch, Transaction, Ttl, Version,
};
use kvorum::store::{Effects, RecordRef, Store};
use proptest::prelude::*;

/// Stands for the version that the key has when the entry is applied.
const CURRENT: Version = Version(u64::MAX);

/// An entry of a log, with the reads that wait for it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: Timestamp,
    pub(crate) touches: Vec<Touch>,
    pub(crate) transactions: Vec<(Transaction, Vec<(usize, Query)>)>,
}

/// What a store holds, in slot order.
pub(crate) type Contents = Vec<(u32, Vec<u8>, Vec<u8>, u64, Option<u64>, u64)>;

pub(crate) fn own(record: RecordRef<'_>) -> (u32, Vec<u8>, Vec<u8>, u64, Option<u64>, u64) {
    let RecordRef { slot, key, value, version, deadline, recency } = record;
    (slot.0, key.to_vec(), value.to_vec(), version.0, deadline.map(|d| d.0), recency.0)
}

pub(crate) fn contents(store: &Store) -> Contents {
    (0..store.end_slot().0).filter_map(|slot| store.entry(Slot(slot))).map(own).collect()
}

pub(crate) fn apply(store: &mut Store, entry: &Entry, effects: &mut Effects) {
    store.open_entry(entry.at, &entry.touches, effects);
    for (transaction, reads) in &entry.transactions {
        store.transact(transaction, reads, effects);
    }
}

impl Entry {
    /// The entry with what only the present state knows: current versions in conditions and touches.
    pub(crate) fn resolved(mut self, store: &Store) -> Entry {
        for touch in &mut self.touches {
            if touch.version == CURRENT {
                touch.version = store.entry(touch.slot).map_or(Version::ABSENT, |entry| entry.version);
            }
        }
        for (transaction, _) in &mut self.transactions {
            for check in &mut transaction.checks {
                check.condition = resolved(check.condition, &check.key, store);
            }
            for command in &mut transaction.commands {
                if let Command::Set { key, condition, .. }
                | Command::Delete { key, condition }
                | Command::Expire { key, condition, .. } = command
                {
                    *condition = resolved(*condition, key, store);
                }
            }
        }
        self
    }
}

fn resolved(condition: Condition, key: &Key, store: &Store) -> Condition {
    if condition != Condition::Version(CURRENT) {
        return condition;
    }
    match store.read(store.now(), &Query::Describe(key.clone())) {
        kvorum::model::Answer::Item(item) => Condition::Version(item.map_or(Version::ABSENT, |i| i.version)),
        other => unreachable!("{other:?}"),
    }
}

pub(crate) fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        9 => (0..14_u8).prop_map(|n| Key::new(vec![b'a' + n]).expect("1 byte")),
        1 => (0..2_u8).prop_map(|n| Key::new(vec![b'A' + n; 2_500]).expect("2,500 bytes")),
    ]
}

fn value() -> impl Strategy<Value = Bytes> {
    let filled = |length| prop::collection::vec(any::<u8>(), 1).prop_map(move |byte| vec![byte[0]; length]);
    prop_oneof![
        3 => (0..200_usize).prop_flat_map(filled),
        2 => any::<i8>().prop_map(|n| n.to_string().into_bytes()),
        1 => (1_900..2_100_usize).prop_flat_map(filled),
        1 => Just(i64::MAX.to_string().into_bytes()),
    ]
    .prop_map(Bytes::from)
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        3 => Just(Expiry::Never),
        2 => Just(Expiry::Keep),
        4 => (1..60_u64).prop_map(|ms| Expiry::After(Ttl::from_millis(ms).expect("at least 1"))),
        1 => (0..200_u64).prop_map(|at| Expiry::At(Timestamp(at))),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        6 => Just(Condition::Always),
        1 => Just(Condition::Absent),
        2 => Just(Condition::Present),
        2 => Just(Condition::Version(CURRENT)),
        1 => (0..9_u64).prop_map(|version| Condition::Version(Version(version))),
    ]
}

pub(crate) fn settings() -> impl Strategy<Value = Settings> {
    let max_bytes = prop_oneof![Just(0), Just(300), Just(700), Just(1_500), Just(4_500), Just(20_000)];
    let max_keys = prop_oneof![3 => Just(0_u64), 1 => 1..8_u64];
    let max_value_bytes = prop_oneof![3 => Just(1 << 20), 1 => Just(100_u64)];
    (max_bytes, max_keys, prop::sample::select(Eviction::ALL.to_vec()), max_value_bytes).prop_map(
        |(max_bytes, max_keys, eviction, max_value_bytes)| Settings {
            max_bytes,
            max_keys,
            eviction,
            max_value_bytes,
            voters: 0,
        },
    )
}

fn change() -> impl Strategy<Value = SettingsChange> {
    (settings(), any::<[bool; 4]>()).prop_map(|(settings, wanted)| SettingsChange {
        max_bytes: wanted[0].then_some(settings.max_bytes),
        max_keys: wanted[1].then_some(settings.max_keys),
        eviction: wanted[2].then_some(settings.eviction),
        max_value_bytes: wanted[3].then_some(settings.max_value_bytes),
        voters: None,
    })
}

pub(crate) fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        24 => (key(), value(), expiry(), condition())
            .prop_map(|(key, value, expiry, condition)| Command::Set { key, value, expiry, condition }),
        4 => (key(), condition()).prop_map(|(key, condition)| Command::Delete { key, condition }),
        6 => (key(), expiry(), condition())
            .prop_map(|(key, expiry, condition)| Command::Expire { key, expiry, condition }),
        6 => (key(), -3..300_i64).prop_map(|(key, by)| Command::Add { key, by }),
        1 => Just(Command::Clear),
        2 => change().prop_map(Command::Configure),
        1 => (any::<u128>(), settings())
            .prop_map(|(hash_seed, settings)| Command::Initialize { hash_seed, settings }),
        1 => (1..=2_u16).prop_map(|level| Command::Raise(Level(level))),
    ]
}

fn transaction() -> impl Strategy<Value = Transaction> {
    let checks = prop_oneof![
        2 => Just(Vec::new()),
        1 => prop::collection::vec((key(), condition()).prop_map(|(key, condition)| Check { key, condition }), 1..3),
    ];
    let mode = prop::sample::select(vec![Mode::Each, Mode::Multi, Mode::All]);
    (mode, checks, prop::collection::vec(command(), 0..8)).prop_map(|(mode, checks, commands)| Transaction {
        mode,
        principal: Principal::Anonymous,
        checks: if mode == Mode::Each { Vec::new() } else { checks },
        commands,
    })
}

fn query() -> impl Strategy<Value = Query> {
    prop_oneof![
        key().prop_map(Query::Get),
        key().prop_map(Query::Describe),
        (0..20_u64, 0..6_usize, prop_oneof![Just(""), Just("a")], any::<bool>()).prop_map(
            |(cursor, limit, prefix, values)| {
                Query::Scan { cursor, limit, prefix: Bytes::from(prefix), values }
            }
        ),
        prop::collection::vec(prop_oneof![key().prop_map(Query::Get), key().prop_map(Query::Describe)], 0..4)
            .prop_map(Query::Many),
    ]
}

fn reads() -> impl Strategy<Value = Vec<(usize, Query)>> {
    prop::collection::vec((0..9_usize, query()), 0..4).prop_map(|mut reads| {
        reads.sort_by_key(|(at, _)| *at);
        reads
    })
}

/// One entry; times may go backwards, touches may be wrong.
pub(crate) fn entry() -> impl Strategy<Value = Entry> {
    let version = prop_oneof![4 => Just(CURRENT), 1 => (0..20_u64).prop_map(Version)];
    let touch = (0..18_u32, version).prop_map(|(slot, version)| Touch { slot: Slot(slot), version });
    let touches = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(touch, 0..6)];
    (0..300_u64, touches, prop::collection::vec((transaction(), reads()), 0..4)).prop_map(
        |(at, touches, mut transactions)| {
            for (transaction, reads) in &mut transactions {
                reads.iter_mut().for_each(|(at, _)| *at = (*at).min(transaction.commands.len()));
            }
            Entry { at: Timestamp(at), touches, transactions }
        },
    )
}

/// A log whose time goes on by some milliseconds an entry, now and then backwards.
pub(crate) fn log(entries: usize) -> impl Strategy<Value = Vec<Entry>> {
    prop::collection::vec(entry(), 1..entries).prop_map(|mut entries| {
        for (n, entry) in entries.iter_mut().enumerate() {
            entry.at = Timestamp((n as u64 * 8).saturating_sub(10) + entry.at.0 % 25);
        }
        entries
    })
}
