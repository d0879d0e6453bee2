//! One client of a real cluster: speaks HTTP to any node that is there, and writes down what it was told.
//!
//! What was sent and not answered is unknown; where nobody listened nothing was sent. A refusal says in its document
//! which of both it is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::history::{Answer, Condition, Operation, Outcome, Record};
use super::register::Random;
use crate::node::http::{Connection, Response};

/// Numbers that are set are multiples of this; all additions to a key are together below it.
const DISTANCE: u64 = 1_000_000;

/// How long a client waits before it looks again for a node that is there.
const AGAIN: Duration = Duration::from_millis(10);

/// Where the nodes listen; `None` for one that is not there.
pub(crate) type Addresses = Mutex<Vec<Option<SocketAddr>>>;

/// A client, and what it knows.
pub(crate) struct Client<'a> {
    number: usize,
    addresses: &'a Addresses,
    /// When the history began.
    began: Instant,
    /// How long it waits for an answer.
    patience: Duration,
    /// Appended to the path of a read.
    reads: &'static str,
    connection: Option<(usize, Connection)>,
    random: Random,
    values: u64,
    /// The version last seen of each key.
    versions: BTreeMap<String, u64>,
    /// What it did.
    pub(crate) records: Vec<Record>,
    /// How often each problem was reported.
    pub(crate) problems: BTreeMap<String, u64>,
}

impl<'a> Client<'a> {
    pub(crate) fn new(
        number: usize,
        addresses: &'a Addresses,
        began: Instant,
        patience: Duration,
    ) -> Client<'a> {
        Client {
            number,
            addresses,
            began,
            patience,
            // Two of a dozen trust the leader's lease.
            reads: if number % 6 == 5 { "?consistency=lease" } else { "" },
            connection: None,
            random: Random::new(number as u64),
            values: 0,
            versions: BTreeMap::new(),
            records: Vec::new(),
            problems: BTreeMap::new(),
        }
    }

    /// Does something with one of these keys, at some node that is there.
    pub(crate) fn act(&mut self, keys: &[String]) {
        let key = keys[self.random.below(keys.len() as u64) as usize].clone();
        let operation = self.invent(&key);
        let node = match &self.connection {
            // It stays where it is for a while.
            Some((node, _)) if !self.random.percent(2) => *node,
            _ => {
                let present: Vec<usize> = {
                    let addresses = self.addresses.lock().expect("nobody panics with it");
                    (0..addresses.len()).filter(|node| addresses[*node].is_some()).collect()
                };
                if present.is_empty() {
                    // All are down for a moment.
                    std::thread::park_timeout(AGAIN);
                    return;
                }
                present[self.random.below(present.len() as u64) as usize]
            }
        };
        self.record(node, &key, operation);
    }

    /// Does this at that node, if it is there.
    pub(crate) fn record(&mut self, node: usize, key: &str, operation: Operation) {
        let invoked = self.now();
        let outcome = self.ask(node, key, &operation);
        let returned = self.now();
        if let Outcome::Done(answer) = &outcome
            && let Some(version) = answer.version()
        {
            self.versions.insert(key.to_owned(), version);
        }
        let (client, key) = (self.number, key.to_owned());
        self.records.push(Record { client, node, key, operation, outcome, invoked, returned });
    }

    /// Sets a key in a batch that sets as many further ones beside it, at that node, if it is there.
    pub(crate) fn batch(&mut self, node: usize, key: &str, value: &str, further: usize) {
        let set = |key: &str| format!("{{\"op\": \"set\", \"key\": \"{key}\", \"value\": \"{value}\"}}");
        // In the middle: what is seen of it is not the whole.
        let (before, after) = (0..further / 2, further / 2..further);
        let beside = |n: usize| set(&format!("{key}-{n}"));
        let steps: Vec<String> = before.map(beside).chain([set(key)]).chain(after.map(beside)).collect();
        let body = format!("{{\"steps\": [{}]}}", steps.join(","));
        let operation = Operation::Set(value.to_owned(), Condition::Always);
        let invoked = self.now();
        let outcome = self.ask_by(node, |connection| {
            connection.try_send("POST", "/v1/batch", &[("Content-Type", "application/json")], body.as_bytes())
        });
        let outcome = outcome.map_or_else(
            |outcome| outcome,
            |response| match response.status {
                200 => {
                    let written = &response.json()["results"][further / 2];
                    let (version, created) = (written["version"].as_u64(), written["created"].as_bool());
                    let created =
                        created.unwrap_or_else(|| panic!("a write says whether it created: {written}"));
                    Outcome::Done(Answer::Written { version, created })
                }
                _ => self.problem(&operation, &response),
            },
        );
        let (client, key, returned) = (self.number, key.to_owned(), self.now());
        self.records.push(Record { client, node, key, operation, outcome, invoked, returned });
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).expect("centuries")
    }

    fn invent(&mut self, key: &str) -> Operation {
        let version = self.versions.get(key).copied().unwrap_or(0);
        let condition = match self.random.below(10) {
            0..=3 => Condition::Version(version),
            4 => Condition::Absent,
            5 => Condition::Present,
            _ => Condition::Always,
        };
        match self.random.below(20) {
            0..=7 => Operation::Get,
            8 | 9 => {
                Operation::Delete(if condition == Condition::Absent { Condition::Always } else { condition })
            }
            10..=13 => Operation::Incr(1 + self.random.below(3) as i64),
            _ => {
                self.values += 1;
                let unique = (1 + self.number as u64) * DISTANCE + self.values;
                let is_text = self.random.percent(10);
                let value = if is_text { format!("text{unique}") } else { (unique * DISTANCE).to_string() };
                Operation::Set(value, condition)
            }
        }
    }

    fn ask(&mut self, node: usize, key: &str, operation: &Operation) -> Outcome {
        let reads = self.reads;
        match self.ask_by(node, |connection| send(connection, key, operation, reads)) {
            Ok(response) => {
                answer(operation, &response).map_or_else(|| self.problem(operation, &response), Outcome::Done)
            }
            Err(outcome) => outcome,
        }
    }

    /// Sends a request; the error is what its client then knows of the outcome.
    fn ask_by(
        &mut self,
        node: usize,
        send: impl FnOnce(&mut Connection) -> Option<Response>,
    ) -> Result<Response, Outcome> {
        let connection =
            self.connection.take().filter(|(to, _)| *to == node).map(|(_, connection)| connection);
        let connection = connection.or_else(|| {
            let address = self.addresses.lock().expect("nobody panics with it")[node]?;
            Connection::try_open_for(address, self.patience)
        });
        let Some(mut connection) = connection else {
            self.note("(refused connection)");
            std::thread::park_timeout(AGAIN);
            return Err(Outcome::NotApplied);
        };
        let Some(response) = send(&mut connection) else {
            self.note("(no answer)");
            return Err(Outcome::Unknown);
        };
        self.connection = Some((node, connection));
        Ok(response)
    }

    /// What a problem document says of the outcome.
    fn problem(&mut self, operation: &Operation, response: &Response) -> Outcome {
        let problem = response.json();
        let code = problem["code"].as_str().unwrap_or_else(|| panic!("{operation}: {response:?}"));
        self.note(code);
        match problem["applied"].as_str() {
            Some("no") => Outcome::NotApplied,
            Some("unknown") => Outcome::Unknown,
            None if *operation == Operation::Get => Outcome::Unknown,
            other => panic!("{operation} was refused, and whether it was applied is {other:?}: {problem}"),
        }
    }

    fn note(&mut self, problem: &str) {
        *self.problems.entry(problem.to_owned()).or_default() += 1;
    }
}

fn send(connection: &mut Connection, key: &str, operation: &Operation, reads: &str) -> Option<Response> {
    let path = format!("/v1/kv/{key}");
    match operation {
        Operation::Get => connection.try_send("GET", &format!("{path}{reads}"), &[], b""),
        Operation::Set(value, condition) => {
            conditional(connection, "PUT", &path, *condition, value.as_bytes())
        }
        Operation::Delete(condition) => conditional(connection, "DELETE", &path, *condition, b""),
        Operation::Incr(by) => {
            let (headers, body) = ([("Content-Type", "application/json")], format!("{{\"by\": {by}}}"));
            connection.try_send("POST", &format!("{path}/incr"), &headers, body.as_bytes())
        }
    }
}

fn conditional(
    connection: &mut Connection,
    method: &str,
    path: &str,
    condition: Condition,
    body: &[u8],
) -> Option<Response> {
    let version;
    let header = match condition {
        Condition::Always => None,
        Condition::Absent => Some(("If-None-Match", "*")),
        Condition::Present => Some(("If-Match", "*")),
        Condition::Version(number) => {
            version = format!("\"{number}\"");
            Some(("If-Match", version.as_str()))
        }
    };
    connection.try_send(method, path, header.as_slice(), body)
}

/// The answer, if the operation was not refused.
fn answer(operation: &Operation, response: &Response) -> Option<Answer> {
    let number = |name: &str| response.json()[name].as_u64();
    match (operation, response.status) {
        (Operation::Get, 200) => {
            let value = String::from_utf8(response.body.clone()).expect("only text was written");
            let version = response.header("etag").and_then(|tag| tag.trim_matches('"').parse().ok());
            assert!(version.is_some(), "a value has its version: {response:?}");
            Some(Answer::Found { value, version })
        }
        (Operation::Get | Operation::Delete(_), 404) => Some(Answer::Absent),
        (Operation::Set(..), status @ (200 | 201)) => {
            let (version, created) = (number("version"), status == 201);
            assert!(version.is_some(), "a write has its version: {response:?}");
            Some(Answer::Written { version, created })
        }
        (Operation::Delete(_), 204) => Some(Answer::Deleted),
        (Operation::Set(..) | Operation::Delete(_), 412) => {
            let version = number("version");
            assert!(version.is_some(), "an unmet condition says the version: {response:?}");
            Some(Answer::Unmet { version })
        }
        (Operation::Incr(_), 200) => {
            let (value, version) = (response.json()["value"].as_i64()?, number("version"));
            assert!(version.is_some(), "a sum has its version: {response:?}");
            Some(Answer::Sum { value, version })
        }
        (Operation::Incr(_), 409) => {
            response.problem(409, "not-an-integer");
            Some(Answer::NotAnInteger)
        }
        _ => None,
    }
}
