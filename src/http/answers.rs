//! Answers of operations on keys: what is sent, and what the document says of it, side by side.

use poem::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::payload::Json;
use poem_openapi::registry::Registry;
use poem_openapi::registry::{
    MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef,
};
use poem_openapi::types::{Base64, ToJSON, Type};
use poem_openapi::{ApiResponse, Object};

use super::accept::{JSON, OCTETS};
use crate::model::{Key, Version};
use crate::service::{Countdown, Entry, Written};

const VERSION: HeaderName = HeaderName::from_static("kvorum-version");
const TTL_MS: HeaderName = HeaderName::from_static("kvorum-ttl-ms");

/// A value that was found, in the form that the client wants.
pub(super) struct Found {
    /// What was found.
    pub(super) entry: Entry,
    /// What was asked for, if it is to be sent with an envelope; else the value goes out bare.
    pub(super) key: Option<Key>,
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
    /// The version, as in the ETag.
    version: u64,
    /// Milliseconds left; absent if the key has no deadline.
    #[oai(skip_serializing_if_is_none)]
    ttl_ms: Option<u64>,
}

impl IntoResponse for Found {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        let mut headers = HeaderMap::with_capacity(4);
        let content_type = if self.key.is_some() { JSON } else { OCTETS };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        tag(&mut headers, self.entry.version);
        if let Some(ttl_ms) = self.entry.ttl_ms {
            headers.insert(TTL_MS, HeaderValue::from(ttl_ms));
        }
        *response.headers_mut() = headers;
        match self.key {
            None => response.set_body(self.entry.value),
            Some(key) => response.set_body(envelope(&key, &self.entry).to_json_string()),
        }
        response
    }
}

impl ApiResponse for Found {
    fn meta() -> MetaResponses {
        let octets = MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary")));
        let mut headers = version_headers();
        headers.push(described(
            "Kvorum-Ttl-Ms",
            "Milliseconds left; absent if the key has no deadline.",
            false,
        ));
        MetaResponses {
            responses: vec![MetaResponse {
                description: "The value: its bytes, or an envelope if `Accept` asks for `application/json`.",
                status: Some(200),
                status_range: None,
                content: vec![
                    MetaMediaType { content_type: OCTETS, schema: octets },
                    MetaMediaType { content_type: JSON, schema: Envelope::schema_ref() },
                ],
                headers,
            }],
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
    /// Its version now, as in the ETag.
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
}

impl IntoResponse for Stored {
    fn into_response(self) -> Response {
        let (key, key_base64) = text_or_base64(self.key.as_bytes());
        let Written { version, created } = self.written;
        let body = WrittenBody { key, key_base64, version: version.0, created };
        let mut response = Json(body).into_response();
        response.set_status(if created { StatusCode::CREATED } else { StatusCode::OK });
        tag(response.headers_mut(), version);
        response
    }
}

impl ApiResponse for Stored {
    fn meta() -> MetaResponses {
        let response = |status, description| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: vec![MetaMediaType { content_type: JSON, schema: WrittenBody::schema_ref() }],
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

/// Sets ETag and Kvorum-Version.
fn tag(headers: &mut HeaderMap, version: Version) {
    // Twenty digits and the quotes, without a detour over a string of its own.
    let mut quoted = [b'"'; 22];
    let mut start = quoted.len() - 1;
    let mut rest = version.0;
    loop {
        start -= 1;
        quoted[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if let Ok(etag) = HeaderValue::from_bytes(&quoted[start - 1..]) {
        headers.insert(header::ETAG, etag);
    }
    headers.insert(VERSION, HeaderValue::from(version.0));
}

fn envelope(key: &Key, entry: &Entry) -> Envelope {
    let (key, key_base64) = text_or_base64(key.as_bytes());
    let (value, value_base64) = text_or_base64(&entry.value);
    Envelope { key, key_base64, value, value_base64, version: entry.version.0, ttl_ms: entry.ttl_ms }
}

fn text_or_base64(bytes: &[u8]) -> (Option<String>, Option<Base64<Vec<u8>>>) {
    match str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(Base64(bytes.to_vec()))),
    }
}

fn version_headers() -> Vec<MetaHeader> {
    vec![
        described("ETag", "The version in double quotes, for `If-Match`.", true),
        described("Kvorum-Version", "The version: the store's revision at the key's last change.", true),
    ]
}

fn described(name: &str, description: &str, required: bool) -> MetaHeader {
    let ty = if name == "ETag" { "string" } else { "integer" };
    MetaHeader {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        required,
        deprecated: false,
        schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new(ty))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_written_whole() {
        for version in [0, 7, 10, 1 << 32, u64::MAX] {
            let mut headers = HeaderMap::new();
            tag(&mut headers, Version(version));
            assert_eq!(headers[header::ETAG], format!("\"{version}\""));
            assert_eq!(headers[VERSION], version.to_string());
        }
    }
}
