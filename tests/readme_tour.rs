//! Goal: what the README says that curl answers is what it answers. Every command of its tour is run as it is written, in
//! order, on a fresh node; only the node's address is put in place of the default one.
//!
//! The lines that begin with `#` below a command say what comes of it:
//!
//! ```text
//! # 201 {"created":true,...}        status, if the command has -i, and the body as JSON
//! # 200, ETag: "2", body: red       headers by name, and the body as text
//! # 412: words                      what stands behind a colon or a semicolon is for the reader
//! ```
//!
//! Times and places in the log cannot be known in advance: the numbers of `ttl_ms`, `expires_at`, `at` and `index` are
//! compared as numbers and not by their value. Everything else must be equal.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes and read files of the repository")]

mod node;

use std::path::Path;
use std::process::Command;

use node::Node;
use serde_json::Value;

/// The sections that are run.
const SECTIONS: [&str; 2] = ["## Run it", "## HTTP"];

/// Where the README's node listens.
const ADDRESS: &str = "127.0.0.1:8080";

/// Numbers that depend on when the command is run.
const TIMES: [&str; 4] = ["ttl_ms", "expires_at", "at", "index"];

/// A command of the README and what it says comes of it.
#[derive(Debug, Default)]
struct Step {
    command: String,
    said: String,
}

/// The commands of the README's `sh` blocks, in order.
fn steps(readme: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut section, mut in_block, mut open) = ("", false, false);
    for line in readme.lines() {
        if line.starts_with("## ") {
            section = line;
        }
        if line.starts_with("```") {
            (in_block, open) = (line == "```sh" && SECTIONS.contains(&section), false);
            continue;
        }
        if !in_block || line.trim().is_empty() {
            continue;
        }
        if let Some(comment) = line.strip_prefix("# ") {
            let step = steps.last_mut().expect("a comment stands below a command");
            step.said += comment;
            step.said.push(' ');
            continue;
        }
        if open {
            let step = steps.last_mut().expect("a command goes on");
            step.command.push('\n');
            step.command += line;
        } else {
            steps.push(Step { command: line.to_owned(), said: String::new() });
        }
        // A command goes on in the next line while a quote is open.
        let command = &steps.last().expect("just pushed").command;
        open = command.matches('\'').count() % 2 == 1;
    }
    steps.retain(|step| step.command.starts_with("curl "));
    steps
}

/// What a command printed.
struct Output {
    status: Option<u16>,
    headers: Vec<(String, String)>,
    body: String,
}

fn run(command: &str, address: &str) -> Output {
    let command = command.replace(ADDRESS, address);
    let output = Command::new("bash").arg("-c").arg(&command).output().expect("bash runs");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("the README's values are text");
    let Some((head, body)) = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split_once("\r\n\r\n"))
    else {
        return Output { status: None, headers: Vec::new(), body: text };
    };
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.get(..3)?.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Output { status, headers, body: body.to_owned() }
}

/// Whether two documents are equal but for times.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(name, value)| match b.get(name) {
                    Some(other) if TIMES.contains(&name.as_str()) => value.is_number() && other.is_number(),
                    Some(other) => is_same(value, other),
                    None => false,
                })
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (a, b) => a == b,
    }
}

/// A header's value without its times.
fn timeless(value: &str) -> String {
    let parts = value.split("; ").map(|part| match part.split_once('=') {
        Some((name, _)) if TIMES.contains(&name) => name,
        _ => part,
    });
    parts.collect::<Vec<_>>().join("; ")
}

/// Holds what came of a command against what the README says.
fn compare(said: &str, output: &Output) -> Result<(), String> {
    let mut said = said.trim();
    let number = said.get(..3).and_then(|digits| digits.parse::<u16>().ok());
    if let Some(status) = number {
        if output.status != Some(status) {
            return Err(format!("status {:?}", output.status));
        }
        said = said[3..].trim_start_matches([',', ' ']);
    } else if output.status.is_some() {
        return Err("the command prints a status, and the README does not say it".to_owned());
    }
    if said.starts_with('{') {
        let said: Value =
            serde_json::from_str(said).map_err(|error| format!("no JSON in the README: {error}"))?;
        let body = serde_json::from_str(&output.body).map_err(|error| format!("no JSON: {error}"))?;
        return if is_same(&said, &body) { Ok(()) } else { Err(format!("body {body}")) };
    }
    if said.starts_with([':', ';']) {
        return Ok(());
    }
    for part in said.split(", ").filter(|part| !part.is_empty()) {
        let Some((name, value)) = part.split_once(": ") else {
            return Err(format!("not understood: {part}"));
        };
        if name == "body" {
            if output.body != value {
                return Err(format!("body {}", output.body));
            }
            continue;
        }
        let found = output.headers.iter().find(|(known, _)| *known == name.to_lowercase());
        match found {
            Some((_, found)) if timeless(found) == timeless(value) => {}
            other => return Err(format!("header {name}: {other:?}")),
        }
    }
    Ok(())
}

#[test]
fn the_readme_says_what_curl_answers() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let steps = steps(&std::fs::read_to_string(readme).expect("the README is there"));
    assert!(steps.len() > 20, "the tour has {} steps", steps.len());
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(directory.path());
    let address = node.address().to_string();
    let mut wrong = Vec::new();
    for Step { command, said } in &steps {
        let output = run(command, &address);
        if output.status.is_none() && output.body.contains("urn:kvorum:error") && said.is_empty() {
            wrong.push(format!("{command}\n  the README shows no error, but: {}", output.body));
        }
        if !said.is_empty()
            && let Err(difference) = compare(said, &output)
        {
            wrong.push(format!("{command}\n  README: {said}\n  was:    {difference}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let said = steps.iter().filter(|step| !step.said.is_empty()).count();
    assert!(said > 15, "only {said} steps say what comes of them");
}

#[test]
fn a_wrong_readme_is_noticed() {
    let output = Output {
        status: Some(201),
        headers: vec![("etag".to_owned(), "\"2\"".to_owned())],
        body: r#"{"version":2,"ttl_ms":5}"#.to_owned(),
    };
    for right in [r#"201 {"version":2,"ttl_ms":7}"#, r#"201, ETag: "2""#, "201; words"] {
        assert_eq!(compare(right, &output), Ok(()), "{right}");
    }
    for wrong in [
        r#"200 {"version":2,"ttl_ms":7}"#,
        r#"201 {"version":3,"ttl_ms":7}"#,
        r#"201 {"version":2}"#,
        r#"201, ETag: "3""#,
        "201, Kvorum-Gone: deleted",
        "201, body: x",
        r#"{"version":2,"ttl_ms":7}"#,
    ] {
        assert!(compare(wrong, &output).is_err(), "{wrong}");
    }
}
