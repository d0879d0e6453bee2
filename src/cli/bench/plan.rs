//! What the command line asks for, checked.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::Uri;

use super::schedule::MAX_CONNECTIONS;
use super::worker::{Common, Target};
use super::workload::Workload;
use crate::cli::arguments::Bench;
use crate::cli::exit::{Exit, Failure};

/// How long a run is if nothing is said.
const DURATION: Duration = Duration::from_secs(10);

/// Most requests a second that can be asked for.
const MAX_RATE: u64 = 10_000_000;

/// A run.
pub(super) struct Plan {
    pub(super) targets: Vec<Target>,
    pub(super) connections: usize,
    pub(super) threads: usize,
    pub(super) end: End,
    pub(super) rate: Option<u64>,
    pub(super) warmup: Option<Duration>,
    pub(super) preload: bool,
    pub(super) max_outage: Duration,
    pub(super) workload: Arc<Workload>,
    pub(super) common: Common,
}

/// What ends a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// This many requests.
    Requests(u64),
    /// This time.
    Time(Duration),
}

impl End {
    /// How many requests there are to send at most.
    pub(super) fn requests(self, rate: Option<u64>) -> Option<u64> {
        match (self, rate) {
            (End::Requests(requests), _) => Some(requests),
            (End::Time(time), Some(rate)) => {
                let requests = (time.as_nanos() * u128::from(rate)).div_ceil(1_000_000_000);
                Some(u64::try_from(requests).unwrap_or(u64::MAX))
            }
            (End::Time(_), None) => None,
        }
    }

    /// How long it takes, if it is time that ends it.
    pub(super) fn time(self) -> Option<Duration> {
        match self {
            End::Requests(_) => None,
            End::Time(time) => Some(time),
        }
    }
}

impl Plan {
    /// The plan that the arguments make, or what is wrong with them.
    pub(super) fn new(bench: &Bench) -> Result<Plan, Failure> {
        let usage = |reason: String| Err(Failure::new(Exit::Usage, reason));
        let targets =
            bench.server.url.split(',').map(|url| target(url.trim())).collect::<Result<Vec<_>, _>>()?;
        if bench.zipf.is_some_and(|theta| !(theta > 0.0 && theta < 1.0)) {
            return usage("--zipf: THETA lies between 0 and 1; YCSB takes 0.99".to_owned());
        }
        if !(1..=MAX_CONNECTIONS).contains(&bench.connections) {
            return usage(format!("--connections: 1 to {MAX_CONNECTIONS}"));
        }
        if bench.rate.is_some_and(|rate| !(1..=MAX_RATE).contains(&rate)) {
            return usage(format!("--rate: 1 to {MAX_RATE} requests a second"));
        }
        if bench.requests == Some(0) || bench.keys == 0 {
            return usage("--requests and --keys are at least 1".to_owned());
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let end = match (bench.requests, bench.duration) {
            (Some(requests), _) => End::Requests(requests),
            (None, duration) => End::Time(duration.map_or(DURATION, |duration| duration.0)),
        };
        Ok(Plan {
            targets,
            connections: bench.connections,
            // The server, on the same machine as often as not, gets the other half.
            threads: bench.threads.unwrap_or(cores / 2).clamp(1, 64),
            end,
            rate: bench.rate,
            warmup: bench.warmup.map(|warmup| warmup.0),
            preload: bench.preload,
            max_outage: bench.max_outage.0,
            workload: Arc::new(Workload::new(
                bench.seed,
                bench.keys,
                bench.zipf,
                bench.mix.clone(),
                bench.value_size.0.clone(),
            )),
            common: Common {
                key_prefix: OsString::from(&bench.key_prefix),
                consistency: bench.consistency,
                ttl_ms: bench.ttl_ms,
            },
        })
    }
}

fn target(url: &str) -> Result<Target, Failure> {
    let wrong = |reason: &str| Failure::new(Exit::Usage, format!("--url {url}: {reason}"));
    let uri: Uri = url.parse().map_err(|_| wrong("this is no URL"))?;
    if uri.scheme_str() != Some("http") {
        return Err(wrong("bench speaks plain HTTP: http://HOST:PORT"));
    }
    let authority = uri.authority().ok_or_else(|| wrong("this names no host"))?;
    let port = authority.port_u16().unwrap_or(80);
    Ok(Target {
        url: url.to_owned(),
        authority: format!("{}:{port}", authority.host()),
        base: uri.path().trim_end_matches('/').to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a URL is taken apart; one that cannot be used is refused.
    #[test]
    fn targets() {
        let of = |url| target(url).map(|target| (target.authority, target.base)).map_err(|error| error.exit);
        assert_eq!(of("http://h:81/"), Ok(("h:81".to_owned(), String::new())));
        assert_eq!(of("http://[::1]/kv/"), Ok(("[::1]:80".to_owned(), "/kv".to_owned())));
        for url in ["", "nonsense", "https://h", "h:80"] {
            assert_eq!(of(url), Err(Exit::Usage), "{url:?}");
        }
    }

    /// Goal: a rate and a time make a number of requests: those that are due before the time is over.
    #[test]
    fn ends() {
        let time = |ms| End::Time(Duration::from_millis(ms));
        assert_eq!(time(1_000).requests(Some(100)), Some(100));
        assert_eq!(time(1_001).requests(Some(100)), Some(101));
        assert_eq!(time(1_000).requests(None), None);
        assert_eq!(End::Requests(7).requests(Some(100)), Some(7));
    }
}
