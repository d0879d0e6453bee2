//! Rules about cuts and loaders.

use kvorum::model::{Command, Eviction, Mode, Recency, Settings, Slot, Timestamp, Version};
use kvorum::store::{CutActive, Globals, Invalid, Loader, RecordRef, Store, Walk};

use crate::fixture::{Fixture, delete, set, set_with, ttl};

fn three() -> Fixture {
    let mut fixture = Fixture::unlimited();
    fixture.run_all(Mode::Each, vec![set("a", 10), set_with("b", 5_000, ttl(50)), set("c", 10)]);
    fixture
}

#[test]
fn there_is_one_cut_at_a_time() {
    let mut fixture = three();
    assert!(fixture.store.begin_cut(1_000).is_ok());
    assert_eq!(fixture.store.begin_cut(1_000), Err(CutActive));
    fixture.store.abandon_cut(&mut fixture.effects);
    assert_eq!(fixture.store.walk(1, 1, &mut |_| {}), Walk::Abandoned);
    assert!(fixture.store.begin_cut(1_000).is_ok());
    assert!(fixture.store.end_cut(&mut fixture.effects).is_none(), "it was not walked to its end");
    assert!(fixture.store.begin_cut(1_000).is_ok());
}

#[test]
fn a_cut_past_its_budget_is_abandoned_and_the_write_goes_on() {
    let mut fixture = three();
    fixture.store.begin_cut(4_000).expect("no other cut");
    assert!(fixture.run(set("a", 1)).is_success());
    assert_eq!(fixture.store.walk(1, 1, &mut |_| {}), Walk::More);
    assert!(fixture.run(set("b", 1)).is_success());
    assert_eq!(fixture.store.walk(1, 1, &mut |_| {}), Walk::Abandoned);
    assert!(fixture.store.drain_side().is_none());
    assert_eq!(fixture.effects.garbage.len(), 1, "what was held is dropped elsewhere");
}

/// Goal: a touch hands over a number, not the entry.
#[test]
fn a_touch_during_a_cut_keeps_only_the_old_recency() {
    let mut fixture = three();
    fixture.store.begin_cut(1_000).expect("no other cut");
    fixture.touch(1, 2);
    assert!(fixture.store.drain_side().is_some_and(|side| side.is_empty()));
    let mut recencies = Vec::new();
    assert_eq!(fixture.store.walk(100, 1 << 20, &mut |record| recencies.push(record.recency.0)), Walk::Done);
    assert_eq!(recencies, [1, 2, 3]);
    assert_eq!(fixture.entry("b").recency, Recency(4));
}

/// Goal: what the walk has passed is not handed over, and neither is what came after the cut.
#[test]
fn only_what_the_walk_has_not_reached_goes_to_the_side() {
    let mut fixture = three();
    fixture.store.begin_cut(1 << 20).expect("no other cut");
    assert_eq!(fixture.store.walk(1, 1 << 20, &mut |_| {}), Walk::More);
    fixture.run_all(Mode::Each, vec![set("a", 1), delete("c"), set("d", 1), set("d", 2), set("e", 1)]);
    let side = fixture.store.drain_side().expect("within budget");
    let mut names = Vec::new();
    side.visit(&mut |record| names.push(record.key.to_vec()));
    assert_eq!(names, [b"c".to_vec()]);
}

#[test]
fn a_walk_stops_after_so_many_slots_or_bytes() {
    let mut fixture = three();
    fixture.store.begin_cut(1 << 20).expect("no other cut");
    let mut seen = 0;
    assert_eq!(fixture.store.walk(0, 0, &mut |_| seen += 1), Walk::More);
    assert_eq!(seen, 1);
    assert_eq!(fixture.store.walk(9, 100, &mut |_| seen += 1), Walk::More);
    assert_eq!(seen, 2);
}

#[test]
fn flushall_gives_the_old_keyspace_to_the_cut() {
    let mut fixture = three();
    fixture.store.begin_cut(1_000).expect("no other cut");
    assert_eq!(fixture.store.walk(1, 1 << 20, &mut |_| {}), Walk::More);
    fixture.run(Command::Clear);
    fixture.run_all(Mode::Each, (0..20).map(|n| set(&format!("{n}"), 500)).collect());
    fixture.run(Command::Clear);
    fixture.run(set("x", 1));
    let mut names = Vec::new();
    assert_eq!(fixture.store.walk(9, 1 << 20, &mut |record| names.push(record.key.to_vec())), Walk::Done);
    assert_eq!(names, [b"b".to_vec(), b"c".to_vec()]);
    assert!(fixture.store.end_cut(&mut fixture.effects).is_some_and(|side| side.is_empty()));
}

fn loaded(globals: Globals, records: &[RecordRef<'_>]) -> Result<Store, Invalid> {
    let mut loader = Loader::new(globals);
    records.iter().try_for_each(|record| loader.push(*record))?;
    loader.finish()
}

/// Goal: a loader takes back what a store had, with its victims, and refuses everything that is not so.
#[test]
fn a_loader_believes_nothing_that_it_can_check() {
    let fixture = three();
    let globals = fixture.store.globals();
    let records: Vec<RecordRef<'_>> = fixture.entries().collect();
    let store = loaded(globals, &records).expect("the records are whole");
    assert_eq!(store.globals(), globals);
    assert_eq!(store.next_deadline(), Some(Timestamp(1_050)));

    let refused = |change: &dyn Fn(&mut Globals, &mut Vec<RecordRef<'_>>)| {
        let (mut globals, mut records) = (globals, records.clone());
        change(&mut globals, &mut records);
        loaded(globals, &records).err()
    };
    assert_eq!(refused(&|_, r| r.truncate(2)), Some(Invalid::Count));
    assert_eq!(refused(&|_, r| r[1].slot = Slot(0)), Some(Invalid::Slot));
    assert_eq!(refused(&|_, r| r[1].key = b"a"), Some(Invalid::Key));
    assert_eq!(refused(&|_, r| r[1].recency = Recency(1)), Some(Invalid::Recency));
    assert_eq!(refused(&|_, r| r[1].recency = Recency(9)), Some(Invalid::Record));
    assert_eq!(refused(&|_, r| r[1].version = Version(9)), Some(Invalid::Record));
    assert_eq!(refused(&|_, r| r[1].version = Version(0)), Some(Invalid::Record));
    assert_eq!(refused(&|_, r| r[1].key = b""), Some(Invalid::Record));
    assert_eq!(refused(&|_, r| r[1].deadline = Some(Timestamp(0))), Some(Invalid::Record));
    assert_eq!(refused(&|_, r| r[1].deadline = Some(Timestamp(1 << 53))), Some(Invalid::Record));
    assert_eq!(refused(&|_, r| r[1].slot = Slot(u32::MAX)), Some(Invalid::Record));
    assert_eq!(refused(&|_, r| r[0].value = b"short"), Some(Invalid::Bytes));
    assert_eq!(refused(&|_, r| r[0].value = b"vvvvvvvvvw"), Some(Invalid::StateHash));
    assert_eq!(refused(&|_, r| r[0].slot = Slot(9)), Some(Invalid::StateHash));
    assert_eq!(refused(&|_, r| r[1].deadline = None), Some(Invalid::StateHash));
    assert_eq!(refused(&|g, _| g.evictions = 1), Some(Invalid::StateHash));
    assert_eq!(refused(&|g, _| g.level.0 = 3), Some(Invalid::Level(kvorum::model::Level(3))));
}

/// Goal: order and gaps of slots survive: the same victims fall and the same slots are taken afterwards.
#[test]
fn a_loaded_store_evicts_and_places_like_the_one_before() {
    let settings = Settings { max_keys: 6, eviction: Eviction::Lru, ..Settings::default() };
    let mut before = Fixture::new(settings);
    let expiry = |n: u64| if n.is_multiple_of(2) { ttl(1_000 + n) } else { kvorum::model::Expiry::Never };
    for n in 0..6 {
        before.run(set_with(&format!("{n}"), 1, expiry(n)));
    }
    before.run(delete("1"));
    before.run(delete("4"));
    let version = before.entry("0").version.0;
    before.touch(0, version);
    let records: Vec<RecordRef<'_>> = before.entries().collect();
    let mut after = Fixture::unlimited();
    after.store = loaded(before.store.globals(), &records).expect("the records are whole");
    for n in 10..25 {
        before.run(set_with(&format!("{n}"), 1, expiry(n)));
        after.run(set_with(&format!("{n}"), 1, expiry(n)));
        assert_eq!(before.removed(), after.removed());
        assert_eq!(before.names(), after.names());
    }
    assert_eq!(before.store.state_hash(), after.store.state_hash());
}
