//! Transactions that a member hands to the leader, and what came of them, as they travel.
//!
//! The transactions of one [`Forward`] are encoded as a log entry is (`model::codec`), so that there is one encoding of
//! commands. What came of each travels in as many frames as its answers need.

use bytes::Bytes;

use crate::model::{Answer, FailedCheck, Found, Item, Key, Outcome, Page, Query, Slot, Timestamp, Version};
use crate::raft::{Reply, WriteError};

/// Bytes of answers after which a frame is full.
const FRAME_BYTES: usize = 1 << 20;

/// Transactions for the leader.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Forward {
    /// A log entry with the transactions.
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) entry: Bytes,
    #[prost(message, repeated, tag = "2")]
    pub(crate) reads: Vec<ReadAt>,
    /// Time left of each, in milliseconds.
    #[prost(uint64, repeated, tag = "3")]
    pub(crate) left_ms: Vec<u64>,
}

/// A query within a transaction, answered before its command of that number.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ReadAt {
    #[prost(uint32, tag = "1")]
    pub(crate) transaction: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) before: u32,
    #[prost(message, required, tag = "3")]
    pub(crate) query: AskStore,
}

/// A [`Query`].
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AskStore {
    /// 1 get, 2 describe, 3 scan, 4 many.
    #[prost(uint32, tag = "1")]
    kind: u32,
    /// The key, or the prefix.
    #[prost(bytes = "bytes", tag = "2")]
    key: Bytes,
    #[prost(uint64, tag = "3")]
    cursor: u64,
    #[prost(uint64, tag = "4")]
    limit: u64,
    #[prost(bool, tag = "5")]
    values: bool,
    #[prost(message, repeated, tag = "6")]
    many: Vec<AskStore>,
}

const GET: u32 = 1;
const DESCRIBE: u32 = 2;
const SCAN: u32 = 3;
const MANY: u32 = 4;

impl From<&Query> for AskStore {
    fn from(query: &Query) -> AskStore {
        let blank = AskStore::default();
        match query {
            Query::Get(key) => AskStore { kind: GET, key: key.clone().into_bytes(), ..blank },
            Query::Describe(key) => AskStore { kind: DESCRIBE, key: key.clone().into_bytes(), ..blank },
            Query::Scan { cursor, limit, prefix, values } => AskStore {
                kind: SCAN,
                key: prefix.clone(),
                cursor: *cursor,
                limit: *limit as u64,
                values: *values,
                ..blank
            },
            Query::Many(queries) => {
                AskStore { kind: MANY, many: queries.iter().map(Into::into).collect(), ..blank }
            }
        }
    }
}

impl AskStore {
    /// The query, if it is one.
    pub(crate) fn query(&self) -> Option<Query> {
        Some(match self.kind {
            GET => Query::Get(Key::new(self.key.clone()).ok()?),
            DESCRIBE => Query::Describe(Key::new(self.key.clone()).ok()?),
            SCAN => Query::Scan {
                cursor: self.cursor,
                limit: usize::try_from(self.limit).ok()?,
                prefix: self.key.clone(),
                values: self.values,
            },
            MANY => Query::Many(self.many.iter().map(AskStore::query).collect::<Option<_>>()?),
            _ => return None,
        })
    }
}

/// A part of what came of a transaction. The parts of one come in order; the last one is marked.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Forwarded {
    #[prost(uint32, tag = "1")]
    pub(crate) transaction: u32,
    #[prost(message, repeated, tag = "2")]
    outcomes: Vec<Came>,
    #[prost(message, repeated, tag = "3")]
    answers: Vec<Told>,
    #[prost(message, optional, tag = "4")]
    failed_check: Option<Failed>,
    #[prost(uint64, tag = "5")]
    now_ms: u64,
    /// Why there is no outcome: 0 if there is one.
    #[prost(uint32, tag = "6")]
    error: u32,
    #[prost(bool, tag = "7")]
    last: bool,
}

/// A check that did not hold.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct Failed {
    #[prost(uint64, tag = "1")]
    at: u64,
    #[prost(uint64, tag = "2")]
    version: u64,
}

/// An [`Outcome`].
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct Came {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint64, tag = "2")]
    version: u64,
    #[prost(uint64, optional, tag = "3")]
    deadline: Option<u64>,
    #[prost(bool, tag = "4")]
    created: bool,
    #[prost(sint64, tag = "5")]
    number: i64,
}

impl From<Outcome> for Came {
    fn from(outcome: Outcome) -> Came {
        let blank = Came::default();
        match outcome {
            Outcome::Written { version, created, deadline } => {
                Came { kind: 1, version: version.0, created, deadline: deadline.map(|at| at.0), ..blank }
            }
            Outcome::Deleted => Came { kind: 2, ..blank },
            Outcome::Absent => Came { kind: 3, ..blank },
            Outcome::Number { value, version } => {
                Came { kind: 4, number: value, version: version.0, ..blank }
            }
            Outcome::Cleared { keys } => Came { kind: 5, version: keys, ..blank },
            Outcome::Configured => Came { kind: 6, ..blank },
            Outcome::Unmet { version } => Came { kind: 7, version: version.0, ..blank },
            Outcome::NotAnInteger => Came { kind: 8, ..blank },
            Outcome::Overflow => Came { kind: 9, ..blank },
            Outcome::ValueTooLarge => Came { kind: 10, ..blank },
            Outcome::OutOfMemory => Came { kind: 11, ..blank },
            Outcome::Aborted => Came { kind: 12, ..blank },
        }
    }
}

impl Came {
    fn outcome(self) -> Option<Outcome> {
        let version = Version(self.version);
        Some(match self.kind {
            1 => {
                let deadline = self.deadline.map(Timestamp);
                Outcome::Written { version, created: self.created, deadline }
            }
            2 => Outcome::Deleted,
            3 => Outcome::Absent,
            4 => Outcome::Number { value: self.number, version },
            5 => Outcome::Cleared { keys: self.version },
            6 => Outcome::Configured,
            7 => Outcome::Unmet { version },
            8 => Outcome::NotAnInteger,
            9 => Outcome::Overflow,
            10 => Outcome::ValueTooLarge,
            11 => Outcome::OutOfMemory,
            12 => Outcome::Aborted,
            _ => return None,
        })
    }
}

/// An [`Answer`].
#[derive(Clone, PartialEq, prost::Message)]
struct Told {
    /// 1 value, 2 item, 3 page, 4 many.
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(message, repeated, tag = "2")]
    items: Vec<Thing>,
    #[prost(uint64, optional, tag = "3")]
    cursor: Option<u64>,
    #[prost(message, repeated, tag = "4")]
    many: Vec<Told>,
}

/// A [`Found`] or an [`Item`].
#[derive(Clone, PartialEq, prost::Message)]
struct Thing {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", optional, tag = "2")]
    value: Option<Bytes>,
    #[prost(uint64, tag = "3")]
    version: u64,
    #[prost(uint64, optional, tag = "4")]
    deadline: Option<u64>,
    #[prost(uint32, tag = "5")]
    slot: u32,
    #[prost(uint64, tag = "6")]
    size: u64,
}

impl From<&Item> for Thing {
    fn from(item: &Item) -> Thing {
        Thing {
            key: item.key.clone().into_bytes(),
            value: item.value.clone(),
            version: item.version.0,
            deadline: item.deadline.map(|at| at.0),
            slot: 0,
            size: item.size,
        }
    }
}

impl Thing {
    fn item(self) -> Option<Item> {
        Some(Item {
            key: Key::new(self.key).ok()?,
            size: self.size,
            version: Version(self.version),
            deadline: self.deadline.map(Timestamp),
            value: self.value,
        })
    }

    fn found(self) -> Option<Found> {
        Some(Found {
            value: self.value?,
            version: Version(self.version),
            deadline: self.deadline.map(Timestamp),
            slot: Slot(self.slot),
        })
    }
}

impl From<&Answer> for Told {
    fn from(answer: &Answer) -> Told {
        let blank = Told::default();
        match answer {
            Answer::Value(found) => {
                let thing = found.as_ref().map(|found| Thing {
                    value: Some(found.value.clone()),
                    version: found.version.0,
                    deadline: found.deadline.map(|at| at.0),
                    slot: found.slot.0,
                    ..Thing::default()
                });
                Told { kind: GET, items: thing.into_iter().collect(), ..blank }
            }
            Answer::Item(item) => {
                Told { kind: DESCRIBE, items: item.iter().map(Into::into).collect(), ..blank }
            }
            Answer::Page(page) => Told {
                kind: SCAN,
                items: page.items.iter().map(Into::into).collect(),
                cursor: page.cursor,
                ..blank
            },
            Answer::Many(answers) => {
                Told { kind: MANY, many: answers.iter().map(Into::into).collect(), ..blank }
            }
        }
    }
}

impl Told {
    fn answer(mut self) -> Option<Answer> {
        Some(match self.kind {
            GET => match self.items.pop() {
                None => Answer::Value(None),
                Some(thing) => Answer::Value(Some(thing.found()?)),
            },
            DESCRIBE => match self.items.pop() {
                None => Answer::Item(None),
                Some(thing) => Answer::Item(Some(thing.item()?)),
            },
            SCAN => {
                let items = self.items.into_iter().map(Thing::item).collect::<Option<_>>()?;
                Answer::Page(Page { items, cursor: self.cursor })
            }
            MANY => Answer::Many(self.many.into_iter().map(Told::answer).collect::<Option<_>>()?),
            _ => return None,
        })
    }
}

/// The numbers of errors. They never change their meaning.
const ERRORS: [(u32, WriteError); 6] = [
    (1, WriteError::NoLeader),
    (2, WriteError::Overloaded),
    (3, WriteError::TooLarge),
    (4, WriteError::OutOfDisk),
    (5, WriteError::Unavailable),
    (6, WriteError::UnknownOutcome),
];

/// What came of a transaction, cut into frames.
pub(crate) fn frames(transaction: u32, result: Result<Reply, WriteError>) -> Vec<Forwarded> {
    let blank = Forwarded { transaction, ..Forwarded::default() };
    let reply = match result {
        Ok(reply) => reply,
        Err(error) => {
            let code = ERRORS.iter().find(|(_, known)| *known == error).map_or(6, |(code, _)| *code);
            return vec![Forwarded { error: code, last: true, ..blank }];
        }
    };
    let mut frames = vec![Forwarded {
        outcomes: reply.outcomes.into_iter().map(Into::into).collect(),
        failed_check: reply
            .failed_check
            .map(|FailedCheck { at, version }| Failed { at: at as u64, version: version.0 }),
        now_ms: reply.now.0,
        ..blank.clone()
    }];
    let mut bytes = 0;
    for answer in &reply.answers {
        let told = Told::from(answer);
        let size = prost::Message::encoded_len(&told);
        if bytes > 0 && bytes + size > FRAME_BYTES {
            frames.push(blank.clone());
            bytes = 0;
        }
        bytes += size;
        if let Some(frame) = frames.last_mut() {
            frame.answers.push(told);
        }
    }
    if let Some(frame) = frames.last_mut() {
        frame.last = true;
    }
    frames
}

/// Frames in messages that are not too long, each with whether it is the last one: the last of these is, if this is the end.
/// There is at least one message.
pub(crate) fn together(frames: impl Iterator<Item = Forwarded>, is_end: bool) -> Vec<(Vec<Forwarded>, bool)> {
    let (mut messages, mut bytes) = (vec![(Vec::new(), false)], 0);
    for frame in frames {
        let size = prost::Message::encoded_len(&frame);
        if bytes > 0 && bytes + size > FRAME_BYTES {
            messages.push((Vec::new(), false));
            bytes = 0;
        }
        bytes += size;
        if let Some((message, _)) = messages.last_mut() {
            message.push(frame);
        }
    }
    if let Some((_, last)) = messages.last_mut() {
        *last = is_end;
    }
    messages
}

/// Puts together what came of one transaction.
#[derive(Debug, Default)]
pub(crate) struct Parts(Option<Reply>);

impl Parts {
    /// Takes the next part. The result once it was the last; a part that makes no sense is an unknown outcome.
    pub(crate) fn take(&mut self, frame: Forwarded) -> Option<Result<Reply, WriteError>> {
        if frame.error != 0 {
            let known = ERRORS.iter().find(|(code, _)| *code == frame.error);
            return Some(Err(known.map_or(WriteError::UnknownOutcome, |(_, error)| *error)));
        }
        let reply = self.0.get_or_insert_with(|| Reply {
            outcomes: Vec::new(),
            answers: Vec::new(),
            failed_check: None,
            now: Timestamp(frame.now_ms),
        });
        let outcomes = frame.outcomes.into_iter().map(Came::outcome).collect::<Option<Vec<_>>>();
        let answers = frame.answers.into_iter().map(Told::answer).collect::<Option<Vec<_>>>();
        let (Some(outcomes), Some(answers)) = (outcomes, answers) else {
            return Some(Err(WriteError::UnknownOutcome));
        };
        reply.outcomes.extend(outcomes);
        reply.answers.extend(answers);
        if let Some(Failed { at, version }) = frame.failed_check {
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            reply.failed_check = Some(FailedCheck { at, version: Version(version) });
        }
        if frame.last { self.0.take().map(Ok) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(frames: Vec<Forwarded>) -> Result<Reply, WriteError> {
        let mut parts = Parts::default();
        let mut results = frames.into_iter().filter_map(|frame| parts.take(frame));
        let result = results.next().expect("the last frame ends it");
        assert!(results.next().is_none());
        result
    }

    #[test]
    fn every_outcome_answer_and_error_survives() {
        let version = Version(7);
        let deadline = Some(Timestamp(9));
        let key = Key::new(Bytes::from_static(b"k")).expect("a key");
        let value = Bytes::from_static(b"v");
        let item = Item { key, size: 1, version, deadline, value: Some(value.clone()) };
        let reply = Reply {
            outcomes: vec![
                Outcome::Written { version, created: true, deadline },
                Outcome::Written { version, created: false, deadline: None },
                Outcome::Deleted,
                Outcome::Absent,
                Outcome::Number { value: i64::MIN, version },
                Outcome::Cleared { keys: 3 },
                Outcome::Configured,
                Outcome::Unmet { version },
                Outcome::NotAnInteger,
                Outcome::Overflow,
                Outcome::ValueTooLarge,
                Outcome::OutOfMemory,
                Outcome::Aborted,
            ],
            answers: vec![
                Answer::Value(None),
                Answer::Value(Some(Found { value, version, deadline, slot: Slot(4) })),
                Answer::Item(None),
                Answer::Item(Some(item.clone())),
                Answer::Page(Page { items: vec![item], cursor: Some(0) }),
                Answer::Many(vec![Answer::Value(None)]),
            ],
            failed_check: Some(FailedCheck { at: 2, version }),
            now: Timestamp(11),
        };
        assert_eq!(back(frames(3, Ok(reply.clone()))), Ok(reply));
        for (_, error) in ERRORS {
            assert_eq!(back(frames(3, Err(error))), Err(error));
        }
    }

    #[test]
    fn large_answers_travel_in_several_frames() {
        let value = Bytes::from(vec![7; 700 << 10]);
        let found = Found { value, version: Version(1), deadline: None, slot: Slot(1) };
        let answers = vec![Answer::Value(Some(found)); 5];
        let reply = Reply { outcomes: Vec::new(), answers, failed_check: None, now: Timestamp(1) };
        let frames = frames(0, Ok(reply.clone()));
        assert_eq!(frames.len(), 5);
        assert_eq!(back(frames), Ok(reply));
    }

    #[test]
    fn frames_travel_together_as_far_as_they_fit() {
        let found = |bytes| Found {
            value: vec![7; bytes].into(),
            version: Version(1),
            deadline: None,
            slot: Slot(1),
        };
        let frame = |transaction, bytes| {
            let answers = vec![Answer::Value(Some(found(bytes)))];
            let reply = Reply { outcomes: Vec::new(), answers, failed_check: None, now: Timestamp(1) };
            frames(transaction, Ok(reply)).remove(0)
        };
        let sizes = [(0, 1), (1, 600 << 10), (2, 600 << 10), (3, 2 << 20), (4, 1)];
        let frames = sizes.map(|(transaction, bytes)| frame(transaction, bytes));
        let packed = |is_end| -> Vec<(Vec<u32>, bool)> {
            let messages = together(frames.clone().into_iter(), is_end).into_iter();
            messages
                .map(|(frames, last)| (frames.iter().map(|frame| frame.transaction).collect(), last))
                .collect()
        };
        assert_eq!(packed(true), [(vec![0, 1], false), (vec![2], false), (vec![3], false), (vec![4], true)]);
        assert!(packed(false).iter().all(|(_, last)| !last));
        assert_eq!(together(std::iter::empty(), true), [(Vec::new(), true)]);
    }

    #[test]
    fn every_query_survives() {
        let key = Key::new(Bytes::from_static(b"k")).expect("a key");
        let scan = Query::Scan { cursor: 3, limit: 5, prefix: Bytes::from_static(b"p"), values: true };
        for query in [
            Query::Get(key.clone()),
            Query::Describe(key.clone()),
            scan.clone(),
            Query::Many(vec![scan, Query::Get(key)]),
        ] {
            assert_eq!(AskStore::from(&query).query(), Some(query));
        }
        assert_eq!(AskStore::default().query(), None);
    }
}
