//! How long keys have left.

use std::sync::Arc;

use poem_openapi::OpenApi;
use poem_openapi::payload::Json;

use super::front::{Front, Group};
use crate::http::answers::CountdownBody;
use crate::http::operations::{Failure, GetKeyTtl};
use crate::http::params::Param;
use crate::model::{Key, Principal};
use crate::service::{Consistency, Describe};

/// Operations on deadlines.
pub(in crate::http) struct Deadlines(pub(super) Arc<Front>);

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
    ) -> Result<Json<CountdownBody>, Failure<GetKeyTtl>> {
        let consistency = self.0.consistency(consistency.0);
        let describe = Describe { key: key.0, consistency };
        Ok(Json(self.0.kv()?.ttl(&Principal::Anonymous, describe).await?.into()))
    }
}
