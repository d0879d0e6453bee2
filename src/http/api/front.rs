//! What all groups of operations share.

use std::sync::Arc;
use std::time::Duration;

use poem_openapi::Tags;

use crate::http::body::Bodies;
use crate::http::gate::Gate;
use crate::service::{Consistency, Error, Kv};

/// Groups of operations in the document.
#[derive(Tags)]
pub(super) enum Group {
    /// Keys and their values.
    Keys,
    /// The cluster and its members.
    Cluster,
    /// The node itself.
    Node,
    /// For probes of orchestrators.
    Probes,
}

/// What the operations of one listener stand on.
pub(in crate::http) struct Front {
    pub(super) gate: Arc<Gate>,
    pub(super) bodies: Bodies,
    default_consistency: Consistency,
}

impl Front {
    pub(super) fn new(gate: Arc<Gate>, default_consistency: Consistency, body_timeout: Duration) -> Front {
        let bodies = Bodies::new(body_timeout, Arc::clone(&gate));
        Front { gate, bodies, default_consistency }
    }

    /// The service, or [`Error::Unavailable`] while the node starts.
    pub(super) fn kv(&self) -> Result<&Kv, Error> {
        self.gate.kv()
    }

    /// The consistency of a read that may have said one.
    pub(super) fn consistency(&self, asked: Option<Consistency>) -> Consistency {
        asked.unwrap_or(self.default_consistency)
    }
}
