//! `lifecycle pre-stop`.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::client::{Answer, Call, call};
use super::cluster_arguments::Lifecycle;
use super::exit::{Exit, Failure};
use super::output;
use super::server::Server;
use super::settings::loaded;
use crate::clock::Stopwatch;

/// Time between two questions whether the node may stop.
const AGAIN: Duration = Duration::from_millis(500);

/// Waits for the permission to stop.
pub(super) fn pre_stop(Lifecycle::PreStop { wait_s, home, server }: &Lifecycle) -> Result<Exit, Failure> {
    let wait = match wait_s {
        Some(seconds) => Duration::from_secs(*seconds),
        None => loaded(&home.settings())?.config.lifecycle_wait,
    };
    let begun = Stopwatch::start();
    let (_sender, ticks) = mpsc::channel::<()>();
    loop {
        let done = ask(server).and_then(Answer::success).and_then(|answer| answer.json());
        let reason = match done {
            Ok(done) if server.json => return output::line(&done.to_string()),
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

fn ask(server: &Server) -> Result<Answer, Failure> {
    call(server, &Call { method: "POST", path: "/v1/cluster/stop".to_owned(), ..Call::default() })
}
