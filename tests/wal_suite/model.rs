//! Goal: the log reads back exactly what a naive log holds, for any order of appends, truncations, purges and
//! rolls, any cache, and across restarts.

use bytes::Bytes;
use kvorum::disk::{Faulty, Real};
use kvorum::wal::{Config, Entry, Wal};
use proptest::prelude::*;

use crate::support::{GROUPS, History, IDENTITY, Luck, Model, open, tiny};

/// What a read of a range within a budget must give.
fn expected(entries: &[Entry], from: u64, to: u64, budget: usize) -> Vec<Entry> {
    let mut bytes = 0;
    let in_range = entries.iter().filter(|entry| (from..to).contains(&entry.id.index));
    let fits = |(at, entry): &(usize, &Entry)| {
        bytes += entry.payload.len();
        *at == 0 || bytes <= budget
    };
    in_range.enumerate().take_while(fits).map(|(_, entry)| entry.clone()).collect()
}

fn compare(wal: &Wal, model: &Model, luck: &mut Luck) {
    assert_eq!(Model::of(wal), *model);
    for group in GROUPS {
        let entries = &model.0[&group].entries;
        let last = entries.last().map_or(0, |entry| entry.id.index);
        let (from, length, budget) = (luck.below(last + 3), luck.below(9), luck.below(4000) as usize);
        let read = wal.read(group, from..from + length, budget).unwrap();
        assert_eq!(read, expected(entries, from, from + length, budget));
        let index = luck.below(last + 3);
        let known = entries.iter().map(|entry| entry.id).chain(model.0[&group].purged);
        assert_eq!(wal.log_id(group, index), known.filter(|id| id.index == index).last());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_operations_reads_back_as_from_a_naive_log(seed: u64, cache in prop::sample::select(vec![0usize, 1500, 1 << 20])) {
        let config = Config { cache_bytes: cache, ..tiny() };
        let disk = Faulty::new();
        let mut luck = Luck(seed);
        let mut wal = open(&disk, config).unwrap();
        let mut history = History::new();
        for _ in 0..12 {
            history.run(&wal, &mut luck, 6);
            compare(&wal, &history.model, &mut luck);
            for group in GROUPS {
                let applied = luck.below(20);
                wal.note_applied(group, applied);
            }
            compare(&wal, &history.model, &mut luck);
            if luck.below(4) == 0 {
                wal.close().unwrap();
                wal = open(&disk, config).unwrap();
                compare(&wal, &history.model, &mut luck);
            }
        }
    }
}

#[test]
fn the_real_disk_holds_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Wal::open(std::sync::Arc::new(Real), &dir.path().join("wal"), IDENTITY, tiny()).unwrap();
    let mut luck = Luck(5);
    let mut history = History::new();
    for _ in 0..4 {
        let wal = open();
        compare(&wal, &history.model, &mut luck);
        history.run(&wal, &mut luck, 30);
        compare(&wal, &history.model, &mut luck);
        wal.close().unwrap();
    }
}

#[test]
fn the_cache_keeps_its_bound_once_entries_are_applied() {
    let disk = Faulty::new();
    let config = Config { cache_bytes: 10_000, ..Config::default() };
    let wal = open(&disk, config).unwrap();
    let entries =
        (0..100).map(|index| Entry { id: crate::support::id(1, index), payload: Bytes::from(vec![1; 1000]) });
    crate::support::wait(|done| wal.append(0, entries.collect(), done)).unwrap();
    assert_eq!(wal.stats().cached_bytes, 100_000, "what was not applied stays");
    wal.note_applied(0, 49);
    assert_eq!(wal.stats().cached_bytes, 50_000);
    wal.note_applied(0, 99);
    assert_eq!(wal.stats().cached_bytes, 10_000);
    crate::support::wait(|done| wal.truncate_after(0, Some(crate::support::id(1, 94)), done)).unwrap();
    assert_eq!(wal.stats().cached_bytes, 5_000);
    crate::support::wait(|done| wal.purge_upto(0, crate::support::id(1, 93), done)).unwrap();
    assert_eq!(wal.stats().cached_bytes, 1_000);
}
