//! Rules about single keys, time, versions, slots and reads.

use bytes::Bytes;
use kvorum::model::{
    Answer, Check, Command, Condition, Eviction, Expiry, Mode, Outcome, Query, Reason, Settings, Timestamp,
    Transaction, Version,
};
use kvorum::store::Effects;

use crate::fixture::{Fixture, add, delete, expire, key, set, set_if, set_with, transaction, ttl};

type Judge = fn(&Outcome) -> bool;

/// Goal: at its deadline a key is absent to every command, condition, check and read, and the first command
/// about it removes it with reason expired.
#[test]
fn a_key_at_its_deadline_is_absent_in_every_command() {
    // So many expire with it, in lower slots, that the sweep of one entry does not come to it.
    let due = || {
        let mut fixture = Fixture::unlimited();
        fixture.run_all(Mode::Each, (0..1_100).map(|n| set_with(&format!("older {n}"), 1, ttl(1))).collect());
        fixture.run(set_with("k", 1, ttl(1)));
        fixture
    };
    let cases: [(Command, Judge); 5] = [
        (set_if("k", Condition::Absent), |o| matches!(o, Outcome::Written { created: true, .. })),
        (set_if("k", Condition::Present), |o| *o == Outcome::Unmet { version: Version::ABSENT }),
        (delete("k"), |o| *o == Outcome::Absent),
        (expire("k", Expiry::Never), |o| *o == Outcome::Absent),
        (add("k", 5), |o| matches!(o, Outcome::Number { value: 5, .. })),
    ];
    for (command, is_right) in cases {
        let mut fixture = due();
        fixture.at(1_001);
        assert_eq!(fixture.entry("k").deadline, Some(Timestamp(1_001)), "it is still there");
        let outcome = fixture.run(command.clone());
        assert!(is_right(&outcome), "{command:?}: {outcome:?}");
    }
    let mut fixture = due();
    let check = Check { key: key("k"), condition: Condition::Absent };
    let when = |mode| Transaction { checks: vec![check.clone()], ..transaction(mode, vec![set("other", 1)]) };
    assert_eq!(fixture.apply(&when(Mode::Multi)), [Outcome::Aborted]);
    fixture.at(1_001);
    assert!(fixture.apply(&when(Mode::Multi))[0].is_success());
    assert_eq!(fixture.get("k"), None);
}

/// Goal: what expired but is not yet swept is removed by the command that meets it, with reason expired.
#[test]
fn a_command_that_meets_an_expired_key_removes_it_as_expired() {
    let mut fixture = Fixture::unlimited();
    let commands = (0..1_100).map(|n| set_with(&format!("k{n}"), 1, ttl(5))).collect();
    fixture.run_all(Mode::Each, commands);
    fixture.at(1_005);
    assert_eq!(
        (fixture.effects.changes.expired, fixture.store.len()),
        (1_024, 76),
        "one entry sweeps so many"
    );
    assert_eq!(fixture.get("k1099"), None);
    assert_eq!(fixture.run(delete("k1099")), Outcome::Absent);
    fixture.assert_removed(&[("k1099", Reason::Expired)]);
    assert_eq!(fixture.store.counters().expirations, 1_025);
}

#[test]
fn time_never_runs_backwards() {
    let mut fixture = Fixture::unlimited();
    fixture.run(set_with("k", 1, ttl(10)));
    fixture.at(1_010);
    fixture.at(500);
    assert_eq!(fixture.store.now(), Timestamp(1_010));
    assert_eq!(fixture.get("k"), None);
}

/// Goal: SET, a changed deadline and a deletion take one revision each, FLUSHALL takes one, touches, expiry
/// and eviction take none; a key's version is the revision of its last change.
#[test]
fn revision_grows_by_one_for_each_key_changed() {
    let mut fixture = Fixture::unlimited();
    let grown = |fixture: &mut Fixture, by: u64, what: &str, change: &dyn Fn(&mut Fixture)| {
        let before = fixture.store.revision();
        change(fixture);
        assert_eq!(fixture.store.revision() - before, by, "{what}");
    };
    grown(&mut fixture, 1, "SET", &|f| {
        f.run(set("a", 3));
    });
    grown(&mut fixture, 1, "the same SET", &|f| {
        f.run(set("a", 3));
    });
    assert_eq!(fixture.entry("a").version, Version(2));
    grown(&mut fixture, 3, "MSET of three", &|f| {
        f.run_all(Mode::All, vec![set("b", 1), set("c", 1), set_with("d", 1, ttl(10))]);
    });
    grown(&mut fixture, 1, "EXPIRE", &|f| {
        f.run(expire("b", ttl(9)));
    });
    assert_eq!(fixture.entry("b").version, Version(6));
    grown(&mut fixture, 1, "DELETE", &|f| {
        f.run(delete("c"));
    });
    grown(&mut fixture, 0, "DELETE of nothing", &|f| {
        f.run(delete("c"));
    });
    grown(&mut fixture, 0, "an unmet condition", &|f| {
        f.run(set_if("a", Condition::Absent));
    });
    grown(&mut fixture, 0, "touch", &|f| f.touch(0, 2));
    grown(&mut fixture, 0, "expiry", &|f| f.at(1_100));
    assert_eq!(fixture.names(), "a");
    grown(&mut fixture, 1, "SETTINGS and the SET that evicts", &|f| {
        f.configure(|settings| settings.max_keys = 1);
        f.run(set("e", 1));
    });
    assert_eq!(fixture.names(), "e");
    grown(&mut fixture, 1, "FLUSHALL", &|f| {
        f.run(Command::Clear);
    });
    grown(&mut fixture, 1, "FLUSHALL of nothing", &|f| {
        f.run(Command::Clear);
    });
}

/// Goal: every write and touch takes a recency of its own, the next one.
#[test]
fn recency_is_unique_for_each_write_and_touch() {
    let mut fixture = Fixture::unlimited();
    fixture.run_all(Mode::Multi, vec![set("a", 1), set("b", 1), expire("a", Expiry::Keep), add("n", 1)]);
    let recency = |f: &Fixture, name| f.entry(name).recency.0;
    assert_eq!((recency(&fixture, "b"), recency(&fixture, "a"), recency(&fixture, "n")), (2, 3, 4));
    let version = fixture.entry("b").version.0;
    fixture.touch(1, version);
    assert_eq!((recency(&fixture, "b"), fixture.store.globals().recency), (5, 5));
}

#[test]
fn a_touch_of_another_version_or_of_an_expired_entry_is_ignored() {
    let mut fixture = Fixture::unlimited();
    fixture.run(set("a", 1));
    fixture.run(set_with("b", 1, ttl(10)));
    let hash = fixture.store.state_hash();
    fixture.touch(0, 2);
    fixture.touch(0, 0);
    fixture.touch(7, 0);
    assert_eq!(fixture.store.state_hash(), hash);
    fixture.store.open_entry(
        Timestamp(1_010),
        &[kvorum::model::Touch { slot: kvorum::model::Slot(1), version: Version(2) }],
        &mut fixture.effects,
    );
    assert_eq!((fixture.store.globals().recency, fixture.names().as_str()), (2, "a"));
}

#[test]
fn a_new_key_takes_the_lowest_free_slot_and_an_overwrite_keeps_its_own() {
    let mut fixture = Fixture::unlimited();
    for name in ["a", "b", "c", "d"] {
        fixture.run(set(name, 1));
    }
    fixture.run(delete("c"));
    fixture.run(delete("a"));
    fixture.run(set_with("b", 3_000, ttl(9)));
    fixture.run(set("e", 1));
    fixture.run(set("f", 1));
    fixture.run(set("g", 1));
    assert_eq!(fixture.names(), "e b f d g");
}

#[test]
fn an_entry_costs_its_key_its_value_and_a_constant() {
    let mut fixture = Fixture::unlimited();
    fixture.run(set_with("key", 100, ttl(5)));
    assert_eq!(fixture.store.bytes(), 3 + 100 + 64);
    fixture.run(set("key", 5_000));
    assert_eq!(fixture.store.bytes(), 3 + 5_000 + 64);
    fixture.run(delete("key"));
    assert_eq!((fixture.store.bytes(), fixture.store.len()), (0, 0));
}

/// Goal: a deadline that is not after the present removes the key at once, takes a revision, and is reported
/// as expiry.
#[test]
fn a_deadline_in_the_past_removes_at_once() {
    let mut fixture = Fixture::unlimited();
    fixture.run(set("a", 1));
    let past = Expiry::At(Timestamp(1_000));
    let outcome = fixture.run(expire("a", past));
    let gone = |version, created| Outcome::Written { version, created, deadline: Some(Timestamp(1_000)) };
    assert_eq!(outcome, gone(Version(2), false));
    fixture.assert_removed(&[("a", Reason::Expired)]);
    assert_eq!(fixture.run(set_with("b", 1, past)), gone(Version(3), true));
    fixture.assert_removed(&[("b", Reason::Expired)]);
    assert_eq!((fixture.store.len(), fixture.store.next_deadline()), (0, None));
}

#[test]
fn a_value_longer_than_the_setting_is_refused() {
    let mut fixture = Fixture::new(Settings { max_value_bytes: 10, ..Settings::default() });
    assert_eq!(fixture.run(set("a", 11)), Outcome::ValueTooLarge);
    assert!(fixture.run(set("a", 10)).is_success());
    fixture.configure(|settings| settings.max_value_bytes = 11);
    assert!(fixture.run(set("a", 11)).is_success());
}

#[test]
fn add_counts_from_zero_keeps_the_deadline_and_refuses_what_is_no_number() {
    let mut fixture = Fixture::unlimited();
    assert_eq!(fixture.run(add("n", -7)), Outcome::Number { value: -7, version: Version(1) });
    fixture.run(expire("n", ttl(50)));
    assert_eq!(fixture.run(add("n", 10)), Outcome::Number { value: 3, version: Version(3) });
    assert_eq!(fixture.entry("n").deadline, Some(Timestamp(1_050)));
    assert_eq!(fixture.run(add("n", i64::MAX)), Outcome::Overflow);
    fixture.run(set("text", 1));
    assert_eq!(fixture.run(add("text", 1)), Outcome::NotAnInteger);
    assert_eq!(fixture.get("n").as_deref(), Some(&b"3"[..]));
}

#[test]
fn only_the_first_initialize_counts() {
    let mut fixture = Fixture::limited(500, Eviction::NoEviction);
    let hash = fixture.store.state_hash();
    fixture.run(Command::Initialize { hash_seed: 7, settings: Settings::default() });
    assert_eq!(fixture.store.state_hash(), hash);
    assert_eq!((fixture.store.settings().max_bytes, fixture.store.globals().hash_seed), (500, 42));
}

#[test]
fn flushall_removes_everything_and_is_one_removal() {
    let mut fixture = Fixture::unlimited();
    fixture.run_all(Mode::Each, vec![set("a", 1), set_with("b", 9_000, ttl(5)), set("c", 1)]);
    assert_eq!(fixture.run(Command::Clear), Outcome::Cleared { keys: 3 });
    fixture.assert_removed(&[("", Reason::Cleared)]);
    assert_eq!((fixture.store.len(), fixture.store.bytes(), fixture.names().as_str()), (0, 0, ""));
    fixture.run(set("d", 1));
    assert_eq!((fixture.names().as_str(), fixture.entry("d").version), ("d", Version(5)));
}

/// Goal: a read sees the commands before it in its own transaction, and nothing of a refused one.
#[test]
fn reads_within_a_transaction_see_the_commands_before_them() {
    let mut fixture = Fixture::unlimited();
    let get = || Query::Get(key("a"));
    let scan = || Query::Scan { cursor: 0, limit: 10, prefix: Bytes::new(), values: false };
    let reads = [(0, get()), (1, get()), (2, scan()), (2, get())];
    let seen = |effects: &Effects| -> Vec<usize> {
        let size = |answer: &Answer| match answer {
            Answer::Value(found) => found.as_ref().map_or(0, |found| found.value.len()),
            Answer::Page(page) => page.items.len(),
            other => unreachable!("{other:?}"),
        };
        effects.answers.iter().map(size).collect()
    };
    for mode in [Mode::Multi, Mode::All, Mode::Each] {
        fixture.run(Command::Clear);
        fixture.store.transact(
            &transaction(mode, vec![set("a", 5), set("a", 9)]),
            &reads,
            &mut fixture.effects,
        );
        assert_eq!(seen(&fixture.effects), [0, 5, 1, 9], "{mode:?}");
    }
    fixture.run(Command::Clear);
    let refused = transaction(Mode::All, vec![set("a", 5), set_if("a", Condition::Absent)]);
    fixture.store.transact(&refused, &reads, &mut fixture.effects);
    assert_eq!(seen(&fixture.effects), [0, 0, 0, 0]);
}

#[test]
fn a_large_value_is_shared_and_a_small_one_is_copied() {
    let mut fixture = Fixture::unlimited();
    fixture.run_all(Mode::Each, vec![set("small", 100), set("large", 100_000)]);
    let twice = |name| (fixture.get(name).expect("it is there"), fixture.get(name).expect("it is there"));
    let (one, other) = twice("large");
    assert_eq!(one.as_ptr(), other.as_ptr());
    let (one, other) = twice("small");
    assert_ne!(one.as_ptr(), other.as_ptr());
}

/// Goal: reads take the time that they are given, so that stale reads can use an estimate.
#[test]
fn a_read_decides_presence_at_the_time_given() {
    let mut fixture = Fixture::unlimited();
    fixture.run(set_with("k", 1, ttl(10)));
    let is_there = |at| fixture.store.read(Timestamp(at), &Query::Describe(key("k"))) != Answer::Item(None);
    assert!(is_there(1_009) && !is_there(1_010));
    assert_eq!(fixture.store.next_deadline(), Some(Timestamp(1_010)));
}

#[test]
fn a_store_can_be_shared_and_sent() {
    fn assert_shared<T: Send + Sync>() {}
    assert_shared::<kvorum::store::Store>();
    assert_shared::<kvorum::store::Garbage>();
    assert_shared::<kvorum::store::Side>();
}
