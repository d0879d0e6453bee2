//! Scans under writes.

use std::collections::BTreeMap;

use bytes::Bytes;
use kvorum::model::{Answer, Query};
use kvorum::store::{Effects, Store};
use proptest::prelude::*;

use crate::generate::{apply, contents, log};

proptest! {
    #![proptest_config(ProptestConfig::default())]

    /// Goal: a key that is present during the whole scan is returned exactly once, and none is returned that
    /// was never there.
    #[test]
    fn a_key_present_during_the_whole_scan_is_returned_exactly_once(log in log(40), limit in 1..4_usize) {
        let (mut store, mut effects) = (Store::new(), Effects::new());
        let (filling, rest) = log.split_at(log.len() / 4);
        filling.iter().for_each(|entry| apply(&mut store, entry, &mut effects));
        let present = |store: &Store| -> Vec<Vec<u8>> {
            let now = store.now().0;
            let alive = contents(store).into_iter().filter(|entry| entry.4.is_none_or(|deadline| deadline > now));
            alive.map(|entry| entry.1).collect()
        };
        // A key that is removed and written again within one entry was not present all the time: its version
        // cannot tell, its removal can.
        let mut throughout = present(&store);
        let mut returned: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        let (mut cursor, mut rest) = (0, rest.iter());
        loop {
            let query = Query::Scan { cursor, limit, prefix: Bytes::new(), values: false };
            let Answer::Page(page) = store.read(store.now(), &query) else { unreachable!("a scan has pages") };
            prop_assert!(page.items.len() <= limit);
            let now = present(&store);
            for item in page.items {
                prop_assert!(now.iter().any(|key| key == item.key.as_bytes()));
                *returned.entry(item.key.as_bytes().to_vec()).or_default() += 1;
            }
            match page.cursor {
                Some(next) => prop_assert!(std::mem::replace(&mut cursor, next) < next),
                None => break,
            }
            let Some(entry) = rest.next() else { continue };
            effects.clear();
            apply(&mut store, entry, &mut effects);
            for removal in effects.removals() {
                throughout.retain(|key| !removal.key.is_empty() && key != removal.key);
            }
            let now = present(&store);
            throughout.retain(|key| now.contains(key));
        }
        for key in throughout {
            prop_assert_eq!(returned.get(&key), Some(&1));
        }
    }
}
