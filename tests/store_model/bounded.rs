//! Bounded apply: work is counted in removals, never in time.

use kvorum::model::{Command, Eviction, Expiry, Mode, Outcome, Settings, Slot, Timestamp, Touch, Version};
use kvorum::store::{Effects, Store};

use crate::fixture::{Fixture, set, set_with, transaction, ttl};

const STEPS: u64 = 1_024;

/// Goal: whatever is due, the opening of an entry removes at most so many expired and evicts at most so many.
#[test]
fn opening_an_entry_does_a_bounded_amount_of_work() {
    let mut fixture = Fixture::unlimited();
    for n in 0..5 {
        let volatile = (0..2_000).map(|m| set_with(&format!("v{n}/{m}"), 1, ttl(10))).collect();
        fixture.run_all(Mode::Each, volatile);
        fixture.run_all(Mode::Each, (0..2_000).map(|m| set(&format!("l{n}/{m}"), 1)).collect());
    }
    fixture.configure(|settings| settings.max_keys = 1);
    let mut entries = 0;
    while fixture.store.len() > 1 {
        fixture.at(2_000);
        let changes = fixture.effects.changes;
        assert!(changes.expired <= 2 * STEPS && changes.evicted <= STEPS);
        assert!(changes.expired + changes.evicted <= 2 * STEPS);
        entries += 1;
    }
    assert!(entries >= 20_000 / (2 * STEPS));
}

/// Goal: a command evicts no more than its own bytes need.
#[test]
fn a_command_evicts_only_what_its_own_bytes_need() {
    let mut fixture = Fixture::limited(100 * 1_000, Eviction::Lru);
    fixture.run_all(Mode::Each, (0..1_000).map(|n| set(&format!("{n:04}"), 32)).collect());
    assert_eq!(fixture.store.bytes(), 100_000);
    fixture.run(set("big0", 932));
    assert_eq!(fixture.effects.changes.evicted, 10);
    fixture.run_all(Mode::Multi, (0..7).map(|n| set(&format!("+{n:03}"), 32)).collect());
    assert_eq!(fixture.effects.changes.evicted, 7);
}

/// Goal: FLUSHALL touches no entry: it lists none, and hands the whole away.
#[test]
fn flushall_lists_no_keys_and_hands_the_memory_away() {
    let mut fixture = Fixture::unlimited();
    for n in 0..10 {
        fixture.run_all(Mode::Each, (0..1_000).map(|m| set(&format!("{n}/{m}"), 1)).collect());
    }
    assert_eq!(fixture.run(Command::Clear), Outcome::Cleared { keys: 10_000 });
    assert_eq!((fixture.effects.removals().len(), fixture.effects.garbage.len()), (1, 1));
}

/// Goal: large values that are overwritten, deleted or evicted are not freed under the lock.
#[test]
fn large_values_are_freed_elsewhere() {
    let mut fixture = Fixture::new(Settings { max_bytes: 300_000, ..Settings::default() });
    fixture.run(set("a", 100_000));
    fixture.run(set("a", 100_001));
    assert_eq!(fixture.effects.garbage.len(), 1);
    fixture.run(set("b", 150_000));
    fixture.run(set("c", 150_000 - 300));
    assert_eq!((fixture.effects.changes.evicted, fixture.effects.garbage.len()), (1, 1));
}

/// Goal: no touch, scan page or sweep of an empty store costs anything that grows with the slots once used.
#[test]
fn a_scan_page_visits_a_bounded_number_of_slots() {
    let mut fixture = Fixture::unlimited();
    for n in 0..3 {
        fixture.run_all(Mode::Each, (0..10_000).map(|m| set_with(&format!("{n}/{m}"), 1, ttl(10))).collect());
    }
    fixture.run(set("last", 1));
    while fixture.store.len() > 1 {
        fixture.at(1_010);
    }
    let mut cursor = 0;
    let mut pages = Vec::new();
    loop {
        let query =
            kvorum::model::Query::Scan { cursor, limit: 10, prefix: bytes::Bytes::new(), values: false };
        let kvorum::model::Answer::Page(page) = fixture.store.read(Timestamp(1_010), &query) else {
            unreachable!()
        };
        pages.push(page.items.len());
        match page.cursor {
            Some(next) => cursor = next,
            None => break,
        }
    }
    assert_eq!(pages, [0, 0, 0, 1], "10,000 slots a page");
}

/// Goal: a transaction's search for victims passes each of its own keys once, not once for each victim.
#[test]
fn protected_keys_at_the_tail_do_not_multiply_the_search() {
    for policy in [Eviction::Lru, Eviction::VolatileLru, Eviction::VolatileTtl] {
        let mut store = Store::new();
        let mut effects = Effects::new();
        let name = |n: u32| format!("{n:05}");
        store.transact(
            &transaction(Mode::Each, (0..10_000).map(|n| set_with(&name(n), 31, ttl(50))).collect()),
            &[],
            &mut effects,
        );
        let settings = Settings { max_bytes: store.bytes(), eviction: policy, ..Settings::default() };
        store.transact(
            &transaction(Mode::Each, vec![Command::Configure(settings.into())]),
            &[],
            &mut effects,
        );
        // New keys first, the oldest 4,000 last: each new key evicts while the old ones stand at the tail,
        // protected.
        let new = (20_000..24_000).map(|n| set_with(&name(n), 31, ttl(50)));
        let old = (0..4_000).map(|n| Command::Expire {
            key: crate::fixture::key(&name(n)),
            expiry: Expiry::Keep,
            condition: kvorum::model::Condition::Always,
        });
        let before = store.victims_considered();
        effects.clear();
        store.transact(&transaction(Mode::Each, new.chain(old).collect()), &[], &mut effects);
        assert_eq!(effects.changes.evicted, 4_000);
        let considered = store.victims_considered() - before;
        assert!(considered <= 2 * 4_000 + 4_000 + 1, "{policy}: {considered} looks for 4,000 victims");
        let touch = Touch { slot: Slot(0), version: Version(1) };
        store.open_entry(Timestamp(1), &[touch], &mut effects);
    }
}
