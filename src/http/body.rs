//! The body of a write: refused before it is read if it is too large, and whole or not at all.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use poem::http::{HeaderMap, header};
use poem::{Body, Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::accept::OCTETS;
use super::refusal::Refusal;
use crate::service::Error;

/// Most bytes of bodies that are held at a time, over all connections.
const MAX_HELD_BYTES: u64 = 256 << 20;

/// The unit in which they are counted.
const UNIT_BYTES: u64 = 1 << 10;

/// A value on its way in, under whatever `Content-Type` the client gives it.
pub(super) struct ValueBody(pub(super) Incoming);

impl<'a> ApiExtractor<'a> for ValueBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let schema = MetaSchema::new_with_format("string", "binary");
        let schema = MetaSchemaRef::Inline(Box::new(schema));
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType { content_type: OCTETS, schema }],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<ValueBody> {
        Ok(ValueBody(Incoming::new(request, body)?))
    }
}

/// A body that has not been read yet.
pub(super) struct Incoming {
    body: Body,
    length: Option<u64>,
}

impl Incoming {
    /// The body of `request`, unless its headers say that it cannot be taken as it is.
    pub(super) fn new(request: &Request, body: &mut RequestBody) -> poem::Result<Incoming> {
        let length = check(request.headers())?;
        Ok(Incoming { body: body.take()?, length })
    }

    /// The bytes, at most `limit_bytes` or else `too_large`, and the room that they take in `bodies`.
    pub(super) async fn read(
        self,
        limit_bytes: u64,
        too_large: Error,
        bodies: &Bodies,
    ) -> Result<(Bytes, Room<'_>), Refusal> {
        if self.length.is_some_and(|length| length > limit_bytes) {
            return Err(too_large.into());
        }
        let room = bodies.reserve(self.length.unwrap_or(limit_bytes))?;
        let mut stream = self.body.into_bytes_stream();
        // A body of one chunk, as most are, is handed on without a copy.
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        let mut length = 0;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|_| Refusal::invalid("the body ended before it was complete"))?;
            length += chunk.len() as u64;
            if length > limit_bytes {
                return Err(too_large.into());
            }
            if first.is_empty() {
                first = chunk;
                continue;
            }
            if rest.is_empty() {
                rest.reserve(usize::try_from(self.length.unwrap_or(length)).unwrap_or(0));
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&chunk);
        }
        Ok((if rest.is_empty() { first } else { rest.freeze() }, room))
    }
}

/// What the headers say of a body: its length, if announced.
fn check(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    if headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| coding != "identity") {
        return Err(Refusal::UnsupportedMediaType("a body is taken as it is: no Content-Encoding"));
    }
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err(Refusal::invalid("a body is taken as a whole: no Content-Range"));
    }
    Ok(headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok()))
}

/// Bounds the bytes of bodies in memory.
pub(super) struct Bodies(Semaphore);

/// Room for one body, given back when dropped.
pub(super) struct Room<'a> {
    _units: SemaphorePermit<'a>,
}

impl Bodies {
    pub(super) fn new() -> Bodies {
        Bodies(Semaphore::new((MAX_HELD_BYTES / UNIT_BYTES) as usize))
    }

    fn reserve(&self, bytes: u64) -> Result<Room<'_>, Refusal> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).map_err(|_| Error::Overloaded)?;
        let units = self.0.try_acquire_many(units).map_err(|_| Error::Overloaded)?;
        Ok(Room { _units: units })
    }
}
