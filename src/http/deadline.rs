//! A deadline as a document says it.

use poem_openapi::Object;

use super::refusal::Refusal;
use crate::model::limits::MAX_DEADLINE_MS;
use crate::model::{Expiry, Timestamp, Ttl};

/// A deadline: exactly one of the two.
#[derive(Debug, Object)]
#[oai(rename = "Deadline", deny_unknown_fields)]
pub(super) struct DeadlineBody {
    /// Time to live in milliseconds.
    #[oai(validator(minimum(value = "1"), maximum(value = "9007199254740991")))]
    ttl_ms: Option<u64>,
    /// The deadline in cluster time, in milliseconds since the Unix epoch; one that has passed removes the key.
    #[oai(validator(minimum(value = "0"), maximum(value = "9007199254740991")))]
    expires_at: Option<u64>,
}

impl DeadlineBody {
    pub(super) fn expiry(self) -> Result<Expiry, Refusal> {
        let expiry = expiry(self.ttl_ms, self.expires_at)?;
        expiry.ok_or_else(|| Refusal::invalid("a deadline has ttl_ms or expires_at"))
    }
}

/// What one of the two says, or `None` if neither is there.
pub(super) fn expiry(ttl_ms: Option<u64>, expires_at: Option<u64>) -> Result<Option<Expiry>, Refusal> {
    match (ttl_ms, expires_at) {
        (None, None) => Ok(None),
        (Some(ttl_ms), None) => match Ttl::from_millis(ttl_ms) {
            Ok(ttl) => Ok(Some(Expiry::After(ttl))),
            Err(error) => Err(Refusal::invalid(error.to_string())),
        },
        (None, Some(at)) if at <= MAX_DEADLINE_MS => Ok(Some(Expiry::At(Timestamp(at)))),
        (None, Some(_)) => Err(Refusal::invalid(format!("expires_at is at most {MAX_DEADLINE_MS}"))),
        (Some(_), Some(_)) => Err(Refusal::invalid("ttl_ms and expires_at exclude each other")),
    }
}
