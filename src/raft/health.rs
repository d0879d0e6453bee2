//! Whether the node can go on.
//!
//! One task watches all that can end it: the raft core, the state machine, the log, an entry that this version cannot
//! apply, a task of the node itself. The first reason stands; from then on nothing is taken any more and whoever waits is answered.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{interval, timeout};

use super::Failure;
use super::batcher::Batcher;
use super::machine::Machine;
use super::replica::Replica;
use super::types::TypeConfig;
use crate::shutdown::Tasks;
use crate::wal::Wal;

/// How often the log is asked whether it is poisoned.
const LOG_INTERVAL: Duration = Duration::from_millis(100);

/// How long the raft core may live on without its state machine.
const FOLLOWING: Duration = Duration::from_millis(200);

/// Why the node cannot go on, if so.
#[derive(Default)]
pub(super) struct Health(watch::Sender<Option<Failure>>);

impl Health {
    /// The reason, if there is one.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.0.borrow().clone()
    }

    /// Resolves when the node cannot go on.
    pub(super) async fn failed(&self) -> Failure {
        let mut failure = self.0.subscribe();
        loop {
            if let Some(failure) = failure.borrow_and_update().clone() {
                return failure;
            }
            // The sender lives as long as this does.
            let _ = failure.changed().await;
        }
    }

    /// Notes why the node cannot go on. The first reason stands.
    pub(super) fn fail(&self, failure: Failure) {
        self.0.send_modify(|current| {
            current.get_or_insert(failure);
        });
    }

    /// Watches until something fails or the node stops.
    pub(super) async fn watch(
        &self,
        raft: openraft::Raft<TypeConfig, Machine>,
        wal: Wal,
        replica: Arc<Replica>,
        batcher: Arc<Batcher>,
        tasks: Tasks,
    ) {
        let failure = tokio::select! {
            () = tasks.stopped() => return,
            () = tasks.broken() => Failure::Task,
            error = poisoned(&wal) => Failure::Log(error),
            failure = dead(&raft, &replica) => failure,
            failure = self.failed() => failure,
        };
        self.fail(failure);
        batcher.close();
        replica.pending.abandon();
        // A watch that ended by itself would be taken for a broken task.
        tasks.stopped().await;
    }
}

/// Resolves when the raft core or the state machine is dead, and says why.
pub(super) async fn dead(raft: &openraft::Raft<TypeConfig, Machine>, replica: &Replica) -> Failure {
    let wait = raft.wait(None);
    // A core that panicked closes its metrics, which is an error here: dead in either case.
    let core = wait.metrics(|metrics| metrics.running_state.is_err(), "the core is dead");
    tokio::pin!(core);
    let core = tokio::select! {
        core = &mut core => Some(core),
        // A core that lost its state machine mostly follows, and knows more; by itself it may not notice for ever.
        () = replica.gone.cancelled() => timeout(FOLLOWING, core).await.ok(),
    };
    let failure = match core.map(|core| core.map(|metrics| metrics.running_state)) {
        Some(Ok(Err(fatal))) => fatal.to_string(),
        Some(_) => "it is gone".into(),
        None => "the state machine is gone".into(),
    };
    replica.refusal.get().cloned().unwrap_or(Failure::Core(failure))
}

async fn poisoned(wal: &Wal) -> crate::wal::Error {
    let mut ticks = interval(LOG_INTERVAL);
    loop {
        ticks.tick().await;
        if let Some(error) = wal.poisoned() {
            return error;
        }
    }
}
