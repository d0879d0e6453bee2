//! A cluster of measured nodes, and what can be done to it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::figures::pause;
use super::member::Member;
use super::report::Report;
use crate::cluster_suite::harness::Cluster;
use crate::node::{PATIENCE, PROGRAM, eventually};

/// Names another program to be measured.
const OTHER_PROGRAM: &str = "KVORUM_BIN";

/// How soon a member that was away has the newest entry.
const CAUGHT_UP: Duration = Duration::from_secs(10);

/// How long nothing is logged before a cluster counts as quiet.
const QUIET: Duration = Duration::from_millis(1_200);

/// How one node is started, apart from the others.
#[derive(Clone, Default)]
pub(crate) struct Own {
    /// What runs the program, if it does not run by itself.
    pub(crate) runner: Vec<OsString>,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) variables: Vec<(String, String)>,
}

/// A cluster of which every node can be watched.
pub(crate) struct Group {
    pub(crate) places: Cluster,
    pub(crate) own: Vec<Own>,
    pub(crate) report: Report,
    members: BTreeMap<usize, Member>,
    /// Those of them that are stopped, and answer nothing.
    frozen: BTreeSet<usize>,
    ids: BTreeMap<usize, u64>,
    written: u64,
    /// Clusters are measured one after the other.
    _turn: MutexGuard<'static, ()>,
}

/// A moment in the logs of the nodes that run.
pub(crate) struct Mark(BTreeMap<usize, (u32, u64)>);

impl Group {
    /// Nodes at these places, none of which runs yet.
    pub(crate) fn at(places: Cluster) -> Group {
        static TURN: Mutex<()> = Mutex::new(());
        let own = vec![Own::default(); places.peers.len()];
        let (members, frozen, ids, report) = Default::default();
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Group { places, own, report, members, frozen, ids, written: 0, _turn: turn }
    }

    /// The log of node `n`.
    fn log(&self, n: usize) -> PathBuf {
        self.places.directory_of(&format!("log{n}"))
    }

    /// Starts node `n`. It listens when this returns, and may still wait for others.
    pub(crate) fn start(&mut self, n: usize) {
        let own = &self.own[n];
        let program = std::env::var_os(OTHER_PROGRAM).unwrap_or_else(|| PROGRAM.into());
        let mut words = own.runner.iter().cloned().chain([program]);
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).envs(own.variables.iter().map(|(name, value)| (name, value)));
        fs::create_dir_all(self.places.path(n)).expect("a directory");
        let settings: Vec<_> =
            own.settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let command = self.places.command_as(command, n, &settings);
        let member = Member::start(command, &self.log(n));
        assert!(self.members.insert(n, member).is_none(), "node {n} runs already");
        self.member(n).address();
    }

    /// Starts these nodes and waits until they are a cluster in which all is well.
    pub(crate) fn start_all(&mut self, nodes: impl IntoIterator<Item = usize>) {
        nodes.into_iter().for_each(|n| self.start(n));
        self.is_well();
        self.learn_ids();
    }

    /// Waits until all is well; says what is not if that does not come.
    pub(crate) fn is_well(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut told = self.is_whole();
        while told.is_err() && Instant::now() < deadline {
            pause(Duration::from_millis(20));
            told = self.is_whole();
        }
        assert_eq!(told, Ok(()), "all is not well again after {PATIENCE:?}");
    }

    /// Takes note of the ids of the nodes that run.
    pub(crate) fn learn_ids(&mut self) {
        for n in self.running() {
            let id = eventually("an id", || self.member(n).cluster()?["node"].as_u64());
            self.ids.insert(n, id);
        }
    }

    pub(crate) fn member(&self, n: usize) -> &Member {
        self.members.get(&n).unwrap_or_else(|| panic!("node {n} does not run"))
    }

    /// The nodes that run.
    pub(crate) fn running(&self) -> Vec<usize> {
        self.members.keys().copied().filter(|n| !self.frozen.contains(n)).collect()
    }

    /// The id of node `n`, also while it does not run.
    pub(crate) fn id(&self, n: usize) -> u64 {
        self.ids[&n]
    }

    /// The node that leads, and the others that vote.
    pub(crate) fn roles(&self) -> (usize, Vec<usize>) {
        let leader = eventually("a leader", || self.leader());
        (leader, self.running().into_iter().filter(|n| *n != leader).collect())
    }

    /// The node that leads by its own account, if one does.
    pub(crate) fn leader(&self) -> Option<usize> {
        let leads = |n: &usize| self.member(*n).cluster().is_some_and(|told| told["role"] == "leader");
        self.running().into_iter().find(leads)
    }

    pub(crate) fn kill(&mut self, n: usize) {
        self.members.remove(&n).expect("it runs").kill();
    }

    /// Asks node `n` to stop, and waits until it has.
    pub(crate) fn stop(&mut self, n: usize) {
        self.members.remove(&n).expect("it runs").terminate();
    }

    /// Holds node `n` up, until it is told to go on.
    pub(crate) fn freeze(&mut self, n: usize) {
        self.member(n).signal(Signal::STOP);
        self.frozen.insert(n);
    }

    pub(crate) fn thaw(&mut self, n: usize) {
        self.member(n).signal(Signal::CONT);
        self.frozen.remove(&n);
    }

    /// Has node `n` begin anew.
    pub(crate) fn empty(&self, n: usize) {
        fs::remove_dir_all(self.places.path(n)).expect("it can be emptied");
    }

    /// Sets a setting of node `n`, for its next start.
    pub(crate) fn set(&mut self, n: usize, key: &str, value: &str) {
        let settings = &mut self.own[n].settings;
        settings.retain(|(known, _)| known != key);
        settings.push((key.to_owned(), value.to_owned()));
    }

    /// A moment to count lines from.
    pub(crate) fn mark(&self) -> Mark {
        let moment = |(n, member): (&usize, &Member)| (*n, (member.process(), member.log_bytes()));
        Mark(self.members.iter().map(moment).collect())
    }

    /// The lines that the nodes have logged since, those that run on.
    pub(crate) fn lines_since(&self, mark: &Mark) -> Vec<(usize, serde_json::Value)> {
        let ran_on = self.members.iter().filter_map(|(n, member)| {
            let (process, byte) = mark.0.get(n)?;
            (*process == member.process()).then(|| (*n, member.lines_from(*byte)))
        });
        ran_on.flat_map(|(n, lines)| lines.into_iter().map(move |line| (n, line))).collect()
    }

    /// As [`Group::lines_since`], with what was logged by processes that have ended or begun since.
    pub(crate) fn all_lines_since(&self, mark: &Mark) -> Vec<(usize, serde_json::Value)> {
        let of_node = |(n, (_, byte)): (&usize, &(u32, u64))| (*n, self.member(*n).lines_from(*byte));
        let lines = mark.0.iter().map(of_node);
        lines.flat_map(|(n, lines)| lines.into_iter().map(move |line| (n, line))).collect()
    }

    /// Waits until no node has logged anything for a moment.
    pub(crate) fn wait_until_quiet(&self) {
        let logged = || self.members.values().map(Member::log_bytes).sum::<u64>();
        let mut last = (logged(), Instant::now());
        let deadline = Instant::now() + CAUGHT_UP;
        eventually("nothing is logged", || {
            let now = logged();
            if now != last.0 {
                last = (now, Instant::now());
            }
            (last.1.elapsed() > QUIET || Instant::now() > deadline).then_some(())
        });
    }

    /// Writes something new by way of the leader; where it stands.
    pub(crate) fn write(&mut self) -> String {
        self.written += 1;
        let path = format!("/v1/kv/newest-{}", self.written);
        eventually("it is written", || {
            let written = self.member(self.leader()?).send("PUT", &path, b"v")?;
            matches!(written.status, 200 | 201).then_some(())
        });
        path
    }

    /// What was wrong with node `n` has ended: all must be well soon, it has the newest entry, and the nodes that ran all the
    /// time wrote at most `lines` lines about it.
    pub(crate) fn is_mended(&mut self, n: usize, mark: &Mark, lines: usize) {
        let begun = Instant::now();
        let newest = self.write() + "?consistency=stale";
        let has_it = || self.member(n).get(&newest).is_some_and(|read| read.status == 200);
        eventually("it has the newest entry", || has_it().then_some(()));
        let took = begun.elapsed();
        self.is_well();
        self.learn_ids();
        let state = self.report.state().to_owned();
        let what = || format!("{state}: node {n} had the newest entry {took:.1?} after it was mended");
        self.report.check(took < CAUGHT_UP, what);
        self.wait_until_quiet();
        self.check_lines(mark, lines, "when it was mended");
    }

    /// Prints what was found, and fails if something was wrong.
    pub(crate) fn finish(mut self) {
        self.members.clear();
        std::mem::take(&mut self.report).end();
    }

    /// Checks that each node wrote at most so many lines since.
    pub(crate) fn check_lines(&mut self, mark: &Mark, most: usize, when: &str) {
        let lines = self.lines_since(mark);
        let state = self.report.state().to_owned();
        for n in self.running() {
            let own: Vec<_> = lines.iter().filter(|(of, _)| *of == n).map(|(_, line)| line).collect();
            let first: Vec<_> = own.iter().take(most.saturating_add(3)).map(|line| short(line)).collect();
            let what = || {
                format!(
                    "{state}: node {n} wrote {} lines {when}, at most {most} are right: {first:#?}",
                    own.len()
                )
            };
            self.report.check(own.len() <= most, what);
        }
    }
}

/// A line for people: where it comes from, and how it begins.
fn short(line: &serde_json::Value) -> String {
    let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
    let message: String = text("message").chars().take(200).collect();
    format!("{} {}: {message}", text("level"), text("target"))
}
