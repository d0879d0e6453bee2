//! The phases of a run, one after the other.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::plan::{End, Plan};
use super::progress::{EVERY, Progress};
use super::report::Report;
use super::schedule::Schedule;
use super::tally::{Gap, Tally};
use super::worker::{Phase, Source, Worker};
use crate::cli::arguments::Bench;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output;
use crate::clock::Stopwatch;

/// How long answers are waited for after the end.
const GRACE: Duration = Duration::from_secs(10);

/// How long they are waited for after Ctrl-C.
const SHORT_GRACE: Duration = Duration::from_secs(1);

const INTERRUPTED: &str = "interrupted";
const NO_SERVER: &str = "no server could be reached any more";

/// What a phase ended with.
struct Measured {
    tally: Tally,
    elapsed: Duration,
    longest_gap: Duration,
    cut_short: Option<&'static str>,
}

/// Runs the load and prints what was measured.
pub(in crate::cli) fn run(bench: &Bench) -> Result<Exit, Failure> {
    let plan = Plan::new(bench)?;
    let runtime = Builder::new_multi_thread().worker_threads(plan.threads).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::of(Exit::Io, &error))?;
    let measured = runtime.block_on(phases(&plan));
    runtime.shutdown_background();
    let measured = measured?;
    let ended = exit(&measured);
    let report = Report {
        what: described(bench, &plan),
        seed: bench.seed,
        connections: plan.connections,
        rate: plan.rate,
        elapsed: measured.elapsed,
        longest_gap: measured.longest_gap,
        cut_short: measured.cut_short,
        tally: measured.tally,
    };
    if bench.server.json {
        output::line(&report.json().to_string())?;
    } else {
        output::print(&report.text())?;
    }
    ended
}

/// How the command ends after this.
fn exit(measured: &Measured) -> Result<Exit, Failure> {
    let tally = &measured.tally;
    if measured.cut_short == Some(NO_SERVER) {
        return Err(Failure::new(Exit::Unreachable, "the server went away and did not come back in time"));
    }
    let most = tally.errors.iter().max_by_key(|(_, count)| **count);
    match most {
        Some((code, _)) if tally.succeeded() == 0 => {
            Err(Failure::new(Exit::Refused, format!("all requests failed, most with {code}")))
        }
        None if tally.requests() == 0 && measured.cut_short.is_none() => {
            Err(Failure::new(Exit::Refused, "no request was answered in that time"))
        }
        _ => Ok(Exit::Done),
    }
}

fn described(bench: &Bench, plan: &Plan) -> String {
    let urls: Vec<&str> = plan.targets.iter().map(|target| target.url.as_str()).collect();
    let rate = plan.rate.map(|rate| format!(", {rate} requests/s")).unwrap_or_default();
    let zipf = bench.zipf.map(|theta| format!(" (zipf {theta})")).unwrap_or_default();
    format!(
        "{} connections to {}{rate}; {}; {} keys{zipf}; seed {}",
        plan.connections,
        urls.join(", "),
        bench.mix,
        bench.keys,
        bench.seed
    )
}

async fn phases(plan: &Plan) -> Result<Measured, Failure> {
    if plan.preload {
        let filling = End::Requests(plan.workload.keys());
        let measured = phase(plan, "filling", Source::Filling, filling, None).await?;
        if measured.cut_short.is_some() {
            return Ok(measured);
        }
        if let Some((code, count)) = measured.tally.errors.iter().next() {
            let reason = format!("{count} writes of --preload failed with {code}");
            return Err(Failure::new(Exit::Refused, reason));
        }
    }
    if let Some(warmup) = plan.warmup {
        let measured = phase(plan, "warm-up", Source::Mix, End::Time(warmup), plan.rate).await?;
        if measured.cut_short.is_some() {
            return Ok(measured);
        }
    }
    phase(plan, "running", Source::Mix, plan.end, plan.rate).await
}

async fn phase(
    plan: &Plan,
    name: &'static str,
    source: Source,
    end: End,
    rate: Option<u64>,
) -> Result<Measured, Failure> {
    let phase = Arc::new(Phase {
        source,
        workload: Arc::clone(&plan.workload),
        schedule: Schedule::new(end.requests(rate), rate),
        targets: plan.targets.clone(),
        common: plan.common.clone(),
        tallies: (0..plan.threads).map(|_| Mutex::new(Tally::new())).collect(),
        gap: Gap::default(),
        max_outage: plan.max_outage,
        stop: CancellationToken::new(),
        gave_up: CancellationToken::new(),
    });
    let workers = open(&phase, plan.connections).await?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| Failure::of(Exit::Io, &error))?;
    let started = Stopwatch::start();
    let pacing = Arc::clone(&phase);
    // Timers of the runtime are a millisecond wide, and a request would be late by that. A thread wakes within 0.1 ms.
    let pacer = std::thread::spawn(move || {
        while let Some(wait) = pacing.schedule.release(started.elapsed()) {
            std::thread::park_timeout(wait);
        }
    });
    let mut running = JoinSet::new();
    workers.into_iter().for_each(|worker| {
        running.spawn(worker.run(started));
    });
    let mut progress = Progress::new(name, end.requests(rate), end.time());
    let cut_short = watch(&phase, &mut running, &mut interrupt, &mut progress, end.time(), started).await;
    phase.end();
    let ended = started.elapsed();
    pacer.thread().unpark();
    let grace = if cut_short.is_some() { SHORT_GRACE } else { GRACE };
    tokio::select! {
        () = all_of(&mut running) => {}
        () = sleep(grace) => {}
        _ = interrupt.recv() => {}
    }
    running.shutdown().await;
    let elapsed = started.elapsed();
    pacer.join().expect("the pacer does not panic");
    let mut tally = sum(&phase);
    phase.count_unsent(ended, &mut tally);
    Ok(Measured { tally, elapsed, longest_gap: phase.gap.longest(ended), cut_short })
}

/// Connects all connections, so that doing so is no part of what is measured.
async fn open(phase: &Arc<Phase>, connections: usize) -> Result<Vec<Worker>, Failure> {
    let mut opening = JoinSet::new();
    for number in 0..connections {
        opening.spawn(Worker::open(Arc::clone(phase), number));
    }
    let mut workers = Vec::with_capacity(connections);
    while let Some(opened) = opening.join_next().await {
        match opened.expect("connecting does not panic") {
            Ok(worker) => workers.push(worker),
            Err((url, error)) => {
                let reason = format!(
                    "cannot reach {url}: is the server running there? ({error}; {} of {connections} connections are open)",
                    workers.len()
                );
                return Err(Failure::new(Exit::Unreachable, reason));
            }
        }
    }
    Ok(workers)
}

/// Waits until the phase is over; says why if that is before its time.
async fn watch(
    phase: &Phase,
    running: &mut JoinSet<()>,
    interrupt: &mut Signal,
    progress: &mut Progress,
    lasts: Option<Duration>,
    started: Stopwatch,
) -> Option<&'static str> {
    let mut looks = interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let over = async {
        match lasts {
            Some(lasts) => sleep(lasts.saturating_sub(started.elapsed())).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    loop {
        tokio::select! {
            () = &mut over => return None,
            _ = interrupt.recv() => return Some(INTERRUPTED),
            () = phase.gave_up.cancelled() => return Some(NO_SERVER),
            () = all_of(running) => return None,
            _ = looks.tick() => {
                let counts = phase.tallies.iter().map(|tally| {
                    let tally = tally.lock();
                    (tally.requests(), tally.failed)
                });
                let (requests, failed) = counts.fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
                progress.show(started.elapsed(), requests, failed);
            }
        }
    }
}

/// Ends when all connections have.
async fn all_of(running: &mut JoinSet<()>) {
    while let Some(ended) = running.join_next().await {
        ended.expect("a connection's task does not panic");
    }
}

fn sum(phase: &Phase) -> Tally {
    let mut sum = Tally::new();
    phase.tallies.iter().for_each(|tally| sum.add(&tally.lock()));
    sum
}
