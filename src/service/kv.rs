//! The operations.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::time::Instant;

use super::backup::Backup;
use super::batch::{NOT_AN_INTEGER, OVERFLOW, Planned, Step, StepDone};
use super::counters::Counters;
use super::error::Error;
use super::past::{NO_HISTORY, Past, Series, Timed};
use super::request::{
    Countdown, Delete, Describe, Entry, Expire, Get, Incr, Page, Precondition, Put, Scan, Sum, Written,
    remaining,
};
use super::stats::{Log, Stats};
use crate::history::Slow;
use crate::model::limits::MAX_VALUE_BYTES;
use crate::model::{
    Answer, Check, Command, Condition, Mode, Outcome, Principal, Query, Timestamp, Transaction, Version,
};
use crate::raft::{AdminError, Compaction, Consistency, Node, Reply, Taken};
use crate::telemetry;

/// How requests are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// A request that has no answer after this fails: a write with an unknown outcome, if it was proposed.
    pub request_timeout: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config { request_timeout: Duration::from_secs(5) }
    }
}

impl Config {
    /// Says what is wrong with the settings.
    pub fn validate(&self) -> Result<(), String> {
        if self.request_timeout < Duration::from_millis(10)
            || self.request_timeout > Duration::from_secs(3_600)
        {
            return Err("http.request_timeout_ms is 10 to 3600000".to_owned());
        }
        Ok(())
    }
}

/// The key-value service of one node.
pub struct Kv {
    pub(super) node: Node,
    pub(super) config: Config,
    counters: Counters,
    past: Option<Past>,
    started: Instant,
}

impl Kv {
    /// Serves what `node` holds, and remembers in `past` what it was like.
    pub fn new(node: Node, config: Config, past: Option<Past>) -> Kv {
        Kv { node, config, counters: Counters::default(), past, started: Instant::now() }
    }

    /// Reads a value. [`Error::NotFound`] if there is none.
    pub async fn get(&self, _principal: &Principal, request: Get) -> Result<Entry, Error> {
        let mut timed = self.begin(&self.counters.get, "get");
        let query = Query::Get(request.key);
        let read = self.node.read(&query, request.consistency, self.deadline(&timed)).await?;
        let Answer::Value(found) = read.answer else { return Err(Error::unexpected("the answer to a get")) };
        self.counters.looked_up(found.is_some());
        let found = found.ok_or_else(|| self.absent(&query))?;
        timed.bytes = found.value.len() as u64;
        Ok(Entry { value: found.value, version: found.version, ttl_ms: remaining(found.deadline, read.now) })
    }

    /// Says how long a key has left. [`Error::NotFound`] if there is none.
    pub async fn ttl(&self, _principal: &Principal, request: Describe) -> Result<Countdown, Error> {
        let timed = self.begin(&self.counters.ttl, "ttl");
        let query = Query::Describe(request.key);
        let read = self.node.read(&query, request.consistency, self.deadline(&timed)).await?;
        let Answer::Item(item) = read.answer else { return Err(Error::unexpected("the answer to a ttl")) };
        let item = item.ok_or_else(|| self.absent(&query))?;
        Ok(Countdown {
            ttl_ms: remaining(item.deadline, read.now),
            expires_at: item.deadline,
            version: item.version,
        })
    }

    /// Writes a value.
    pub async fn put(&self, principal: &Principal, request: Put) -> Result<Written, Error> {
        let mut timed = self.begin(&self.counters.set, "set");
        let Put { key, value, expiry, condition } = request;
        timed.bytes = value.len() as u64;
        let set = |condition| {
            let (key, value) = (key.clone(), value.clone());
            single(principal, Command::Set { key, value, expiry, condition })
        };
        match only(self.attempt(&timed, condition, set).await?.outcomes)? {
            Outcome::Written { version, created, .. } => Ok(Written { version, created }),
            Outcome::Unmet { version } => Err(Error::PreconditionFailed { version }),
            Outcome::ValueTooLarge => Err(Error::ValueTooLarge { limit_bytes: self.max_value_bytes() }),
            Outcome::OutOfMemory => Err(Error::OutOfMemory),
            _ => Err(Error::unexpected("the outcome of a put")),
        }
    }

    /// Removes a key. [`Error::NotFound`] if there is none.
    pub async fn delete(&self, principal: &Principal, request: Delete) -> Result<(), Error> {
        let timed = self.begin(&self.counters.delete, "delete");
        let Delete { key, condition } = request;
        let delete = |condition| single(principal, Command::Delete { key: key.clone(), condition });
        match only(self.attempt(&timed, condition, delete).await?.outcomes)? {
            Outcome::Deleted => Ok(()),
            Outcome::Absent => Err(Error::NotFound(None)),
            Outcome::Unmet { version } => Err(Error::PreconditionFailed { version }),
            _ => Err(Error::unexpected("the outcome of a delete")),
        }
    }

    /// Adds to a number.
    pub async fn incr(&self, principal: &Principal, request: Incr) -> Result<Sum, Error> {
        let timed = self.begin(&self.counters.incr, "incr");
        let Incr { key, by, condition } = request;
        let add = |condition| {
            let mut transaction = single(principal, Command::Add { key: key.clone(), by });
            if condition != Condition::Always {
                // The command has no condition of its own.
                transaction.mode = Mode::All;
                transaction.checks.push(Check { key: key.clone(), condition });
            }
            transaction
        };
        let reply = self.attempt(&timed, condition, add).await?;
        if let Some(version) = unmet(&reply) {
            return Err(Error::PreconditionFailed { version });
        }
        match only(reply.outcomes)? {
            Outcome::Number { value, version } => Ok(Sum { value, version }),
            Outcome::NotAnInteger => Err(NOT_AN_INTEGER),
            Outcome::Overflow => Err(OVERFLOW),
            Outcome::OutOfMemory => Err(Error::OutOfMemory),
            _ => Err(Error::unexpected("the outcome of an incr")),
        }
    }

    /// Changes a deadline. [`Error::NotFound`] if there is no such key. A deadline that has passed removes the key.
    pub async fn expire(&self, principal: &Principal, request: Expire) -> Result<Countdown, Error> {
        let timed = self.begin(&self.counters.expire, "expire");
        let Expire { key, expiry, condition } = request;
        let expire = |condition| single(principal, Command::Expire { key: key.clone(), expiry, condition });
        let reply = self.attempt(&timed, condition, expire).await?;
        match only(reply.outcomes)? {
            Outcome::Written { version, deadline, .. } => {
                let ttl_ms = remaining(deadline, reply.now);
                Ok(Countdown { ttl_ms, expires_at: deadline, version })
            }
            Outcome::Absent => Err(Error::NotFound(None)),
            Outcome::Unmet { version } => Err(Error::PreconditionFailed { version }),
            _ => Err(Error::unexpected("the outcome of an expire")),
        }
    }

    /// Reads a page of keys, in no order that means anything. Whoever follows the cursors to their end gets every key
    /// that was there all the time exactly once.
    pub async fn scan(&self, _principal: &Principal, request: Scan) -> Result<Page, Error> {
        let timed = self.begin(&self.counters.scan, "scan");
        let Scan { prefix, cursor, limit, values, consistency } = request;
        let query = Query::Scan { cursor, limit, prefix, values };
        let read = self.node.read(&query, consistency, self.deadline(&timed)).await?;
        let Answer::Page(page) = read.answer else { return Err(Error::unexpected("the answer to a scan")) };
        Ok(Page { items: page.items, cursor: page.cursor, now: read.now })
    }

    /// Removes every key and says how many there were.
    pub async fn clear(&self, principal: &Principal) -> Result<u64, Error> {
        let timed = self.begin(&self.counters.clear, "clear");
        let reply = self.transact(&timed, single(principal, Command::Clear)).await?;
        match only(reply.outcomes)? {
            Outcome::Cleared { keys } => Ok(keys),
            _ => Err(Error::unexpected("the outcome of a clear")),
        }
    }

    /// Does all steps or none. Steps that only read are answered as one linearizable read.
    pub async fn batch(&self, principal: &Principal, steps: Vec<Step>) -> Result<Vec<StepDone>, Error> {
        let timed = self.begin(&self.counters.batch, "batch");
        let planned = Planned::new(principal, steps)?;
        let only_reads = planned.only_reads();
        let Planned { plan, transaction, reads } = planned;
        let reply = if only_reads {
            let query = Query::Many(reads.into_iter().map(|(_, query)| query).collect());
            let read = self.node.read(&query, Consistency::Linearizable, self.deadline(&timed)).await?;
            let Answer::Many(answers) = read.answer else {
                return Err(Error::unexpected("the answer to a batch"));
            };
            Reply { outcomes: Vec::new(), answers, failed_check: None, now: read.now }
        } else {
            self.node.transact(transaction, reads, self.deadline(&timed)).await?
        };
        for answer in &reply.answers {
            self.counters.looked_up(!matches!(answer, Answer::Value(None)));
        }
        plan.results(reply, self.max_value_bytes())
    }

    /// Takes a snapshot and drops the log behind it. Not bound to the request's deadline: it takes as long as the
    /// store is large.
    pub async fn compact(&self, _principal: &Principal) -> Result<Compaction, Error> {
        self.node.compact().await.map_err(|error| administration("compaction", error))
    }

    /// Takes a snapshot and leaves the log as it is. Not bound to the request's deadline.
    pub async fn snapshot(&self, _principal: &Principal) -> Result<Taken, Error> {
        self.node.snapshot().await.map_err(|error| administration("snapshot", error))
    }

    /// Takes a snapshot to be read, while writes go on. Not bound to the request's deadline.
    pub async fn backup(&self, _principal: &Principal) -> Result<Backup, Error> {
        match self.node.backup().await {
            Ok(backup) => Ok(Backup::begin(backup)),
            Err(AdminError::Busy) => {
                Err(Error::Conflict("as many backups as may be are being read already".into()))
            }
            Err(error) => Err(administration("backup", error)),
        }
    }

    /// Changes what this node logs, until it ends. Returns what was in force before.
    pub fn set_log_level(&self, _principal: &Principal, level: &str) -> Result<String, Error> {
        let before = telemetry::set_level(level).map_err(Error::InvalidArgument)?;
        tracing::info!(level, before, "the log level was changed");
        Ok(before)
    }

    /// What the node knows of itself.
    pub fn stats(&self) -> Stats {
        let node = self.node.status();
        Stats {
            log: Log::of(&node),
            node,
            store: self.node.store_status(),
            operations: self.counters.snapshot(),
            uptime: self.started.elapsed(),
        }
    }

    /// Notes the figures of now in the node's history.
    pub fn sample(&self) {
        if let Some(past) = &self.past {
            past.sample(&self.stats());
        }
    }

    /// The node's figures since then (by default an hour ago), a point for each `step_s` seconds.
    pub async fn history(
        &self,
        _principal: &Principal,
        since: Option<Timestamp>,
        step_s: Option<u64>,
    ) -> Result<Series, Error> {
        self.past.as_ref().ok_or(NO_HISTORY)?.series(since, step_s).await
    }

    /// The newest requests that took long, newest first.
    pub async fn slow(&self, _principal: &Principal, most: usize) -> Result<Vec<Slow>, Error> {
        self.past.as_ref().ok_or(NO_HISTORY)?.slow(most).await
    }

    /// Whether the node is in its role and its state is close to what the cluster has committed.
    pub fn is_ready(&self) -> bool {
        self.node.status().ready
    }

    /// Whether the node's disk is full, so that it stores no more writes.
    pub fn is_out_of_disk(&self) -> bool {
        self.node.status().is_out_of_disk
    }

    /// The longest value that a front-end needs to read before it may refuse it.
    pub fn max_value_bytes(&self) -> u64 {
        self.node.store_status().max_value_bytes.min(MAX_VALUE_BYTES)
    }

    fn absent(&self, query: &Query) -> Error {
        match query {
            Query::Get(key) | Query::Describe(key) => Error::NotFound(self.node.gone(key)),
            Query::Scan { .. } | Query::Many(_) => Error::unexpected("a question that finds nothing"),
        }
    }

    /// Counts a request and times it.
    pub(super) fn begin(&self, counter: &AtomicU64, operation: &'static str) -> Timed<'_> {
        Counters::bump(counter);
        Timed::begin(self.past.as_ref(), operation)
    }

    /// Writes if the precondition holds. The log takes one version at a time. Where the key has another, the outcome says
    /// which; so the list is asked for that one next, if it is in it, and each is tried at most once.
    async fn attempt(
        &self,
        timed: &Timed<'_>,
        precondition: Precondition,
        transaction: impl Fn(Condition) -> Transaction,
    ) -> Result<Reply, Error> {
        let (mut condition, mut others) = precondition.split();
        loop {
            let reply = self.transact(timed, transaction(condition)).await?;
            let next = unmet(&reply).and_then(|version| others.iter().position(|other| *other == version));
            let Some(next) = next else { return Ok(reply) };
            condition = Condition::Version(others.swap_remove(next));
        }
    }

    async fn transact(&self, timed: &Timed<'_>, transaction: Transaction) -> Result<Reply, Error> {
        Ok(self.node.transact(transaction, Vec::new(), self.deadline(timed)).await?)
    }

    pub(super) fn deadline(&self, timed: &Timed<'_>) -> Instant {
        timed.started() + self.config.request_timeout
    }
}

/// A transaction of one command.
fn single(principal: &Principal, command: Command) -> Transaction {
    Transaction {
        mode: Mode::Each,
        principal: principal.clone(),
        checks: Vec::new(),
        commands: vec![command],
    }
}

/// The version that the key has, if the condition of a single command did not hold.
fn unmet(reply: &Reply) -> Option<Version> {
    match (reply.failed_check, reply.outcomes.as_slice()) {
        (Some(failed), _) => Some(failed.version),
        (None, [Outcome::Unmet { version }]) => Some(*version),
        _ => None,
    }
}

/// The outcome of a single command.
fn only(mut outcomes: Vec<Outcome>) -> Result<Outcome, Error> {
    match (outcomes.pop(), outcomes.len()) {
        (Some(outcome), 0) => Ok(outcome),
        _ => Err(Error::unexpected("the number of outcomes")),
    }
}

/// What became of an administrative task.
fn administration(task: &'static str, error: AdminError) -> Error {
    match error {
        AdminError::Busy => Error::Conflict("a compaction or snapshot is under way already".into()),
        AdminError::OutOfDisk => Error::OutOfDisk,
        AdminError::Outrun => {
            Error::Unavailable("writers changed more than snapshot.side_buffer_bytes holds: try again")
        }
        AdminError::Unavailable => Error::Unavailable("the node cannot do this at the moment"),
        AdminError::Failed(reason) => {
            tracing::error!(task, reason, "an administrative task failed");
            Error::Internal
        }
    }
}
