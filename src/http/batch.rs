//! Batches as documents.

use bytes::Bytes;
use poem_openapi::types::{Base64, ParseFromJSON, ToJSON};
use poem_openapi::{Object, Union};
use serde_json::Value;

use super::answers::text_or_base64;
use super::deadline::expiry;
use super::payload::reason;
use super::refusal::Refusal;
use crate::model::limits::{MAX_TRANSACTION_BYTES, MAX_TRANSACTION_COMMANDS};
use crate::model::{Check, Condition, Expiry, Key, Version};
use crate::service::{Step, StepDone};

/// Longest batch as it is sent: base64 and the words around keys and values take room too.
pub(super) const MAX_BATCH_BYTES: u64 = 2 * MAX_TRANSACTION_BYTES as u64;

/// Steps of which all are done, or none.
#[derive(Debug, Object)]
#[oai(rename = "Batch", deny_unknown_fields)]
pub(super) struct BatchBody {
    /// The steps, in order, at most 10,000 with 16 MiB of keys and values. Each sees what those before it did; every
    /// `check` is made before the first of them.
    #[oai(validator(max_items = 10_000))]
    steps: Vec<StepBody>,
}

/// A step of a batch.
#[derive(Debug, Union)]
#[oai(rename = "Step", discriminator_name = "op", one_of)]
enum StepBody {
    #[oai(mapping = "set")]
    Set(SetStep),
    #[oai(mapping = "get")]
    Get(GetStep),
    #[oai(mapping = "delete")]
    Delete(DeleteStep),
    #[oai(mapping = "incr")]
    Incr(IncrStep),
    #[oai(mapping = "expire")]
    Expire(ExpireStep),
    #[oai(mapping = "persist")]
    Persist(PersistStep),
    #[oai(mapping = "check")]
    Check(CheckStep),
}

/// Writes a value.
#[derive(Debug, Object)]
struct SetStep {
    /// The key, as text.
    #[oai(validator(min_length = 1))]
    key: Option<String>,
    /// The key, as bytes.
    key_base64: Option<Base64<Vec<u8>>>,
    /// The value, as text.
    value: Option<String>,
    /// The value, as bytes.
    value_base64: Option<Base64<Vec<u8>>>,
    /// Time to live in milliseconds.
    #[oai(validator(minimum(value = "1"), maximum(value = "9007199254740991")))]
    ttl_ms: Option<u64>,
    /// The deadline in cluster time, in milliseconds since the Unix epoch.
    #[oai(validator(minimum(value = "0"), maximum(value = "9007199254740991")))]
    expires_at: Option<u64>,
    /// Whether the key keeps the deadline that it has.
    keep_ttl: Option<bool>,
    /// Write only if the key has this version; 0: only if it is absent.
    #[oai(validator(minimum(value = "0"), maximum(value = "9007199254740991")))]
    if_version: Option<u64>,
}

/// Reads a value.
#[derive(Debug, Object)]
struct GetStep {
    /// The key, as text.
    #[oai(validator(min_length = 1))]
    key: Option<String>,
    /// The key, as bytes.
    key_base64: Option<Base64<Vec<u8>>>,
}

/// Removes a key. To remove what is absent is success.
#[derive(Debug, Object)]
struct DeleteStep {
    /// The key, as text.
    #[oai(validator(min_length = 1))]
    key: Option<String>,
    /// The key, as bytes.
    key_base64: Option<Base64<Vec<u8>>>,
    /// Remove only if the key has this version.
    #[oai(validator(minimum(value = "0"), maximum(value = "9007199254740991")))]
    if_version: Option<u64>,
}

/// Adds to a number.
#[derive(Debug, Object)]
struct IncrStep {
    /// The key, as text.
    #[oai(validator(min_length = 1))]
    key: Option<String>,
    /// The key, as bytes.
    key_base64: Option<Base64<Vec<u8>>>,
    /// What to add; 1 if absent.
    by: Option<i64>,
}

/// Sets a deadline. To set that of what is absent is success.
#[derive(Debug, Object)]
struct ExpireStep {
    /// The key, as text.
    #[oai(validator(min_length = 1))]
    key: Option<String>,
    /// The key, as bytes.
    key_base64: Option<Base64<Vec<u8>>>,
    /// Time to live in milliseconds.
    #[oai(validator(minimum(value = "1"), maximum(value = "9007199254740991")))]
    ttl_ms: Option<u64>,
    /// The deadline in cluster time, in milliseconds since the Unix epoch; one that has passed removes the key.
    #[oai(validator(minimum(value = "0"), maximum(value = "9007199254740991")))]
    expires_at: Option<u64>,
}

/// Takes a deadline away.
#[derive(Debug, Object)]
struct PersistStep {
    /// The key, as text.
    #[oai(validator(min_length = 1))]
    key: Option<String>,
    /// The key, as bytes.
    key_base64: Option<Base64<Vec<u8>>>,
}

/// Says what must hold before anything of the batch is done.
#[derive(Debug, Object)]
struct CheckStep {
    /// The key, as text.
    #[oai(validator(min_length = 1))]
    key: Option<String>,
    /// The key, as bytes.
    key_base64: Option<Base64<Vec<u8>>>,
    /// The version that the key has; 0: it is absent.
    #[oai(validator(minimum(value = "0"), maximum(value = "9007199254740991")))]
    version: Option<u64>,
    /// Whether there is such a key.
    present: Option<bool>,
}

/// The steps in a document. An error names the step.
pub(super) fn steps(document: Value) -> Result<Vec<Step>, Refusal> {
    let Value::Object(mut fields) = document else {
        return Err(Refusal::invalid("a batch is an object with the list `steps`"));
    };
    let Some(Value::Array(list)) = fields.remove("steps") else {
        return Err(Refusal::invalid("a batch has the list `steps`"));
    };
    if !fields.is_empty() {
        return Err(Refusal::invalid("a batch has the list `steps` and nothing else"));
    }
    if list.len() > MAX_TRANSACTION_COMMANDS {
        return Err(Refusal::invalid(format!("a batch has at most {MAX_TRANSACTION_COMMANDS} steps")));
    }
    let steps = list.into_iter().enumerate();
    steps.map(|(at, step)| self::step(step).map_err(|wrong| wrong.of_step(at))).collect()
}

/// The fields that every step may have.
const COMMON: [&str; 3] = ["op", "key", "key_base64"];

/// The fields that each step may have besides.
const FIELDS: [(&str, &[&str]); 7] = [
    ("set", &["value", "value_base64", "ttl_ms", "expires_at", "keep_ttl", "if_version"]),
    ("get", &[]),
    ("delete", &["if_version"]),
    ("incr", &["by"]),
    ("expire", &["ttl_ms", "expires_at"]),
    ("persist", &[]),
    ("check", &["version", "present"]),
];

fn step(document: Value) -> Result<Step, Refusal> {
    let op = document.get("op").and_then(Value::as_str).unwrap_or_default();
    let Some((_, known)) = FIELDS.iter().find(|(name, _)| *name == op) else {
        let names: Vec<_> = FIELDS.iter().map(|(name, _)| *name).collect();
        return Err(Refusal::invalid(format!("`op` is one of {}", names.join(", "))));
    };
    for (name, value) in document.as_object().into_iter().flatten() {
        let is_common = COMMON.contains(&name.as_str());
        if !is_common && !known.contains(&name.as_str()) {
            let names: Vec<_> = COMMON.iter().chain(*known).copied().collect();
            return Err(Refusal::invalid(format!("an unknown field; {op} knows {}", names.join(", "))));
        }
        // poem-openapi would take a number for a text, and its digits for what was meant.
        if (is_common || name.starts_with("value")) && !value.is_string() {
            return Err(Refusal::invalid(format!("`{name}` is text")));
        }
    }
    let body = StepBody::parse_from_json(Some(document));
    body.map_err(|error| Refusal::invalid(reason(error.message())))?.step()
}

impl StepBody {
    fn step(self) -> Result<Step, Refusal> {
        Ok(match self {
            StepBody::Set(set) => Step::Set {
                key: key(set.key, set.key_base64)?,
                value: one_of("value", set.value, set.value_base64)?,
                expiry: match (set.ttl_ms, set.expires_at, set.keep_ttl) {
                    (ttl_ms, expires_at, None) => expiry(ttl_ms, expires_at)?.unwrap_or(Expiry::Never),
                    (None, None, Some(true)) => Expiry::Keep,
                    (None, None, Some(false)) => Expiry::Never,
                    _ => return Err(Refusal::invalid("ttl_ms, expires_at and keep_ttl exclude each other")),
                },
                condition: condition(set.if_version),
            },
            StepBody::Get(get) => Step::Get(key(get.key, get.key_base64)?),
            StepBody::Delete(delete) => Step::Delete {
                key: key(delete.key, delete.key_base64)?,
                condition: condition(delete.if_version),
            },
            StepBody::Incr(incr) => {
                Step::Incr { key: key(incr.key, incr.key_base64)?, by: incr.by.unwrap_or(1) }
            }
            StepBody::Expire(expire) => Step::Expire {
                key: key(expire.key, expire.key_base64)?,
                expiry: expiry(expire.ttl_ms, expire.expires_at)?
                    .ok_or_else(|| Refusal::invalid("expire has ttl_ms or expires_at"))?,
            },
            StepBody::Persist(persist) => {
                Step::Expire { key: key(persist.key, persist.key_base64)?, expiry: Expiry::Never }
            }
            StepBody::Check(check) => Step::Check(Check {
                key: key(check.key, check.key_base64)?,
                condition: match (check.version, check.present) {
                    (Some(version), None) => Condition::Version(Version(version)),
                    (None, Some(true)) => Condition::Present,
                    (None, Some(false)) => Condition::Absent,
                    _ => return Err(Refusal::invalid("check has version or present, and not both")),
                },
            }),
        })
    }
}

fn condition(if_version: Option<u64>) -> Condition {
    if_version.map_or(Condition::Always, |version| Condition::Version(Version(version)))
}

fn key(text: Option<String>, bytes: Option<Base64<Vec<u8>>>) -> Result<Key, Refusal> {
    Ok(Key::new(one_of("key", text, bytes)?).map_err(crate::service::Error::from)?)
}

fn one_of(name: &str, text: Option<String>, bytes: Option<Base64<Vec<u8>>>) -> Result<Bytes, Refusal> {
    match (text, bytes) {
        (Some(text), None) => Ok(text.into()),
        (None, Some(Base64(bytes))) => Ok(bytes.into()),
        _ => Err(Refusal::invalid(format!("a step has {name} or {name}_base64, and not both"))),
    }
}

/// What came of the steps of a batch.
#[derive(Debug, Object)]
pub(super) struct BatchDone {
    /// A result for each step, in order.
    results: Vec<StepResult>,
}

/// What came of a step. Which fields there are depends on its `op`.
#[derive(Debug, Default, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct StepResult {
    /// The version now (set, incr, expire, persist) or that was read (get).
    version: Option<u64>,
    /// set: whether the key was absent before.
    created: Option<bool>,
    /// get, expire, persist: whether there is such a key.
    found: Option<bool>,
    /// delete: whether there was such a key.
    deleted: Option<bool>,
    /// get: the value, if it is UTF-8.
    value: Option<String>,
    /// get: the value, if it is not UTF-8.
    value_base64: Option<Base64<Vec<u8>>>,
    /// incr: the number now.
    number: Option<i64>,
    /// get, expire: milliseconds left; absent if the key has no deadline.
    ttl_ms: Option<u64>,
    /// expire: the deadline in cluster time, in milliseconds since the Unix epoch.
    expires_at: Option<u64>,
}

impl From<StepDone> for StepResult {
    fn from(done: StepDone) -> StepResult {
        let none = StepResult::default();
        match done {
            StepDone::Set(written) => {
                StepResult { version: Some(written.version.0), created: Some(written.created), ..none }
            }
            StepDone::Get(None) | StepDone::Expire(None) => StepResult { found: Some(false), ..none },
            StepDone::Get(Some(entry)) => {
                let (value, value_base64) = text_or_base64(&entry.value);
                let (version, ttl_ms) = (Some(entry.version.0), entry.ttl_ms);
                StepResult { found: Some(true), value, value_base64, version, ttl_ms, ..none }
            }
            StepDone::Delete { deleted } => StepResult { deleted: Some(deleted), ..none },
            StepDone::Incr(sum) => {
                StepResult { number: Some(sum.value), version: Some(sum.version.0), ..none }
            }
            StepDone::Expire(Some(countdown)) => StepResult {
                found: Some(true),
                version: Some(countdown.version.0),
                ttl_ms: countdown.ttl_ms,
                expires_at: countdown.expires_at.map(|deadline| deadline.0),
                ..none
            },
            StepDone::Check => none,
        }
    }
}

impl StepResult {
    /// The result as a document.
    pub(super) fn document(self) -> Value {
        self.to_json().unwrap_or_default()
    }
}
