//! What one connection does: takes a ticket, sends the request, counts the answer, until there are no more tickets.
//!
//! A connection that ends is made again, with a growing pause between attempts and each time to the next server, before
//! a ticket is taken: an outage is no flood of failed requests but a gap, and with a rate, a backlog. Requests are
//! never sent twice, because a write without an answer may have happened.

use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::http::Writer;
use super::link::Link;
use super::mix::Operation;
use super::schedule::{Schedule, Ticket};
use super::tally::{Ending, Gap, Tally};
use super::workload::{Request, Workload};
use crate::cli::arguments::Consistency;
use crate::clock::Stopwatch;

/// First pause after an attempt that failed, and after a 503 where there is no rate; doubled up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

/// Longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// A server that is asked.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// As the user named it.
    pub(super) url: String,
    /// Host and port.
    pub(super) authority: String,
    /// Path before that of the API.
    pub(super) base: String,
}

/// What all requests have in common.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) key_prefix: OsString,
    pub(super) consistency: Option<Consistency>,
    pub(super) ttl_ms: Option<u64>,
}

/// Which requests a phase sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Each key once.
    Filling,
    /// The mix.
    Mix,
}

/// What the connections of one phase share.
pub(super) struct Phase {
    pub(super) source: Source,
    pub(super) workload: Arc<Workload>,
    pub(super) schedule: Schedule,
    pub(super) targets: Vec<Target>,
    pub(super) common: Common,
    /// One for some connections, so that counting makes nobody wait.
    pub(super) tallies: Vec<Mutex<Tally>>,
    pub(super) gap: Gap,
    /// Longest time without a success in which connections are tried again.
    pub(super) max_outage: Duration,
    /// Ends pauses, and with them the phase.
    pub(super) stop: CancellationToken,
    /// Cancelled when there was no server for `max_outage`.
    pub(super) gave_up: CancellationToken,
}

impl Phase {
    /// No new requests from here on.
    pub(super) fn end(&self) {
        self.schedule.close();
        self.stop.cancel();
    }

    fn request(&self, number: u64) -> Request {
        match self.source {
            Source::Filling => self.workload.filling(number),
            Source::Mix => self.workload.mixed(number),
        }
    }

    /// Counts what was due and not sent when the phase ended.
    pub(super) fn count_unsent(&self, end: Duration, tally: &mut Tally) {
        for ticket in self.schedule.unsent(end) {
            tally.count_unsent(self.request(ticket.number).operation, ticket.latency(end, end));
        }
    }
}

/// One connection and what it needs.
pub(super) struct Worker {
    phase: Arc<Phase>,
    /// Which target it uses now.
    target: usize,
    tally: usize,
    writer: Writer,
    link: Option<Link>,
    output: Vec<u8>,
    pause: Duration,
}

impl Worker {
    /// Connection `number` of a phase, connected.
    pub(super) async fn open(phase: Arc<Phase>, number: usize) -> Result<Worker, (String, io::Error)> {
        let target = number % phase.targets.len();
        let Target { url, authority, .. } = &phase.targets[target];
        let link = Link::open(authority).await.map_err(|error| (url.clone(), error))?;
        Ok(Worker {
            target,
            tally: number % phase.tallies.len(),
            writer: writer(&phase, target),
            link: Some(link),
            output: Vec::new(),
            pause: SHORTEST_PAUSE,
            phase,
        })
    }

    /// Sends requests until there are no more tickets. `started` is when the phase did.
    pub(super) async fn run(mut self, started: Stopwatch) {
        let phase = Arc::clone(&self.phase);
        while self.connected(started).await {
            let Some(ticket) = phase.schedule.next().await else { break };
            self.send(&phase, ticket, started).await;
        }
    }

    /// Makes a connection if there is none; says no if the phase has ended.
    async fn connected(&mut self, started: Stopwatch) -> bool {
        if self.link.is_some() {
            return true;
        }
        let phase = Arc::clone(&self.phase);
        loop {
            let opened = phase.stop.run_until_cancelled(Link::open(&phase.targets[self.target].authority));
            match opened.await {
                None => return false,
                Some(Ok(link)) => {
                    self.link = Some(link);
                    phase.tallies[self.tally].lock().reconnections += 1;
                    return true;
                }
                Some(Err(_)) => {
                    phase.tallies[self.tally].lock().refused_connections += 1;
                    if phase.gap.since_success(started.elapsed()) > phase.max_outage {
                        phase.gave_up.cancel();
                    }
                    self.target = (self.target + 1) % phase.targets.len();
                    self.writer = writer(&phase, self.target);
                    self.wait().await;
                }
            }
        }
    }

    async fn wait(&mut self) {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        self.phase.stop.run_until_cancelled(sleep(pause)).await;
    }

    async fn send(&mut self, phase: &Phase, ticket: Ticket, started: Stopwatch) {
        let request = phase.request(ticket.number);
        self.writer.write(&request, phase.workload.pool(), &mut self.output);
        let sent = started.elapsed();
        let (ending, busy, received) = match self.exchange().await {
            Ok((answer, received)) => (ending(request.operation, &answer), answer.status == 503, received),
            Err(code) => (Ending::Error(code), false, 0),
        };
        let answered = started.elapsed();
        if matches!(ending, Ending::Success { .. }) {
            phase.gap.success(answered);
            self.pause = SHORTEST_PAUSE;
        }
        {
            let mut tally = phase.tallies[self.tally].lock();
            tally.count(request.operation, ending, ticket.latency(sent, answered));
            tally.sent_bytes += self.output.len() as u64;
            tally.received_bytes += received;
        }
        // A closed loop that got a 503 would ask again at once, and use its requests up while nobody can serve them.
        if busy && ticket.due.is_none() {
            self.wait().await;
        }
    }

    async fn exchange(&mut self) -> Result<(Answer, u64), String> {
        // The server may have closed an idle connection since; that is no failure of this request.
        if self.link.as_ref().is_none_or(Link::is_closed) {
            let authority = &self.phase.targets[self.target].authority;
            self.link = Some(Link::open(authority).await.map_err(|_| "no-connection".to_owned())?);
            self.phase.tallies[self.tally].lock().reconnections += 1;
        }
        let mut link = self.link.take().expect("it was made above");
        let (answer, received) = link.exchange(&self.output).await.map_err(|broken| broken.to_string())?;
        if !answer.closes {
            self.link = Some(link);
        }
        Ok((answer, received))
    }
}

fn writer(phase: &Phase, target: usize) -> Writer {
    let Target { authority, base, .. } = &phase.targets[target];
    let Common { key_prefix, consistency, ttl_ms } = &phase.common;
    Writer::new(authority, base, key_prefix, *consistency, *ttl_ms)
}

/// What an answer means for the operation that was asked for.
fn ending(operation: Operation, answer: &Answer) -> Ending {
    if (200..300).contains(&answer.status) {
        return Ending::Success { missed: false };
    }
    let problem: serde_json::Value = serde_json::from_slice(&answer.problem).unwrap_or_default();
    match problem["code"].as_str() {
        Some("not-found") if operation.may_miss() => Ending::Success { missed: true },
        Some(code) => Ending::Error(code.to_owned()),
        None => Ending::Error(format!("status-{}", answer.status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a miss is a success where one may miss, other errors are counted by their code, and strangers by status.
    #[test]
    fn endings() {
        let of = |operation, status, problem: &str| {
            let answer = Answer { status, problem: problem.as_bytes().to_vec(), ..Answer::default() };
            ending(operation, &answer)
        };
        let missing = r#"{"code":"not-found"}"#;
        assert_eq!(of(Operation::Get, 200, ""), Ending::Success { missed: false });
        assert_eq!(of(Operation::Get, 404, missing), Ending::Success { missed: true });
        assert_eq!(of(Operation::Set, 404, missing), Ending::Error("not-found".to_owned()));
        assert_eq!(of(Operation::Get, 404, "<html>"), Ending::Error("status-404".to_owned()));
        assert_eq!(of(Operation::Del, 503, r#"{"code":"no-leader"}"#), Ending::Error("no-leader".to_owned()));
    }
}
