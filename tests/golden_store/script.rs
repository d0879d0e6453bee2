//! The language of the stories: one command a line, a word and its arguments.
//!
//! ```text
//! new max_bytes=300 eviction=lru      an initialised store at time 1000
//! at 2000                             opens a log entry
//! touch a b                           opens a log entry with touches of keys as they are
//! touch slot=3 version=7              the same of something that may have changed
//! set a text ttl=50 if=absent         ttl=, until= or keep; if=absent, present or a version; v*35 is 35 times v
//! delete a if=7   expire a ttl=9   add a -1   clear   configure max_keys=2
//! fill 100 k 36                       sets k0000 to k0099 with values of 36 bytes, independent of each other
//! multi: check a if=absent; set a 1; get a        each:, multi: and all: are one transaction, reads included
//! get a   describe a   scan cursor=3 limit=2 prefix=k
//! totals   dump                       the totals; every entry by slot and the LRU order as well
//! ```

use bytes::Bytes;
use kvorum::model::{
    Check, Command, Condition, Expiry, Key, Mode, Principal, Query, Settings, SettingsChange, Slot,
    Timestamp, Touch, Transaction, Ttl, Version,
};

/// A line of a story.
pub(crate) enum Line {
    New(Settings),
    At(Timestamp),
    Touch(Vec<Touched>),
    /// The transaction, its reads, and a name for each outcome and answer, in the order of the line.
    Transact(Transaction, Vec<(usize, Query)>, Vec<Part>),
    Fill(Transaction),
    Read(Query, String),
    Totals,
    Dump,
}

/// What is touched.
pub(crate) enum Touched {
    Key(Key),
    Exactly(Touch),
}

/// A step of a transaction: does it have an outcome or an answer, and what is it called?
pub(crate) enum Part {
    Outcome(String),
    Answer(String),
}

type Parsed<T> = Result<T, String>;

/// One command.
pub(crate) fn parse(line: &str) -> Parsed<Line> {
    for (word, mode) in [("each:", Mode::Each), ("multi:", Mode::Multi), ("all:", Mode::All)] {
        if let Some(steps) = line.strip_prefix(word) {
            return transaction(mode, steps.split(';').map(str::trim));
        }
    }
    let words = Words::new(line);
    match words.word {
        "new" => Ok(Line::New(change(&words)?.applied_to(Settings::default()))),
        "at" => Ok(Line::At(Timestamp(number(words.first()?)?))),
        "touch" => touches(&words).map(Line::Touch),
        "fill" => fill(&words),
        "totals" => Ok(Line::Totals),
        "dump" => Ok(Line::Dump),
        _ => match query(&words)? {
            Some(query) => Ok(Line::Read(query, words.name())),
            None => transaction(Mode::Each, [line].into_iter()),
        },
    }
}

/// The words of a command: the first, then plain ones and `name=value`.
struct Words<'a> {
    word: &'a str,
    plain: Vec<&'a str>,
    named: Vec<(&'a str, &'a str)>,
}

impl<'a> Words<'a> {
    fn new(line: &'a str) -> Words<'a> {
        let mut words = line.split_whitespace();
        let word = words.next().unwrap_or_default();
        let (named, plain): (Vec<_>, Vec<_>) = words.partition(|word| word.contains('='));
        Words { word, plain, named: named.iter().filter_map(|word| word.split_once('=')).collect() }
    }

    fn first(&self) -> Parsed<&'a str> {
        self.plain.first().copied().ok_or_else(|| "an argument is missing".to_owned())
    }

    fn second(&self) -> Parsed<&'a str> {
        self.plain.get(1).copied().ok_or_else(|| "a second argument is missing".to_owned())
    }

    fn named(&self, name: &str) -> Option<&'a str> {
        self.named.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }

    fn has(&self, word: &str) -> bool {
        self.plain.contains(&word)
    }

    /// What the story calls it.
    fn name(&self) -> String {
        let argument = self.plain.first().map(|argument| format!(" {argument}")).unwrap_or_default();
        format!("{}{argument}", self.word)
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Parsed<T> {
    text.parse().map_err(|_| format!("{text:?} is no number that fits"))
}

fn optional<T: std::str::FromStr>(text: Option<&str>) -> Parsed<Option<T>> {
    text.map(number).transpose()
}

fn key(text: &str) -> Parsed<Key> {
    Key::new(text.to_owned()).map_err(|error| error.to_string())
}

fn value(text: &str) -> Parsed<Bytes> {
    Ok(match text.split_once('*') {
        Some((what, times)) => what.repeat(number(times)?).into(),
        None => text.to_owned().into(),
    })
}

fn expiry(words: &Words<'_>) -> Parsed<Expiry> {
    Ok(match (words.named("ttl"), words.named("until")) {
        (Some(ms), _) => Expiry::After(Ttl::from_millis(number(ms)?).map_err(|error| error.to_string())?),
        (None, Some(ms)) => Expiry::At(Timestamp(number(ms)?)),
        (None, None) if words.has("keep") => Expiry::Keep,
        (None, None) => Expiry::Never,
    })
}

fn condition(words: &Words<'_>) -> Parsed<Condition> {
    Ok(match words.named("if") {
        None => Condition::Always,
        Some("absent") => Condition::Absent,
        Some("present") => Condition::Present,
        Some(version) => Condition::Version(Version(number(version)?)),
    })
}

fn change(words: &Words<'_>) -> Parsed<SettingsChange> {
    let eviction = words.named("eviction").map(|name| name.parse().map_err(|error| format!("{error}")));
    Ok(SettingsChange {
        max_bytes: optional(words.named("max_bytes"))?,
        max_keys: optional(words.named("max_keys"))?,
        eviction: eviction.transpose()?,
        max_value_bytes: optional(words.named("max_value_bytes"))?,
        voters: optional(words.named("voters"))?,
    })
}

fn command(words: &Words<'_>) -> Parsed<Command> {
    let condition = condition(words)?;
    Ok(match words.word {
        "set" => {
            let (key, value) = (key(words.first()?)?, value(words.second()?)?);
            Command::Set { key, value, expiry: expiry(words)?, condition }
        }
        "delete" => Command::Delete { key: key(words.first()?)?, condition },
        "expire" => Command::Expire { key: key(words.first()?)?, expiry: expiry(words)?, condition },
        "add" => Command::Add { key: key(words.first()?)?, by: number(words.second()?)? },
        "clear" => Command::Clear,
        "configure" => Command::Configure(change(words)?),
        other => return Err(format!("there is no command {other:?}")),
    })
}

fn query(words: &Words<'_>) -> Parsed<Option<Query>> {
    Ok(Some(match words.word {
        "get" => Query::Get(key(words.first()?)?),
        "describe" => Query::Describe(key(words.first()?)?),
        "scan" => Query::Scan {
            cursor: optional(words.named("cursor"))?.unwrap_or(0),
            limit: optional(words.named("limit"))?.unwrap_or(10),
            prefix: words.named("prefix").unwrap_or_default().to_owned().into(),
            values: false,
        },
        _ => return Ok(None),
    }))
}

fn transaction<'a>(mode: Mode, steps: impl Iterator<Item = &'a str>) -> Parsed<Line> {
    let (mut checks, mut commands) = (Vec::new(), Vec::new());
    let (mut reads, mut parts) = (Vec::new(), Vec::new());
    for words in steps.map(Words::new) {
        if words.word == "check" {
            checks.push(Check { key: key(words.first()?)?, condition: condition(&words)? });
        } else if let Some(query) = query(&words)? {
            reads.push((commands.len(), query));
            parts.push(Part::Answer(words.name()));
        } else {
            commands.push(command(&words)?);
            parts.push(Part::Outcome(words.name()));
        }
    }
    let transaction = Transaction { mode, principal: Principal::Anonymous, checks, commands };
    Ok(Line::Transact(transaction, reads, parts))
}

fn fill(words: &Words<'_>) -> Parsed<Line> {
    let (count, prefix): (usize, &str) = (number(words.first()?)?, words.second()?);
    let length = number(words.plain.get(2).ok_or("the length of the values is missing")?)?;
    let set = |n: usize| {
        Ok(Command::Set {
            key: key(&format!("{prefix}{n:04}"))?,
            value: Bytes::from(vec![b'v'; length]),
            expiry: expiry(words)?,
            condition: Condition::Always,
        })
    };
    let commands = (0..count).map(set).collect::<Parsed<_>>()?;
    let (mode, principal) = (Mode::Each, Principal::Anonymous);
    Ok(Line::Fill(Transaction { mode, principal, checks: Vec::new(), commands }))
}

fn touches(words: &Words<'_>) -> Parsed<Vec<Touched>> {
    let exactly = match (words.named("slot"), words.named("version")) {
        (Some(slot), Some(version)) => {
            Some(Touch { slot: Slot(number(slot)?), version: Version(number(version)?) })
        }
        _ => None,
    };
    let keys = words.plain.iter().map(|name| key(name).map(Touched::Key));
    keys.chain(exactly.map(|touch| Ok(Touched::Exactly(touch)))).collect()
}
