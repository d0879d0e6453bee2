//! How long keys have left.

use std::sync::Arc;

use poem_openapi::OpenApi;

use super::front::{Front, Group};
use crate::http::answers::CountdownBody;
use crate::http::coding::Coding;
use crate::http::deadline::DeadlineBody;
use crate::http::operations::{DeleteKeyTtl, Failure, GetKeyTtl, PutKeyTtl};
use crate::http::params::Param;
use crate::http::payload::{Document, SMALL_BYTES, Seen, Shown, Tagged};
use crate::http::preconditions::{IfAbsent, IfMatch, Known, precondition};
use crate::http::versions::EntityTag;
use crate::model::{Expiry, Key, Principal};
use crate::service::{Consistency, Countdown, Describe, Error, Expire};

/// Operations on deadlines.
pub(in crate::http) struct Deadlines(pub(super) Arc<Front>);

impl Deadlines {
    async fn expire(&self, key: Key, expiry: Expiry, if_match: IfMatch) -> Result<Countdown, Error> {
        // Every precondition of these operations can be met.
        let condition = precondition(if_match, IfAbsent::UNSAID).map_err(|_| Error::Internal)?;
        self.0.kv()?.expire(&Principal::Anonymous, Expire { key, expiry, condition }).await
    }
}

fn tagged(countdown: Countdown, coding: Coding) -> Tagged<CountdownBody> {
    let form = match coding {
        Coding::Json => "ttl-json",
        Coding::MessagePack => "ttl-msgpack",
    };
    let tag = EntityTag::of_document(countdown.version, form, countdown.ttl_ms);
    Tagged(countdown.version, tag, Shown(coding, countdown.into()))
}

#[OpenApi]
impl Deadlines {
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
        /// Answer only if the key has one of the versions that these tags begin with; else 412.
        #[oai(name = "If-Match")]
        if_match: Param<IfMatch>,
        /// Answer with 304 if the answer would bear one of these tags.
        #[oai(name = "If-None-Match")]
        if_none_match: Param<Known>,
        coding: Coding,
    ) -> Result<Seen<CountdownBody>, Failure<GetKeyTtl>> {
        let consistency = self.0.consistency(consistency.0);
        let describe = Describe { key: key.0, consistency };
        let countdown = self.0.kv()?.ttl(&Principal::Anonymous, describe).await?;
        if if_match.0.excludes(countdown.version) {
            return Err(Error::PreconditionFailed { version: countdown.version }.into());
        }
        let Tagged(version, tag, shown) = tagged(countdown, coding);
        Ok(match if_none_match.0.names(&tag) {
            true => Seen::NotModified(version, tag),
            false => Seen::Whole(Tagged(version, tag, shown)),
        })
    }

    /// Set how long a key has left
    ///
    /// Exactly one of `ttl_ms` and `expires_at`. The value stays; the version grows. A deadline that has passed removes
    /// the key (reason: expired).
    ///
    /// ```sh
    /// curl -s -X PUT -H 'Content-Type: application/json' -d '{"ttl_ms": 60000}' http://127.0.0.1:8080/v1/kv/greeting/ttl
    /// ```
    #[oai(path = "/v1/kv/:key/ttl", method = "put", operation_id = "putKeyTtl", tag = "Group::Keys")]
    async fn put_key_ttl(
        &self,
        /// The key, percent-encoded: 1 to 4,096 bytes; a slash is `%2F`.
        key: Param<Key>,
        /// Set only if the key has one of the versions that these tags begin with, or with `*`, if it is present.
        #[oai(name = "If-Match")]
        if_match: Param<IfMatch>,
        deadline: Document<DeadlineBody, SMALL_BYTES>,
        coding: Coding,
    ) -> Result<Tagged<CountdownBody>, Failure<PutKeyTtl>> {
        self.0.kv()?;
        let expiry = deadline.read(&self.0.bodies).await?.expiry()?;
        Ok(tagged(self.expire(key.0, expiry, if_match.0).await?, coding))
    }

    /// Let a key stay
    ///
    /// Takes its deadline away. The value stays; the version grows.
    ///
    /// ```sh
    /// curl -s -X DELETE http://127.0.0.1:8080/v1/kv/greeting/ttl
    /// ```
    #[oai(path = "/v1/kv/:key/ttl", method = "delete", operation_id = "deleteKeyTtl", tag = "Group::Keys")]
    async fn delete_key_ttl(
        &self,
        /// The key, percent-encoded: 1 to 4,096 bytes; a slash is `%2F`.
        key: Param<Key>,
        /// Only if the key has one of the versions that these tags begin with, or with `*`, if it is present.
        #[oai(name = "If-Match")]
        if_match: Param<IfMatch>,
        coding: Coding,
    ) -> Result<Tagged<CountdownBody>, Failure<DeleteKeyTtl>> {
        Ok(tagged(self.expire(key.0, Expiry::Never, if_match.0).await?, coding))
    }
}
