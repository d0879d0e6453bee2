//! The OpenAPI document in the repository is the one that the code makes, and it says everything.

#![allow(clippy::disallowed_methods, reason = "tests read and write files of the repository")]

use std::path::Path;

use serde_json::Value;

/// Goal: `openapi/openapi.json` is current. `UPDATE_GOLDEN=1` rewrites it.
#[test]
fn the_committed_document_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/openapi.json");
    let made = kvorum::http::document();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &made).expect("the file can be written");
    }
    let committed = std::fs::read_to_string(&path).expect("the document is committed");
    assert!(
        made == committed,
        "openapi/openapi.json is not what the code makes: UPDATE_GOLDEN=1 rewrites it"
    );
}

/// Goal: every operation has a summary, a description with a call to copy, and its table of errors with examples.
#[test]
fn every_operation_is_described() {
    let document: Value = serde_json::from_str(&kvorum::http::document()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    let mut count = 0;
    for (path, operation) in
        paths.iter().flat_map(|(p, item)| item.as_object().into_iter().flatten().map(move |o| (p, o.1)))
    {
        count += 1;
        let id = operation["operationId"].as_str().unwrap_or_default();
        assert!(!id.is_empty(), "{path} has an operation without an id");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{id} has no summary");
        assert!(
            operation["description"].as_str().is_some_and(|text| text.contains("curl ")),
            "{id} has no example"
        );
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].is_string(), "{id}: {parameter}");
        }
        for (status, response) in operation["responses"].as_object().expect("responses") {
            assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{id} {status}");
            let problem = &response["content"]["application/problem+json"];
            let examples = problem["examples"].as_object();
            if status.starts_with(['4', '5']) {
                let examples = examples.expect("errors have examples");
                assert!(!examples.is_empty(), "{id} {status}");
                for (code, example) in examples {
                    assert_eq!(example["value"]["code"], *code);
                    assert_eq!(example["value"]["status"].to_string(), *status, "{id} {code}");
                }
            }
        }
    }
    assert!(count >= 9, "only {count} operations");
}

/// Goal: every code of an operation stands in the table at the head of the document.
#[test]
fn the_table_of_errors_is_complete() {
    let document: Value = serde_json::from_str(&kvorum::http::document()).expect("JSON");
    let table = document["info"]["description"].as_str().expect("a description");
    for code in kvorum::service::Code::ALL {
        assert!(table.contains(&format!("| `{}` |", code.name())), "{}", code.name());
    }
}

/// Goal: examples have the fields that their schemas have, no more and none of the required ones less.
#[test]
fn examples_fit_their_schemas() {
    let document: Value = serde_json::from_str(&kvorum::http::document()).expect("JSON");
    let schemas = &document["components"]["schemas"];
    let mut count = 0;
    for (name, schema) in schemas.as_object().expect("schemas") {
        let Some(example) = schema["example"].as_object() else { continue };
        count += 1;
        fit(schemas, name, schema, example);
    }
    assert!(count >= 6, "only {count} examples");
}

fn fit(schemas: &Value, name: &str, schema: &Value, example: &serde_json::Map<String, Value>) {
    let properties = schema["properties"].as_object().expect("an object");
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        assert!(example.contains_key(required), "the example of {name} lacks {required}");
    }
    for (field, value) in example {
        let property = properties.get(field).expect("a field of the schema");
        let of = property["$ref"].as_str().or(property["allOf"][0]["$ref"].as_str());
        match (of, value.as_object()) {
            (Some(of), Some(value)) => {
                let of = of.rsplit('/').next().expect("a name");
                fit(schemas, of, &schemas[of], value);
            }
            (None, None) => {
                let kind = match value {
                    Value::String(_) => "string",
                    Value::Bool(_) => "boolean",
                    Value::Number(number) if number.is_f64() => "number",
                    Value::Array(_) => "array",
                    _ => "integer",
                };
                assert_eq!(property["type"], kind, "{name}.{field}");
            }
            _ => panic!("{name}.{field} is an object in only one of schema and example"),
        }
    }
}
