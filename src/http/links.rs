//! Links of the document: which operation can follow which, on the same key.

use serde_json::{Value, json};

/// Operation, status of its answer, and what can follow.
const LINKS: &[(&str, &str, &[&str])] = &[
    ("putKey", "201", &["getKey", "getKeyTtl", "putKeyTtl", "deleteKeyTtl", "deleteKey"]),
    ("putKey", "200", &["getKey", "deleteKey"]),
    ("incrKey", "200", &["getKey", "deleteKey"]),
    ("putKeyTtl", "200", &["getKeyTtl", "deleteKeyTtl", "getKey"]),
    ("deleteKeyTtl", "200", &["getKeyTtl", "getKey"]),
    ("deleteKey", "204", &["getKey"]),
];

/// Adds the links of `operation` to its responses.
pub(super) fn complete(operation: &mut Value) {
    let links = LINKS.iter().filter(|(id, ..)| operation["operationId"] == *id);
    for (_, status, following) in links.collect::<Vec<_>>() {
        let response = &mut operation["responses"][*status];
        assert!(response.is_object(), "a link stands at an answer that the document has");
        for next in *following {
            let link = json!({ "operationId": next, "parameters": { "key": "$request.path.key" } });
            response["links"][*next] = link;
        }
    }
}
