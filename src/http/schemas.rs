//! What poem-openapi cannot say of schemas: fields that may be null, objects that are closed, fields of which there is
//! exactly one, whole numbers beyond 2^53.

use serde_json::{Map, Value, json};

use super::cluster::SettingsChangeBody;
use crate::service::MAX_VOTERS;

/// Fields of answers that are null where there is nothing to say.
const NULLABLE: [(&str, &str); 15] = [
    ("Countdown", "ttl_ms"),
    ("Countdown", "expires_at"),
    ("Wal", "first_index"),
    ("Wal", "last_index"),
    ("Raft", "leader"),
    ("Page", "cursor"),
    ("Cluster", "leader"),
    ("Cluster", "state_hash"),
    ("Member", "reason"),
    ("Member", "silent_ms"),
    ("Member", "matched_index"),
    ("Member", "applied_index"),
    ("Member", "lag_entries"),
    ("Member", "max_level"),
    ("Member", "agreed_index"),
];

/// Objects in requests: they have no other fields than those that they show.
const CLOSED: [&str; 8] =
    ["Addition", "Batch", "Deadline", "LogLevel", "NewMember", "SettingsChange", "Transfer", "WantedLevel"];

/// Fields of which there is exactly one.
const ONE_OF: [(&str, [&str; 2]); 4] = [
    ("Deadline", ["ttl_ms", "expires_at"]),
    ("Step_SetStep", ["value", "value_base64"]),
    ("Step_ExpireStep", ["ttl_ms", "expires_at"]),
    ("Step_CheckStep", ["version", "present"]),
];

/// Fields of which there is at most one.
const AT_MOST_ONE_OF: (&str, [&str; 3]) = ("Step_SetStep", ["ttl_ms", "expires_at", "keep_ttl"]);

/// Fields that take every whole number of 64 bits.
const WHOLE: [(&str, &str); 2] = [("Addition", "by"), ("Step_IncrStep", "by")];

/// Completes `components.schemas`.
pub(super) fn complete(schemas: &mut Value) {
    close_unions(schemas);
    for (schema, field) in NULLABLE {
        schemas[schema]["properties"][field]["nullable"] = json!(true);
    }
    for schema in CLOSED {
        schemas[schema]["additionalProperties"] = json!(false);
    }
    for (schema, fields) in ONE_OF {
        require(&mut schemas[schema], exactly_one(&fields));
    }
    let (schema, [a, b, c]) = AT_MOST_ONE_OF;
    let two = [[a, b], [a, c], [b, c]].map(|pair| json!({ "required": pair }));
    require(&mut schemas[schema], json!({ "not": { "anyOf": two } }));
    for (schema, field) in WHOLE {
        schemas[schema]["properties"][field]["minimum"] = json!(i64::MIN);
        schemas[schema]["properties"][field]["maximum"] = json!(i64::MAX);
    }
    for (field, lowest, highest) in SettingsChangeBody::BOUNDS {
        let field = &mut schemas["SettingsChange"]["properties"][field];
        field["minimum"] = json!(lowest);
        field["maximum"] = json!(highest);
    }
    let odd: Vec<u64> = (0..=MAX_VOTERS).filter(|voters| *voters == 0 || voters % 2 == 1).collect();
    schemas["SettingsChange"]["properties"]["voters"]["enum"] = json!(odd);
    each_object(schemas, &mut |object| {
        if object.get("format").is_some_and(|format| format == "bytes") {
            // The name that OpenAPI has for base64.
            object.insert("format".to_owned(), json!("byte"));
        }
    });
}

/// A member of a union comes as its tag and, by reference, its fields. Neither can be closed without shutting the other
/// out, so they are made one.
fn close_unions(schemas: &mut Value) {
    let all = schemas.clone();
    let Some(map) = schemas.as_object_mut() else { return };
    let mut parts = Vec::new();
    for (name, schema) in map.iter().filter(|(name, _)| name.contains('_')) {
        let (tag, reference) = (&schema["allOf"][0], &schema["allOf"][1]["$ref"]);
        let Some(part) = reference.as_str().and_then(|reference| reference.rsplit('/').next()) else {
            continue;
        };
        let fields = &all[part];
        let mut properties = tag["properties"].as_object().cloned().unwrap_or_default();
        properties.extend(fields["properties"].as_object().cloned().unwrap_or_default());
        let is_about_a_key = properties.contains_key("key_base64");
        if let Some(key) = properties.get_mut("key_base64") {
            key["minLength"] = json!(4);
        }
        let mut closed = json!({
            "type": "object",
            "description": fields["description"],
            "required": tag["required"],
            "properties": properties,
            "additionalProperties": false,
        });
        if is_about_a_key {
            require(&mut closed, exactly_one(&["key", "key_base64"]));
        }
        parts.push((name.clone(), part.to_owned(), closed));
    }
    for (name, part, closed) in parts {
        map.remove(&part);
        map.insert(name, closed);
    }
}

fn exactly_one(fields: &[&str]) -> Value {
    let each: Vec<_> = fields.iter().map(|field| json!({ "required": [field] })).collect();
    json!({ "oneOf": each })
}

fn require(schema: &mut Value, condition: Value) {
    match schema["allOf"].as_array_mut() {
        Some(conditions) => conditions.push(condition),
        None => schema["allOf"] = json!([condition]),
    }
}

fn each_object(value: &mut Value, change: &mut dyn FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            change(object);
            object.values_mut().for_each(|value| each_object(value, change));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| each_object(value, change)),
        _ => {}
    }
}
