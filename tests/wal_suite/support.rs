//! What the tests share: a naive log, random workloads over it, and running them against the real one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use kvorum::disk::{Faulty, Operation};
use kvorum::wal::{Config, Entry, Error, GroupState, Identity, LogId, Vote, Wal};

pub(crate) const GROUPS: [u16; 3] = [0, 1, 700];
pub(crate) const IDENTITY: Identity = Identity { cluster: 0xC1, node: 2, incarnation: 0x1D };

pub(crate) fn dir() -> &'static Path {
    Path::new("/data/wal")
}

pub(crate) fn segment_path(sequence: u32) -> PathBuf {
    dir().join(format!("{sequence:016x}.seg"))
}

/// Tiny segments and no cache, so that everything is rolled, read back and removed all the time.
pub(crate) fn tiny() -> Config {
    Config { segment_bytes: 4096, cache_bytes: 0, ..Config::default() }
}

pub(crate) fn open(disk: &Faulty, config: Config) -> Result<Wal, Error> {
    Wal::open(Arc::new(disk.clone()), dir(), IDENTITY, config)
}

pub(crate) fn id(term: u64, index: u64) -> LogId {
    LogId { term, leader: term % 3, index }
}

pub(crate) fn entry(index: u64, payload: &[u8]) -> Entry {
    Entry { id: id(1, index), payload: Bytes::copy_from_slice(payload) }
}

/// Runs one asynchronous operation to its end.
pub(crate) fn wait(hand_over: impl FnOnce(Box<dyn FnOnce(Result<(), Error>) + Send>)) -> Result<(), Error> {
    let (tell, told) = mpsc::channel();
    hand_over(Box::new(move |result| tell.send(result).unwrap()));
    told.recv_timeout(std::time::Duration::from_secs(10)).expect("an answer comes")
}

/// One group as it should be, without its commit position.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Group {
    pub(crate) vote: Option<Vote>,
    pub(crate) last: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    pub(crate) entries: Vec<Entry>,
}

/// The naive log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Model(pub(crate) BTreeMap<u16, Group>);

/// One operation of a workload.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Append(u16, Vec<Entry>),
    Vote(u16, Vote),
    Committed(u16, LogId),
    Truncate(u16, Option<LogId>),
    Purge(u16, LogId),
    Roll,
}

impl Model {
    pub(crate) fn new() -> Model {
        Model(GROUPS.iter().map(|group| (*group, Group::default())).collect())
    }

    /// What a log holds.
    pub(crate) fn of(wal: &Wal) -> Model {
        Model::try_of(wal).expect("the log can be read")
    }

    /// What a log holds, unless its disk is gone.
    pub(crate) fn try_of(wal: &Wal) -> Option<Model> {
        let group = |group: &u16| {
            let GroupState { vote, last, purged, committed: _ } = wal.state(*group);
            let entries = wal.read(*group, 0..u64::MAX, usize::MAX).ok()?;
            Some((*group, Group { vote, last, purged, entries }))
        };
        GROUPS.iter().map(group).collect::<Option<_>>().map(Model)
    }

    /// Does a step, and says how the log looks after each record it may leave.
    pub(crate) fn apply(&mut self, step: &Step) -> Vec<Model> {
        let mut states = Vec::new();
        match step {
            Step::Append(group, entries) => {
                for entry in entries {
                    let group = self.0.get_mut(group).unwrap();
                    group.last = Some(entry.id);
                    group.entries.push(entry.clone());
                    states.push(self.clone());
                }
            }
            Step::Vote(group, vote) => self.0.get_mut(group).unwrap().vote = Some(*vote),
            Step::Truncate(group, to) => {
                let group = self.0.get_mut(group).unwrap();
                group.entries.retain(|entry| Some(entry.id.index) <= to.map(|id| id.index));
                if group.last.map(|id| id.index) > to.map(|id| id.index) {
                    group.last = *to;
                }
            }
            Step::Purge(group, upto) => {
                let group = self.0.get_mut(group).unwrap();
                group.entries.retain(|entry| entry.id.index > upto.index);
                if group.purged.map(|id| id.index) < Some(upto.index) {
                    group.purged = Some(*upto);
                }
                if group.last.map(|id| id.index) < Some(upto.index) {
                    group.last = Some(*upto);
                }
            }
            Step::Committed(..) | Step::Roll => {}
        }
        if states.is_empty() {
            states.push(self.clone());
        }
        states
    }
}

/// Dice (splitmix64), so that every workload is named by one number.
pub(crate) struct Luck(pub(crate) u64);

impl Luck {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(crate) fn payload(&mut self) -> Bytes {
        let length = match self.below(40) {
            0 => 5000 + self.below(4000),
            1..=9 => 500 + self.below(900),
            10..=13 => 0,
            _ => self.below(120),
        };
        // Zeros often: a payload must not look like a sector that was never written.
        let fill = if self.below(2) == 0 { 0 } else { self.below(256) as u8 };
        Bytes::from(vec![fill; length as usize])
    }

    /// A step that the log's laws allow in this state.
    pub(crate) fn step(&mut self, model: &Model) -> Step {
        let number = GROUPS[self.below(GROUPS.len() as u64) as usize];
        let group = &model.0[&number];
        let next = group.last.map_or(0, |last| last.index + 1);
        let term = group.last.map_or(1, |last| last.term) + u64::from(self.below(6) == 0);
        match self.below(20) {
            0..=2 => {
                let term = group.vote.map_or(1, |vote| vote.term + 1);
                Step::Vote(number, Vote { term, node: self.below(3), committed: self.below(2) == 0 })
            }
            3 | 4 if group.last.is_some() => Step::Committed(number, group.last.unwrap()),
            5 | 6 if !group.entries.is_empty() => {
                let keep = self.below(group.entries.len() as u64) as usize;
                let before = keep.checked_sub(1).map(|at| group.entries[at].id);
                Step::Truncate(number, before.or(group.purged))
            }
            7 | 8 if !group.entries.is_empty() => {
                let upto = group.entries[self.below(group.entries.len() as u64) as usize].id;
                Step::Purge(number, upto)
            }
            9 if self.below(4) == 0 => Step::Purge(number, id(term, next + self.below(5))),
            10 => Step::Roll,
            _ => {
                let count = 1 + self.below(4);
                let entry = |luck: &mut Luck, index| Entry { id: id(term, index), payload: luck.payload() };
                Step::Append(number, (next..next + count).map(|index| entry(self, index)).collect())
            }
        }
    }
}

/// What a workload handed over, and how much of it was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) model: Model,
    /// The log after each record that was handed over; the first is the log before.
    pub(crate) states: Vec<Model>,
    /// The last state that was acknowledged.
    pub(crate) acknowledged: usize,
    /// The last state whose acknowledgement promised that it is synced.
    pub(crate) synced: usize,
    /// Commit positions handed over, in order.
    committed: Vec<(u16, LogId)>,
    /// How many of them a later, answered operation has certainly carried along.
    carried: usize,
    /// Commit positions when the history began.
    before: BTreeMap<u16, LogId>,
}

impl History {
    pub(crate) fn new() -> History {
        History::begin(Model::new(), BTreeMap::new())
    }

    /// A history that begins with a log as it was found.
    pub(crate) fn of(wal: &Wal, found: Model) -> History {
        let committed = |group: &u16| Some((*group, wal.state(*group).committed?));
        History::begin(found, GROUPS.iter().filter_map(committed).collect())
    }

    fn begin(model: Model, before: BTreeMap<u16, LogId>) -> History {
        let states = vec![model.clone()];
        let (acknowledged, synced, carried) = (0, 0, 0);
        History { model, states, acknowledged, synced, committed: Vec::new(), carried, before }
    }

    /// Hands random steps over, a few at a time, until `count` are done or one fails.
    pub(crate) fn run(&mut self, wal: &Wal, luck: &mut Luck, count: usize) {
        let (tell, told) = mpsc::channel();
        let mut left = count;
        while left > 0 {
            let group = (1 + luck.below(3) as usize).min(left);
            let mut awaited = 0;
            let saved_before = self.committed.len();
            for _ in 0..group {
                let step = luck.step(&self.model);
                awaited += usize::from(self.hand_over(wal, &step, &tell));
            }
            left -= group;
            for _ in 0..awaited {
                let (state, synced, result): (usize, bool, Result<(), Error>) = told.recv().unwrap();
                if result.is_err() {
                    return;
                }
                assert!(state >= self.acknowledged, "callbacks come in order");
                self.acknowledged = state;
                if synced {
                    self.synced = state;
                }
            }
            if awaited > 0 {
                self.carried = saved_before;
            }
        }
    }

    /// Hands one step over; returns whether an answer will come.
    fn hand_over(
        &mut self,
        wal: &Wal,
        step: &Step,
        tell: &mpsc::Sender<(usize, bool, Result<(), Error>)>,
    ) -> bool {
        if let Step::Committed(group, id) = step {
            self.committed.push((*group, *id));
            wal.save_committed(*group, *id);
            return false;
        }
        let after = self.model.apply(step);
        self.states.extend(after);
        let state = self.states.len() - 1;
        let synced = matches!(step, Step::Vote(..));
        let tell = tell.clone();
        // The receiver is gone once a workload has stopped at its first failure.
        let done = Box::new(move |result| drop(tell.send((state, synced, result))));
        match step.clone() {
            Step::Append(group, entries) => wal.append(group, entries, done),
            Step::Vote(group, vote) => wal.save_vote(group, vote, done),
            Step::Truncate(group, to) => wal.truncate_after(group, to, done),
            Step::Purge(group, upto) => wal.purge_upto(group, upto, done),
            Step::Roll => wal.roll(done),
            Step::Committed(..) => unreachable!("handled above"),
        }
        true
    }

    fn committed_before(&self, group: u16) -> Option<LogId> {
        self.before
            .get(&group)
            .copied()
            .filter(|_| self.committed[..self.carried].iter().all(|(of, _)| *of != group))
    }

    /// The prefix law: the log is as it was after some record, at the earliest that of state `floor`.
    pub(crate) fn check(&self, wal: &Wal, found: &Model, floor: usize, context: &str) {
        if !self.states[floor..].contains(found) {
            let earlier = self.states.iter().position(|state| state == found);
            panic!(
                "{context}: the log is not in a state handed over since {floor} of {} (it is as at {earlier:?})\n{found:#?}",
                self.states.len() - 1
            );
        }
        // An interval may lose commit positions with the rest; they are only looked at where nothing may be
        // lost.
        if floor < self.acknowledged {
            return;
        }
        for group in GROUPS {
            let of_group = |(other, id): &(u16, LogId)| (*other == group).then_some(*id);
            let carried = self.committed[..self.carried].iter().filter_map(of_group).next_back();
            let later = self.committed[self.carried..].iter().filter_map(of_group);
            let mut possible = carried.into_iter().chain(later);
            let found = wal.state(group).committed;
            let fits = if let Some(id) = found {
                possible.any(|other| other == id)
            } else {
                carried.is_none() && !self.before.contains_key(&group)
            };
            assert!(fits || found == self.committed_before(group), "{context}: commit position {found:?}");
        }
    }
}

/// Waits for a condition that another thread brings about, at most ten seconds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
    panic!("{what}: not within ten seconds");
}

/// Waits until the background thread has made a segment, and its name is durable.
pub(crate) fn wait_for_spare(disk: &Faulty, sequence: u32) {
    eventually("the spare", || {
        let trace = disk.trace();
        let renamed = trace.iter().position(|(_, file)| *file == format!("{sequence:016x}.seg"));
        renamed.is_some_and(|at| trace[at..].iter().any(|(operation, _)| *operation == Operation::SyncDir))
    });
}
