//! Rules about room: who is evicted, who is refused, and how lowered limits are reached.
//!
//! With one-letter keys and values of 35 bytes an entry costs 100.

use kvorum::model::{Eviction, Expiry, Mode, Outcome, Reason, Timestamp};

use crate::fixture::{Fixture, add, delete, expire, set, set_with, ttl};

const EVICTED: Reason = Reason::Evicted;

#[test]
fn lru_takes_the_older_of_the_two_tails() {
    let mut fixture = Fixture::limited(400, Eviction::Lru);
    fixture.run_all(
        Mode::Each,
        vec![set("a", 35), set_with("b", 35, ttl(900)), set("c", 35), set_with("d", 35, ttl(9))],
    );
    fixture.run(set("e", 35));
    fixture.assert_removed(&[("a", EVICTED)]);
    fixture.run(set("f", 35));
    fixture.assert_removed(&[("b", EVICTED)]);
    let version = fixture.entry("c").version.0;
    fixture.touch(2, version);
    fixture.run(set("g", 35));
    fixture.assert_removed(&[("d", EVICTED)]);
    assert_eq!(fixture.store.counters().evictions, 3);
}

#[test]
fn volatile_lru_takes_the_least_recent_entry_with_a_deadline() {
    let mut fixture = Fixture::limited(300, Eviction::VolatileLru);
    fixture.run_all(Mode::Each, vec![set("a", 35), set_with("b", 35, ttl(9)), set_with("c", 35, ttl(5))]);
    fixture.run(set("d", 35));
    fixture.assert_removed(&[("b", EVICTED)]);
    fixture.run(set("e", 35));
    fixture.assert_removed(&[("c", EVICTED)]);
    assert_eq!(fixture.run(set("f", 35)), Outcome::OutOfMemory);
}

#[test]
fn volatile_ttl_goes_by_deadline_then_slot() {
    let mut fixture = Fixture::limited(400, Eviction::VolatileTtl);
    let commands =
        vec![set("a", 35), set_with("b", 35, ttl(9)), set_with("c", 35, ttl(5)), set_with("d", 35, ttl(5))];
    fixture.run_all(Mode::Each, commands);
    fixture.run(expire("c", ttl(5)));
    for (name, victim) in [("e", "c"), ("f", "d"), ("g", "b")] {
        fixture.run(set(name, 35));
        fixture.assert_removed(&[(victim, EVICTED)]);
    }
}

#[test]
fn noeviction_refuses_writes_that_need_room_and_no_others() {
    let mut fixture = Fixture::limited(200, Eviction::NoEviction);
    fixture.run_all(Mode::Each, vec![set("a", 35), set("b", 34)]);
    assert_eq!(fixture.run(set("c", 0)), Outcome::OutOfMemory);
    assert_eq!(fixture.run(set("b", 36)), Outcome::OutOfMemory);
    assert!(fixture.run(set("b", 35)).is_success());
    assert!(fixture.run(expire("b", ttl(9))).is_success());
    assert!(fixture.run(delete("a")).is_success());
    assert_eq!(fixture.run(add("n", 1)), Outcome::Number { value: 1, version: fixture.entry("n").version });
}

#[test]
fn expired_entries_go_first_under_every_policy() {
    for policy in Eviction::ALL {
        let mut fixture = Fixture::limited(200_000, policy);
        let commands = (0..1_500).map(|n| set_with(&format!("{n:04}"), 32, ttl(5))).collect();
        fixture.run_all(Mode::Each, commands);
        fixture.run_all(Mode::Each, vec![set("old", 33), set_with("volatile", 28, ttl(900))]);
        fixture.configure(|settings| settings.max_bytes = 150_200);
        fixture.at(1_005);
        assert_eq!((fixture.effects.changes.expired, fixture.effects.changes.evicted), (1_024, 0));
        fixture.configure(|settings| settings.max_bytes = 47_800);
        assert!(fixture.run(set("new", 33)).is_success(), "{policy}");
        fixture.assert_removed(&[("1024", Reason::Expired)]);
    }
}

/// Goal: the limit sinks with the accounted bytes in bounded steps, does not rise again on the way, and
/// writes that do not grow the store go through meanwhile.
#[test]
fn a_lowered_limit_is_reached_in_steps_and_never_rises_on_the_way() {
    let mut fixture = Fixture::unlimited();
    let commands = (0..5_000).map(|n| set(&format!("{n:04}"), 32)).collect();
    fixture.run_all(Mode::Each, commands);
    fixture.configure(|settings| settings.max_bytes = 100_000);
    assert_eq!(fixture.store.effective_limits().max_bytes, 500_000);
    for (n, left) in [397_600, 295_200, 192_800, 100_000, 100_000].into_iter().enumerate() {
        fixture.at(1_001);
        assert!(fixture.effects.changes.evicted <= 1_024);
        assert_eq!(fixture.store.bytes(), left);
        assert_eq!(fixture.store.effective_limits().max_bytes, left, "the limit sinks with the bytes");
        assert!(fixture.run(set("4999", 32)).is_success());
        assert_eq!((fixture.store.bytes(), fixture.effects.changes.evicted), (left, 0));
        assert!(fixture.run(set(&format!("+{n:03}"), 32)).is_success());
        assert_eq!(fixture.effects.changes.evicted, 1, "room is made, the limit does not give way");
        assert_eq!(fixture.store.bytes(), left);
    }
    fixture.run(delete("4999"));
    assert_eq!(fixture.store.effective_limits().max_bytes, 100_000);
}

/// Goal: bytes that a deletion frees on the way to a lowered limit are gone for good.
#[test]
fn the_limit_follows_a_deletion_and_does_not_rise_again() {
    let mut fixture = Fixture::unlimited();
    fixture.run_all(Mode::Each, vec![set("a", 35), set("b", 35), set("c", 35)]);
    fixture.configure(|settings| {
        settings.max_bytes = 100;
        settings.eviction = Eviction::NoEviction;
    });
    fixture.run(delete("a"));
    assert_eq!(fixture.store.effective_limits().max_bytes, 200);
    assert_eq!(fixture.run(set("a", 35)), Outcome::OutOfMemory);
}

#[test]
fn a_raised_target_raises_the_limit_at_once() {
    let mut fixture = Fixture::limited(200, Eviction::NoEviction);
    fixture.run_all(Mode::Each, vec![set("a", 35), set("b", 35)]);
    assert_eq!(fixture.run(set("c", 35)), Outcome::OutOfMemory);
    fixture.configure(|settings| settings.max_bytes = 300);
    assert!(fixture.run(set("c", 35)).is_success());
    fixture.configure(|settings| settings.max_bytes = 0);
    assert_eq!(fixture.store.effective_limits().max_bytes, 0);
    assert!(fixture.run(set("d", 3_500)).is_success());
}

#[test]
fn the_limit_on_keys_is_kept_like_the_one_on_bytes() {
    let mut fixture = Fixture::unlimited();
    fixture.configure(|settings| settings.max_keys = 2);
    fixture.run_all(Mode::Each, vec![set("a", 1), set("b", 1)]);
    fixture.run(set("c", 1));
    fixture.assert_removed(&[("a", EVICTED)]);
    fixture.configure(|settings| settings.max_keys = 1);
    assert_eq!(fixture.store.effective_limits().max_keys, 2);
    fixture.at(1_001);
    assert_eq!((fixture.names().as_str(), fixture.store.effective_limits().max_keys), ("c", 1));
    fixture.configure(|settings| settings.eviction = Eviction::NoEviction);
    assert_eq!(fixture.run(set("d", 1)), Outcome::OutOfMemory);
    assert!(fixture.run(set("c", 1_000)).is_success());
}

#[test]
fn what_is_larger_than_the_limit_is_refused_under_every_policy_and_evicts_nothing() {
    for policy in Eviction::ALL {
        for mode in [Mode::Each, Mode::Multi, Mode::All] {
            let mut fixture = Fixture::limited(300, policy);
            fixture.run_all(Mode::Each, vec![set("a", 35), set_with("b", 35, ttl(9))]);
            assert_eq!(
                fixture.run_all(mode, vec![set("c", 236)]),
                [Outcome::OutOfMemory],
                "{policy} {mode:?}"
            );
            fixture.assert_removed(&[]);
        }
        let mut fixture = Fixture::limited(300, policy);
        fixture.run_all(Mode::Each, vec![set("a", 35), set_with("b", 35, ttl(9))]);
        let commands = vec![set("c", 35), set("d", 35), set("e", 36)];
        assert_eq!(fixture.run_all(Mode::Multi, commands), [Outcome::OutOfMemory; 3], "{policy}");
        fixture.assert_removed(&[]);
        assert_eq!(fixture.names(), "a b");
    }
}

/// Goal: the keys that a transaction's commands may write are never evicted for it, whatever becomes of the
/// commands.
#[test]
fn keys_of_the_transaction_are_never_victims() {
    for (policy, mode) in
        Eviction::ALL.iter().flat_map(|p| [(*p, Mode::Each), (*p, Mode::Multi), (*p, Mode::All)])
    {
        let mut fixture = Fixture::limited(400, policy);
        let names = ["a", "b", "c", "d"];
        fixture.run_all(Mode::Each, names.map(|name| set_with(name, 35, ttl(99))).to_vec());
        let commands = vec![set("e", 35), expire("a", Expiry::Keep), expire("c", ttl(7)), set("f", 35)];
        let outcomes = fixture.run_all(mode, commands);
        if policy == Eviction::NoEviction {
            assert!(outcomes.contains(&Outcome::OutOfMemory));
            continue;
        }
        assert!(outcomes.iter().all(Outcome::is_success), "{policy} {mode:?}: {outcomes:?}");
        fixture.assert_removed(&[("b", EVICTED), ("d", EVICTED)]);
        let outcomes = fixture.run_all(
            mode,
            vec![
                set("g", 35),
                expire("a", Expiry::Keep),
                set("e", 35),
                delete("f"),
                expire("c", Expiry::Keep),
            ],
        );
        let is_each = mode == Mode::Each;
        assert_eq!(
            outcomes[0] == Outcome::OutOfMemory,
            is_each,
            "only afterwards is there room: {policy} {mode:?}"
        );
        fixture.assert_removed(&[("f", Reason::Deleted)]);
        // The order of deadlines is whole again: c, then a.
        fixture.configure(|settings| settings.eviction = Eviction::VolatileTtl);
        assert_eq!(fixture.store.next_deadline(), Some(Timestamp(1_007)));
        fixture.configure(|settings| settings.max_keys = 2);
        fixture.at(1_001);
        assert!(fixture.names().contains('e'));
        assert!(!fixture.names().contains('c'), "{policy} {mode:?}: {}", fixture.names());
    }
}

#[test]
fn accounted_bytes_sink_with_the_store_and_the_effective_limit_with_them() {
    let mut fixture = Fixture::unlimited();
    fixture.run_all(Mode::Each, vec![set("a", 135), set("b", 35)]);
    fixture.configure(|settings| {
        settings.max_bytes = 100;
        settings.eviction = Eviction::NoEviction;
    });
    assert_eq!(fixture.store.effective_limits().max_bytes, 300);
    fixture.run(set("a", 35));
    assert_eq!(fixture.store.effective_limits().max_bytes, 200);
    assert_eq!(fixture.run(set("a", 36)), Outcome::OutOfMemory);
}
