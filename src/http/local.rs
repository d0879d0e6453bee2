//! The administration of the node from its own machine, over a socket in the data directory: who may open that is in
//! charge of the node anyway, and needs no port, no URL and no credentials.
//!
//! It knows what is done on the machine of a node and nothing else: no keys, and nothing of other nodes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use poem::http::{HeaderValue, Method, header};
use poem::web::LocalAddr;
use poem::{Addr, Endpoint, Request, Response, Result};
use serde_json::json;
use tokio::net::UnixListener;

use super::admission::Admission;
use super::coding::JSON;
use super::gate::Gate;
use super::refusal::Refusal;
use super::server::{Config, serve_all};
use crate::model::Principal;

/// Connections of this listener.
const CONNECTIONS: usize = 16;

/// Where the permission to stop is asked for; the API has it under the same name.
const STOP: &str = "/v1/cluster/stop";

/// Answers who administers the node from its own machine.
pub struct Local {
    gate: Arc<Gate>,
}

impl Local {
    /// What stands behind `gate` is administered.
    pub fn new(gate: Arc<Gate>) -> Local {
        Local { gate }
    }

    /// Answers until `stop` ends; then finishes what is under way for at most `patience`.
    pub async fn serve(
        self,
        listener: UnixListener,
        config: Config,
        stop: impl Future<Output = ()>,
        patience: Duration,
    ) {
        let address = LocalAddr(listener.local_addr().map_or_else(|_| Addr::default(), Addr::from));
        let config = Config { max_connections: CONNECTIONS, ..config };
        serve_all((listener, address), config, self, stop, patience).await;
    }

    async fn answer(&self, request: &Request) -> Result<String, Refusal> {
        Admission::of_socket().check(request)?;
        if request.uri().path() != STOP {
            return Err(Refusal::NoSuchPath("this socket knows /v1/cluster/stop"));
        }
        if *request.method() != Method::POST {
            return Err(Refusal::MethodNotAllowed { allow: "POST".to_owned() });
        }
        let node = self.gate.kv()?.ask_to_stop(&Principal::Anonymous).await?;
        Ok(json!({ "node": node.0 }).to_string())
    }
}

impl Endpoint for Local {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        Ok(match self.answer(&request).await {
            Ok(document) => Response::builder()
                .header(header::CONTENT_TYPE, HeaderValue::from_static(JSON))
                .body(document),
            Err(refusal) => refusal.response(*request.method() != Method::GET),
        })
    }
}
