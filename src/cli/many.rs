//! `keys`, `clear`, `batch`.

use std::ffi::OsStr;

use serde_json::{Value, json};

use super::arguments::{Batch, Clear, Keys};
use super::client::{Call, call, consistency, encoded};
use super::exit::{Exit, Failure};
use super::input;
use super::output::{self, Table};
use crate::http::json as json_of;

/// Keys that are asked for at a time.
const PAGE: u64 = 1_000;

/// Lists keys, page by page, as they come.
pub(super) fn keys(keys: &Keys) -> Result<Exit, Failure> {
    let mut left = keys.limit.unwrap_or(u64::MAX);
    let mut cursor: Option<String> = None;
    let mut table = Table::new(["KEY", "SIZE", "VERSION", "TTL MS"]);
    let mut count = output::Count::new("keys");
    while left > 0 {
        let page = page(keys, left.min(PAGE), cursor.as_deref())?;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        left -= (items.len() as u64).min(left);
        count.add(items.len() as u64);
        show(keys, &items, &mut table)?;
        match page["cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    Ok(Exit::Done)
}

fn page(keys: &Keys, limit: u64, cursor: Option<&str>) -> Result<Value, Failure> {
    let mut query = consistency(keys.consistency);
    query.push(("limit", limit.to_string()));
    if !keys.prefix.is_empty() {
        query.push(("prefix", encoded(&keys.prefix)));
    }
    query.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
    query.extend(keys.values.then(|| ("values", "true".to_owned())));
    let request = Call { method: "GET", path: "/v1/kv".to_owned(), query, ..Call::default() };
    call(&keys.server, &request)?.success()?.json()
}

fn show(keys: &Keys, items: &[Value], table: &mut Table<4>) -> Result<Exit, Failure> {
    if keys.server.json {
        return output::print(&items.iter().map(|item| format!("{item}\n")).collect::<String>());
    }
    if !keys.long {
        return output::print(&items.iter().map(|item| name(item) + "\n").collect::<String>());
    }
    let row = |item: &Value| {
        let ttl = item["ttl_ms"].as_u64().map_or_else(|| "-".to_owned(), |ttl_ms| ttl_ms.to_string());
        [name(item), item["size"].to_string(), item["version"].to_string(), ttl]
    };
    table.rows(&items.iter().map(row).collect::<Vec<_>>())
}

/// A key as it is printed: on one line, and as nothing else.
fn name(item: &Value) -> String {
    match (item["key"].as_str(), item["key_base64"].as_str()) {
        (Some(key), _) if !key.contains(char::is_control) => key.to_owned(),
        (Some(key), _) => key.escape_debug().to_string(),
        (None, base64) => format!("base64:{}", base64.unwrap_or_default()),
    }
}

/// Removes every key.
pub(super) fn clear(clear: &Clear) -> Result<Exit, Failure> {
    let question = format!("Remove every key of {}?", clear.server.url);
    if !clear.yes && !input::confirmed(&question, "to remove every key without being asked say --yes")? {
        return Ok(Exit::Negative);
    }
    let query = vec![("confirm", "all".to_owned())];
    let request = Call { method: "DELETE", path: "/v1/kv".to_owned(), query, ..Call::default() };
    let cleared = call(&clear.server, &request)?.success()?.json()?;
    if clear.server.json {
        return output::line(&cleared.to_string());
    }
    output::line(&format!("{} keys removed", cleared["keys"]))
}

/// Does several steps, or none.
pub(super) fn batch(batch: &Batch) -> Result<Exit, Failure> {
    let text = if batch.file == OsStr::new("-") { input::standard()? } else { input::file(&batch.file)? };
    let steps = steps(&text).map_err(|reason| Failure::new(Exit::Usage, reason))?;
    let names: Vec<_> = steps.iter().map(|step| step["op"].as_str().unwrap_or("?").to_owned()).collect();
    let body = json!({ "steps": steps }).to_string().into_bytes();
    let request = Call {
        method: "POST",
        path: "/v1/batch".to_owned(),
        headers: vec![("Content-Type", "application/json".to_owned())],
        body: &body,
        ..Call::default()
    };
    let done = call(&batch.server, &request)?.success()?.json()?;
    if batch.server.json {
        return output::line(&done.to_string());
    }
    let results = done["results"].as_array().cloned().unwrap_or_default();
    let rows = names.into_iter().zip(&results).enumerate();
    let rows: Vec<_> = rows.map(|(at, (name, result))| [at.to_string(), name, told(result)]).collect();
    Table::new(["STEP", "OP", "RESULT"]).rows(&rows)
}

/// The steps of a document, of a list, or of lines.
fn steps(text: &[u8]) -> Result<Vec<Value>, String> {
    match json_of(text) {
        Ok(Value::Array(steps)) => return Ok(steps),
        Ok(Value::Object(mut document)) => match document.remove("steps") {
            Some(Value::Array(steps)) if document.is_empty() => return Ok(steps),
            Some(_) => return Err("a batch has the list `steps` and nothing else".to_owned()),
            None => return Ok(vec![Value::Object(document)]),
        },
        _ => {}
    }
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    lines
        .map(|(at, line)| {
            json_of(line).map_err(|error| {
                let what = if error.is_data() { "" } else { "this is no JSON: " };
                format!("line {}: {what}{error}", at + 1)
            })
        })
        .collect()
}

fn told(result: &Value) -> String {
    let fields = result.as_object().into_iter().flatten();
    let told: Vec<_> = fields
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name}={}", text.escape_debug()),
            value => format!("{name}={value}"),
        })
        .collect();
    if told.is_empty() { "ok".to_owned() } else { told.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the three ways to write steps mean the same.
    #[test]
    fn steps_are_read_in_three_ways() {
        let wanted = vec![json!({"op": "get", "key": "a"}), json!({"op": "get", "key": "b"})];
        for text in [
            r#"{"steps": [{"op": "get", "key": "a"}, {"op": "get", "key": "b"}]}"#,
            r#"[{"op": "get", "key": "a"}, {"op": "get", "key": "b"}]"#,
            "{\"op\": \"get\", \"key\": \"a\"}\n\n{\"op\": \"get\", \"key\": \"b\"}\n",
        ] {
            assert_eq!(steps(text.as_bytes()).expect("steps"), wanted, "{text}");
        }
        assert_eq!(steps(br#"{"op": "get", "key": "a"}"#).expect("one step"), wanted[..1]);
        assert!(steps(b"{\"op\": 1}\nnonsense").expect_err("no JSON").starts_with("line 2"));
        assert!(steps(br#"{"steps": 5}"#).is_err());
        assert_eq!(steps(b"").expect("nothing"), Vec::<Value>::new());
    }

    /// Goal: a key takes one line, whatever is in it.
    #[test]
    fn keys_stay_on_their_line() {
        assert_eq!(name(&json!({"key": "user:1"})), "user:1");
        assert_eq!(name(&json!({"key": "a\nb\u{1b}"})), "a\\nb\\u{1b}");
        assert_eq!(name(&json!({"key_base64": "/w=="})), "base64:/w==");
    }
}
