//! For probes of orchestrators.

use std::sync::Arc;

use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::front::{Front, Group};
use crate::http::operations::{Failure, GetHealth, GetReadiness};

/// What a probe is told.
#[derive(Debug, Object)]
#[oai(rename = "Health")]
struct Health {
    /// `ok`.
    status: String,
}

/// What a probe of readiness is told.
#[derive(Debug, Object)]
#[oai(rename = "Readiness")]
struct Readiness {
    /// `ready`.
    status: String,
    /// `ok`, or `full`: then reads are served, and writes are refused with `out-of-disk` where this node is needed for them.
    disk: String,
}

/// Probes.
pub(in crate::http) struct Probes(pub(super) Arc<Front>);

#[OpenApi]
impl Probes {
    /// Ask whether the process lives
    ///
    /// Answers from the start, also while the node recovers; says nothing of peers or disk.
    ///
    /// ```sh
    /// curl -s http://127.0.0.1:8080/healthz
    /// ```
    #[oai(path = "/healthz", method = "get", operation_id = "getHealth", tag = "Group::Probes")]
    async fn get_health(&self) -> Result<Json<Health>, Failure<GetHealth>> {
        Ok(Json(Health { status: "ok".to_owned() }))
    }

    /// Ask whether the node should get requests
    ///
    /// Ready means: recovered, in its role, its state close to what is committed, not stopping.
    ///
    /// ```sh
    /// curl -i http://127.0.0.1:8080/readyz
    /// ```
    #[oai(path = "/readyz", method = "get", operation_id = "getReadiness", tag = "Group::Probes")]
    async fn get_readiness(&self) -> Result<Json<Readiness>, Failure<GetReadiness>> {
        match self.0.gate.unready() {
            None => {
                let disk = self.0.gate.disk().to_owned();
                Ok(Json(Readiness { status: "ready".to_owned(), disk }))
            }
            Some(reason) => Err(reason.into()),
        }
    }
}
