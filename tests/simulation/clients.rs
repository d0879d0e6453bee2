//! The clients: each asks one thing at a time, of any host that serves, and writes down what it was told.

use std::sync::Arc;

use bytes::Bytes;
use kvorum::model::{
    Answer, Command, Condition, Expiry, Key, Mode, Outcome, Principal, Query, Transaction, Ttl, Version,
};
use kvorum::raft::{Consistency, Node, Read, ReadError, WriteError};
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use crate::history::{Ask, History, Op, Told};
use crate::host::Host;
use crate::random::Random;

/// Keys that are written again and again.
const REGISTERS: u64 = 4;

/// Numbers that are counted up.
const COUNTERS: u64 = 2;

/// One client.
pub(crate) struct Client {
    pub(crate) number: usize,
    pub(crate) hosts: Arc<Vec<Arc<Host>>>,
    pub(crate) history: History,
    pub(crate) random: Random,
    /// Values that it writes, none of them twice.
    pub(crate) next: u64,
    /// The version that it last saw of each register.
    pub(crate) seen: Vec<u64>,
}

/// The keys of registers and counters.
pub(crate) fn shared_keys() -> Vec<String> {
    let registers = (0..REGISTERS).map(|n| format!("r{n}"));
    registers.chain((0..COUNTERS).map(|n| format!("c{n}"))).collect()
}

impl Client {
    pub(crate) fn new(number: usize, hosts: Arc<Vec<Arc<Host>>>, history: History, random: Random) -> Client {
        let next = (number as u64 + 1) * 1_000_000;
        Client { number, hosts, history, random, next, seen: vec![0; REGISTERS as usize] }
    }

    /// Asks until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = self.random.millis(5, 150);
            tokio::time::sleep(pause).await;
            let at = self.random.index(self.hosts.len());
            let patience = self.random.millis(300, 3_000);
            if self.random.percent(15) {
                self.write_all(at, patience).await;
            } else {
                let (key, ask) = self.choose();
                self.ask(at, key, ask, patience).await;
            }
        }
    }

    /// Reads the same key at one host and then at another, until `stop`: what the first shows the second must not take back.
    pub(crate) async fn hop(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = self.random.millis(0, 12);
            tokio::time::sleep(pause).await;
            let key = format!("r{}", self.random.below(REGISTERS));
            self.read_twice(&key).await;
        }
    }

    /// Looks at the leader, by its lease, until a register changes, and reads it at another host at once: that one must see
    /// it too, though the leader has not applied all of the entry and may have told nobody of its commit.
    pub(crate) async fn spy(&mut self, leader: usize, length: Duration) {
        let end = Instant::now() + length;
        let mut seen = None;
        while Instant::now() < end {
            let pause = self.random.micros(50, 250);
            tokio::time::sleep(pause).await;
            let Some((node, _)) = self.hosts[leader].node() else { continue };
            let key = Key::new("r0").expect("a short key");
            let Told::Found { value, .. } = read(&node, key, true, end).await else { continue };
            if std::mem::replace(&mut seen, value) != value {
                let other = (leader + 1 + self.random.index(self.hosts.len() - 1)) % self.hosts.len();
                for at in [leader, other] {
                    let ask = Ask::Get { lease: at == leader };
                    self.ask(at, "r0".to_owned(), ask, Duration::from_millis(500)).await;
                }
            }
        }
    }

    async fn read_twice(&mut self, key: &str) {
        let (first, further) =
            (self.random.index(self.hosts.len()), 1 + self.random.index(self.hosts.len() - 1));
        for at in [first, (first + further) % self.hosts.len()] {
            let lease = self.random.percent(40);
            self.ask(at, key.to_owned(), Ask::Get { lease }, Duration::from_millis(500)).await;
        }
    }

    /// Writes all registers in one transaction.
    async fn write_all(&mut self, at: usize, patience: Duration) -> Option<()> {
        let (node, over) = self.hosts.get(at)?.node()?;
        let values: Vec<u64> = (0..REGISTERS).map(|_| self.unused()).collect();
        let set = |(register, value): (usize, &u64)| Command::Set {
            key: Key::new(format!("r{register}")).expect("a short key"),
            value: Bytes::from(value.to_string()),
            expiry: Expiry::Never,
            condition: Condition::Always,
        };
        let commands = values.iter().enumerate().map(set).collect();
        let (mode, principal, checks) = (Mode::All, Principal::Anonymous, Vec::new());
        let transaction = Transaction { mode, principal, checks, commands };
        let begin = self.history.moment();
        let written = tokio::select! {
            biased;
            () = over.cancelled() => Err(WriteError::UnknownOutcome),
            written = node.write(transaction, Instant::now() + patience) => written,
        };
        let written = if over.is_cancelled() { Err(WriteError::UnknownOutcome) } else { written };
        let end = self.history.moment();
        for (register, value) in values.into_iter().enumerate() {
            let told = match &written {
                Ok(outcomes) => told(outcomes.get(register)),
                Err(error) => refused(*error),
            };
            self.history.push(Op {
                client: self.number,
                host: at,
                key: format!("r{register}"),
                ask: Ask::Set(value),
                told,
                span: (begin.0, end.0),
                times: (begin.1, end.1),
            });
        }
        Some(())
    }

    /// A value that nobody has written.
    fn unused(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn choose(&mut self) -> (String, Ask) {
        let register = self.random.index(self.seen.len());
        let counter = self.random.below(COUNTERS);
        let value = self.unused();
        match self.random.below(100) {
            0..25 => (format!("u{value}"), Ask::Set(value)),
            25..40 => (format!("r{register}"), Ask::Set(value)),
            40..50 => (format!("r{register}"), Ask::Swap(value, self.seen[register])),
            50..60 => (format!("c{counter}"), Ask::Add),
            60..66 => (format!("t{value}"), Ask::Lend(value, 200 + self.random.below(3_000))),
            66..72 => (format!("c{counter}"), Ask::Get { lease: false }),
            _ => (format!("r{register}"), Ask::Get { lease: self.random.percent(30) }),
        }
    }

    /// Asks the host with this number, if it serves.
    pub(crate) async fn ask(&mut self, at: usize, key: String, ask: Ask, patience: Duration) -> Option<Told> {
        let (node, over) = self.hosts.get(at)?.node()?;
        let begin = self.history.moment();
        let deadline = Instant::now() + patience;
        let told = tokio::select! {
            biased;
            // Who dies takes what it was told along.
            () = over.cancelled() => Told::Unknown,
            told = perform(&node, &key, &ask, deadline) => told,
        };
        // What a process says in the moment of its death is not heard.
        let told = if over.is_cancelled() { Told::Unknown } else { told };
        let end = self.history.moment();
        if let (Some(register), Some(version)) = (register(&key), version_in(&told)) {
            self.seen[register] = self.seen[register].max(version);
        }
        if let Ask::Lend(value, _) = ask {
            self.follow(key.clone(), value);
        }
        self.history.push(Op {
            client: self.number,
            host: at,
            key,
            ask,
            told: told.clone(),
            span: (begin.0, end.0),
            times: (begin.1, end.1),
        });
        Some(told)
    }

    /// Reads many keys at once.
    pub(crate) async fn look(&mut self, at: usize, keys: Vec<String>, patience: Duration) {
        let Some((node, _)) = self.hosts.get(at).and_then(|host| host.node()) else { return };
        let queries =
            keys.iter().map(|key| Query::Get(Key::new(key.clone()).expect("a short key"))).collect();
        let begin = self.history.moment();
        let read =
            node.read(&Query::Many(queries), Consistency::Linearizable, Instant::now() + patience).await;
        let end = self.history.moment();
        let (answers, now_ms) = match read {
            Ok(Read { answer: Answer::Many(answers), now }) => (answers, now.0),
            other => {
                self.history.wrong("lives again", format!("everything is read at host {at}: {other:?}"));
                return;
            }
        };
        for (key, answer) in keys.into_iter().zip(answers) {
            self.history.push(Op {
                client: self.number,
                host: at,
                key,
                ask: Ask::Get { lease: false },
                told: Told::Found { value: found(answer), now_ms },
                span: (begin.0, end.0),
                times: (begin.1, end.1),
            });
        }
    }

    /// Looks at a key that was lent until it must be gone.
    fn follow(&mut self, key: String, value: u64) {
        let random = self.random.fork(value);
        let mut other = Client::new(self.number, Arc::clone(&self.hosts), self.history.clone(), random);
        tokio::spawn(async move {
            for _ in 0..4 {
                let pause = other.random.millis(100, 1_200);
                tokio::time::sleep(pause).await;
                // Expiry that one host shows is seen at the other.
                Box::pin(other.read_twice(&key)).await;
            }
        });
    }
}

fn register(key: &str) -> Option<usize> {
    key.strip_prefix('r')?.parse().ok()
}

fn version_in(told: &Told) -> Option<u64> {
    match told {
        Told::Written { version, .. } | Told::Unmet { version } => Some(*version),
        Told::Found { value: Some((_, version)), .. } => Some(*version),
        Told::Found { .. } | Told::Not | Told::Unknown => None,
    }
}

async fn perform(node: &Node, key: &str, ask: &Ask, deadline: Instant) -> Told {
    let key = Key::new(key.to_owned()).expect("a short key");
    let set = |value: u64, expiry, condition| {
        let value = Bytes::from(value.to_string());
        Command::Set { key: key.clone(), value, expiry, condition }
    };
    let command = match ask {
        Ask::Get { lease } => return read(node, key, *lease, deadline).await,
        Ask::Set(value) => set(*value, Expiry::Never, Condition::Always),
        Ask::Swap(value, version) => set(*value, Expiry::Never, Condition::Version(Version(*version))),
        Ask::Lend(value, ms) => {
            let ttl = Ttl::from_millis(*ms).expect("a short time");
            set(*value, Expiry::After(ttl), Condition::Always)
        }
        Ask::Add => Command::Add { key, by: 1 },
    };
    match node.write(Transaction::single(command), deadline).await {
        Ok(outcomes) => told(outcomes.first()),
        Err(error) => refused(error),
    }
}

fn told(outcome: Option<&Outcome>) -> Told {
    match outcome {
        Some(Outcome::Written { version, .. }) => Told::Written { version: version.0, number: None },
        Some(Outcome::Number { value, version }) => {
            Told::Written { version: version.0, number: Some(*value) }
        }
        Some(Outcome::Unmet { version }) => Told::Unmet { version: version.0 },
        other => panic!("an outcome that nobody asked for: {other:?}"),
    }
}

fn refused(error: WriteError) -> Told {
    match error {
        WriteError::UnknownOutcome => Told::Unknown,
        _ => Told::Not,
    }
}

/// The value and its version.
fn found(answer: Answer) -> Option<(i64, u64)> {
    let Answer::Value(found) = answer else { panic!("a value was asked for") };
    found.map(|found| {
        let text = std::str::from_utf8(&found.value).expect("digits");
        (text.parse().expect("a number"), found.version.0)
    })
}

async fn read(node: &Node, key: Key, lease: bool, deadline: Instant) -> Told {
    let consistency = if lease { Consistency::Lease } else { Consistency::Linearizable };
    match node.read(&Query::Get(key), consistency, deadline).await {
        Ok(read) => Told::Found { value: found(read.answer), now_ms: read.now.0 },
        Err(ReadError::NoLeader | ReadError::Timeout | ReadError::Unavailable | ReadError::Overloaded) => {
            Told::Not
        }
    }
}
