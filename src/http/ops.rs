//! The listener for probes: liveness and readiness, and nothing else, whatever the API's listener is busy with.

use std::sync::Arc;

use poem::http::{HeaderValue, Method, header};
use poem::{Endpoint, Request, Response, Result};
use serde_json::{Value, json};

use super::admission::Admission;
use super::coding::JSON;
use super::gate::Gate;
use super::refusal::Refusal;

/// Answers probes.
pub(super) struct Ops {
    gate: Arc<Gate>,
    admission: Admission,
}

impl Ops {
    pub(super) fn new(gate: Arc<Gate>) -> Ops {
        Ops { gate, admission: Admission::of_probes() }
    }

    fn answer(&self, request: &Request) -> Result<Value, Refusal> {
        self.admission.check(request)?;
        let status = match request.uri().path() {
            "/healthz" => json!({ "status": "ok" }),
            "/readyz" => match self.gate.unready() {
                None => json!({ "status": "ready", "disk": self.gate.disk() }),
                Some(reason) => return Err(reason.into()),
            },
            _ => return Err(Refusal::NoSuchPath("this listener knows /healthz and /readyz")),
        };
        match *request.method() {
            Method::GET | Method::HEAD => Ok(status),
            _ => Err(Refusal::MethodNotAllowed { allow: "GET, HEAD".to_owned() }),
        }
    }
}

impl Endpoint for Ops {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        Ok(match self.answer(&request) {
            Ok(status) => Response::builder()
                .header(header::CONTENT_TYPE, HeaderValue::from_static(JSON))
                .body(status.to_string()),
            Err(refusal) => refusal.response(false),
        })
    }
}
