//! Processor time and log of the nodes of a cluster over a few seconds, and what is right of them.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::group::{Group, Mark};
use super::load::Load;

/// How long it is measured. The system counts processor time in hundredths of a second.
const WINDOW: Duration = Duration::from_secs(3);

/// Share of a core that a node may use beyond the busiest one of the whole cluster.
const MORE_SHARE: f64 = 0.05;

/// Writes per processor second of the leader, of those of the whole cluster.
const LEAST_RATE: f64 = 0.9;

/// Bytes of log that a node may write in a second.
const LOG_BYTES: f64 = 2_000.0;

/// Writes that must be acknowledged in a window where there is a quorum: a sixth of what is asked for, as the machine may be
/// busy with something else.
const LEAST_WRITES: u64 = 100;

/// How often it is measured before it counts as wrong: what lasts for an hour is wrong each time, and another process that
/// empties the caches is not.
const TRIES: usize = 3;

/// A window.
pub(crate) struct Window {
    /// Share of a core, of each node.
    shares: BTreeMap<usize, f64>,
    /// Bytes of log a second, of each node.
    log: BTreeMap<usize, f64>,
    /// Writes that were acknowledged.
    written: u64,
    /// Writes per processor second of the leader, without what the leader of a whole cluster uses while nobody writes: a busy
    /// machine takes fewer writes, and each would have a larger part of that.
    rate: Option<f64>,
}

/// A whole cluster, idle and loaded.
pub(crate) struct Whole {
    pub(crate) idle: Window,
    pub(crate) loaded: Window,
}

/// A state that can last.
pub(crate) struct State<'a> {
    pub(crate) name: &'a str,
    /// Where nodes do not say how it is: what is wrong.
    pub(crate) truth: &'a dyn Fn(&Group) -> Result<(), String>,
    /// How soon they must.
    pub(crate) within: Duration,
    /// How many lines a node that ran all the time may write about it.
    pub(crate) lines: usize,
    /// Where clients write to; `None`: to the leader, which takes it.
    pub(crate) refusing: Option<usize>,
}

impl Default for State<'_> {
    fn default() -> State<'static> {
        let within = Duration::from_secs(5);
        State { name: "", truth: &Group::is_whole, within, lines: 1, refusing: None }
    }
}

impl Window {
    /// The busiest node's share of a core.
    pub(crate) fn share(&self) -> f64 {
        self.shares.values().copied().fold(0.0, f64::max)
    }

    /// What the noisiest node logs in a second.
    pub(crate) fn log(&self) -> f64 {
        self.log.values().copied().fold(0.0, f64::max)
    }

    pub(crate) fn rate(&self) -> Option<f64> {
        self.rate
    }
}

/// Waits.
pub(crate) fn pause(time: Duration) {
    let (_sender, never) = channel::<()>();
    let _ = never.recv_timeout(time);
}

impl Group {
    /// Measures the nodes that run for so long.
    /// `idle` is the share of a core that the leader of a whole cluster uses without load.
    pub(crate) fn measure(&self, time: Duration, load: Option<&Load>, idle: f64) -> Window {
        let leader = self.leader();
        let written = || load.map_or(0, Load::written);
        let sample = || {
            let taken = |n| (n, (self.member(n).processor_time(), self.member(n).log_bytes()));
            self.running().into_iter().map(taken).collect::<BTreeMap<_, _>>()
        };
        let (begun, before, written_before) = (Instant::now(), sample(), written());
        pause(time);
        let (seconds, after, written) = (begun.elapsed().as_secs_f64(), sample(), written() - written_before);
        let used = |n: &usize| (after[n].0 - before[n].0).as_secs_f64();
        let logged = |n: &usize| (after[n].1 - before[n].1) as f64;
        Window {
            shares: before.keys().map(|n| (*n, used(n) / seconds)).collect(),
            log: before.keys().map(|n| (*n, logged(n) / seconds)).collect(),
            written,
            rate: leader
                .filter(|_| written > 0)
                .map(|leader| written as f64 / (used(&leader) - idle * seconds).max(0.01)),
        }
    }

    fn measure_loaded(&self, at: Option<usize>, time: Duration, idle: f64) -> Window {
        let at = at.or_else(|| self.leader()).unwrap_or_else(|| self.running()[0]);
        let load = Load::on(&[self.member(at).address()]);
        // Opening connections is not what is measured.
        pause(Duration::from_millis(300));
        let window = self.measure(time, Some(&load), idle);
        load.stop();
        window
    }

    /// Measures the whole cluster, as what to compare with.
    pub(crate) fn whole(&mut self, name: &str) -> Whole {
        self.whole_for(name, WINDOW)
    }

    /// As [`Group::whole`], loaded for so long.
    pub(crate) fn whole_for(&mut self, name: &str, loaded: Duration) -> Whole {
        self.report.begin(name);
        self.wait_until_quiet();
        let idle = self.measure(WINDOW, None, 0.0);
        let loaded = self.measure_loaded(None, loaded, idle.share());
        let whole = Whole { idle, loaded };
        let logs = [whole.idle.log(), whole.loaded.log()];
        self.report.check(logs[0] == 0.0, || format!("{name}: an idle cluster logs {:.0} bytes/s", logs[0]));
        self.report.check(logs[1] <= LOG_BYTES, || format!("{name}: a cluster logs {:.0} bytes/s", logs[1]));
        self.tell(&whole, &whole.idle, &whole.loaded, String::new());
        whole
    }

    /// Watches a state that has begun at that mark, idle and loaded.
    pub(crate) fn endures(&mut self, whole: &Whole, begun: &Mark, state: &State<'_>) {
        self.report.begin(state.name);
        let becomes_true = Instant::now() + state.within;
        self.is_true(state, becomes_true);
        let idle = self
            .best_of(|group| group.measure(WINDOW, None, 0.0), |group, window| group.idles(whole, window));
        self.is_true(state, becomes_true);
        let loaded = self.best_of(
            |group| group.measure_loaded(state.refusing, WINDOW, whole.idle.share()),
            |group, window| group.works(whole, window, state.refusing.is_none()),
        );
        self.is_true(state, becomes_true);
        let counts = self.lines_since(begun).into_iter().fold(BTreeMap::new(), |mut counts, (n, _)| {
            *counts.entry(n).or_insert(0) += 1;
            counts
        });
        let most: usize = counts.values().copied().max().unwrap_or(0);
        self.check_lines(begun, state.lines, "since it began");
        self.tell(whole, &idle, &loaded, most.to_string());
    }

    /// Notes a fault unless the nodes say how it is, at the latest by then.
    fn is_true(&mut self, state: &State<'_>, deadline: Instant) {
        let mut told = (state.truth)(self);
        while told.is_err() && Instant::now() < deadline {
            pause(Duration::from_millis(50));
            told = (state.truth)(self);
        }
        let name = state.name;
        self.report.check(told.is_ok(), || format!("{name}: {}", told.expect_err("it is checked")));
    }

    /// Measures until nothing is wrong, or often enough.
    fn best_of(
        &mut self,
        measure: impl Fn(&Group) -> Window,
        faults: impl Fn(&Group, &Window) -> Vec<String>,
    ) -> Window {
        for _ in 1..TRIES {
            let window = measure(self);
            if faults(self, &window).is_empty() {
                return window;
            }
        }
        let window = measure(self);
        let found = faults(self, &window);
        let name = self.report.state().to_owned();
        found.into_iter().for_each(|fault| self.report.check(false, || format!("{name}: {fault}")));
        window
    }

    /// What is wrong with an idle cluster.
    fn idles(&self, whole: &Whole, window: &Window) -> Vec<String> {
        let most = whole.idle.share() + MORE_SHARE;
        let busy = window.shares.iter().filter(|(_, share)| **share > most).map(|(n, share)| {
            format!(
                "idle, node {n} uses {:.1} % of a core, the limit is {:.1} %",
                share * 100.0,
                most * 100.0
            )
        });
        busy.chain(loud("idle", window)).collect()
    }

    /// What is wrong with a loaded cluster.
    fn works(&self, whole: &Whole, window: &Window, takes_writes: bool) -> Vec<String> {
        let most = whole.loaded.share() / LEAST_RATE + MORE_SHARE;
        let busy = window.shares.iter().filter(|(_, share)| **share > most).map(|(n, share)| {
            format!(
                "loaded, node {n} uses {:.1} % of a core, the limit is {:.1} %",
                share * 100.0,
                most * 100.0
            )
        });
        let mut found: Vec<_> = busy.chain(loud("loaded", window)).collect();
        if takes_writes && window.written < LEAST_WRITES {
            found.push(format!("{} writes were taken in {WINDOW:?}", window.written));
        }
        if let (true, Some(rate), Some(before)) = (takes_writes, window.rate, whole.loaded.rate)
            && rate < before * LEAST_RATE
        {
            found.push(format!(
                "{rate:.0} writes per processor second of the leader; the whole cluster: {before:.0}"
            ));
        }
        if !takes_writes && window.written > 0 {
            found.push(format!("{} writes were taken without a quorum", window.written));
        }
        found
    }

    fn tell(&mut self, whole: &Whole, idle: &Window, loaded: &Window, lines: String) {
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        let beside = |one: f64, other: f64| format!("{}, {}", percent(one), percent(other));
        let rate =
            loaded.rate().zip(whole.loaded.rate()).map(|(rate, before)| format!("{:.2}", rate / before));
        let ready: Vec<_> = self.running().into_iter().filter(|n| self.member(*n).is_ready()).collect();
        let ready = format!("{} of {}", ready.len(), self.running().len());
        self.report.row([
            beside(idle.share(), whole.idle.share()),
            beside(loaded.share(), whole.loaded.share()),
            rate.unwrap_or_else(|| "no writes".into()),
            format!("{:.0} / {:.0}", idle.log(), loaded.log()),
            lines,
            ready,
        ]);
    }
}

/// The nodes that log too much.
fn loud<'a>(when: &'a str, window: &'a Window) -> impl Iterator<Item = String> + 'a {
    let loud = window.log.iter().filter(|(_, bytes)| **bytes > LOG_BYTES);
    loud.map(move |(n, bytes)| format!("{when}, node {n} logs {bytes:.0} bytes/s"))
}
