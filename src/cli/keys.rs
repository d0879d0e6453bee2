//! `get`, `set`, `del`, `incr`, `ttl`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use serde_json::json;

use super::arguments::{Del, Get, Incr, Set, Ttl};
use super::client::{Call, call, consistency, path};
use super::exit::{Exit, Failure};
use super::{input, output};

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
    let value = match (&set.file, &set.value) {
        (Some(file), _) => input::file(file)?,
        (None, Some(value)) if value == "-" => input::standard()?,
        (None, value) => value.as_deref().unwrap_or_default().as_bytes().to_vec(),
    };
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

/// Removes keys. It is a negative answer if none of them was there.
pub(super) fn del(del: &Del) -> Result<Exit, Failure> {
    if del.if_version.is_some() && del.keys.len() > 1 {
        return Err(Failure::new(Exit::Usage, "--if-version goes with one key"));
    }
    let mut deleted = 0;
    for key in &del.keys {
        match remove(del, key) {
            Ok(()) => deleted += 1,
            Err(Failure { exit: Exit::Negative, .. }) if del.keys.len() > 1 => {}
            Err(failure) => return Err(failure),
        }
    }
    let exit = if deleted == 0 { Exit::Negative } else { Exit::Done };
    match (del.server.json, del.keys.len()) {
        (true, 1) => output::line(r#"{"deleted":true}"#)?,
        (true, _) => output::line(&json!({ "deleted": deleted }).to_string())?,
        (false, 1) => output::line("deleted")?,
        (false, of) => output::line(&format!("{deleted} of {of} deleted"))?,
    };
    Ok(exit)
}

fn remove(del: &Del, key: &OsStr) -> Result<(), Failure> {
    let headers = del.if_version.map(|version| ("If-Match", format!("\"{version}\""))).into_iter().collect();
    let request = Call { method: "DELETE", path: path(key, ""), headers, ..Call::default() };
    call(&del.server, &request)?.success().map(|_| ())
}

/// Adds to a number.
pub(super) fn incr(incr: &Incr) -> Result<Exit, Failure> {
    let body = json!({ "by": incr.by }).to_string().into_bytes();
    let headers = vec![("Content-Type", "application/json".to_owned())];
    let path = path(&incr.key, "/incr");
    let request = Call { method: "POST", path, headers, body: &body, ..Call::default() };
    let sum = call(&incr.server, &request)?.success()?.json()?;
    output::line(&if incr.server.json { sum.to_string() } else { sum["value"].to_string() })
}

/// Prints how long a key has left, or changes it.
pub(super) fn ttl(ttl: &Ttl) -> Result<Exit, Failure> {
    let body =
        ttl.set_ms.map(|ttl_ms| json!({ "ttl_ms": ttl_ms }).to_string().into_bytes()).unwrap_or_default();
    let (method, headers) = match (ttl.set_ms, ttl.persist) {
        (Some(_), _) => ("PUT", vec![("Content-Type", "application/json".to_owned())]),
        (None, true) => ("DELETE", Vec::new()),
        (None, false) => ("GET", Vec::new()),
    };
    let (path, query) = (path(&ttl.key, "/ttl"), consistency(ttl.consistency));
    let request = Call { method, path, query, headers, body: &body, ..Call::default() };
    let countdown = call(&ttl.server, &request)?.success()?.json()?;
    if ttl.server.json {
        return output::line(&countdown.to_string());
    }
    match countdown["ttl_ms"].as_u64() {
        Some(ttl_ms) => output::line(&ttl_ms.to_string()),
        None => output::line("none"),
    }
}
