//! What a key is, in any order of operations: the sequential rules that a linearizable store must seem to follow.
//!
//! The version of a key is the store's revision at its last change. Other keys move the revision too, so from one key's
//! point of view it grows by one or more with each change, a removal included. After a write whose version nobody was told
//! it is known only from below; the first who is told fixes it. So a state stands for all the versions that it may have,
//! and no step has to guess.

use super::history::{Answer, Condition, Operation};

/// A value, as far as operations can tell values apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Value {
    /// An integer in the one spelling that counts as one.
    Number(i64),
    /// Anything else.
    Text(String),
    /// An integer that no answer in the history can be about.
    HiddenNumber,
    /// Another value that no answer in the history is about.
    HiddenText,
}

impl Value {
    /// The value that these bytes are.
    pub(crate) fn of(text: &str) -> Value {
        match text.parse::<i64>() {
            Ok(number) if number.to_string() == text => Value::Number(number),
            _ => Value::Text(text.to_owned()),
        }
    }

    /// The same without what nobody will be told.
    pub(crate) fn hidden(&self) -> Value {
        match self {
            Value::Number(_) | Value::HiddenNumber => Value::HiddenNumber,
            Value::Text(_) | Value::HiddenText => Value::HiddenText,
        }
    }

    fn plus(&self, by: i64) -> Option<Value> {
        match self {
            Value::Number(number) => number.checked_add(by).map(Value::Number),
            Value::HiddenNumber => Some(Value::HiddenNumber),
            Value::Text(_) | Value::HiddenText => None,
        }
    }
}

/// A key at one point of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Its value, if it is present.
    pub(crate) value: Option<Value>,
    /// Its version if `exact`, else a version that it is not below. Of an absent key: what the next is above.
    pub(crate) revision: u64,
    /// Whether `revision` is the version of a present key.
    pub(crate) exact: bool,
}

/// A write as the model takes it: its operation, with the value it would set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Act {
    /// What was asked.
    pub(crate) operation: Operation,
    /// The value of a set.
    pub(crate) value: Option<Value>,
}

impl Act {
    pub(crate) fn of(operation: &Operation) -> Act {
        let value = match operation {
            Operation::Set(value, _) => Some(Value::of(value)),
            Operation::Get | Operation::Delete(_) | Operation::Incr(_) => None,
        };
        Act { operation: operation.clone(), value }
    }

    fn condition(&self) -> Condition {
        match self.operation {
            Operation::Set(_, condition) | Operation::Delete(condition) => condition,
            Operation::Get | Operation::Incr(_) => Condition::Always,
        }
    }
}

impl State {
    /// A key that nobody ever wrote.
    pub(crate) const NEW: State = State { value: None, revision: 0, exact: false };

    /// The state after an operation that was answered like this; `None` if it cannot have been.
    pub(crate) fn step(&self, act: &Act, answer: &Answer) -> Option<State> {
        let held = || self.given(act.condition());
        match (&act.operation, answer) {
            (Operation::Get, Answer::Absent) => self.value.is_none().then(|| self.clone()),
            (Operation::Get, Answer::Found { value, version }) => {
                let matches = self.value.as_ref() == Some(&Value::of(value));
                matches.then(|| self.with_version(*version)).flatten()
            }
            (Operation::Set(..), Answer::Written { version, created }) => {
                let held = held().filter(|held| held.value.is_none() == *created)?;
                held.changed(act.value.clone(), *version)
            }
            (Operation::Delete(_), Answer::Deleted) => {
                held().filter(|held| held.value.is_some())?.changed(None, None)
            }
            (Operation::Delete(_), Answer::Absent) => held().filter(|held| held.value.is_none()),
            (Operation::Set(..) | Operation::Delete(_), Answer::Unmet { version }) => {
                self.unmet(act.condition(), *version)
            }
            (Operation::Incr(by), Answer::Sum { value, version }) => {
                let sum = self.sum(*by).filter(|sum| *sum == Value::Number(*value))?;
                self.changed(Some(sum), *version)
            }
            (Operation::Incr(_), Answer::NotAnInteger) => {
                let text = matches!(self.value, Some(Value::Text(_) | Value::HiddenText));
                text.then(|| self.clone())
            }
            _ => None,
        }
    }

    /// The state after a write that took effect unseen; `None` if it would have changed nothing.
    pub(crate) fn unseen(&self, act: &Act) -> Option<State> {
        match act.operation {
            Operation::Get => None,
            Operation::Set(..) => self.given(act.condition())?.changed(act.value.clone(), None),
            Operation::Delete(_) => {
                let held = self.given(act.condition())?;
                held.value.as_ref()?;
                held.changed(None, None)
            }
            Operation::Incr(by) => self.changed(Some(self.sum(by)?), None),
        }
    }

    /// Whether whatever can follow `other` can follow this.
    pub(crate) fn covers(&self, other: &State) -> bool {
        let versions = match (self.value.is_some() && self.exact, other.value.is_some() && other.exact) {
            (false, _) => self.revision <= other.revision,
            (true, true) => self.revision == other.revision,
            (true, false) => false,
        };
        versions && self.value == other.value
    }

    /// This, given that the condition holds; `None` if it does not.
    fn given(&self, condition: Condition) -> Option<State> {
        match condition {
            Condition::Always => Some(self.clone()),
            Condition::Absent | Condition::Version(0) => self.value.is_none().then(|| self.clone()),
            Condition::Present => self.value.is_some().then(|| self.clone()),
            Condition::Version(version) => {
                self.value.is_some().then(|| self.with_version(Some(version))).flatten()
            }
        }
    }

    /// This present key, given that it has this version.
    fn with_version(&self, version: Option<u64>) -> Option<State> {
        let Some(version) = version else { return Some(self.clone()) };
        let possible = if self.exact { version == self.revision } else { version >= self.revision };
        possible.then(|| State { value: self.value.clone(), revision: version, exact: true })
    }

    /// This, given that the condition does not hold and the key has this version.
    fn unmet(&self, condition: Condition, version: Option<u64>) -> Option<State> {
        let seen = match version {
            None => self.clone(),
            Some(0) => self.value.is_none().then(|| self.clone())?,
            Some(version) => self.value.is_some().then(|| self.with_version(Some(version))).flatten()?,
        };
        let present = seen.value.is_some();
        let unmet = match condition {
            Condition::Always => false,
            Condition::Absent | Condition::Version(0) => present,
            Condition::Present => !present,
            // A version known only from below may well be another one.
            Condition::Version(version) => !present || !seen.exact || seen.revision != version,
        };
        unmet.then_some(seen)
    }

    fn sum(&self, by: i64) -> Option<Value> {
        self.value.as_ref().map_or(Some(Value::Number(by)), |value| value.plus(by))
    }

    /// The key after a change that gave it this version.
    fn changed(&self, value: Option<Value>, version: Option<u64>) -> Option<State> {
        let exact = version.is_some();
        let revision = version.unwrap_or(self.revision + 1);
        (revision > self.revision).then_some(State { value, revision, exact })
    }
}
