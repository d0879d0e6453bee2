//! The OpenAPI document, made from the code; `openapi/openapi.json` is its copy in the repository.
//!
//! poem-openapi writes what the operations say of themselves. What it cannot say is added here: which codes stand
//! behind each status, an example of each error, and which fields may be null.

use std::time::Duration;

use poem_openapi::types::ToJSON;
use poem_openapi::{LicenseObject, OpenApiService};
use serde_json::{Map, Value, json};

use super::api::{Api, api};
use super::batch::MAX_BATCH_BYTES;
use super::examples::examples;
use super::links;
use super::operations;
use super::refusal::{PROBLEM, problem, status};
use super::schemas;
use crate::model::{Reason, Timestamp, Version};
use crate::service::{Code, Consistency, Error, Gone};

const DESCRIPTION: &str =
    "A replicated in-memory key-value store whose keys, TTLs, evictions and locks stay true \
through failover.

Every error is a problem document (RFC 9457) with a stable `code`:

| code | status | meaning |
|---|---|---|
";

const AFTER_TABLE: &str = "
Errors of writes carry `applied`: `no` if the write certainly did not happen and will not, `unknown` if it may have \
or still may. An answer with status 503 carries `Retry-After`.";

/// The service that poem-openapi routes and documents.
pub(super) fn service(api: Api) -> OpenApiService<Api, ()> {
    let mut description = DESCRIPTION.to_owned();
    for code in Code::ALL {
        description += &format!("| `{}` | {} | {} |\n", code.name(), status(code).as_u16(), code.summary());
    }
    description += AFTER_TABLE;
    OpenApiService::new(api, "Kvorum", env!("CARGO_PKG_VERSION"))
        .description(description)
        .license(LicenseObject::new("Apache-2.0").url("https://www.apache.org/licenses/LICENSE-2.0"))
}

/// The document, as `GET /openapi.json` and `kvorum openapi` give it.
pub fn document() -> String {
    completed(&documented().spec())
}

/// The page that shows the document, without any resource from elsewhere.
pub(super) fn page() -> String {
    let service = documented();
    let bare = service.spec();
    let html = service.swagger_ui_html().replace(&bare, &completed(&bare));
    // An empty icon, so that browsers do not ask for one.
    html.replacen(
        "<title>Swagger UI</title>",
        "<title>Kvorum API</title><link rel=\"icon\" href=\"data:,\">",
        1,
    )
}

/// A service that is never asked: its document does not depend on a node.
fn documented() -> OpenApiService<Api, ()> {
    service(api(Default::default(), Consistency::Linearizable, Duration::ZERO))
}

fn completed(bare: &str) -> String {
    let mut document: Value = serde_json::from_str(bare).expect("poem-openapi writes JSON");
    schemas::complete(&mut document["components"]["schemas"]);
    for (schema, example) in examples() {
        document["components"]["schemas"][schema]["example"] = example;
    }
    let schemas = document["components"]["schemas"].clone();
    let paths = document["paths"].as_object_mut().expect("a document has paths");
    for operation in paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
        complete(operation, &schemas);
        links::complete(operation);
    }
    let mut text = serde_json::to_string_pretty(&document).expect("a JSON value can be written");
    text.push('\n');
    text
}

/// Says of each error of an operation which codes it has, with an example of each; and of a success that says nothing,
/// what its schema says.
fn complete(operation: &mut Value, schemas: &Value) {
    let known = operations::ALL.iter().find(|(id, ..)| operation["operationId"] == *id);
    let (_, writes, codes) = known.expect("every operation of the API is in the table");
    let responses = operation["responses"].as_object_mut().expect("an operation has responses");
    for (number, response) in responses {
        let of_status = codes.iter().filter(|code| status(**code).as_str() == number);
        let lines: Vec<_> =
            of_status.clone().map(|code| format!("`{}`: {}.", code.name(), code.summary())).collect();
        if lines.is_empty() {
            if response["description"] == "" {
                response["description"] = described(response, schemas);
            }
            continue;
        }
        response["description"] = lines.join(" ").into();
        let examples: Map<_, _> =
            of_status.map(|code| (code.name().to_owned(), example(*code, *writes))).collect();
        response["content"][PROBLEM]["examples"] = Value::Object(examples);
    }
}

/// What the schema of a response's content says of itself.
fn described(response: &Value, schemas: &Value) -> Value {
    let content = response["content"].as_object().and_then(|content| content.values().next());
    let reference = content.and_then(|content| content["schema"]["$ref"].as_str()).unwrap_or_default();
    schemas[reference.rsplit('/').next().unwrap_or_default()]["description"].clone()
}

fn example(code: Code, writes: bool) -> Value {
    let error = sample(code);
    let applied = error.as_ref().map_or(crate::service::Applied::No, Error::applied);
    let detail = error.as_ref().map_or_else(|| code.summary().to_owned(), Error::to_string);
    let mut problem = problem(code, detail, writes.then_some(applied));
    error.and_then(|error| problem.particulars(&error));
    json!({ "summary": code.summary(), "value": problem.to_json() })
}

/// An error of this code, if the service has it.
fn sample(code: Code) -> Option<Error> {
    Some(match code {
        Code::InvalidArgument => Error::InvalidArgument("keep_ttl is true or false".to_owned()),
        Code::KeyTooLarge => Error::KeyTooLarge(5_000),
        Code::ValueTooLarge => {
            Error::ValueTooLarge { limit_bytes: crate::model::limits::DEFAULT_MAX_VALUE_BYTES }
        }
        Code::NotFound => Error::NotFound(Some(Gone {
            reason: Reason::Evicted,
            index: 4_711,
            at: Timestamp(1_795_475_336_791),
        })),
        Code::BodyTooLarge => Error::BodyTooLarge { limit_bytes: MAX_BATCH_BYTES },
        Code::NotAnInteger => Error::NotAnInteger("the value is no decimal integer of 64 bits"),
        Code::PreconditionFailed => Error::PreconditionFailed { version: Version(7) },
        Code::Conflict => Error::Conflict("a compaction or snapshot is under way already".into()),
        Code::OutOfMemory => Error::OutOfMemory,
        Code::OutOfDisk => Error::OutOfDisk,
        Code::NoLeader => Error::NoLeader,
        Code::Overloaded => Error::Overloaded,
        Code::UnknownOutcome => Error::UnknownOutcome,
        Code::Unavailable => Error::Unavailable("the node is starting and recovers its data"),
        Code::Internal => Error::Internal,
        Code::MethodNotAllowed
        | Code::NotAcceptable
        | Code::UnsupportedMediaType
        | Code::RequestTimeout
        | Code::HeadTooLarge
        | Code::Forbidden
        | Code::Misdirected
        | Code::NotImplemented => return None,
    })
}
