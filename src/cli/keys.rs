//! `get`, `set`, `del`, `ttl`.

use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

use super::arguments::{Del, Get, Set, Ttl};
use super::client::{Call, call, consistency, path};
use super::exit::{Exit, Failure};
use super::output;

/// Largest value that is read from standard input: more than any server takes.
const MAX_INPUT_BYTES: u64 = 64 << 20;

/// From this size on the server is asked before the value is sent.
const ASK_FIRST_BYTES: usize = 1 << 20;

/// Prints a value.
pub(super) fn get(get: &Get) -> Result<Exit, Failure> {
    let accept = if get.server.json { "application/json" } else { "application/octet-stream" };
    let answer = call(
        &get.server,
        &Call {
            method: "GET",
            path: path(&get.key, ""),
            query: consistency(get.consistency),
            headers: vec![("Accept", accept.to_owned())],
            ..Call::default()
        },
    )?
    .success()?;
    if get.server.json { output::line(&answer.json()?.to_string()) } else { output::value(&answer.body) }
}

/// Writes a value.
pub(super) fn set(set: &Set) -> Result<Exit, Failure> {
    let value = if set.value == "-" { standard_input()? } else { set.value.as_bytes().to_vec() };
    let mut headers = vec![("Content-Type", "application/octet-stream".to_owned())];
    if value.len() >= ASK_FIRST_BYTES {
        headers.push(("Expect", "100-continue".to_owned()));
    }
    headers.extend(set.if_version.map(|version| ("If-Match", format!("\"{version}\""))));
    headers.extend(set.if_absent.then(|| ("If-None-Match", "*".to_owned())));
    let mut query = Vec::new();
    query.extend(set.ttl_ms.map(|ttl_ms| ("ttl_ms", ttl_ms.to_string())));
    query.extend(set.keep_ttl.then(|| ("keep_ttl", "true".to_owned())));
    let request =
        Call { method: "PUT", path: path(&set.key, ""), query, headers, body: &value, patient: false };
    let written = call(&set.server, &request)?.success()?.json()?;
    if set.server.json {
        return output::line(&written.to_string());
    }
    let verb = if written["created"] == true { "created" } else { "replaced" };
    output::line(&format!("{verb}, version {}", written["version"]))
}

/// Removes a key.
pub(super) fn del(del: &Del) -> Result<Exit, Failure> {
    let headers = del.if_version.map(|version| ("If-Match", format!("\"{version}\""))).into_iter().collect();
    let request = Call { method: "DELETE", path: path(&del.key, ""), headers, ..Call::default() };
    call(&del.server, &request)?.success()?;
    output::line(if del.server.json { r#"{"deleted":true}"# } else { "deleted" })
}

/// Prints how long a key has left.
pub(super) fn ttl(ttl: &Ttl) -> Result<Exit, Failure> {
    let query = consistency(ttl.consistency);
    let request = Call { method: "GET", path: path(&ttl.key, "/ttl"), query, ..Call::default() };
    let countdown = call(&ttl.server, &request)?.success()?.json()?;
    if ttl.server.json {
        return output::line(&countdown.to_string());
    }
    match countdown["ttl_ms"].as_u64() {
        Some(ttl_ms) => output::line(&ttl_ms.to_string()),
        None => output::line("none"),
    }
}

fn standard_input() -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    io::stdin()
        .lock()
        .take(MAX_INPUT_BYTES + 1)
        .read_to_end(&mut value)
        .map_err(|error| Failure::new(Exit::Io, format!("cannot read standard input: {error}")))?;
    if value.len() as u64 > MAX_INPUT_BYTES {
        return Err(Failure::new(Exit::Refused, format!("a value has at most {MAX_INPUT_BYTES} bytes")));
    }
    Ok(value)
}
