//! `cluster ...`.

use serde_json::{Map, Value, json};

use super::client::{Call, call};
use super::cluster_arguments::{Cluster, ClusterSettings, LevelAction, OfMember};
use super::exit::{Exit, Failure};
use super::output::{self, Table};
use super::server::Server;

/// Does one of them.
pub(super) fn run(command: &Cluster) -> Result<Exit, Failure> {
    match command {
        Cluster::Status(server) => status(server),
        Cluster::Members(server) => members(server),
        Cluster::Add { address, server } => {
            let done = ask(server, "POST", "/members", Some(&json!({ "address": address })))?;
            told(server, &done, &format!("member {} was admitted", done["node"]))
        }
        Cluster::Remove(OfMember { id, server }) => {
            let done = ask(server, "DELETE", &format!("/members/{id}"), None)?;
            told(server, &done, &format!("member {id} was removed"))
        }
        Cluster::Promote(OfMember { id, server }) => {
            let done = ask(server, "POST", &format!("/members/{id}/promote"), None)?;
            told(server, &done, &format!("member {id} is a voter"))
        }
        Cluster::Transfer { to, server } => {
            let body = to.map_or_else(|| json!({}), |to| json!({ "to": to }));
            let done = ask(server, "POST", "/transfer", Some(&body))?;
            told(server, &done, &format!("member {} leads", done["node"]))
        }
        Cluster::Leave(server) => {
            let done = ask(server, "POST", "/leave", None)?;
            told(server, &done, &format!("member {} has left and ends", done["node"]))
        }
        Cluster::Settings(settings) => change(settings),
        Cluster::Level { action: LevelAction::Show(server) } => {
            let level = ask(server, "GET", "/level", None)?;
            told(server, &level, &level_text(&level))
        }
        Cluster::Level { action: LevelAction::Raise { level, server } } => {
            let level = match level {
                Some(level) => json!(level),
                None => ask(server, "GET", "/level", None)?["max_level"].clone(),
            };
            let done = ask(server, "POST", "/level", Some(&json!({ "level": level })))?;
            told(server, &done, &level_text(&done))
        }
    }
}

fn level_text(level: &Value) -> String {
    format!("level {}; this node understands levels up to {}", level["level"], level["max_level"])
}

fn ask(server: &Server, method: &'static str, below: &str, body: Option<&Value>) -> Result<Value, Failure> {
    let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    let headers = body.map(|_| ("Content-Type", "application/json".to_owned()));
    let request = Call {
        method,
        path: format!("/v1/cluster{below}"),
        headers: headers.into_iter().collect(),
        body: &bytes,
        ..Call::default()
    };
    call(server, &request)?.success()?.json()
}

fn told(server: &Server, done: &Value, text: &str) -> Result<Exit, Failure> {
    output::line(&if server.json { done.to_string() } else { text.to_owned() })
}

fn status(server: &Server) -> Result<Exit, Failure> {
    let cluster = ask(server, "GET", "", None)?;
    if server.json {
        return output::line(&cluster.to_string());
    }
    let leader =
        cluster["leader"].as_u64().map_or_else(|| "none known".to_owned(), |id| format!("member {id}"));
    let voters = match cluster["wanted_voters"].as_u64() {
        Some(0) | None => "as many as there are".to_owned(),
        Some(wanted) => wanted.to_string(),
    };
    let hash = match (&cluster["state_hash"]["index"], cluster["state_hash"]["hash"].as_str()) {
        (index, Some(hash)) => format!("{} after entry {index}", hash.get(..16).unwrap_or(hash)),
        _ => "not noted yet".to_owned(),
    };
    let rows = [
        ("cluster", text(&cluster["cluster"])),
        ("leader", format!("{leader}, term {}", cluster["term"])),
        ("asked", format!("member {}, {}", cluster["node"], text(&cluster["role"]))),
        ("level", format!("{} of {}", cluster["level"], cluster["max_level"])),
        ("wanted voters", voters),
        ("committed", format!("{} of {}", cluster["commit_index"], cluster["last_log_index"])),
        ("state hash", hash),
    ];
    output::table(&rows.map(|(name, value)| (name.to_owned(), value)))?;
    if cluster["told_by_leader"] != true {
        output::line("No leader tells: what follows is what the asked node knows by itself.")?;
    }
    output::line("")?;
    rows_of(&cluster)
}

fn members(server: &Server) -> Result<Exit, Failure> {
    let cluster = ask(server, "GET", "", None)?;
    if server.json {
        return output::line(&cluster["members"].to_string());
    }
    rows_of(&cluster)
}

fn rows_of(cluster: &Value) -> Result<Exit, Failure> {
    let members = cluster["members"].as_array().cloned().unwrap_or_default();
    let row = |member: &Value| {
        ["node", "name", "role", "state", "silent_ms", "matched_index", "lag_entries", "max_level", "reason"]
            .map(|field| text(&member[field]))
    };
    let rows: Vec<_> = members.iter().map(row).collect();
    Table::new(["ID", "NAME", "ROLE", "STATE", "SILENT MS", "HAS ENTRY", "LAG", "KNOWS LEVEL", "REASON"])
        .rows(&rows)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn change(settings: &ClusterSettings) -> Result<Exit, Failure> {
    let ClusterSettings { max_bytes, max_keys, eviction, max_value_bytes, voters, server } = settings;
    let mut change = Map::new();
    let numbers = [
        ("max_bytes", max_bytes.map(|size| size.0)),
        ("max_keys", *max_keys),
        ("max_value_bytes", max_value_bytes.map(|size| size.0)),
        ("voters", *voters),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            change.insert(name.to_owned(), json!(number));
        }
    }
    if let Some(eviction) = eviction {
        change.insert("eviction".to_owned(), json!(eviction));
    }
    let now = match change.is_empty() {
        true => ask(server, "GET", "/settings", None)?,
        false => ask(server, "PUT", "/settings", Some(&Value::Object(change)))?,
    };
    if server.json {
        return output::line(&now.to_string());
    }
    let rows = now.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text(value)));
    output::table(&rows.collect::<Vec<_>>())
}
