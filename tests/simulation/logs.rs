//! The invariants of what is on disk: log matching, committed entries, votes, and the stamps of entries.
//!
//! * **log matching**: index and term of an entry say what it is, and what stands before it. Compared are all logs
//!   that were ever looked at: those of crashed processes as the crash left them, and those at the end.
//! * **committed entries agree**: no two logs have different entries at an index up to which both are committed.
//! * **one leader a term**: votes that a quorum granted name one node a term.
//! * **stamps never go back**: along a log, the cluster time of entries does not fall.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kvorum::disk::Faulty;
use kvorum::model::codec;
use kvorum::wal::{self, Identity, Kind, Wal};
use parking_lot::Mutex;

use crate::history::History;
use crate::host::Host;

/// The raft group of all keys.
const GROUP: u16 = 0;

/// Every entry ever seen in a log.
#[derive(Clone, Default)]
pub(crate) struct Logs(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    /// By index and term: the payload, and the term of the entry before.
    entries: BTreeMap<(u64, u64), (Bytes, Option<u64>)>,
    /// The term of each committed entry.
    committed: BTreeMap<u64, u64>,
}

impl Logs {
    /// Takes note of the log on a disk. Must be called where it may block.
    pub(crate) fn look(&self, history: &History, host: usize, disk: &Faulty) {
        // What is found is repaired on the copy only.
        let disk = disk.after_kill();
        let mut identity: Option<Identity> = None;
        let mut votes = Vec::new();
        let shown = wal::inspect(&disk, Host::wal_dir(), &mut |line| match line.kind {
            Kind::Head { identity: found, .. } => identity = Some(found),
            Kind::Vote { vote, .. } => votes.push(vote),
            Kind::GroupState { state, .. } => votes.extend(state.vote),
            _ => {}
        });
        let (Ok(()), Some(identity)) = (shown, identity) else { return };
        for vote in votes.iter().filter(|vote| vote.committed) {
            history.leads(vote.term, vote.node);
        }
        let config = wal::Config { segment_bytes: 64 << 10, ..wal::Config::default() };
        let log = match Wal::open(Arc::new(disk), Host::wal_dir(), identity, config) {
            Ok(log) => log,
            Err(error) => {
                history.wrong("starts", format!("the log of host {host} cannot be opened: {error}"));
                return;
            }
        };
        let state = log.state(GROUP);
        let first = state.purged.map_or(0, |id| id.index + 1);
        let last = state.last.map_or(0, |id| id.index);
        match log.read(GROUP, first..last + 1, usize::MAX) {
            Ok(entries) => self.note(history, host, &state, &entries),
            Err(error) => {
                history.wrong("log matching", format!("the log of host {host} cannot be read: {error}"))
            }
        }
        log.give_up_waiting();
        // It is a copy.
        let _ = log.close();
    }

    fn note(&self, history: &History, host: usize, state: &wal::GroupState, entries: &[wal::Entry]) {
        let mut seen = self.0.lock();
        let committed = state.committed.map_or(0, |id| id.index);
        let mut before = state.purged.map(|id| id.term);
        let mut stamp = 0;
        for wal::Entry { id, payload } in entries {
            let told = seen.entries.entry((id.index, id.term)).or_insert_with(|| (payload.clone(), before));
            if told.0 != *payload || (before.is_some() && told.1.is_some() && told.1 != before) {
                let what =
                    format!("entry {} of term {} on host {host} is another one elsewhere", id.index, id.term);
                history.wrong("log matching", what);
            }
            if id.index <= committed {
                let term = *seen.committed.entry(id.index).or_insert(id.term);
                if term != id.term {
                    let what = format!(
                        "entry {} is of term {term} and, on host {host}, of term {}",
                        id.index, id.term
                    );
                    history.wrong("committed entries agree", what);
                }
            }
            before = Some(id.term);
            if let Some(0x01..=0x7F) = payload.first()
                && let Ok(entry) = codec::decode(payload)
            {
                if entry.at.0 < stamp {
                    let what =
                        format!("entry {} on host {host} is of {} after {stamp}", id.index, entry.at.0);
                    history.wrong("stamps never go back", what);
                }
                stamp = entry.at.0;
            }
        }
    }
}
