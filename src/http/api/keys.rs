//! Single keys and their values.

use std::sync::Arc;

use poem_openapi::{Object, OpenApi};

use super::front::{Front, Group};
use crate::http::accept::Form;
use crate::http::answers::{Found, Looked, Removed, Stored, SumBody};
use crate::http::body::ValueBody;
use crate::http::coding::Coding;
use crate::http::gate::Gate;
use crate::http::operations::{DeleteKey, Failure, GetKey, HeadKey, IncrKey, PutKey};
use crate::http::params::Param;
use crate::http::payload::{Document, SMALL_BYTES, Shown, Tagged};
use crate::http::preconditions::{IfAbsent, IfMatch, Known, precondition};
use crate::http::refusal::Refusal;
use crate::http::versions::EntityTag;
use crate::model::{Expiry, Key, Principal, Ttl};
use crate::service::{Consistency, Delete, Error, Get, Incr, Put};

/// Reads a key. The one way to it, also for requests that need no routing.
pub(in crate::http) async fn read(
    gate: &Gate,
    key: Key,
    consistency: Consistency,
    form: Form,
) -> Result<Found, Error> {
    let envelope = match form {
        Form::Raw => None,
        Form::Enveloped(coding) => Some((key.clone(), coding)),
    };
    let entry = gate.kv()?.get(&Principal::Anonymous, Get { key, consistency }).await?;
    Ok(Found { entry, envelope })
}

/// What a conditional read answers (RFC 9110, 13.2.2: `If-Match` first).
fn looked(found: Found, if_match: &IfMatch, known: &Known) -> Result<Looked, Error> {
    let version = found.entry.version;
    if if_match.excludes(version) {
        return Err(Error::PreconditionFailed { version });
    }
    let is_known = !known.is_unsaid() && known.names(&found.tag());
    Ok(if is_known { Looked::NotModified(found) } else { Looked::Found(found) })
}

/// Operations on single keys.
pub(in crate::http) struct Keys(pub(super) Arc<Front>);

#[OpenApi]
impl Keys {
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
        /// Answer only if the key has one of the versions that these tags begin with; else 412.
        #[oai(name = "If-Match")]
        if_match: Param<IfMatch>,
        /// Answer with 304 and without the value if the answer would bear one of these tags.
        #[oai(name = "If-None-Match")]
        if_none_match: Param<Known>,
        form: Form,
    ) -> Result<Looked, Failure<GetKey>> {
        let consistency = self.0.consistency(consistency.0);
        let found = read(&self.0.gate, key.0, consistency, form).await?;
        Ok(looked(found, &if_match.0, &if_none_match.0)?)
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
        /// As for GET.
        #[oai(name = "If-Match")]
        if_match: Param<IfMatch>,
        /// As for GET.
        #[oai(name = "If-None-Match")]
        if_none_match: Param<Known>,
        form: Form,
    ) -> Result<Looked, Failure<HeadKey>> {
        // The server leaves the body out and keeps its length.
        let consistency = self.0.consistency(consistency.0);
        let found = read(&self.0.gate, key.0, consistency, form).await?;
        Ok(looked(found, &if_match.0, &if_none_match.0)?)
    }

    /// Write a key
    ///
    /// The body is the value, whatever its `Content-Type`. Answered when the write is on disk on a majority of the
    /// voters and applied. `If-None-Match: *` writes only if the key is absent, `If-Match: "<version>"` only if the
    /// key still has the version that was read (`"0"`: absent), `If-Match: *` only if it is present. `If-Match` may be a
    /// list, and takes the ETag of an envelope too: what counts is the version that it begins with.
    ///
    /// A write without `ttl_ms` and `keep_ttl` takes a deadline away.
    ///
    /// ```sh
    /// curl -i -X PUT --data-binary hello 'http://127.0.0.1:8080/v1/kv/greeting?ttl_ms=60000'
    /// ```
    #[expect(clippy::too_many_arguments, reason = "each is a part of the request")]
    #[oai(path = "/v1/kv/:key", method = "put", operation_id = "putKey", tag = "Group::Keys")]
    async fn put_key(
        &self,
        /// The key, percent-encoded: 1 to 4,096 bytes; a slash is `%2F`.
        key: Param<Key>,
        /// Time to live in milliseconds. Excludes `keep_ttl`.
        ttl_ms: Param<Option<Ttl>>,
        /// Whether the key keeps the deadline that it has. Excludes `ttl_ms`.
        keep_ttl: Param<bool>,
        /// Write only if the key has one of the versions that these tags begin with, or with `*`, if it is present.
        #[oai(name = "If-Match")]
        if_match: Param<IfMatch>,
        /// Write only if the key is absent. Excludes `If-Match`.
        #[oai(name = "If-None-Match")]
        if_none_match: Param<IfAbsent>,
        /// The value: 0 bytes to the setting `max_value_bytes`.
        value: ValueBody,
        coding: Coding,
    ) -> Result<Stored, Failure<PutKey>> {
        let condition = precondition(if_match.0, if_none_match.0)?;
        let expiry = match (ttl_ms.0, keep_ttl.0) {
            (Some(_), true) => return Err(Refusal::invalid("ttl_ms and keep_ttl exclude each other").into()),
            (Some(ttl), false) => Expiry::After(ttl),
            (None, true) => Expiry::Keep,
            (None, false) => Expiry::Never,
        };
        let kv = self.0.kv()?;
        let limit_bytes = kv.max_value_bytes();
        let too_large = Error::ValueTooLarge { limit_bytes };
        let (value, _room) = value.0.read(limit_bytes, too_large, &self.0.bodies).await?;
        let put = Put { key: key.0.clone(), value, expiry, condition };
        let written = kv.put(&Principal::Anonymous, put).await?;
        Ok(Stored { key: key.0, written, coding })
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
        /// Remove only if the key has one of the versions that these tags begin with, or with `*`, if it is present.
        #[oai(name = "If-Match")]
        if_match: Param<IfMatch>,
    ) -> Result<Removed, Failure<DeleteKey>> {
        let condition = precondition(if_match.0, IfAbsent::UNSAID)?;
        self.0.kv()?.delete(&Principal::Anonymous, Delete { key: key.0, condition }).await?;
        Ok(Removed)
    }

    /// Add to a number
    ///
    /// The value is a decimal integer of 64 bits; an absent key counts as 0. A deadline stays.
    ///
    /// ```sh
    /// curl -s -X POST -H 'Content-Type: application/json' -d '{"by": 1}' http://127.0.0.1:8080/v1/kv/visits/incr
    /// ```
    #[oai(path = "/v1/kv/:key/incr", method = "post", operation_id = "incrKey", tag = "Group::Keys")]
    async fn incr_key(
        &self,
        /// The key, percent-encoded: 1 to 4,096 bytes; a slash is `%2F`.
        key: Param<Key>,
        /// Add only if the key has one of the versions that these tags begin with, or with `*`, if it is present.
        #[oai(name = "If-Match")]
        if_match: Param<IfMatch>,
        /// Add only if the key is absent. Excludes `If-Match`.
        #[oai(name = "If-None-Match")]
        if_none_match: Param<IfAbsent>,
        addition: Document<AdditionBody, SMALL_BYTES>,
        coding: Coding,
    ) -> Result<Tagged<SumBody>, Failure<IncrKey>> {
        let condition = precondition(if_match.0, if_none_match.0)?;
        let kv = self.0.kv()?;
        let AdditionBody { by } = addition.read(&self.0.bodies).await?;
        let sum = kv.incr(&Principal::Anonymous, Incr { key: key.0, by, condition }).await?;
        Ok(Tagged(sum.version, EntityTag::of_value(sum.version), Shown(coding, sum.into())))
    }
}

/// What to add.
#[derive(Debug, Object)]
#[oai(rename = "Addition", deny_unknown_fields)]
struct AdditionBody {
    /// The number to add; 1 if absent.
    #[oai(default = "one")]
    by: i64,
}

fn one() -> i64 {
    1
}
