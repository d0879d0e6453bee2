//! A process that is measured. What it logs goes to a file: reading a pipe would use processor time beside it, and a pipe
//! that is full would slow it down.

use std::cell::OnceCell;
use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::node::http::{Connection, Response};
use crate::node::{eventually, wait};

/// How long an answer is waited for: longer than a node lets a request wait.
const ANSWER: Duration = Duration::from_secs(8);

/// Of a tick in which the system counts processor time. It is the same on every machine that Linux runs on.
const TICK: Duration = Duration::from_millis(10);

/// A running node.
pub(crate) struct Member {
    child: Child,
    log: PathBuf,
    /// Where in the log this process begins.
    begins: u64,
    address: OnceCell<SocketAddr>,
}

impl Member {
    /// Starts a node that logs to the end of that file.
    pub(crate) fn start(mut command: Command, log: &Path) -> Member {
        let file = OpenOptions::new().create(true).append(true).open(log).expect("a file");
        let begins = length(log);
        let child = command.stderr(Stdio::from(file)).spawn().expect("the program runs");
        Member { child, log: log.to_owned(), begins, address: OnceCell::new() }
    }

    /// The process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Where its API is. Waits until it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        *self.address.get_or_init(|| {
            eventually("a node listens", || {
                let lines = lines(&self.log, self.begins);
                let line = lines.iter().find(|line| line["message"] == "http listens")?;
                line["address"].as_str()?.parse().ok()
            })
        })
    }

    /// One request on a connection of its own; `None` if there is no answer.
    pub(crate) fn send(&self, method: &str, path: &str, body: &[u8]) -> Option<Response> {
        let mut connection = Connection::try_open_for(self.address(), ANSWER)?;
        connection.try_send(method, path, &[("Content-Type", "application/json")], body)
    }

    /// Reads.
    pub(crate) fn get(&self, path: &str) -> Option<Response> {
        self.send("GET", path, b"")
    }

    /// Whether it says that it is ready.
    pub(crate) fn is_ready(&self) -> bool {
        self.get("/readyz").is_some_and(|answer| answer.status == 200)
    }

    /// The cluster as it tells it, if it does.
    pub(crate) fn cluster(&self) -> Option<Value> {
        self.get("/v1/cluster").filter(|answer| answer.status == 200).map(|answer| answer.json())
    }

    /// Processor time that all its threads have used.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        // The name of the program, which may hold anything, stands in parentheses.
        let fields = stat.rsplit(')').next().expect("fields").split_whitespace();
        let ticks: u32 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u32>().expect("ticks")).sum();
        TICK * ticks
    }

    /// Bytes that it has logged, with those of the processes before it.
    pub(crate) fn log_bytes(&self) -> u64 {
        length(&self.log)
    }

    /// The lines that were logged from that byte on.
    pub(crate) fn lines_from(&self, byte: u64) -> Vec<Value> {
        lines(&self.log, byte)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let process = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(process, signal).expect("it can be signalled");
    }

    /// Ends it, as the system would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        wait(&mut self.child);
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn terminate(mut self) {
        self.signal(Signal::TERM);
        let status = wait(&mut self.child);
        assert!(status.success(), "it stopped with {status}");
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn length(log: &Path) -> u64 {
    fs::metadata(log).map_or(0, |log| log.len())
}

/// The whole lines of a log from that byte on.
fn lines(log: &Path, from: u64) -> Vec<Value> {
    use std::io::{BufRead, BufReader, Seek, SeekFrom};
    let Ok(mut file) = File::open(log) else { return Vec::new() };
    file.seek(SeekFrom::Start(from)).expect("a file can be read from anywhere");
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    lines.filter_map(|line| serde_json::from_str(&line).ok()).collect()
}
