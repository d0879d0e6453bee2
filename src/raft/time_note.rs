//! The note of cluster time: where a cold start goes on at the earliest.
//!
//! The log knows cluster time as of its last entry, which may be hours old. A node alone, or a whole cluster that starts cold,
//! believes wall clocks; with one that is behind, time would go back to that entry, and every countdown would begin anew from
//! there. So a node notes its time when it stops in order, and each [`INTERVAL`] while nothing is written.
//!
//! ```text
//! data/time.json   {format, cluster, at_ms, sum}     sum: crc32c of cluster and at_ms
//! ```
//!
//! The note is no more than a lower bound for a leader that has no estimate of its own or of others (`cluster_time`). It never
//! runs ahead of cluster time, because cluster time had reached it when it was written. A flipped bit could put it years ahead:
//! hence the sum. A note that does not verify, or is of another cluster, is passed over.
//!
//! It is written only while a key has a deadline: nothing else depends on time. The log's own time counts too, so a store that is
//! written to needs no note. An idle store with deadlines thus costs one small file, synced, every ten seconds; an idle store
//! without any costs nothing.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;

use super::cluster_time::ClusterTime;
use super::identity::{Directory, FORMAT, hex};
use super::replica::Replica;
use crate::model::Timestamp;

/// How far time moves on between two notes.
const INTERVAL: Duration = Duration::from_secs(10);

const TIME: &str = "time.json";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeFile {
    format: u32,
    cluster: String,
    at_ms: u64,
    sum: u32,
}

fn sum(cluster: &str, at_ms: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(cluster.as_bytes()), &at_ms.to_le_bytes())
}

/// Keeps the note of a running node.
pub(super) struct TimeNote {
    directory: Directory,
    cluster: u128,
    time: Arc<ClusterTime>,
    replica: Arc<Replica>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    noted: Timestamp,
    /// Whether the last one could not be written.
    failed: bool,
}

impl TimeNote {
    pub(super) fn new(
        directory: Directory,
        cluster: u128,
        time: Arc<ClusterTime>,
        replica: Arc<Replica>,
    ) -> TimeNote {
        TimeNote { directory, cluster, time, replica, state: Mutex::default() }
    }

    /// Notes the time whenever it has moved on far enough, until the node stops.
    pub(super) async fn keep(self: Arc<Self>, stopped: impl Future<Output = ()>) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopped = std::pin::pin!(stopped);
        loop {
            tokio::select! {
                () = &mut stopped => return,
                _ = ticks.tick() => {}
            }
            let note = Arc::clone(&self);
            // What goes wrong is logged there.
            let _ = tokio::task::spawn_blocking(move || note.write(INTERVAL)).await;
        }
    }

    /// Notes the time if it is at least `step` past what note and log say, and matters. Waits for the disk.
    pub(super) fn write(&self, step: Duration) {
        let Some(now) = self.time.estimate() else { return };
        let mut state = self.state.lock();
        let known = state.noted.max(self.replica.now());
        let has_moved = now > known && u128::from(now.millis_since(known)) >= step.as_millis();
        if !has_moved || self.replica.store.read().next_deadline().is_none() {
            return;
        }
        let cluster = hex(self.cluster);
        let file = TimeFile { format: FORMAT, sum: sum(&cluster, now.0), cluster, at_ms: now.0 };
        let written = self.directory.try_write(TIME, &file);
        let had_failed = std::mem::replace(&mut state.failed, written.is_err());
        match written {
            Ok(()) => state.noted = now,
            Err(error) if !had_failed => tracing::warn!(%error, "cluster time could not be noted"),
            Err(_) => {}
        }
    }
}

/// The time that was noted for a cluster; 0 if none was.
pub(super) fn noted(directory: &Directory, cluster: u128) -> Timestamp {
    let file = match directory.read::<TimeFile>(TIME) {
        Ok(Some(file)) => file,
        Ok(None) => return Timestamp(0),
        Err(error) => {
            tracing::warn!(%error, "the note of cluster time is passed over");
            return Timestamp(0);
        }
    };
    if file.sum != sum(&file.cluster, file.at_ms) {
        tracing::warn!("the note of cluster time (time.json) does not verify and is passed over");
        return Timestamp(0);
    }
    if file.cluster == hex(cluster) { Timestamp(file.at_ms) } else { Timestamp(0) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::{Disk, Faulty};

    /// Goal: a note counts for its own cluster only, and not at all when a bit of it is flipped.
    #[test]
    fn only_a_whole_note_of_the_same_cluster_counts() {
        let disk = Faulty::new();
        let root = Path::new("/data");
        disk.create_dir_all(root).unwrap();
        let directory = Directory::new(Arc::new(disk.clone()), root);
        assert_eq!(noted(&directory, 7), Timestamp(0));
        let write = |at_ms: u64, sum: u32| {
            directory.write(TIME, &TimeFile { format: FORMAT, cluster: hex(7), at_ms, sum }).unwrap();
        };
        write(1_700, sum(&hex(7), 1_700));
        assert_eq!((noted(&directory, 7), noted(&directory, 8)), (Timestamp(1_700), Timestamp(0)));
        write(1_700 ^ (1 << 40), sum(&hex(7), 1_700));
        assert_eq!(noted(&directory, 7), Timestamp(0));
    }
}
