//! `lifecycle pre-stop`.

use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::client::{Answer, Call, call};
use super::cluster_arguments::Lifecycle;
use super::exit::{Exit, Failure};
use super::local;
use super::output;
use super::server::Server;
use super::settings::loaded;
use crate::clock::Stopwatch;

/// Time between two questions whether the node may stop.
const AGAIN: Duration = Duration::from_millis(500);

/// Shortest time that an answer may take.
const ANSWER_MIN: Duration = Duration::from_secs(1);

/// Where it is asked for.
const STOP: &str = "/v1/cluster/stop";

/// How the node is asked.
enum Way {
    /// Over its API.
    Api(Server),
    /// Over the socket in this data directory.
    Socket(PathBuf),
}

/// Waits for the permission to stop.
pub(super) fn pre_stop(command: &Lifecycle) -> Result<Exit, Failure> {
    let Lifecycle::PreStop { wait_s, url, home, json } = command;
    let config = match (wait_s, url) {
        (Some(_), Some(_)) => None,
        _ => Some(loaded(&home.settings())?.config),
    };
    let configured = config.as_ref().map(|config| config.lifecycle_wait).unwrap_or_default();
    let wait = wait_s.map_or(configured, Duration::from_secs);
    let way = match url {
        Some(url) => Way::Api(Server { url: url.clone(), json: *json }),
        None => Way::Socket(config.map(|config| config.data_dir).unwrap_or_default()),
    };
    let begun = Stopwatch::start();
    let (_sender, ticks) = mpsc::channel::<()>();
    loop {
        let left = wait.saturating_sub(begun.elapsed());
        let done = ask(&way, left.max(ANSWER_MIN)).and_then(Answer::success).and_then(|answer| answer.json());
        let reason = match done {
            Ok(done) if *json => return output::line(&done.to_string()),
            Ok(_) => return output::line("the node may stop"),
            Err(Failure { message, .. }) => message,
        };
        if begun.elapsed() >= wait {
            let waited_s = wait.as_secs();
            output::line(&format!("no permission after {waited_s} s, going on without: {reason}"))?;
            return Ok(Exit::Done);
        }
        if ticks.recv_timeout(AGAIN) != Err(RecvTimeoutError::Timeout) {
            return Ok(Exit::Done);
        }
    }
}

fn ask(way: &Way, patience: Duration) -> Result<Answer, Failure> {
    match way {
        Way::Api(server) => call(server, &Call { method: "POST", path: STOP.to_owned(), ..Call::default() }),
        Way::Socket(directory) => local::post(directory, STOP, patience),
    }
}
