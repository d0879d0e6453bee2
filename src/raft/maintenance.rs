//! What the node does by itself: clean-up of what is due, steering of time, snapshots and purging.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::RaftMetrics;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout_at};

use super::backup::{Backup, Readers};
use super::batcher::Batcher;
use super::cluster_time::ClusterTime;
use super::config::SnapshotConfig;
use super::forward::Forwarder;
use super::lead::Lead;
use super::leader::Route;
use super::machine::Machine;
use super::members::Members;
use super::notices::Notices;
use super::peer::{Ask, Notes, Tls};
use super::replica::Replica;
use super::snapshots::{Snapshot, Snapshots};
use super::touches::{SAMPLE, Touches};
use super::types::{GROUP, TypeConfig};
use super::{AdminError, Compaction, Taken};
use crate::clock::Stopwatch;
use crate::disk::Ballast;
use crate::shutdown::Tasks;
use crate::wal::{Room, Wal};

/// How often the node looks whether something is due.
const DUE_INTERVAL: Duration = Duration::from_millis(100);

/// How often time is steered, touches are gathered and the snapshot policy is asked.
const SECOND: Duration = Duration::from_secs(1);

/// The offset of the wall clock from which on a warning is given, in milliseconds.
const LARGE_OFFSET_MS: i64 = 1_000;

/// A node without a leader for so long is not ready.
const LEADERLESS: Duration = Duration::from_secs(10);

/// How long a snapshot that could not be taken is left alone before the next try.
const RETRY_SNAPSHOT: Duration = Duration::from_secs(10);

/// The share of a small disk after which a snapshot is taken, and which stays as log behind it.
const SMALL_DISK_SHARE: u64 = 16;

/// How long compaction waits for openraft and the WAL to follow.
const FOLLOW_UP: Duration = Duration::from_secs(60);

/// The node's own tasks.
pub(super) struct Maintenance {
    pub(super) raft: openraft::Raft<TypeConfig, Machine>,
    pub(super) replica: Arc<Replica>,
    pub(super) batcher: Arc<Batcher>,
    pub(super) touches: Arc<Touches>,
    pub(super) time: Arc<ClusterTime>,
    pub(super) snapshots: Snapshots,
    pub(super) readers: Readers,
    pub(super) wal: Wal,
    pub(super) purged: watch::Receiver<Option<u64>>,
    pub(super) config: SnapshotConfig,
    pub(super) keep_bytes: u64,
    pub(super) last: LastSnapshot,
    pub(super) tasks: Tasks,
    pub(super) lead: Arc<Lead>,
    pub(super) members: Arc<Members>,
    pub(super) forwarder: Arc<Forwarder>,
    /// The certificates for peers, if there are any.
    pub(super) tls: Option<Arc<Tls>>,
    /// When a leader was last known, if one was since the start.
    pub(super) leader_seen: parking_lot::Mutex<Option<Instant>>,
    /// Space that is kept for a full disk.
    pub(super) ballast: Ballast,
}

/// Where the log stood when a snapshot was last taken.
#[derive(Debug)]
pub(super) struct LastSnapshot {
    pub(super) index: AtomicU64,
    appended_bytes: AtomicU64,
    carried_bytes: AtomicU64,
    taken: parking_lot::Mutex<Stopwatch>,
}

impl LastSnapshot {
    /// At a start: `index` is that of the newest snapshot, `carried_bytes` is the log that was found behind it.
    pub(super) fn new(index: u64, carried_bytes: u64) -> LastSnapshot {
        LastSnapshot {
            index: AtomicU64::new(index),
            appended_bytes: AtomicU64::new(0),
            carried_bytes: AtomicU64::new(carried_bytes),
            taken: parking_lot::Mutex::new(Stopwatch::start()),
        }
    }
}

impl Maintenance {
    /// Proposes an empty entry when something is due and nothing is being written. An idle store writes nothing.
    pub(super) async fn expire(&self) {
        let mut ticks = ticks(DUE_INTERVAL);
        while !self.stopped_at(&mut ticks).await {
            // One entry sweeps a bounded number of keys: go on at once while there are more.
            while self.something_is_due() {
                let before = self.replica.applied_index();
                self.batcher.tick();
                let applied = self.replica.wait_until(|replica| replica.applied_index() > before);
                tokio::select! {
                    applied = timeout_at(Instant::now() + SECOND, applied) => if applied.is_err() { break },
                    () = self.tasks.stopped() => return,
                }
            }
        }
    }

    /// Waits for the next tick; whether the node stops instead.
    pub(super) async fn stopped_at(&self, ticks: &mut Interval) -> bool {
        tokio::select! {
            () = self.tasks.stopped() => true,
            _ = ticks.tick() => false,
        }
    }

    fn something_is_due(&self) -> bool {
        if self.batcher.term().is_none() {
            return false;
        }
        let store = self.replica.store.read();
        // A lowered limit is reached in steps, one with each entry: empty ones if nobody writes.
        store.has_more_to_evict() || store.next_deadline().is_some_and(|due| due <= self.time.now())
    }

    /// Once a second: steers time and gathers touches.
    pub(super) async fn every_second(&self) {
        let mut ticks = ticks(SECOND);
        let mut offset_is_large = false;
        let mut told = None;
        let mut notices = Notices::default();
        while !self.stopped_at(&mut ticks).await {
            self.reload_secrets(&mut told).await;
            self.time.steer(self.lead.node, &self.lead.voters());
            self.members.keep().await;
            self.members.syncs.note(&self.wal.stats().fsync_us, self.batcher.term());
            if self.batcher.term().is_some() {
                self.members.spare_slow_disk().await;
                self.members.compare_states().await;
                self.members.auto_raise().await;
            }
            self.has_leader(self.members.leader.heard().is_some());
            notices.give(&self.members);
            let offset_ms = self.time.offset_ms();
            let was_large = std::mem::replace(&mut offset_is_large, offset_ms.abs() > LARGE_OFFSET_MS);
            if offset_is_large && !was_large {
                tracing::warn!(
                    offset_ms,
                    "the wall clock is far from cluster time (ahead of it if the offset is positive), which follows it at 500 ppm"
                );
            }
            self.gather_touches();
            self.send_touches().await;
        }
    }

    /// Takes note of secrets and certificates that were exchanged. `told` is what was last logged to be wrong with them.
    async fn reload_secrets(&self, told: &mut Option<String>) {
        let (roster, tls) = (self.members.leader.roster.clone(), self.tls.clone());
        let reloaded = tokio::task::spawn_blocking(move || {
            // One that is wrong does not keep the other from being exchanged.
            let (secrets, tls) = (roster.secret().reload(), tls.map_or(Ok(()), |tls| tls.reload()));
            secrets.and(tls)
        });
        let Ok(reloaded) = reloaded.await else { return };
        let wrong = reloaded.err();
        if let Some(error) = wrong.as_ref().filter(|_| wrong != *told) {
            tracing::warn!(
                error,
                "the files of secrets or certificates cannot be used; the former ones hold"
            );
        }
        *told = wrong;
    }

    /// Whether a leader is known, or was so lately that an election may be under way.
    pub(super) fn has_leader(&self, known: bool) -> bool {
        let mut seen = self.leader_seen.lock();
        if known {
            *seen = Some(Instant::now());
        }
        seen.is_some_and(|seen| seen.elapsed() < LEADERLESS)
    }

    /// The leader takes this node's notes along with its next entries.
    async fn send_touches(&self) {
        if self.batcher.term().is_some() {
            return;
        }
        let Some(Route::There(_, way)) = self.members.leader.route() else { return };
        let touches = self.touches.take(SAMPLE);
        if touches.is_empty() {
            return;
        }
        let touches = touches.iter().flat_map(|touch| [u64::from(touch.slot.0), touch.version.0]).collect();
        // What does not arrive is a gap in a sample.
        let _ = way.call(Ask::Notes(Notes { touches, tick: false }), SECOND).await;
    }

    /// While the store is limited, what was read lately is told with the next entries; while it is more than half full,
    /// even if nobody writes.
    fn gather_touches(&self) {
        let (limited, half_full) = {
            let store = self.replica.store.read();
            let settings = store.settings();
            let past_half = |used: u64, limit: u64| limit > 0 && used > limit / 2;
            let half_full =
                past_half(store.bytes(), settings.max_bytes) || past_half(store.len(), settings.max_keys);
            (settings.max_bytes > 0 || settings.max_keys > 0, half_full)
        };
        let any = self.touches.gather(limited);
        if any && half_full && self.wal.room() == Room::Ample {
            self.batcher.tick();
        }
    }

    /// Takes snapshots as the policy says, and purges what is behind them.
    pub(super) async fn keep_snapshots(&self) {
        self.snapshots.check_older();
        let mut ticks = ticks(SECOND);
        let mut retry_at = Instant::now();
        while !self.stopped_at(&mut ticks).await {
            if Instant::now() >= retry_at
                && self.snapshot_is_due()
                && let Err(error) = self.snapshot_and_purge().await
            {
                tracing::warn!(%error, "no snapshot could be taken; trying again in {RETRY_SNAPSHOT:?}");
                retry_at = Instant::now() + RETRY_SNAPSHOT;
            }
        }
    }

    fn snapshot_is_due(&self) -> bool {
        let entries = self.replica.applied_index().saturating_sub(self.last.index.load(Ordering::Relaxed));
        if entries == 0 {
            return false;
        }
        let appended = self.wal.stats().appended_bytes - self.last.appended_bytes.load(Ordering::Relaxed);
        let bytes = appended + self.last.carried_bytes.load(Ordering::Relaxed);
        let age_s = self.last.taken.lock().elapsed().as_secs();
        entries >= self.config.every_entries || bytes >= self.every_bytes() || age_s >= self.config.every_s
    }

    /// After how much log a snapshot is taken. On a small disk after less, so that the log does not fill it, but not before
    /// there is as much log as the snapshot is long.
    fn every_bytes(&self) -> u64 {
        self.config.every_bytes.min(self.small_disk_bytes().max(self.replica.store.read().bytes()))
    }

    /// How much log stays behind the snapshots for members that lag.
    fn keep_bytes(&self) -> u64 {
        self.keep_bytes.min(self.small_disk_bytes())
    }

    /// A share of the disk that the log may take without a second thought.
    fn small_disk_bytes(&self) -> u64 {
        match self.wal.disk_bytes() {
            0 => u64::MAX,
            size => size / SMALL_DISK_SHARE,
        }
    }

    /// The older snapshot always has its log. While there is only one, it has nothing else to fall back on than the whole log,
    /// so nothing is purged.
    async fn snapshot_and_purge(&self) -> Result<(), AdminError> {
        let index = self.take_snapshot().await?;
        let older = self.snapshots.older_index().await;
        let Some(older) = older.map_err(|error| AdminError::Failed(error.to_string()))? else {
            return Ok(());
        };
        let keep_from = self.wal.index_behind(GROUP, self.keep_bytes()).unwrap_or(0);
        self.purge(older.min(keep_from).min(index)).await
    }

    /// Takes a snapshot now, rolls and purges the log to it.
    pub(super) async fn compact(&self) -> Result<Compaction, AdminError> {
        let stopwatch = Stopwatch::start();
        let bytes_before = self.wal.stats().bytes;
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.wal.roll(Box::new(move |result| drop(sender.send(result))));
        match receiver.await {
            Ok(Ok(())) => {}
            // Without space for another segment the snapshot still frees all but the present one.
            Ok(Err(crate::wal::Error::NoSpace { .. })) => {}
            Ok(Err(error)) => return Err(AdminError::Failed(error.to_string())),
            Err(_) => return Err(AdminError::Unavailable),
        }
        let index = self.take_snapshot_in_need().await?;
        self.purge(index).await?;
        self.purged_to(index).await?;
        Ok(Compaction {
            bytes_before,
            bytes_after: self.wal.stats().bytes,
            index,
            snapshot_bytes: self.snapshots.current().map_or(0, |snapshot| snapshot.snapshot.bytes),
            duration: stopwatch.elapsed(),
        })
    }

    /// As [`Maintenance::take_snapshot`]; on a full disk with the space that was kept for it, and then with that of the older
    /// snapshot: the newest one is whole.
    pub(super) async fn take_snapshot_in_need(&self) -> Result<u64, AdminError> {
        let taken = self.take_snapshot().await;
        let Err(AdminError::OutOfDisk) = taken else { return taken };
        let snapshots = self.snapshots.clone();
        let given = tokio::task::spawn_blocking(move || snapshots.use_ballast());
        if let Ok(Err(error)) = given.await {
            tracing::warn!(%error, "the space that is kept for a full disk cannot be used");
        }
        let taken = self.take_snapshot().await;
        let Err(AdminError::OutOfDisk) = taken else { return taken };
        let snapshots = self.snapshots.clone();
        let dropped = tokio::task::spawn_blocking(move || snapshots.drop_older());
        if let Ok(Err(error)) = dropped.await {
            tracing::warn!(%error, "the older snapshot cannot be removed");
        }
        self.take_snapshot().await
    }

    /// Takes a snapshot for the policy and has openraft adopt it. Returns its index.
    async fn take_snapshot(&self) -> Result<u64, AdminError> {
        let appended_bytes = self.wal.stats().appended_bytes;
        let stopwatch = Stopwatch::start();
        let snapshot = self.snapshots.take(&self.replica).await?;
        let index = snapshot.meta.last_log_id.map_or(0, |id| id.index);
        self.last.index.store(index, Ordering::Relaxed);
        self.last.appended_bytes.store(appended_bytes, Ordering::Relaxed);
        self.last.carried_bytes.store(0, Ordering::Relaxed);
        *self.last.taken.lock() = Stopwatch::start();
        self.adopt(&snapshot, stopwatch).await?;
        Ok(index)
    }

    /// Takes a snapshot and leaves the log as it is: the policy goes on as if there were none, so that its purges come
    /// when they would have.
    pub(super) async fn snapshot(&self) -> Result<Taken, AdminError> {
        let stopwatch = Stopwatch::start();
        let (snapshot, sending) =
            self.snapshots.take_to_send(self.snapshots.try_turn()?, &self.replica).await?;
        let taken = Taken::of(&sending, stopwatch.elapsed());
        self.adopt(&snapshot, stopwatch).await?;
        Ok(taken)
    }

    /// Takes a snapshot to be read. Waits if one is being taken already.
    pub(super) async fn backup(&self) -> Result<Backup, AdminError> {
        let place = self.readers.admit().ok_or(AdminError::Busy)?;
        let stopwatch = Stopwatch::start();
        self.catch_up_time().await;
        let (snapshot, sending) =
            self.snapshots.take_to_send(self.snapshots.turn().await?, &self.replica).await?;
        let taken = Taken::of(&sending, stopwatch.elapsed());
        self.adopt(&snapshot, stopwatch).await?;
        Ok(Backup::new(taken, sending, place))
    }

    /// The store's time is that of its last entry, which may be long ago. Where keys have deadlines an empty entry makes
    /// it that of the backup, so that what they have left can be told from it. If that does not come about, a backup with
    /// an older time is better than none.
    async fn catch_up_time(&self) {
        let now = self.time.now();
        let is_behind = now.millis_since(self.replica.now()) > SECOND.as_millis() as u64;
        if is_behind && self.replica.store.read().next_deadline().is_some() {
            self.batcher.tick();
            let caught_up = self.replica.wait_until(|replica| replica.now() >= now);
            if timeout_at(Instant::now() + SECOND, caught_up).await.is_err() {
                tracing::info!("a backup is taken at the time of the last entry: no other entry came about");
            }
        }
    }

    /// Has openraft adopt the newest snapshot.
    async fn adopt(&self, snapshot: &Snapshot, stopwatch: Stopwatch) -> Result<(), AdminError> {
        let index = snapshot.meta.last_log_id.map_or(0, |id| id.index);
        let is_known =
            |metrics: &RaftMetrics<TypeConfig>| metrics.snapshot.as_ref().is_some_and(|id| id.index >= index);
        if is_known(&self.raft.metrics().borrow_watched()) {
            return Ok(());
        }
        self.raft.trigger().snapshot().await.map_err(|_| AdminError::Unavailable)?;
        let wait = self.raft.wait(Some(FOLLOW_UP));
        let adopted = wait.metrics(
            |metrics| metrics.running_state.is_err() || is_known(metrics),
            "the snapshot is adopted",
        );
        let adopted = tokio::select! {
            adopted = adopted => adopted,
            () = self.tasks.stopped() => return Err(AdminError::Unavailable),
        };
        let metrics = adopted.map_err(|error| AdminError::Failed(error.to_string()))?;
        metrics.running_state.map_err(|_| AdminError::Unavailable)?;
        let bytes = snapshot.snapshot.bytes;
        let duration_ms = stopwatch.elapsed().as_millis() as u64;
        // On a full disk one follows the other, and the log has told of the disk.
        if self.wal.lack().is_some() {
            tracing::debug!(index, bytes, duration_ms, "snapshot taken");
        } else {
            tracing::info!(index, bytes, duration_ms, "snapshot taken");
        }
        Ok(())
    }

    pub(super) async fn purge(&self, upto: u64) -> Result<(), AdminError> {
        if self.purged.borrow().is_some_and(|purged| upto <= purged) {
            return Ok(());
        }
        self.raft.trigger().purge_log(upto).await.map_err(|_| AdminError::Unavailable)
    }

    pub(super) async fn purged_to(&self, index: u64) -> Result<(), AdminError> {
        let mut purged = self.purged.clone();
        let wait = self.raft.wait(None);
        let reached = purged.wait_for(|at| at.is_none_or(|at| at >= index));
        let dead = wait.metrics(|metrics| metrics.running_state.is_err(), "the core is dead");
        tokio::select! {
            reached = timeout_at(Instant::now() + FOLLOW_UP, reached) => match reached {
                Ok(Ok(at)) if at.is_some() => Ok(()),
                Ok(_) => Err(AdminError::Unavailable),
                Err(_) => Err(AdminError::Failed("the log was not purged in time".into())),
            },
            _ = dead => Err(AdminError::Unavailable),
            () = self.tasks.stopped() => Err(AdminError::Unavailable),
        }
    }
}

/// Ticks that do not pile up while one is being worked on.
pub(super) fn ticks(every: Duration) -> Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
