//! Runs the commands of a story and puts into words what comes of them.

use std::fmt::Write as _;

use kvorum::model::{
    Answer, Command, Key, Outcome, Query, Reason, Settings, Slot, Timestamp, Touch, Transaction, Version,
};
use kvorum::store::{Effects, RecordRef, Store};

use crate::script::{Line, Part, Touched};

/// Time at which a new store begins.
const START: Timestamp = Timestamp(1_000);

/// Removals of one kind that are named one by one.
const NAMED: usize = 6;

/// Values up to this length are shown.
const SHOWN_BYTES: usize = 12;

/// A store and what is known of its last entry.
pub(crate) struct Teller {
    store: Store,
    effects: Effects,
}

impl Default for Teller {
    fn default() -> Teller {
        Teller::new(Settings::default())
    }
}

impl Teller {
    fn new(settings: Settings) -> Teller {
        let mut teller = Teller { store: Store::new(), effects: Effects::new() };
        teller.effects.begin(1, true);
        teller.open(START, &[]);
        let initialize = Transaction::single(Command::Initialize { hash_seed: 42, settings });
        teller.store.transact(&initialize, &[], &mut teller.effects);
        teller
    }

    /// What comes of one line.
    pub(crate) fn run(&mut self, line: Line) -> Vec<String> {
        match line {
            Line::New(settings) => {
                *self = Teller::new(settings);
                vec![format!("new: {}", self.totals())]
            }
            Line::At(at) => {
                self.open(at, &[]);
                self.with_removals(vec![format!("at {}", self.store.now())])
            }
            Line::Touch(touched) => {
                let touches: Vec<Touch> = touched.iter().map(|touched| self.touch_of(touched)).collect();
                self.open(self.store.now(), &touches);
                self.with_removals(vec![format!("touched; least recent first: {}", self.order())])
            }
            Line::Transact(transaction, reads, parts) => self.transact(&transaction, &reads, parts),
            Line::Fill(transaction) => {
                self.effects.clear();
                self.store.transact(&transaction, &[], &mut self.effects);
                let done = self.effects.outcomes.iter().filter(|outcome| outcome.is_success()).count();
                let text = format!("fill -> {done} of {} done", transaction.commands.len());
                self.with_removals(vec![text])
            }
            Line::Read(query, name) => {
                vec![format!("{name} -> {}", self.answer(&self.store.read(self.store.now(), &query)))]
            }
            Line::Totals => vec![self.totals()],
            Line::Dump => self.dump(),
        }
    }

    fn open(&mut self, at: Timestamp, touches: &[Touch]) {
        self.effects.clear();
        self.store.open_entry(at, touches, &mut self.effects);
    }

    fn transact(
        &mut self,
        transaction: &Transaction,
        reads: &[(usize, Query)],
        parts: Vec<Part>,
    ) -> Vec<String> {
        self.effects.clear();
        self.store.transact(transaction, reads, &mut self.effects);
        let mut outcomes = self.effects.outcomes.iter();
        let mut answers = self.effects.answers.iter();
        let lines = parts.into_iter().map(|part| match part {
            Part::Outcome(name) => {
                format!("{name} -> {}", outcome(outcomes.next().expect("an outcome for each command")))
            }
            Part::Answer(name) => {
                format!("{name} -> {}", self.answer(answers.next().expect("an answer for each read")))
            }
        });
        let lines = lines.collect();
        self.with_removals(lines)
    }

    fn touch_of(&self, touched: &Touched) -> Touch {
        let of_key = |key: &Key| {
            let entry = self.entries().find(|entry| entry.key == key.as_bytes());
            entry.map_or(Touch { slot: Slot(0), version: Version(u64::MAX) }, |entry| Touch {
                slot: entry.slot,
                version: entry.version,
            })
        };
        match touched {
            Touched::Key(key) => of_key(key),
            Touched::Exactly(touch) => *touch,
        }
    }

    fn entries(&self) -> impl Iterator<Item = RecordRef<'_>> {
        (0..self.store.end_slot().0).filter_map(|slot| self.store.entry(Slot(slot)))
    }

    /// `lines`, then who had to go.
    fn with_removals(&self, mut lines: Vec<String>) -> Vec<String> {
        for reason in [Reason::Deleted, Reason::Expired, Reason::Evicted, Reason::Cleared] {
            let of_reason = self.effects.removals().filter(|removal| removal.reason == reason);
            let names: Vec<_> = of_reason.map(|removal| name(removal.key)).collect();
            match names.as_slice() {
                [] => {}
                _ if reason == Reason::Cleared => lines.push("  everything is cleared".to_owned()),
                few if few.len() <= NAMED => lines.push(format!("  {}: {}", reason.name(), few.join(" "))),
                [first, .., last] => {
                    lines.push(format!("  {}: {} keys, {first} .. {last}", reason.name(), names.len()));
                }
                [_] => unreachable!("one is few"),
            }
        }
        lines
    }

    fn answer(&self, answer: &Answer) -> String {
        match answer {
            Answer::Value(None) | Answer::Item(None) => "absent".to_owned(),
            Answer::Value(Some(found)) => {
                format!("{}, version {}{}", value(&found.value), found.version, until(found.deadline))
            }
            Answer::Item(Some(item)) => {
                format!("{} bytes, version {}{}", item.size, item.version, until(item.deadline))
            }
            Answer::Page(page) => {
                let names: Vec<String> = page.items.iter().map(|item| name(item.key.as_bytes())).collect();
                let end = page.cursor.map_or("end".to_owned(), |cursor| format!("cursor {cursor}"));
                format!("[{}], {end}", names.join(" "))
            }
            Answer::Many(answers) => {
                answers.iter().map(|answer| self.answer(answer)).collect::<Vec<_>>().join("; ")
            }
        }
    }

    fn order(&self) -> String {
        let mut entries: Vec<RecordRef<'_>> = self.entries().collect();
        entries.sort_by_key(|entry| entry.recency);
        entries.iter().map(|entry| name(entry.key)).collect::<Vec<_>>().join(" ")
    }

    fn totals(&self) -> String {
        let (settings, limits) = (self.store.settings(), self.store.effective_limits());
        let mut text = format!("keys {}", self.store.len());
        if settings.max_keys > 0 {
            let _ = write!(text, " of {}", settings.max_keys);
        }
        if limits.max_keys != settings.max_keys {
            let _ = write!(text, " (still {})", limits.max_keys);
        }
        let _ = write!(text, ", bytes {}", self.store.bytes());
        if settings.max_bytes > 0 {
            let _ = write!(text, " of {}", settings.max_bytes);
        }
        if limits.max_bytes != settings.max_bytes {
            let _ = write!(text, " (still {})", limits.max_bytes);
        }
        let counters = self.store.counters();
        let _ = write!(
            text,
            ", {}, revision {}; evictions {}, expirations {}",
            settings.eviction,
            self.store.revision(),
            counters.evictions,
            counters.expirations
        );
        text
    }

    fn dump(&self) -> Vec<String> {
        let entries = self.entries().map(|entry| {
            let (name, value, until) = (name(entry.key), value(entry.value), until(entry.deadline));
            format!("  slot {}: {name} = {value}, version {}{until}", entry.slot.0, entry.version)
        });
        let mut lines = vec![self.totals()];
        lines.extend(entries);
        if !self.store.is_empty() {
            lines.push(format!("  least recent first: {}", self.order()));
        }
        lines
    }
}

fn name(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

fn value(bytes: &[u8]) -> String {
    if bytes.len() <= SHOWN_BYTES {
        format!("\"{}\"", bytes.escape_ascii())
    } else {
        format!("{} bytes", bytes.len())
    }
}

fn until(deadline: Option<Timestamp>) -> String {
    deadline.map(|deadline| format!(", until {deadline}")).unwrap_or_default()
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Written { version, created, deadline } => {
            let what = if *created { "created" } else { "written" };
            format!("{what}, version {version}{}", until(*deadline))
        }
        Outcome::Deleted => "deleted".to_owned(),
        Outcome::Absent => "absent".to_owned(),
        Outcome::Number { value, version } => format!("{value}, version {version}"),
        Outcome::Cleared { keys } => format!("{keys} keys cleared"),
        Outcome::Configured => "configured".to_owned(),
        Outcome::Unmet { version } if *version == Version::ABSENT => "unmet: it is absent".to_owned(),
        Outcome::Unmet { version } => format!("unmet: it has version {version}"),
        Outcome::NotAnInteger => "not an integer".to_owned(),
        Outcome::Overflow => "overflow".to_owned(),
        Outcome::ValueTooLarge => "value too large".to_owned(),
        Outcome::OutOfMemory => "out of memory".to_owned(),
        Outcome::Aborted => "aborted".to_owned(),
    }
}
