//! What versions say across keys: they are revisions of one store, so they grow in the order of time, whatever the key.
//!
//! This is more than linearizability of each key, and needs no search.

use std::collections::BTreeMap;

use super::history::{History, Outcome, Record};

/// Checks that no version was given to two changes, and that a change got a version above all that was known before it
/// was asked for.
pub(crate) fn check(history: &History) -> Result<(), String> {
    let mut changes: BTreeMap<u64, &Record> = BTreeMap::new();
    let mut told = Vec::new();
    for record in &history.records {
        let Outcome::Done(answer) = &record.outcome else { continue };
        let Some(version) = answer.version() else { continue };
        told.push((record.returned, version, record));
        if answer.is_change()
            && let Some(other) = changes.insert(version, record)
        {
            return Err(format!(
                "version {version} was given twice:\n{}: {other}\n{}: {record}",
                other.key, record.key
            ));
        }
    }
    told.sort_by_key(|(returned, ..)| *returned);
    let mut by_invocation: Vec<_> = changes.into_iter().collect();
    by_invocation.sort_by_key(|(_, record)| record.invoked);
    let (mut before, mut newest) = (told.into_iter().peekable(), None);
    for (version, record) in by_invocation {
        while let Some((_, known, by)) = before.next_if(|(returned, ..)| *returned < record.invoked) {
            if newest.is_none_or(|(newest, _)| known > newest) {
                newest = Some((known, by));
            }
        }
        if let Some((known, by)) = newest.filter(|(known, _)| *known >= version) {
            return Err(format!(
                "version {version} was given after version {known} was known:\n{}: {by}\n{}: {record}",
                by.key, record.key
            ));
        }
    }
    Ok(())
}
