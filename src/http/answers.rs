//! Answers of operations on keys: what is sent, and what the document says of it, side by side.

use poem::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::registry::Registry;
use poem_openapi::registry::{
    MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef,
};
use poem_openapi::types::{Base64, ToJSON, Type};
use poem_openapi::{ApiResponse, Object};

use super::accept::OCTETS;
use super::coding::Coding;
use super::payload::{Shown, media_types};
use super::versions::{EntityTag, NOT_MODIFIED, described, tag, version_headers};
use crate::model::Key;
use crate::service::{Countdown, Entry, Sum, Written};

const TTL_MS: HeaderName = HeaderName::from_static("kvorum-ttl-ms");

/// A value that was found, in the form that the client wants.
pub(super) struct Found {
    /// What was found.
    pub(super) entry: Entry,
    /// What was asked for and how to write it, if it is to be sent with an envelope; else the value goes out bare.
    pub(super) envelope: Option<(Key, Coding)>,
}

/// A value with its key: text as text, other bytes in base64.
#[derive(Debug, Object)]
#[oai(rename = "Entry")]
struct Envelope {
    /// The key, if it is UTF-8.
    #[oai(skip_serializing_if_is_none)]
    key: Option<String>,
    /// The key, if it is not UTF-8.
    #[oai(skip_serializing_if_is_none)]
    key_base64: Option<Base64<Vec<u8>>>,
    /// The value, if it is UTF-8.
    #[oai(skip_serializing_if_is_none)]
    value: Option<String>,
    /// The value, if it is not UTF-8.
    #[oai(skip_serializing_if_is_none)]
    value_base64: Option<Base64<Vec<u8>>>,
    /// The version, with which the ETag begins.
    version: u64,
    /// Milliseconds left; absent if the key has no deadline.
    #[oai(skip_serializing_if_is_none)]
    ttl_ms: Option<u64>,
}

impl Found {
    /// The tag of this representation.
    pub(super) fn tag(&self) -> EntityTag {
        let Entry { version, ttl_ms, .. } = self.entry;
        match &self.envelope {
            None => EntityTag::of_value(version),
            Some((_, coding)) => EntityTag::of_document(version, coding.name(), ttl_ms),
        }
    }
}

impl IntoResponse for Found {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        let mut headers = HeaderMap::with_capacity(4);
        let content_type = self.envelope.as_ref().map_or(OCTETS, |(_, coding)| coding.media_type());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        let tag = self.tag();
        stamp(&mut headers, &self.entry, tag);
        *response.headers_mut() = headers;
        match self.envelope {
            None => response.set_body(self.entry.value),
            Some((key, coding)) => {
                let document = envelope(&key, &self.entry).to_json().unwrap_or_default();
                response.set_body(coding.encode(document));
            }
        }
        response
    }
}

/// What a conditional read answers.
pub(super) enum Looked {
    /// The value.
    Found(Found),
    /// The client has this representation already.
    NotModified(Found),
}

impl IntoResponse for Looked {
    fn into_response(self) -> Response {
        match self {
            Looked::Found(found) => found.into_response(),
            Looked::NotModified(found) => {
                let mut response = StatusCode::NOT_MODIFIED.into_response();
                response.headers_mut().remove(header::CONTENT_TYPE);
                let tag = found.tag();
                stamp(response.headers_mut(), &found.entry, tag);
                response
            }
        }
    }
}

impl ApiResponse for Looked {
    fn meta() -> MetaResponses {
        let octets = MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary")));
        let mut content = vec![MetaMediaType { content_type: OCTETS, schema: octets }];
        content.extend(media_types(Envelope::schema_ref()));
        let response = |status, description, content| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content,
            headers: entry_headers(),
        };
        MetaResponses {
            responses: vec![
                response(200, "The value: its bytes, or an envelope if `Accept` asks for one.", content),
                response(304, NOT_MODIFIED, Vec::new()),
            ],
        }
    }

    fn register(registry: &mut Registry) {
        Envelope::register(registry);
    }
}

/// What a write made.
#[derive(Debug, Object)]
#[oai(rename = "Written")]
struct WrittenBody {
    /// The key, if it is UTF-8.
    #[oai(skip_serializing_if_is_none)]
    key: Option<String>,
    /// The key, if it is not UTF-8.
    #[oai(skip_serializing_if_is_none)]
    key_base64: Option<Base64<Vec<u8>>>,
    /// Its version now, with which the ETag begins.
    version: u64,
    /// Whether it was absent before.
    created: bool,
}

/// A value was written.
pub(super) struct Stored {
    /// The key.
    pub(super) key: Key,
    /// What came of it.
    pub(super) written: Written,
    /// How to write it.
    pub(super) coding: Coding,
}

impl IntoResponse for Stored {
    fn into_response(self) -> Response {
        let (key, key_base64) = text_or_base64(self.key.as_bytes());
        let Written { version, created } = self.written;
        let body = WrittenBody { key, key_base64, version: version.0, created };
        let mut response = Shown(self.coding, body).into_response();
        response.set_status(if created { StatusCode::CREATED } else { StatusCode::OK });
        tag(response.headers_mut(), version, EntityTag::of_value(version));
        response
    }
}

impl ApiResponse for Stored {
    fn meta() -> MetaResponses {
        let response = |status, description| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: media_types(WrittenBody::schema_ref()),
            headers: version_headers(),
        };
        MetaResponses {
            responses: vec![
                response(200, "The value of a key that was present is replaced."),
                response(201, "The key was absent and is created."),
            ],
        }
    }

    fn register(registry: &mut Registry) {
        WrittenBody::register(registry);
    }
}

/// A key was removed.
pub(super) struct Removed;

impl IntoResponse for Removed {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl ApiResponse for Removed {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "The key is removed.",
                status: Some(204),
                status_range: None,
                content: Vec::new(),
                headers: Vec::new(),
            }],
        }
    }

    fn register(_registry: &mut Registry) {}
}

/// How long a key has left.
#[derive(Debug, Object)]
#[oai(rename = "Countdown")]
pub(super) struct CountdownBody {
    /// Milliseconds left; null if the key has no deadline.
    ttl_ms: Option<u64>,
    /// The deadline in cluster time, in milliseconds since the Unix epoch; null if the key has none.
    expires_at: Option<u64>,
}

impl From<Countdown> for CountdownBody {
    fn from(countdown: Countdown) -> CountdownBody {
        CountdownBody {
            ttl_ms: countdown.ttl_ms,
            expires_at: countdown.expires_at.map(|deadline| deadline.0),
        }
    }
}

/// A number was added to.
#[derive(Debug, Object)]
#[oai(rename = "Sum")]
pub(super) struct SumBody {
    /// The value now.
    value: i64,
    /// The version now, with which the ETag begins.
    version: u64,
}

impl From<Sum> for SumBody {
    fn from(sum: Sum) -> SumBody {
        SumBody { value: sum.value, version: sum.version.0 }
    }
}

/// Everything was removed.
#[derive(Debug, Object)]
pub(super) struct Cleared {
    /// How many keys there were, expired ones that were not swept yet included.
    pub(super) keys: u64,
}

/// Sets all headers of an entry.
fn stamp(headers: &mut HeaderMap, entry: &Entry, name: EntityTag) {
    tag(headers, entry.version, name);
    if let Some(ttl_ms) = entry.ttl_ms {
        headers.insert(TTL_MS, HeaderValue::from(ttl_ms));
    }
}

fn envelope(key: &Key, entry: &Entry) -> Envelope {
    let (key, key_base64) = text_or_base64(key.as_bytes());
    let (value, value_base64) = text_or_base64(&entry.value);
    Envelope { key, key_base64, value, value_base64, version: entry.version.0, ttl_ms: entry.ttl_ms }
}

pub(super) fn text_or_base64(bytes: &[u8]) -> (Option<String>, Option<Base64<Vec<u8>>>) {
    match str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(Base64(bytes.to_vec()))),
    }
}

fn entry_headers() -> Vec<MetaHeader> {
    let mut headers = version_headers();
    headers.push(described("Kvorum-Ttl-Ms", "Milliseconds left; absent if the key has no deadline.", false));
    headers
}
