//! `stats`, `compact`, `snapshot take`, `healthcheck`.

use serde_json::Value;

use super::arguments::{Healthcheck, Server};
use super::client::{Call, call};
use super::exit::{Exit, Failure};
use super::output;

/// Prints the figures of the node.
pub(super) fn stats(server: &Server) -> Result<Exit, Failure> {
    let request = Call { method: "GET", path: "/v1/stats".to_owned(), ..Call::default() };
    let stats = call(server, &request)?.success()?.json()?;
    if server.json {
        return output::line(&stats.to_string());
    }
    let mut rows = Vec::new();
    flatten("", &stats, &mut rows);
    output::table(&rows)
}

/// Compacts the log.
pub(super) fn compact(server: &Server) -> Result<Exit, Failure> {
    let request =
        Call { method: "POST", path: "/v1/admin/compact".to_owned(), patient: true, ..Call::default() };
    let done = call(server, &request)?.success()?.json()?;
    if server.json {
        return output::line(&done.to_string());
    }
    output::line(&format!(
        "log: {} -> {} bytes; snapshot: {} bytes, up to index {}; {} ms",
        done["bytes_before"], done["bytes_after"], done["snapshot_bytes"], done["index"], done["duration_ms"]
    ))
}

/// Has the node take a snapshot.
pub(super) fn snapshot(server: &Server) -> Result<Exit, Failure> {
    let request =
        Call { method: "POST", path: "/v1/admin/snapshot".to_owned(), patient: true, ..Call::default() };
    let taken = call(server, &request)?.success()?.json()?;
    if server.json {
        return output::line(&taken.to_string());
    }
    output::line(&format!(
        "snapshot: {} keys, {} bytes, up to index {}; {} ms",
        taken["keys"], taken["bytes"], taken["index"], taken["duration_ms"]
    ))
}

/// Asks whether the node is ready.
pub(super) fn healthcheck(check: &Healthcheck) -> Result<Exit, Failure> {
    let path = if check.live { "/healthz" } else { "/readyz" };
    let answer = call(&check.server, &Call { method: "GET", path: path.to_owned(), ..Call::default() })?;
    let healthy = answer.status == 200;
    let detail = answer.json()?;
    if check.server.json {
        output::line(&detail.to_string())?;
    } else {
        let reason = detail["detail"].as_str().or(detail["status"].as_str()).unwrap_or("no reason given");
        output::line(reason)?;
    }
    Ok(if healthy { Exit::Done } else { Exit::Negative })
}

fn flatten(prefix: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&name, value, rows);
            }
        }
        Value::String(text) => rows.push((prefix.to_owned(), text.clone())),
        Value::Null => rows.push((prefix.to_owned(), "-".to_owned())),
        value => rows.push((prefix.to_owned(), value.to_string())),
    }
}
