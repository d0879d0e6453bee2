//! A cluster in one process, in simulated time: real nodes, an in-memory network, disks that forget, wrong clocks, and a
//! seed that says what goes wrong and what clients ask.
//!
//! Replaced are only the ends: TCP by `net` (the gRPC on top of it is the real one), the file system by the faulty disk, the
//! machine's clocks by `clock`, and how fast it applies by `processor`. Time is tokio's paused clock, which jumps to the next timer when nothing is left to do; `quiet`
//! holds it while a thread of the log works.
//!
//! Replay: `KVORUM_SIM_SEED=17 cargo test --test simulation` runs that seed alone and prints what happened.
//! `KVORUM_SIM_SEEDS=200` says how many seeds are run, from `KVORUM_SIM_FIRST` (default 1) on. For many, `cargo simulate` builds
//! Kvorum with a little optimisation, which makes the simulation three times as fast: `KVORUM_SIM_SEEDS=200 cargo simulate`.
//!
//! A seed fixes faults, clients, delays and disks. It does not fix everything: raft draws its election timeouts from the
//! system's randomness, tokio's `select!` its order, and what the log writes together depends on when the kernel
//! wakes its thread. So a failing seed fails again mostly, not always: replay it several times (`KVORUM_SIM_TIMES=20`).

#![allow(clippy::disallowed_methods, reason = "the rig looks at threads and measures itself")]

mod chaos;
mod check;
mod clients;
mod clock;
mod disk;
mod history;
mod host;
mod logs;
mod net;
mod pipe;
mod processor;
mod quiet;
mod random;
mod run;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use run::{Report, Summary, run};

/// Seeds that are run if nothing else is said.
const SEEDS: u64 = 24;

/// Real time after which a seed is taken to hang.
const HANGS: Duration = Duration::from_secs(180);

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs seeds on all processors; hands each report over as it comes.
fn run_all(seeds: impl Iterator<Item = u64>, mut take: impl FnMut(u64, Report, Duration)) {
    let seeds: VecDeque<u64> = seeds.collect();
    let count = seeds.len();
    let seeds = Arc::new(Mutex::new(seeds));
    let (sender, receiver) = mpsc::channel();
    for _ in 0..std::thread::available_parallelism().map_or(1, |count| count.get()).min(count) {
        let (seeds, sender) = (Arc::clone(&seeds), sender.clone());
        std::thread::spawn(move || {
            loop {
                let next = seeds.lock().expect("nobody fails under it").pop_front();
                let Some(seed) = next else { return };
                let begun = Instant::now();
                let report = std::panic::catch_unwind(|| run(seed));
                if sender.send((seed, report, begun.elapsed())).is_err() {
                    return;
                }
            }
        });
    }
    for _ in 0..count {
        let (seed, report, took) = receiver.recv_timeout(HANGS).expect("a seed hangs");
        let report = report.unwrap_or_else(|_| panic!("seed {seed}: the simulation itself failed"));
        take(seed, report, took);
    }
}

/// Goal: whatever the seed makes of network, processes, disks and clocks, every invariant holds.
#[test]
fn every_seed_keeps_every_invariant() {
    let one = variable("KVORUM_SIM_SEED");
    let first = one.or(variable("KVORUM_SIM_FIRST")).unwrap_or(1);
    let count = variable("KVORUM_SIM_SEEDS").unwrap_or(SEEDS);
    let times = variable("KVORUM_SIM_TIMES").unwrap_or(1);
    let seeds = match one {
        Some(seed) => vec![seed; times as usize],
        None => (first..first + count).collect(),
    };
    let mut failed = Vec::new();
    let mut total = Summary::default();
    let begun = Instant::now();
    run_all(seeds.into_iter(), |seed, report, took| {
        let Report { wrongs, notes, summary } = report;
        println!("seed {seed}: {summary} in {took:.1?}");
        total.ops += summary.ops;
        total.simulated += summary.simulated;
        if !wrongs.is_empty() || one.is_some() {
            notes.iter().for_each(|note| println!("{note}"));
        }
        for wrong in wrongs.iter().take(1) {
            let at = wrong.at.as_secs_f64();
            failed.push(format!(
                "seed {seed}, at {at:.3} s: {}: {} (and {} more)\n  replay: KVORUM_SIM_SEED={seed} cargo test --test simulation",
                wrong.what,
                wrong.seen,
                wrongs.len() - 1
            ));
        }
    });
    println!(
        "{} operations in {:?} of simulated and {:.1?} of real time",
        total.ops,
        total.simulated,
        begun.elapsed()
    );
    assert!(failed.is_empty(), "{} seeds fail:\n{}", failed.len(), failed.join("\n"));
}
