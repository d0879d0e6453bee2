//! The operations.

use std::time::Duration;

use tokio::time::Instant;

use super::counters::Counters;
use super::error::Error;
use super::request::{Countdown, Delete, Describe, Entry, Get, Put, Written};
use super::stats::{Log, Stats};
use crate::model::limits::MAX_VALUE_BYTES;
use crate::model::{Answer, Command, Mode, Outcome, Principal, Query, Timestamp, Transaction};
use crate::raft::{AdminError, Compaction, Node};

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
    node: Node,
    config: Config,
    counters: Counters,
    started: Instant,
}

impl Kv {
    /// Serves what `node` holds.
    pub fn new(node: Node, config: Config) -> Kv {
        Kv { node, config, counters: Counters::default(), started: Instant::now() }
    }

    /// Reads a value. [`Error::NotFound`] if there is none.
    pub async fn get(&self, _principal: &Principal, request: Get) -> Result<Entry, Error> {
        Counters::bump(&self.counters.get);
        let read = self.node.read(Query::Get(request.key), request.consistency, self.deadline()).await?;
        let Answer::Value(found) = read.answer else { return Err(unexpected("the answer to a get")) };
        let Some(found) = found else {
            Counters::bump(&self.counters.misses);
            return Err(Error::NotFound);
        };
        Counters::bump(&self.counters.hits);
        Ok(Entry { value: found.value, version: found.version, ttl_ms: remaining(found.deadline, read.now) })
    }

    /// Says how long a key has left. [`Error::NotFound`] if there is none.
    pub async fn ttl(&self, _principal: &Principal, request: Describe) -> Result<Countdown, Error> {
        Counters::bump(&self.counters.ttl);
        let query = Query::Describe(request.key);
        let read = self.node.read(query, request.consistency, self.deadline()).await?;
        let Answer::Item(item) = read.answer else { return Err(unexpected("the answer to a ttl")) };
        let item = item.ok_or(Error::NotFound)?;
        Ok(Countdown {
            ttl_ms: remaining(item.deadline, read.now),
            expires_at: item.deadline,
            version: item.version,
        })
    }

    /// Writes a value.
    pub async fn put(&self, principal: &Principal, request: Put) -> Result<Written, Error> {
        Counters::bump(&self.counters.set);
        let Put { key, value, expiry, condition } = request;
        match self.write(principal, Command::Set { key, value, expiry, condition }).await? {
            Outcome::Written { version, created, .. } => Ok(Written { version, created }),
            Outcome::Unmet { version } => Err(Error::PreconditionFailed { version }),
            Outcome::ValueTooLarge => Err(Error::ValueTooLarge { limit_bytes: self.max_value_bytes() }),
            Outcome::OutOfMemory => Err(Error::OutOfMemory),
            _ => Err(unexpected("the outcome of a put")),
        }
    }

    /// Removes a key. [`Error::NotFound`] if there is none.
    pub async fn delete(&self, principal: &Principal, request: Delete) -> Result<(), Error> {
        Counters::bump(&self.counters.delete);
        let Delete { key, condition } = request;
        match self.write(principal, Command::Delete { key, condition }).await? {
            Outcome::Deleted => Ok(()),
            Outcome::Absent => Err(Error::NotFound),
            Outcome::Unmet { version } => Err(Error::PreconditionFailed { version }),
            _ => Err(unexpected("the outcome of a delete")),
        }
    }

    /// Takes a snapshot and drops the log behind it. Not bound to the request's deadline: it takes as long as the
    /// store is large.
    pub async fn compact(&self, _principal: &Principal) -> Result<Compaction, Error> {
        self.node.compact().await.map_err(|error| match error {
            AdminError::Busy => Error::Conflict("a compaction or snapshot is under way already"),
            AdminError::OutOfDisk => Error::OutOfDisk,
            AdminError::Unavailable => Error::Unavailable("the node cannot compact its log at the moment"),
            AdminError::Failed(reason) => {
                tracing::error!(reason, "compaction failed");
                Error::Internal
            }
        })
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

    /// Whether the node is in its role and its state is close to what the cluster has committed.
    pub fn is_ready(&self) -> bool {
        self.node.status().ready
    }

    /// The longest value that a front-end needs to read before it may refuse it.
    pub fn max_value_bytes(&self) -> u64 {
        self.node.store_status().max_value_bytes.min(MAX_VALUE_BYTES)
    }

    async fn write(&self, principal: &Principal, command: Command) -> Result<Outcome, Error> {
        let transaction = Transaction {
            mode: Mode::Each,
            principal: principal.clone(),
            checks: Vec::new(),
            commands: vec![command],
        };
        let mut outcomes = self.node.write(transaction, self.deadline()).await?;
        match (outcomes.pop(), outcomes.len()) {
            (Some(outcome), 0) => Ok(outcome),
            _ => Err(unexpected("the number of outcomes")),
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.config.request_timeout
    }
}

fn remaining(deadline: Option<Timestamp>, now: Timestamp) -> Option<u64> {
    deadline.map(|deadline| deadline.millis_since(now))
}

fn unexpected(what: &'static str) -> Error {
    tracing::error!(what, "the node answered something else than what was asked");
    Error::Internal
}
