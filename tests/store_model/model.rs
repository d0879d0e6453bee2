//! The store does exactly what the naive model does.

use kvorum::model::{Answer, Timestamp};
use kvorum::store::{Effects, Store};
use proptest::prelude::*;

use crate::generate::{apply, contents, log};
use crate::naive::Naive;

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    /// Goal: outcomes, answers, removals with reasons, versions, revision, bytes, LRU order, slots and
    /// counters are those of the model after every entry, for all policies, modes, conditions and deadlines.
    #[test]
    fn the_store_equals_the_naive_model(log in log(24)) {
        let (mut store, mut naive, mut effects) = (Store::new(), Naive::default(), Effects::new());
        for (position, entry) in log.into_iter().enumerate() {
            let entry = entry.resolved(&store);
            effects.clear();
            effects.begin(position as u64, true);
            let hash = store.state_hash();
            apply(&mut store, &entry, &mut effects);
            naive.outcomes.clear();
            naive.answers.clear();
            naive.removals.clear();
            naive.apply(&entry);

            prop_assert_eq!(&effects.outcomes, &naive.outcomes);
            prop_assert_eq!(answers(&effects), std::mem::take(&mut naive.answers));
            let removals: Vec<_> = effects.removals().map(|r| (r.key.to_vec(), r.version.0, r.reason)).collect();
            prop_assert_eq!(&removals, &naive.removals);
            prop_assert!(effects.removals().all(|removal| removal.position == position as u64));
            prop_assert_eq!(contents(&store), naive.contents());
            prop_assert_eq!((store.revision(), store.globals().recency), (naive.revision, naive.recency));
            prop_assert_eq!((store.len(), store.bytes()), (naive.keys(), naive.bytes()));
            prop_assert_eq!((store.settings(), store.is_initialized()), (naive.settings, naive.initialized));
            let counters = store.counters();
            prop_assert_eq!((counters.evictions, counters.expirations), (naive.evictions, naive.expirations));
            prop_assert_eq!(store.next_deadline(), naive.next_deadline().map(Timestamp));
            prop_assert_eq!(store.now(), Timestamp(naive.now));
            let changes = effects.changes;
            if changes.written + changes.deleted + changes.expired + changes.evicted + changes.cleared > 0 {
                prop_assert_ne!(hash, store.state_hash());
            }
        }
    }
}

fn answers(effects: &Effects) -> Vec<Answer> {
    let mut answers = effects.answers.clone();
    for answer in &mut answers {
        if let Answer::Page(page) = answer {
            page.cursor = None;
        }
    }
    answers
}
