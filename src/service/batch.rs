//! Batches: several steps of which all are done, or none.

use bytes::Bytes;

use super::error::Error;
use super::request::{Countdown, Entry, Sum, Written, remaining};
use crate::model::limits::{MAX_TRANSACTION_BYTES, MAX_TRANSACTION_COMMANDS};
use crate::model::{
    Answer, Check, Command, Condition, Expiry, Key, Mode, Outcome, Principal, Query, Timestamp, Transaction,
};
use crate::raft::Reply;

/// One step of a batch. Steps see what those before them did; checks are all made first.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes a value.
    Set {
        /// The key.
        key: Key,
        /// Its new value.
        value: Bytes,
        /// Its new deadline.
        expiry: Expiry,
        /// What must hold before.
        condition: Condition,
    },
    /// Reads a value.
    Get(Key),
    /// Removes a key. To remove what is absent is success.
    Delete {
        /// The key.
        key: Key,
        /// What must hold before.
        condition: Condition,
    },
    /// Adds to a number.
    Incr {
        /// The key. An absent one counts as 0.
        key: Key,
        /// What to add.
        by: i64,
    },
    /// Changes a deadline. To change that of what is absent is success.
    Expire {
        /// The key.
        key: Key,
        /// Its new deadline.
        expiry: Expiry,
    },
    /// Says what must hold before anything of the batch is done.
    Check(Check),
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepDone {
    /// A value was written.
    Set(Written),
    /// A value was looked for.
    Get(Option<Entry>),
    /// A key was removed, or was not there.
    Delete {
        /// Whether it was there.
        deleted: bool,
    },
    /// A number was added to.
    Incr(Sum),
    /// A deadline was changed, if the key was there.
    Expire(Option<Countdown>),
    /// A check held.
    Check,
}

/// What kind of step stands where, to find its result in the reply.
pub(super) struct Plan(Vec<Kind>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Set,
    Get,
    Delete,
    Incr,
    Expire,
    Check,
}

/// A batch as the node takes it.
pub(super) struct Planned {
    pub(super) plan: Plan,
    pub(super) transaction: Transaction,
    /// Each with the number of commands before it.
    pub(super) reads: Vec<(usize, Query)>,
}

impl Planned {
    /// Checks the limits and sorts the steps.
    pub(super) fn new(principal: &Principal, steps: Vec<Step>) -> Result<Planned, Error> {
        if steps.len() > MAX_TRANSACTION_COMMANDS {
            let text = format!("a batch has at most {MAX_TRANSACTION_COMMANDS} steps");
            return Err(Error::InvalidArgument(text));
        }
        let (checks, commands) = (Vec::new(), Vec::with_capacity(steps.len()));
        let transaction = Transaction { mode: Mode::All, principal: principal.clone(), checks, commands };
        let plan = Plan(Vec::with_capacity(steps.len()));
        let mut planned = Planned { plan, transaction, reads: Vec::new() };
        steps.into_iter().for_each(|step| planned.add(step));
        if planned.transaction.size() > MAX_TRANSACTION_BYTES {
            return Err(Error::BodyTooLarge { limit_bytes: MAX_TRANSACTION_BYTES as u64 });
        }
        Ok(planned)
    }

    fn add(&mut self, step: Step) {
        let Transaction { commands, checks, .. } = &mut self.transaction;
        let kind = match step {
            Step::Get(key) => {
                self.reads.push((commands.len(), Query::Get(key)));
                Kind::Get
            }
            Step::Check(check) => {
                checks.push(check);
                Kind::Check
            }
            Step::Set { key, value, expiry, condition } => {
                commands.push(Command::Set { key, value, expiry, condition });
                Kind::Set
            }
            Step::Delete { key, condition } => {
                commands.push(Command::Delete { key, condition });
                Kind::Delete
            }
            Step::Incr { key, by } => {
                commands.push(Command::Add { key, by });
                Kind::Incr
            }
            Step::Expire { key, expiry } => {
                commands.push(Command::Expire { key, expiry, condition: Condition::Always });
                Kind::Expire
            }
        };
        self.plan.0.push(kind);
    }

    /// Whether no step changes anything or checks: then the log has nothing to do with it.
    pub(super) fn only_reads(&self) -> bool {
        self.transaction.commands.is_empty() && self.transaction.checks.is_empty()
    }
}

impl Plan {
    /// The results in the order of the steps, or why nothing was done. `max_value_bytes` is the setting.
    pub(super) fn results(&self, reply: Reply, max_value_bytes: u64) -> Result<Vec<StepDone>, Error> {
        if let Some(failed) = reply.failed_check {
            let error = Error::PreconditionFailed { version: failed.version };
            return Err(self.step(failed.at, |kind| kind == Kind::Check, error));
        }
        for (n, outcome) in reply.outcomes.iter().enumerate() {
            if let Some(error) = failure(outcome, max_value_bytes) {
                return Err(match error {
                    // Room is judged for the batch as a whole.
                    Error::OutOfMemory => error,
                    error => self.step(n, |kind| !matches!(kind, Kind::Get | Kind::Check), error),
                });
            }
        }
        let (mut outcomes, mut answers) = (reply.outcomes.into_iter(), reply.answers.into_iter());
        let results = self.0.iter().map(|kind| match kind {
            Kind::Check => Some(StepDone::Check),
            Kind::Get => read(answers.next()?, reply.now),
            kind => done(*kind, outcomes.next()?, reply.now),
        });
        results.collect::<Option<_>>().ok_or_else(|| Error::unexpected("the results of a batch"))
    }

    /// An error of the `n`th step of some kinds.
    fn step(&self, n: usize, of: impl Fn(Kind) -> bool, error: Error) -> Error {
        let mut places = self.0.iter().enumerate().filter(|(_, kind)| of(**kind)).map(|(at, _)| at);
        match places.nth(n) {
            Some(at) => Error::Step { at, error: Box::new(error) },
            None => Error::unexpected("a step of a batch"),
        }
    }
}

/// Why a batch was not carried out, if this outcome says so. `Aborted` says only that another one does.
fn failure(outcome: &Outcome, max_value_bytes: u64) -> Option<Error> {
    Some(match outcome {
        Outcome::Unmet { version } => Error::PreconditionFailed { version: *version },
        Outcome::NotAnInteger => NOT_AN_INTEGER,
        Outcome::Overflow => OVERFLOW,
        Outcome::ValueTooLarge => Error::ValueTooLarge { limit_bytes: max_value_bytes },
        Outcome::OutOfMemory => Error::OutOfMemory,
        _ => return None,
    })
}

/// The value cannot be added to.
pub(super) const NOT_AN_INTEGER: Error = Error::NotAnInteger("the value is no decimal integer of 64 bits");

/// The sum is too large.
pub(super) const OVERFLOW: Error = Error::NotAnInteger("the sum does not fit 64 bits");

fn read(answer: Answer, now: Timestamp) -> Option<StepDone> {
    match answer {
        Answer::Value(found) => Some(StepDone::Get(found.map(|found| Entry {
            value: found.value,
            version: found.version,
            ttl_ms: remaining(found.deadline, now),
        }))),
        _ => None,
    }
}

fn done(kind: Kind, outcome: Outcome, now: Timestamp) -> Option<StepDone> {
    Some(match (kind, outcome) {
        (Kind::Set, Outcome::Written { version, created, .. }) => StepDone::Set(Written { version, created }),
        (Kind::Delete, Outcome::Deleted) => StepDone::Delete { deleted: true },
        (Kind::Delete, Outcome::Absent) => StepDone::Delete { deleted: false },
        (Kind::Incr, Outcome::Number { value, version }) => StepDone::Incr(Sum { value, version }),
        (Kind::Expire, Outcome::Absent) => StepDone::Expire(None),
        (Kind::Expire, Outcome::Written { version, deadline, .. }) => StepDone::Expire(Some(Countdown {
            ttl_ms: remaining(deadline, now),
            expires_at: deadline,
            version,
        })),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FailedCheck, Version};

    fn key(name: &'static str) -> Key {
        Key::new(name).expect("a key")
    }

    fn plan() -> Plan {
        let steps = vec![
            Step::Get(key("a")),
            Step::Check(Check { key: key("b"), condition: Condition::Present }),
            Step::Incr { key: key("c"), by: 1 },
            Step::Check(Check { key: key("d"), condition: Condition::Absent }),
            Step::Delete { key: key("e"), condition: Condition::Always },
        ];
        Planned::new(&Principal::Anonymous, steps).expect("within the limits").plan
    }

    fn reply(outcomes: Vec<Outcome>, failed_check: Option<FailedCheck>) -> Reply {
        Reply { outcomes, answers: vec![Answer::Value(None)], failed_check, now: Timestamp(5) }
    }

    /// Goal: each result and each error stands at the number of its own step, whatever kinds are between.
    #[test]
    fn results_and_errors_find_their_steps() {
        let version = Version(7);
        let sum = Outcome::Number { value: 3, version };
        let done = plan().results(reply(vec![sum, Outcome::Absent], None), 8).expect("all done");
        let wanted = vec![
            StepDone::Get(None),
            StepDone::Check,
            StepDone::Incr(Sum { value: 3, version }),
            StepDone::Check,
            StepDone::Delete { deleted: false },
        ];
        assert_eq!(done, wanted);
        let aborted = vec![Outcome::Aborted, Outcome::Aborted];
        let failed = plan().results(reply(aborted, Some(FailedCheck { at: 1, version })), 8);
        let error = Box::new(Error::PreconditionFailed { version });
        assert_eq!(failed, Err(Error::Step { at: 3, error }));
        let failed = plan().results(reply(vec![Outcome::NotAnInteger, Outcome::Aborted], None), 8);
        assert_eq!(failed, Err(Error::Step { at: 2, error: Box::new(NOT_AN_INTEGER) }));
        let failed = plan().results(reply(vec![Outcome::OutOfMemory, Outcome::OutOfMemory], None), 8);
        assert_eq!(failed, Err(Error::OutOfMemory));
    }

    /// Goal: a batch over a limit is refused before it is proposed.
    #[test]
    fn limits_are_checked() {
        let gets = |count| (0..count).map(|_| Step::Get(key("k"))).collect::<Vec<_>>();
        assert!(Planned::new(&Principal::Anonymous, gets(MAX_TRANSACTION_COMMANDS)).is_ok());
        let refused = Planned::new(&Principal::Anonymous, gets(MAX_TRANSACTION_COMMANDS + 1));
        assert!(matches!(refused, Err(Error::InvalidArgument(_))));
        let set = |bytes| Step::Set {
            key: key("k"),
            value: Bytes::from(vec![0; bytes]),
            expiry: Expiry::Never,
            condition: Condition::Always,
        };
        assert!(Planned::new(&Principal::Anonymous, vec![set(MAX_TRANSACTION_BYTES - 1)]).is_ok());
        let refused = Planned::new(&Principal::Anonymous, vec![set(MAX_TRANSACTION_BYTES)]);
        assert!(matches!(refused, Err(Error::BodyTooLarge { .. })));
    }
}
