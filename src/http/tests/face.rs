//! The face without a network: what it says while the node starts, stops, or has no room.

use std::sync::Arc;

use poem::http::StatusCode;

use super::stage::{assert_problem, client, serving};
use crate::http::gate::Gate;
use crate::http::operations;
use crate::http::refusal::status;
use crate::model::Settings;
use crate::service::Code;

/// Goal: before the node has recovered, probes and documents answer, everything else is 503 and says when to come
/// back; a write that came too early was not applied.
#[tokio::test]
async fn a_node_that_starts_answers_probes_only() {
    let client = client(&Arc::new(Gate::new()));
    client.get("/healthz").send().await.assert_status_is_ok();
    client.get("/openapi.json").send().await.assert_status_is_ok();
    for path in ["/readyz", "/v1/kv/k", "/v1/kv/k?consistency=stale", "/v1/kv/k/ttl", "/v1/stats"] {
        let response = client.get(path).send().await;
        response.assert_header("retry-after", "1");
        assert_problem(response, Code::Unavailable).await;
    }
    let put = client.put("/v1/kv/k").body("v").send().await;
    put.assert_status(StatusCode::SERVICE_UNAVAILABLE);
    put.json().await.value().object().get("applied").assert_string("no");
    assert_problem(client.delete("/v1/kv/k").send().await, Code::Unavailable).await;
    assert_problem(client.post("/v1/admin/compact").send().await, Code::Unavailable).await;
    assert_problem(client.get("/nowhere").send().await, Code::NotFound).await;
}

/// Goal: a node that stops is not ready any more, but serves until its listener closes.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_drains_serves_but_is_not_ready() {
    let (gate, node) = serving(Settings::default()).await;
    let client = client(&gate);
    client.get("/readyz").send().await.assert_status_is_ok();
    gate.drain();
    assert_problem(client.get("/readyz").send().await, Code::Unavailable).await;
    client.put("/v1/kv/k").body("v").send().await.assert_status(StatusCode::CREATED);
    client.get("/v1/kv/k").send().await.assert_text("v").await;
    node.close().await.expect("a clean stop");
    assert_problem(client.get("/v1/kv/k").send().await, Code::Unavailable).await;
    let put = client.put("/v1/kv/k").body("w").send().await;
    assert_problem(put, Code::Unavailable).await;
}

/// Goal: the short way of plain reads and the routed one give the same answer.
#[tokio::test(flavor = "multi_thread")]
async fn both_ways_of_reading_agree() {
    let (gate, node) = serving(Settings::default()).await;
    let client = client(&gate);
    client.put("/v1/kv/k?ttl_ms=9007199254740991").body("v").send().await.assert_status(StatusCode::CREATED);
    for path in ["k", "absent", "%zz", "%6b"] {
        let short = client.get(format!("/v1/kv/{path}")).send().await.0;
        let routed = client.get(format!("/v1/kv/{path}?consistency=linearizable")).send().await.0;
        assert_eq!(short.status(), routed.status(), "{path}");
        let names = |response: &poem::Response| response.headers().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&short), names(&routed), "{path}");
        assert_eq!(short.headers().get("etag"), routed.headers().get("etag"), "{path}");
        let (short, routed) = (short.into_body().into_bytes().await, routed.into_body().into_bytes().await);
        assert_eq!(short.expect("a body"), routed.expect("a body"), "{path}");
    }
    node.close().await.expect("a clean stop");
}

/// Goal: what an operation's table of errors says is sent with the status that the document shows, for every code.
#[test]
fn every_documented_code_has_its_status() {
    let document: serde_json::Value = serde_json::from_str(&crate::http::document()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths").values();
    let operations: Vec<_> =
        paths.flat_map(|path| path.as_object().into_iter().flat_map(|path| path.values())).collect();
    assert_eq!(operations.len(), operations::ALL.len());
    for (id, writes, codes) in operations::ALL {
        let operation =
            operations.iter().find(|operation| operation["operationId"] == *id).expect("documented");
        for code in *codes {
            let response =
                &operation["responses"][status(*code).as_str()]["content"]["application/problem+json"];
            let example = &response["examples"][code.name()]["value"];
            assert_eq!(example["code"], code.name(), "{id}");
            assert_eq!(example.get("applied").is_some(), *writes, "{id} {code:?}");
        }
    }
}

/// Goal: no browser takes a value for a page or a script, and the page that shows the document may run only what it brings.
#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_told_what_they_may_do() {
    let (gate, node) = serving(Settings::default()).await;
    let client = client(&gate);
    client.put("/v1/kv/k").body("<script>").send().await.assert_status(StatusCode::CREATED);
    for path in ["/v1/kv/k", "/v1/kv/absent", "/v1/stats", "/openapi.json", "/docs", "/nowhere"] {
        let response = client.get(path).send().await;
        response.assert_header("x-content-type-options", "nosniff");
        response.assert_header("cache-control", "no-store");
    }
    let page = client.get("/docs").send().await;
    page.assert_status_is_ok();
    let policy = page.0.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'") && policy.contains("script-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    assert_problem(client.get("/docs?x=1").send().await, Code::InvalidArgument).await;
    node.close().await.expect("a clean stop");
}
