//! Whether the history of one key is linearizable: the search of Wing and Gong with Lowe's memory of where it has been.
//!
//! ```text
//!  done:     [#########..#.#....]   '#' has its place in the order; the next one must not have returned before
//!                     ^ first       another that has none yet was invoked
//!  unknown:  set a, set b, incr     each may be placed anywhere after its invocation, or never
//! ```
//!
//! The search places one operation after the other and goes back when none fits. What keeps it short, none of which
//! changes the verdict (`exhaustive.rs` holds it against a search without any of it):
//!
//! * What changes nothing and fits is placed at once: if it fits anywhere later, it fits here.
//! * Versions only grow: a state beyond a version that is still to be seen is given up.
//! * Places are left when they were left before with the same operations done and a state that allowed as much, after no
//!   more operations of unknown outcome ([`State::covers`]).
//! * Operations of unknown outcome that do the same are taken in the order of their invocation; one that would have done
//!   as well without the one before it is left. Values that nobody was told are all the same.
//!
//! The work is bounded. A search that reaches the bound says so: it never calls a history good that it has not seen to
//! be.
//!
//! Sources: Wing and Gong, "Testing and verifying concurrent objects" (1993); Lowe, "Testing for linearizability" (2017).

use std::collections::{BTreeSet, HashMap};

use super::history::{Answer, Condition, Operation, Outcome, Record};
use super::model::{Act, State, Value};

/// Steps after which a search gives up, for histories that need a few for each operation.
pub(crate) const STEPS: u64 = 3_000_000;

/// What a search found.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// There is an order that explains every answer.
    Linearizable,
    /// There is none.
    Violation(Evidence),
    /// The bound was reached first.
    Exhausted,
}

/// How far an order that explains the answers can be taken.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// The longest order that was found, as positions in the records that were given.
    pub(crate) order: Vec<usize>,
    /// What had to come next, but none of it explains its answer there.
    pub(crate) stuck: Vec<usize>,
}

/// Judges the records of one key, in at most `steps` steps.
pub(crate) fn check(records: &[&Record], steps: u64) -> Verdict {
    Search::new(records).run(steps)
}

/// How far an order can be taken for the records of one key, which are a violation.
pub(crate) fn explain(records: &[&Record], steps: u64) -> Option<Evidence> {
    // A search that looks ahead to versions gives up early, which says less to a reader.
    let mut patient = Search::new(records);
    patient.looks_ahead = false;
    patient.bounds.clear();
    match patient.run(steps) {
        Verdict::Violation(evidence) => Some(evidence),
        Verdict::Linearizable => panic!("looking ahead to versions changes the verdict"),
        Verdict::Exhausted => match check(records, steps) {
            Verdict::Violation(evidence) => Some(evidence),
            Verdict::Linearizable | Verdict::Exhausted => None,
        },
    }
}

/// An operation that was answered.
struct Done {
    record: usize,
    act: Act,
    answer: Answer,
    invoked: u64,
    returned: u64,
    /// The state's revision cannot be above this when it takes effect.
    bound: Option<u64>,
}

/// Operations of unknown outcome that do the same.
struct Class {
    act: Act,
    /// When each was invoked, ascending, and which record it is.
    members: Vec<(u64, usize)>,
}

#[derive(Clone, Copy)]
enum Move {
    Done(usize),
    /// The next of a class.
    Unknown(usize),
}

/// A place in the search, and what is still to be tried from there.
struct Place {
    state: State,
    options: Vec<Move>,
    /// What led here.
    by: Option<Move>,
}

/// Which answered operations have their place: all before the first, and of those behind it the ones marked.
type Placed = (usize, Vec<u64>);

/// How a place was left: in which state, after how many of each class.
struct Left {
    state: State,
    used: Vec<u32>,
}

struct Search {
    /// By invocation.
    done: Vec<Done>,
    classes: Vec<Class>,
    placed: Vec<bool>,
    first: usize,
    remaining: usize,
    /// Whether the bounds of what has no place are looked at.
    looks_ahead: bool,
    bounds: BTreeSet<(u64, usize)>,
    used: Vec<u32>,
    left: HashMap<(Placed, Option<Value>), Vec<Left>>,
    /// The longest order so far, and how many answers it explains.
    best: Option<(usize, Evidence)>,
}

impl Search {
    fn new(records: &[&Record]) -> Search {
        let seen = Seen::of(records);
        let (mut done, mut unknown) = (Vec::new(), Vec::new());
        for (at, record) in records.iter().enumerate() {
            let mut act = Act::of(&record.operation);
            if let Some(value) = &mut act.value
                && !seen.may_tell(value)
            {
                *value = value.hidden();
            }
            match &record.outcome {
                Outcome::Done(answer) => done.push(Done::new(at, record, act, answer)),
                // A read without an answer says nothing.
                Outcome::Unknown if record.operation != Operation::Get => {
                    unknown.push((class_of(act), record.invoked, at));
                }
                Outcome::Unknown | Outcome::NotApplied => {}
            }
        }
        done.sort_by_key(|done| (done.invoked, done.returned));
        unknown.sort();
        let mut classes: Vec<Class> = Vec::new();
        for (act, invoked, at) in unknown {
            match classes.last_mut().filter(|class| class.act == act) {
                Some(class) => class.members.push((invoked, at)),
                None => classes.push(Class { act, members: vec![(invoked, at)] }),
            }
        }
        let bounds = done.iter().enumerate().filter_map(|(n, done)| Some((done.bound?, n))).collect();
        Search {
            placed: vec![false; done.len()],
            first: 0,
            remaining: done.len(),
            looks_ahead: true,
            bounds,
            used: vec![0; classes.len()],
            left: HashMap::new(),
            best: None,
            done,
            classes,
        }
    }

    fn run(mut self, steps: u64) -> Verdict {
        let mut path = vec![self.place(State::NEW, None)];
        let mut taken = 0;
        while self.remaining > 0 {
            taken += 1;
            if taken > steps {
                return Verdict::Exhausted;
            }
            let Some(here) = path.last_mut() else {
                let (_, evidence) = self.best.expect("no place is left without being noted");
                return Verdict::Violation(evidence);
            };
            match here.options.pop() {
                Some(option) => {
                    if let Some(next) = self.follow(&path, option) {
                        self.take(option);
                        let next = self.place(next, Some(option));
                        path.push(next);
                    }
                }
                None => {
                    self.note(&path);
                    let leaving = path.pop().expect("there is a place");
                    if let Some(by) = leaving.by {
                        self.take_back(by);
                    }
                }
            }
        }
        Verdict::Linearizable
    }

    /// A place, with what may be tried from it, the likeliest last.
    fn place(&mut self, state: State, by: Option<Move>) -> Place {
        let options = if self.is_hopeless(&state) { Vec::new() } else { self.options(&state) };
        Place { state, options, by }
    }

    /// Whether nothing can come of this state: it is past a version that is still to be seen, or it was left before.
    fn is_hopeless(&mut self, state: &State) -> bool {
        if self.bounds.first().is_some_and(|(bound, _)| *bound < state.revision) {
            return true;
        }
        let key = (self.signature(), state.value.clone());
        let left = self.left.entry(key).or_default();
        let fewer = |a: &[u32], b: &[u32]| a.iter().zip(b).all(|(a, b)| a <= b);
        if left.iter().any(|left| left.state.covers(state) && fewer(&left.used, &self.used)) {
            return true;
        }
        left.retain(|left| !(state.covers(&left.state) && fewer(&self.used, &left.used)));
        left.push(Left { state: state.clone(), used: self.used.clone() });
        false
    }

    fn options(&self, state: &State) -> Vec<Move> {
        let (candidates, horizon) = self.candidates();
        let observes = |n: &&usize| {
            let done = &self.done[**n];
            !done.answer.is_change() && done.step(state).as_ref() == Some(state)
        };
        if let Some(observer) = candidates.iter().find(observes) {
            return vec![Move::Done(*observer)];
        }
        let available = (0..self.classes.len()).filter(|class| {
            let next = self.classes[*class].members.get(self.used[*class] as usize);
            next.is_some_and(|(invoked, _)| *invoked <= horizon)
        });
        let mut options: Vec<Move> = available.map(Move::Unknown).collect();
        let mut candidates = candidates;
        candidates.sort_by_key(|n| std::cmp::Reverse((self.done[*n].bound, self.done[*n].returned)));
        options.extend(candidates.into_iter().map(Move::Done));
        options
    }

    /// The answered operations that may come next, and the first return among all that have no place.
    fn candidates(&self) -> (Vec<usize>, u64) {
        let (mut horizon, mut candidates) = (u64::MAX, Vec::new());
        for (n, done) in self.done.iter().enumerate().skip(self.first) {
            if done.invoked > horizon {
                break;
            }
            if !self.placed[n] {
                horizon = horizon.min(done.returned);
                candidates.push(n);
            }
        }
        (candidates, horizon)
    }

    /// The state after this move, if it can be made and was worth it.
    fn follow(&self, path: &[Place], option: Move) -> Option<State> {
        let (here, before) = (path.last()?, path.len().checked_sub(2).map(|n| &path[n]));
        match option {
            Move::Done(n) => self.done[n].step(&here.state),
            Move::Unknown(class) => {
                let act = &self.classes[class].act;
                let next = here.state.unseen(act)?;
                let without = before.filter(|_| matches!(here.by, Some(Move::Unknown(_))));
                let without = without.and_then(|before| before.state.unseen(act));
                (!without.is_some_and(|without| without.covers(&next))).then_some(next)
            }
        }
    }

    fn take(&mut self, option: Move) {
        match option {
            Move::Done(n) => {
                self.placed[n] = true;
                self.remaining -= 1;
                if let Some(bound) = self.done[n].bound {
                    self.bounds.remove(&(bound, n));
                }
                while self.placed.get(self.first) == Some(&true) {
                    self.first += 1;
                }
            }
            Move::Unknown(class) => self.used[class] += 1,
        }
    }

    fn take_back(&mut self, option: Move) {
        match option {
            Move::Done(n) => {
                self.placed[n] = false;
                self.remaining += 1;
                if let Some(bound) = self.done[n].bound.filter(|_| self.looks_ahead) {
                    self.bounds.insert((bound, n));
                }
                self.first = self.first.min(n);
            }
            Move::Unknown(class) => self.used[class] -= 1,
        }
    }

    fn signature(&self) -> Placed {
        let mut words = Vec::new();
        let horizon = self.candidates().1;
        let behind = self.done.iter().enumerate().skip(self.first);
        // Nothing behind the horizon has a place.
        for (n, _) in behind.take_while(|(_, done)| done.invoked <= horizon) {
            let at = n - self.first;
            if at / 64 == words.len() {
                words.push(0);
            }
            words[at / 64] |= u64::from(self.placed[n]) << (at % 64);
        }
        (self.first, words)
    }

    /// Notes how far the order on this path came, if none came further.
    fn note(&mut self, path: &[Place]) {
        let placed = self.done.len() - self.remaining;
        if self.best.as_ref().is_some_and(|(most, _)| *most >= placed) {
            return;
        }
        // What was tried of unknown outcome since the last answer did not help.
        let last = path.iter().rposition(|place| matches!(place.by, Some(Move::Done(_)))).unwrap_or(0);
        let mut used = vec![0; self.classes.len()];
        let mut order = Vec::new();
        for place in &path[..=last] {
            match place.by {
                Some(Move::Done(n)) => order.push(self.done[n].record),
                Some(Move::Unknown(class)) => {
                    order.push(self.classes[class].members[used[class]].1);
                    used[class] += 1;
                }
                None => {}
            }
        }
        let stuck = self.candidates().0.into_iter().map(|n| self.done[n].record).collect();
        self.best = Some((placed, Evidence { order, stuck }));
    }
}

impl Done {
    fn new(record: usize, of: &Record, act: Act, answer: &Answer) -> Done {
        let required = match of.operation {
            Operation::Set(_, Condition::Version(v)) | Operation::Delete(Condition::Version(v))
                if v > 0 && answer.is_change() =>
            {
                Some(v)
            }
            _ => None,
        };
        let seen = answer.version();
        let bound = required.or(if answer.is_change() { seen.map(|v| v.saturating_sub(1)) } else { seen });
        let (invoked, returned) = (of.invoked, of.returned);
        Done { record, act, answer: answer.clone(), invoked, returned, bound }
    }

    fn step(&self, state: &State) -> Option<State> {
        state.step(&self.act, &self.answer)
    }
}

/// The same for all operations that do the same: without a value that nobody was told.
fn class_of(act: Act) -> Act {
    match (act.operation, act.value) {
        (Operation::Set(_, condition), Some(value @ (Value::HiddenNumber | Value::HiddenText))) => {
            Act { operation: Operation::Set(String::new(), condition), value: Some(value) }
        }
        (operation, value) => Act { operation, value },
    }
}

/// Which values answers are about.
struct Seen {
    texts: BTreeSet<String>,
    numbers: BTreeSet<i64>,
    /// All additions together are not more than this.
    reach: i64,
}

impl Seen {
    fn of(records: &[&Record]) -> Seen {
        let mut seen = Seen { texts: BTreeSet::new(), numbers: BTreeSet::new(), reach: 0 };
        for record in records {
            if let Operation::Incr(by) = record.operation {
                seen.reach = seen.reach.saturating_add(by.saturating_abs());
            }
            match &record.outcome {
                Outcome::Done(Answer::Found { value, .. }) => match Value::of(value) {
                    Value::Number(number) => drop(seen.numbers.insert(number)),
                    _ => drop(seen.texts.insert(value.clone())),
                },
                Outcome::Done(Answer::Sum { value, .. }) => drop(seen.numbers.insert(*value)),
                _ => {}
            }
        }
        seen
    }

    /// Whether an answer may be about this value, or about what additions made of it.
    fn may_tell(&self, value: &Value) -> bool {
        match value {
            Value::Text(text) => self.texts.contains(text),
            Value::Number(number) => {
                let (low, high) = (number.saturating_sub(self.reach), number.saturating_add(self.reach));
                self.numbers.range(low..=high).next().is_some()
            }
            Value::HiddenNumber | Value::HiddenText => false,
        }
    }
}
