//! A store that went through a cut and a loader is the store that it was, though writes went on.

use kvorum::model::Timestamp;
use kvorum::store::{Effects, Globals, Loader, RecordRef, Side, Store, Walk};
use proptest::prelude::*;

use crate::generate::{Contents, Entry, apply, contents, log, own};

/// A cut on its way: what it must become, what came of it so far, and what the log said since.
struct Taking {
    globals: Globals,
    expected: Contents,
    taken: Contents,
    since: Vec<Entry>,
}

impl Taking {
    fn begin(store: &mut Store) -> Taking {
        let globals = store.begin_cut(1 << 20).expect("one at a time");
        Taking { globals, expected: contents(store), taken: Vec::new(), since: Vec::new() }
    }

    fn keep(&mut self, side: &Side) {
        side.visit(&mut |record| self.taken.push(own(record)));
    }

    /// The store as it was at the cut, with the log since then applied.
    fn finish(mut self) -> Store {
        let mut sorted = self.taken.clone();
        sorted.sort();
        assert_eq!(sorted, self.expected, "every entry of the cut comes out once, as it was");
        self.taken.reverse();
        let mut store = load(self.globals, &self.taken);
        assert_eq!(contents(&store), self.expected);
        self.since.iter().for_each(|entry| apply(&mut store, entry, &mut Effects::new()));
        store
    }
}

fn load(globals: Globals, records: &Contents) -> Store {
    let mut loader = Loader::new(globals);
    for (slot, key, value, version, deadline, recency) in records {
        let record = RecordRef {
            slot: kvorum::model::Slot(*slot),
            key,
            value,
            version: kvorum::model::Version(*version),
            deadline: deadline.map(Timestamp),
            recency: kvorum::model::Recency(*recency),
        };
        loader.push(record).expect("records of a cut are valid");
    }
    loader.finish().expect("the cut is whole")
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    /// Goal: whenever cuts begin and however their steps fall between writes, touches, frees, refills and
    /// FLUSHALL, the loaded store equals the live one then and ever after: state hash, contents and what it
    /// removes.
    #[test]
    fn a_cut_taken_under_writes_is_the_state_at_its_begin(
        log in log(60), starts in prop::collection::vec(any::<bool>(), 60), steps in prop::collection::vec(0..4_usize, 60)
    ) {
        let (mut live, mut copy) = (Store::new(), Store::new());
        let (mut effects, mut copied) = (Effects::new(), Effects::new());
        let mut taking = None;
        for ((entry, start), step) in log.into_iter().zip(starts).zip(steps) {
            let entry = entry.resolved(&live);
            if taking.is_none() && start {
                taking = Some(Taking::begin(&mut live));
            }
            effects.clear();
            copied.clear();
            effects.begin(1, true);
            copied.begin(1, true);
            apply(&mut live, &entry, &mut effects);
            apply(&mut copy, &entry, &mut copied);
            prop_assert_eq!(live.state_hash(), copy.state_hash());
            prop_assert_eq!(contents(&live), contents(&copy));
            prop_assert_eq!(&effects.outcomes, &copied.outcomes);
            prop_assert!(effects.removals().eq(copied.removals()), "both have the same victims");

            let Some(mut cut) = taking.take() else { continue };
            cut.since.push(entry);
            let mut visit = |record: RecordRef<'_>| cut.taken.push(own(record));
            match live.walk(step, usize::MAX, &mut visit) {
                Walk::More => {
                    if step == 1 {
                        let side = live.drain_side().expect("the budget is large");
                        cut.keep(&side);
                    }
                    taking = Some(cut);
                }
                Walk::Done => {
                    let side = live.end_cut(&mut effects).expect("the walk is done");
                    cut.keep(&side);
                    copy = cut.finish();
                }
                Walk::Abandoned => prop_assert!(false, "nobody abandoned it"),
            }
        }
    }
}
