//! A real `kvorum` process for tests: on a free port, in a directory of the test, ended with it.
//!
//! Nothing here sleeps: the process is followed by its log (JSON on standard error), and every wait has a deadline.

#![allow(unreachable_pub, reason = "the harness is a module of every test binary")]
#![allow(dead_code, reason = "each test binary uses a part of the harness")]
#![allow(clippy::disallowed_methods, reason = "tests drive real processes, files and clocks")]

pub mod http;
pub mod ports;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use http::{Connection, Response};

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_kvorum");

/// A running node.
pub struct Node {
    child: Child,
    log: Log,
    address: SocketAddr,
    directory: PathBuf,
}

/// A node that ended by itself.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: Option<i32>,
    /// What it said on standard error.
    pub said: String,
}

impl Node {
    /// Starts a node with its data in `directory` and waits until it serves.
    pub fn start(directory: &Path) -> Node {
        Node::start_with(directory, &[])
    }

    /// As [`Node::start`], with settings.
    pub fn start_with(directory: &Path, settings: &[(&str, &str)]) -> Node {
        Node::try_start(Command::new(PROGRAM), directory, settings).expect("the node starts")
    }

    /// Starts a node that may refuse to start. `command` is the program, or something that runs it.
    pub fn try_start(command: Command, directory: &Path, settings: &[(&str, &str)]) -> Result<Node, Ended> {
        let (mut child, mut log) = spawn(command, "serve", directory, settings);
        let address = log.wait_for("http listens").map(|line| line["address"].as_str().map(str::parse));
        if log.wait_for("serving").is_none() {
            let status = wait(&mut child);
            return Err(Ended { status: status.code(), said: log.said });
        }
        let address = address.flatten().expect("the log says where").expect("an address");
        Ok(Node { child, log, address, directory: directory.to_owned() })
    }

    /// Starts a process that is no node but stands in the place of one. It answers where a node is probed.
    pub fn maintain(directory: &Path) -> Node {
        let anywhere = [("ops.listen", "127.0.0.1:0")];
        let (child, mut log) = spawn(Command::new(PROGRAM), "maintenance", directory, &anywhere);
        let address = log.wait_for("ops listens").map(|line| line["address"].as_str().map(str::parse));
        let there = log.wait_for("under maintenance; no node runs here");
        assert!(there.is_some(), "it did not start:\n{}", log.said);
        let address = address.flatten().expect("the log says where").expect("an address");
        Node { child, log, address, directory: directory.to_owned() }
    }

    /// Where its API is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its API is, for clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where its data is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A new connection.
    pub fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// One request on a connection of its own.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.connect().send(method, path, headers, body)
    }

    /// Reads.
    pub fn get(&self, path: &str) -> Response {
        self.send("GET", path, &[], b"")
    }

    /// Writes.
    pub fn put(&self, path: &str, body: &[u8]) -> Response {
        self.send("PUT", path, &[], body)
    }

    /// Runs the program as a client of this node.
    pub fn client(&self, arguments: &[&str]) -> Output {
        program(arguments).env("KVORUM_URL", self.url()).output().expect("the program runs")
    }

    /// Kills the process, as the system would.
    pub fn kill(mut self) {
        self.child.kill().expect("the process can be killed");
        wait(&mut self.child);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(id.expect("a process id"), signal)
            .expect("the process can be signalled");
    }

    /// Asks the process to end and waits for it.
    pub fn terminate(self) -> Ended {
        self.signal(rustix::process::Signal::TERM);
        self.ended()
    }

    /// Waits until the process has ended by itself.
    pub fn ended(mut self) -> Ended {
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| wait(&mut self.child)));
        let status = ended.unwrap_or_else(|_| {
            let _ = self.child.kill();
            self.log.wait_for("(nothing)");
            panic!("the process did not end; it said:\n{}", self.log.said)
        });
        self.log.wait_for("(nothing)");
        Ended { status: status.code(), said: std::mem::take(&mut self.log.said) }
    }

    /// What the node has said so far on standard error.
    pub fn said(&mut self) -> &str {
        for line in self.log.lines.try_iter() {
            self.log.said += &format!("{line}\n");
        }
        &self.log.said
    }

    /// Waits until the node logs this message, unless it has done so before, and gives the whole line.
    pub fn wait_for(&mut self, message: &str) -> serde_json::Value {
        let before = self.log.said.lines().filter_map(|line| serde_json::from_str(line).ok());
        let before = before.rev().find(|line: &serde_json::Value| line["message"] == message);
        let line = before.or_else(|| self.log.wait_for(message));
        line.unwrap_or_else(|| panic!("the node never said {message:?}:\n{}", self.log.said))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program with arguments, without any setting of the environment that the tests run in.
pub fn program(arguments: &[&str]) -> Command {
    let mut command = clean(Command::new(PROGRAM));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KVORUM_")) {
        command.env_remove(name);
    }
    command
}

/// A node with its data in `directory` that is yet to be started. `command` is the program, or something that runs it.
pub fn serve(command: Command, directory: &Path, settings: &[(&str, &str)]) -> Command {
    prepared(command, "serve", directory, settings)
}

fn prepared(command: Command, what: &str, directory: &Path, settings: &[(&str, &str)]) -> Command {
    let mut command = clean(command);
    command.args([what, "--listen", "127.0.0.1:0", "--set", "log.format=json", "--set", "ops.listen="]);
    command.args(["--set", "shutdown.drain_ms=0", "--set", "wal.segment_bytes=1MiB"]);
    command.arg("--data-dir").arg(directory);
    for (key, value) in settings {
        command.args(["--set", &format!("{key}={value}")]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn spawn(command: Command, what: &str, directory: &Path, settings: &[(&str, &str)]) -> (Child, Log) {
    let mut command = prepared(command, what, directory, settings);
    command.stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    (child, Log { lines, said: String::new() })
}

/// Waits for a process to end; panics if it does not.
pub fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    let (sender, ticks) = mpsc::channel::<()>();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            drop(sender);
            return status;
        }
        assert!(Instant::now() < deadline, "the process did not end");
        // The system has no wait with a deadline: look every few milliseconds.
        let _ = ticks.recv_timeout(Duration::from_millis(5));
    }
}

/// Waits until `condition` gives something; panics with `what` if it does not.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    let (_sender, ticks) = mpsc::channel::<()>();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        let _ = ticks.recv_timeout(Duration::from_millis(5));
    }
}

struct Log {
    lines: Receiver<String>,
    said: String,
}

impl Log {
    /// The next line with this message; `None` if the process ends first.
    fn wait_for(&mut self, message: &str) -> Option<serde_json::Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.said += &format!("{line}\n");
                    let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                    if line["message"] == message {
                        return Some(line);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => panic!("{message:?} was not said in time:\n{}", self.said),
            }
        }
    }
}
