//! The operations, as poem-openapi routes and documents them.

use std::sync::Arc;

use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi, Tags};

use super::accept::Form;
use super::answers::{CountdownBody, Found, Removed, Stored};
use super::body::{Bodies, ValueBody};
use super::gate::Gate;
use super::operations::{
    Compact, DeleteKey, Failure, GetHealth, GetKey, GetKeyTtl, GetReadiness, GetStats, HeadKey, PutKey,
};
use super::params::Param;
use super::preconditions::{IfMatch, IfNoneMatch, NoIfNoneMatch, condition};
use super::refusal::Refusal;
use super::stats::{Compaction, Stats};
use crate::model::{Expiry, Key, Principal, Ttl};
use crate::service::{Consistency, Delete, Describe, Error, Get, Put};

/// Groups of operations in the document.
#[derive(Tags)]
enum Group {
    /// Keys and their values.
    Keys,
    /// The node itself.
    Node,
    /// For probes of orchestrators.
    Probes,
}

/// What a probe is told.
#[derive(Debug, Object)]
#[oai(rename = "Health")]
struct Health {
    /// `ok` or `ready`.
    status: String,
}

/// The operations of one node.
pub(super) struct Api {
    gate: Arc<Gate>,
    default_consistency: Consistency,
    bodies: Bodies,
}

impl Api {
    /// The operations on what stands behind `gate`.
    pub(super) fn new(gate: Arc<Gate>, default_consistency: Consistency) -> Api {
        Api { gate, default_consistency, bodies: Bodies::new() }
    }

    /// Reads a key. The one way to it, also for requests that need no routing.
    pub(super) async fn read(
        gate: &Gate,
        key: Key,
        consistency: Consistency,
        form: Form,
    ) -> Result<Found, Error> {
        let enveloped = (form == Form::Json).then(|| key.clone());
        let entry = gate.kv()?.get(&Principal::Anonymous, Get { key, consistency }).await?;
        Ok(Found { entry, key: enveloped })
    }
}

#[OpenApi]
impl Api {
    /// Read a key
    ///
    /// Answers with the bytes of the value, or with a JSON envelope if `Accept` asks for it. Linearizable unless
    /// said otherwise: the answer holds every write that was acknowledged before the request was sent.
    ///
    /// ```sh
    /// curl -i http://127.0.0.1:8080/v1/kv/greeting
    /// ```
    #[oai(path = "/v1/kv/:key", method = "get", operation_id = "getKey", tag = "Group::Keys")]
    async fn get_key(
        &self,
        /// The key, percent-encoded: 1 to 4,096 bytes; a slash is `%2F`.
        key: Param<Key>,
        /// How fresh the answer must be: `linearizable`, `lease` (the leader trusts its lease) or `stale` (what
        /// this node has). Default: `http.default_consistency`.
        consistency: Param<Option<Consistency>>,
        form: Form,
    ) -> Result<Found, Failure<GetKey>> {
        let consistency = consistency.0.unwrap_or(self.default_consistency);
        Ok(Api::read(&self.gate, key.0, consistency, form).await?)
    }

    /// Read the headers of a key
    ///
    /// As GET, without the value.
    ///
    /// ```sh
    /// curl -I http://127.0.0.1:8080/v1/kv/greeting
    /// ```
    #[oai(path = "/v1/kv/:key", method = "head", operation_id = "headKey", tag = "Group::Keys")]
    async fn head_key(
        &self,
        /// The key, percent-encoded: 1 to 4,096 bytes; a slash is `%2F`.
        key: Param<Key>,
        /// How fresh the answer must be.
        consistency: Param<Option<Consistency>>,
        form: Form,
    ) -> Result<Found, Failure<HeadKey>> {
        // The server leaves the body out and keeps its length.
        let consistency = consistency.0.unwrap_or(self.default_consistency);
        Ok(Api::read(&self.gate, key.0, consistency, form).await?)
    }

    /// Write a key
    ///
    /// The body is the value, whatever its `Content-Type`. Answered when the write is on disk on a majority of the
    /// voters and applied. `If-None-Match: *` writes only if the key is absent, `If-Match: "<version>"` only if the
    /// key still has the version that was read (`"0"`: absent), `If-Match: *` only if it is present.
    ///
    /// A write without `ttl_ms` and `keep_ttl` takes a deadline away.
    ///
    /// ```sh
    /// curl -i -X PUT --data-binary hello 'http://127.0.0.1:8080/v1/kv/greeting?ttl_ms=60000'
    /// ```
    #[oai(path = "/v1/kv/:key", method = "put", operation_id = "putKey", tag = "Group::Keys")]
    async fn put_key(
        &self,
        /// The key, percent-encoded: 1 to 4,096 bytes; a slash is `%2F`.
        key: Param<Key>,
        /// Time to live in milliseconds. Excludes `keep_ttl`.
        ttl_ms: Param<Option<Ttl>>,
        /// Whether the key keeps the deadline that it has. Excludes `ttl_ms`.
        keep_ttl: Param<bool>,
        /// Write only if the key has this version, or with `*`, if it is present.
        #[oai(name = "If-Match")]
        if_match: Param<IfMatch>,
        /// Write only if the key is absent. Excludes `If-Match`.
        #[oai(name = "If-None-Match")]
        if_none_match: Param<IfNoneMatch>,
        /// The value: 0 bytes to the setting `max_value_bytes`.
        value: ValueBody,
    ) -> Result<Stored, Failure<PutKey>> {
        let condition = condition(if_match.0, if_none_match.0)?;
        let expiry = match (ttl_ms.0, keep_ttl.0) {
            (Some(_), true) => return Err(Refusal::invalid("ttl_ms and keep_ttl exclude each other").into()),
            (Some(ttl), false) => Expiry::After(ttl),
            (None, true) => Expiry::Keep,
            (None, false) => Expiry::Never,
        };
        let kv = self.gate.kv()?;
        let (value, _room) = value.read(kv.max_value_bytes(), &self.bodies).await?;
        let put = Put { key: key.0.clone(), value, expiry, condition };
        let written = kv.put(&Principal::Anonymous, put).await?;
        Ok(Stored { key: key.0, written })
    }

    /// Remove a key
    ///
    /// ```sh
    /// curl -i -X DELETE http://127.0.0.1:8080/v1/kv/greeting
    /// ```
    #[oai(path = "/v1/kv/:key", method = "delete", operation_id = "deleteKey", tag = "Group::Keys")]
    async fn delete_key(
        &self,
        /// The key, percent-encoded: 1 to 4,096 bytes; a slash is `%2F`.
        key: Param<Key>,
        /// Remove only if the key has this version, or with `*`, if it is present.
        #[oai(name = "If-Match")]
        if_match: Param<IfMatch>,
        _if_none_match: NoIfNoneMatch,
    ) -> Result<Removed, Failure<DeleteKey>> {
        let condition = condition(if_match.0, IfNoneMatch::ABSENT)?;
        self.gate.kv()?.delete(&Principal::Anonymous, Delete { key: key.0, condition }).await?;
        Ok(Removed)
    }

    /// Read how long a key has left
    ///
    /// ```sh
    /// curl -s http://127.0.0.1:8080/v1/kv/greeting/ttl
    /// ```
    #[oai(path = "/v1/kv/:key/ttl", method = "get", operation_id = "getKeyTtl", tag = "Group::Keys")]
    async fn get_key_ttl(
        &self,
        /// The key, percent-encoded: 1 to 4,096 bytes; a slash is `%2F`.
        key: Param<Key>,
        /// How fresh the answer must be.
        consistency: Param<Option<Consistency>>,
    ) -> Result<Json<CountdownBody>, Failure<GetKeyTtl>> {
        let consistency = consistency.0.unwrap_or(self.default_consistency);
        let describe = Describe { key: key.0, consistency };
        Ok(Json(self.gate.kv()?.ttl(&Principal::Anonymous, describe).await?.into()))
    }

    /// Read figures of the node
    ///
    /// ```sh
    /// curl -s http://127.0.0.1:8080/v1/stats
    /// ```
    #[oai(path = "/v1/stats", method = "get", operation_id = "getStats", tag = "Group::Node")]
    async fn get_stats(&self) -> Result<Json<Stats>, Failure<GetStats>> {
        Ok(Json(self.gate.kv()?.stats().into()))
    }

    /// Compact the log
    ///
    /// Takes a snapshot, verifies it and drops the log behind it. Answered when that is done.
    ///
    /// ```sh
    /// curl -s -X POST http://127.0.0.1:8080/v1/admin/compact
    /// ```
    #[oai(path = "/v1/admin/compact", method = "post", operation_id = "compact", tag = "Group::Node")]
    async fn compact(&self) -> Result<Json<Compaction>, Failure<Compact>> {
        Ok(Json(self.gate.kv()?.compact(&Principal::Anonymous).await?.into()))
    }

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
    async fn get_readiness(&self) -> Result<Json<Health>, Failure<GetReadiness>> {
        match self.gate.unready() {
            None => Ok(Json(Health { status: "ready".to_owned() })),
            Some(reason) => Err(reason.into()),
        }
    }
}
