//! The codec keeps values, refuses what is damaged and never panics.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::model::limits::MAX_DEADLINE_MS;
use crate::model::{
    Check, Command, Condition, Eviction, Expiry, Key, Level, LogEntry, Mode, Principal, Settings,
    SettingsChange, Slot, Timestamp, Touch, Transaction, Ttl, Version,
};

fn key() -> impl Strategy<Value = Key> {
    prop::collection::vec(any::<u8>(), 1..40).prop_map(|bytes| Key::new(bytes).expect("1 to 39 bytes"))
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        Just(Condition::Always),
        Just(Condition::Absent),
        Just(Condition::Present),
        any::<u64>().prop_map(|v| Condition::Version(Version(v))),
    ]
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        Just(Expiry::Never),
        Just(Expiry::Keep),
        (1..=MAX_DEADLINE_MS).prop_map(|ms| Expiry::After(Ttl::from_millis(ms).expect("in range"))),
        any::<u64>().prop_map(|ms| Expiry::At(Timestamp(ms))),
    ]
}

fn eviction() -> impl Strategy<Value = Eviction> {
    prop::sample::select(Eviction::ALL.to_vec())
}

fn change() -> impl Strategy<Value = SettingsChange> {
    let numbers = [(); 4].map(|()| any::<Option<u64>>());
    (numbers, prop::option::of(eviction())).prop_map(
        |([max_bytes, max_keys, max_value_bytes, voters], eviction)| SettingsChange {
            max_bytes,
            max_keys,
            eviction,
            max_value_bytes,
            voters,
        },
    )
}

fn command() -> impl Strategy<Value = Command> {
    let value = prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    prop_oneof![
        (key(), value, expiry(), condition()).prop_map(|(key, value, expiry, condition)| Command::Set {
            key,
            value,
            expiry,
            condition
        }),
        (key(), condition()).prop_map(|(key, condition)| Command::Delete { key, condition }),
        (key(), expiry(), condition()).prop_map(|(key, expiry, condition)| Command::Expire {
            key,
            expiry,
            condition
        }),
        (key(), any::<i64>()).prop_map(|(key, by)| Command::Add { key, by }),
        Just(Command::Clear),
        change().prop_map(Command::Configure),
        (any::<u128>(), change()).prop_map(|(hash_seed, change)| Command::Initialize {
            hash_seed,
            settings: change.applied_to(Settings::default()),
        }),
        any::<u16>().prop_map(|level| Command::Raise(Level(level))),
    ]
}

fn transaction() -> impl Strategy<Value = Transaction> {
    let mode = prop::sample::select(vec![Mode::Each, Mode::Multi, Mode::All]);
    let check = (key(), condition()).prop_map(|(key, condition)| Check { key, condition });
    (mode, prop::collection::vec(check, 0..3), prop::collection::vec(command(), 0..5)).prop_map(
        |(mode, checks, commands)| Transaction { mode, principal: Principal::Anonymous, checks, commands },
    )
}

fn entry() -> impl Strategy<Value = LogEntry> {
    let touch = (any::<u32>(), any::<u64>())
        .prop_map(|(slot, version)| Touch { slot: Slot(slot), version: Version(version) });
    (
        // Below it, encoding leaves out what there is not yet.
        Level::VOTERS.0..,
        any::<u64>(),
        prop::collection::vec(touch, 0..5),
        prop::collection::vec(transaction(), 0..4),
    )
        .prop_map(|(level, at, touches, transactions)| LogEntry {
            level: Level(level),
            at: Timestamp(at),
            touches,
            transactions,
        })
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(entry in entry()) {
        let bytes = encode(&entry);
        prop_assert_eq!(decode(&bytes).expect("own encoding"), entry);
    }

    #[test]
    fn damage_is_an_error_or_another_entry_but_no_panic(entry in entry(), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut bytes = encode(&entry).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        let _ = decode(&Bytes::from(bytes));
    }

    #[test]
    fn every_truncation_is_refused(entry in entry()) {
        let bytes = encode(&entry);
        for end in 0..bytes.len() {
            prop_assert!(decode(&bytes.slice(..end)).is_err());
        }
    }
}

#[test]
fn a_newer_format_is_named_unknown() {
    let bytes = Bytes::from_static(&[2, 0x94]);
    assert_eq!(decode(&bytes), Err(DecodeError::Unknown { what: "format", code: 2 }));
}

#[test]
fn a_huge_count_is_refused_before_anything_is_allocated() {
    let bytes = Bytes::from_static(&[1, 0x94, 1, 1, 0x90, 0xdd, 0xff, 0xff, 0xff, 0xff]);
    assert!(matches!(decode(&bytes), Err(DecodeError::Malformed { .. })));
}

#[test]
fn an_entry_of_a_lower_level_has_no_part_that_came_later() {
    let change = SettingsChange { max_keys: Some(5), voters: Some(3), ..SettingsChange::default() };
    let entry = |level| LogEntry {
        level,
        at: Timestamp(1),
        touches: Vec::new(),
        transactions: vec![Transaction::single(Command::Configure(change))],
    };
    let read = |level| decode(&encode(&entry(level))).expect("own encoding");
    assert_eq!(read(Level::VOTERS), entry(Level::VOTERS));
    let without = SettingsChange { voters: None, ..change };
    assert_eq!(read(Level::FIRST).transactions[0].commands, [Command::Configure(without)]);
}
