//! The end of the process: one token that says "stop", named tasks, and a drain with a deadline.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Between turning unready and closing the listeners, so that balancers notice.
    pub drain: Duration,
    /// From the signal to the end of the process.
    pub deadline: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config { drain: Duration::from_millis(500), deadline: Duration::from_secs(25) }
    }
}

impl Config {
    /// Says what is wrong with the settings.
    pub fn validate(&self) -> Result<(), String> {
        if self.deadline < Duration::from_millis(100) {
            return Err("shutdown.deadline_ms is at least 100".to_owned());
        }
        if self.drain >= self.deadline {
            return Err("shutdown.drain_ms is less than shutdown.deadline_ms".to_owned());
        }
        Ok(())
    }
}

/// Tasks that end when they are told to, and not before.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    broken: CancellationToken,
}

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Tasks {
        Tasks::default()
    }

    /// Starts a task. It must end soon after [`Tasks::stopped`] does; if it ends or panics before, [`Tasks::broken`]
    /// does too. A task that goes with its runtime has not ended: whoever drops a runtime knows why.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let Tasks { stop, broken, .. } = self.clone();
        self.tracker.spawn(async move {
            // Nothing of a task that panicked is used again: the process ends.
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            if !stop.is_cancelled() {
                tracing::error!(name, panicked = ended.is_err(), "a task ended before its time");
                broken.cancel();
            }
        });
    }

    /// Ends when a task has ended before its time.
    pub fn broken(&self) -> impl Future<Output = ()> + Send + 'static {
        self.broken.clone().cancelled_owned()
    }

    /// Ends when the tasks are told to stop.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        self.stop.clone().cancelled_owned()
    }

    /// Tells the tasks to stop and waits for them, until `deadline`; says whether all ended.
    pub async fn stop(&self, deadline: Instant) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout_at(deadline, self.tracker.wait()).await.is_ok()
    }
}

/// How long a further signal is taken for the one before: supervisors send SIGTERM to a process and to its group.
const SAME: Duration = Duration::from_secs(1);

/// The signals that end the process.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over from the system that would end the process. SIGTERM and SIGINT are told by [`Signals::next`];
    /// SIGHUP is told by [`HangUps`]; SIGUSR1 and SIGUSR2 do nothing. (SIGPIPE does nothing in any program of Rust.) Inside a
    /// tokio runtime only.
    pub fn listen() -> std::io::Result<Signals> {
        for silent in [SignalKind::hangup(), SignalKind::user_defined1(), SignalKind::user_defined2()] {
            // The system's own answer to a signal does not come back when a listener goes.
            drop(signal(silent)?);
        }
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal and gives its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Waits for a signal that is another than the one that [`Signals::next`] has just told.
    pub async fn another(&mut self) -> &'static str {
        let told = Instant::now();
        loop {
            let signal = self.next().await;
            if told.elapsed() >= SAME {
                return signal;
            }
        }
    }
}

/// SIGHUP: whoever sends it wants the process to read again what can be read again.
#[derive(Debug)]
pub struct HangUps(Signal);

impl HangUps {
    /// Takes SIGHUP over from the system. Inside a tokio runtime only.
    pub fn listen() -> std::io::Result<HangUps> {
        Ok(HangUps(signal(SignalKind::hangup())?))
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_does_not_stop_is_reported_at_the_deadline() {
        let tasks = Tasks::new();
        tasks.spawn("stubborn", std::future::pending());
        tasks.spawn("willing", tasks.stopped());
        assert!(!tasks.stop(Instant::now() + Duration::from_millis(10)).await);
    }

    #[tokio::test]
    async fn a_task_that_ends_by_itself_is_noticed() {
        let tasks = Tasks::new();
        tasks.spawn("brief", async {});
        let broken = tokio::time::timeout(Duration::from_secs(60), tasks.broken()).await;
        assert!(broken.is_ok());
    }

    #[tokio::test]
    async fn a_task_that_panics_is_noticed() {
        let tasks = Tasks::new();
        tasks.spawn("unlucky", async { panic!("as the test wants it") });
        let broken = tokio::time::timeout(Duration::from_secs(60), tasks.broken()).await;
        assert!(broken.is_ok());
        assert!(tasks.stop(Instant::now() + Duration::from_secs(60)).await);
    }

    #[test]
    fn a_task_that_goes_with_its_runtime_is_not_broken() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let tasks = Tasks::new();
        runtime.block_on(async { tasks.spawn("endless", std::future::pending()) });
        drop(runtime);
        assert!(tasks.broken().now_or_never().is_none());
    }

    #[tokio::test]
    async fn tasks_end_when_they_are_told_to() {
        let tasks = Tasks::new();
        tasks.spawn("willing", tasks.stopped());
        assert!(tasks.stop(Instant::now() + Duration::from_secs(60)).await);
    }
}
