//! openraft's view of the replica: its state machine and its snapshot builder.

use std::io;
use std::mem::take;
use std::sync::Arc;

use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio_util::sync::DropGuard;

use super::proposal::Proposal;
use super::replica::Replica;
use super::snapshots::{Snapshot, SnapshotFile, Snapshots};
use super::turns::Turns;
use super::types::{LogId, Member, SnapshotMeta, StoredMembership, TypeConfig};
use crate::store::Effects;

/// Applies what openraft has committed.
pub(super) struct Machine {
    replica: Arc<Replica>,
    snapshots: Snapshots,
    effects: Effects,
    turns: Arc<dyn Turns>,
    /// Commands since apply last rested.
    commands: usize,
    /// Openraft drops this with the task that applies, also when that panics, and does not look after it.
    _gone: DropGuard,
}

impl Machine {
    pub(super) fn new(replica: Arc<Replica>, snapshots: Snapshots, turns: Arc<dyn Turns>) -> Machine {
        let gone = replica.gone.clone().drop_guard();
        Machine { replica, snapshots, effects: Effects::default(), turns, commands: 0, _gone: gone }
    }

    async fn apply_one(
        &mut self,
        id: &LogId,
        payload: &EntryPayload<Proposal, u64, Member>,
    ) -> io::Result<()> {
        match payload {
            EntryPayload::Blank => self.replica.apply_other(id, None),
            EntryPayload::Membership(membership) => {
                let membership = StoredMembership::new(Some(*id), membership.clone());
                self.replica.apply_other(id, Some(membership));
            }
            EntryPayload::Normal(proposal) => {
                let turns = (&*self.turns, &mut self.commands);
                self.replica.apply(id, proposal, &mut self.effects, turns).await?;
                self.drop_garbage();
            }
        }
        Ok(())
    }

    /// What a FLUSHALL left behind may be millions of entries: their memory is freed on a thread of its own.
    fn drop_garbage(&mut self) {
        let mut garbage = take(&mut self.effects.garbage);
        self.effects.clear();
        garbage.retain(|garbage| !garbage.is_small());
        if garbage.is_empty() {
            return;
        }
        let removals = Arc::clone(&self.replica.removals);
        let (index, at) = (self.effects.position(), self.replica.now());
        tokio::task::spawn_blocking(move || {
            garbage.iter().for_each(|garbage| removals.note_cleared(garbage, index, at));
        });
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let applied = self.replica.applied.lock();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            self.apply_one(&entry.log_id, &entry.payload).await?;
            if let Some(responder) = responder {
                responder.send(());
            }
            if let Some(rest) = self.turns.rest(self.commands) {
                self.commands = 0;
                rest.await;
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { replica: Arc::clone(&self.replica), snapshots: self.snapshots.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, file: SnapshotFile) -> io::Result<()> {
        self.snapshots.install(&self.replica, meta, file).await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(self.snapshots.current())
    }
}

/// Gives openraft the snapshot that was taken for it; takes one if there is none.
pub(super) struct Builder {
    replica: Arc<Replica>,
    snapshots: Snapshots,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        self.snapshots.adopt_or_take(&self.replica).await
    }
}
