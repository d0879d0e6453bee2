//! The body of a write: refused before it is read if it is too large, and whole or not at all.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt};
use poem::http::{HeaderMap, header};
use poem::{Body, Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::accept::OCTETS;
use super::gate::Gate;
use super::refusal::Refusal;
use super::watch::Watch;
use crate::service::Error;

/// Most bytes of bodies that are held at a time, over all connections.
const MAX_HELD_BYTES: u64 = 256 << 20;

/// What a body must bring in each second, once `http.body_timeout_ms` has passed.
const PACE_BYTES: u64 = 16 << 10;

/// What a body still gets once the node stops.
const STOPPING: Duration = Duration::from_millis(500);

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
    watch: Option<Arc<Watch>>,
}

impl Incoming {
    /// The body of `request`, unless its headers say that it cannot be taken as it is.
    pub(super) fn new(request: &Request, body: &mut RequestBody) -> poem::Result<Incoming> {
        let length = check(request.headers())?;
        let watch = request.extensions().get::<Arc<Watch>>().cloned();
        Ok(Incoming { body: body.take()?, length, watch })
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
        if let Some(watch) = &self.watch {
            watch.reads_body();
        }
        let read = bodies.read(self.body, limit_bytes, too_large).await;
        if let Some(watch) = &self.watch {
            watch.read_body(read.is_ok());
        }
        read
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

/// Bounds the bytes of bodies in memory, and the time that they take to arrive.
pub(super) struct Bodies {
    room: Semaphore,
    timeout: Duration,
    gate: Arc<Gate>,
}

/// Room for one body, given back when dropped.
pub(super) struct Room<'a> {
    units: Option<SemaphorePermit<'a>>,
    bytes: u64,
}

impl Bodies {
    /// A body must have arrived after `timeout` and a second for each [`PACE_BYTES`] of it, and soon after `gate` drains.
    pub(super) fn new(timeout: Duration, gate: Arc<Gate>) -> Bodies {
        Bodies { room: Semaphore::new((MAX_HELD_BYTES / UNIT_BYTES) as usize), timeout, gate }
    }

    async fn read(
        &self,
        body: Body,
        limit_bytes: u64,
        too_large: Error,
    ) -> Result<(Bytes, Room<'_>), Refusal> {
        let mut stream = pin!(body.into_bytes_stream());
        let mut room = Room { units: None, bytes: 0 };
        let started = Instant::now();
        // A body of one chunk, as most are, is handed on without a copy.
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        loop {
            let chunk = match stream.next().now_or_never() {
                Some(chunk) => chunk,
                None => self.wait(stream.next(), started, room.bytes).await?,
            };
            let Some(chunk) = chunk else { break };
            let chunk = chunk.map_err(|_| Refusal::invalid("the body ended before it was complete"))?;
            if room.bytes + chunk.len() as u64 > limit_bytes {
                return Err(too_large.into());
            }
            self.take(&mut room, chunk.len() as u64)?;
            if first.is_empty() {
                first = chunk;
                continue;
            }
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&chunk);
        }
        Ok((if rest.is_empty() { first } else { rest.freeze() }, room))
    }

    /// Waits for the next chunk, as long as the body keeps its pace.
    async fn wait<T>(
        &self,
        next: impl Future<Output = T>,
        started: Instant,
        received_bytes: u64,
    ) -> Result<T, Refusal> {
        let pace = Duration::from_millis(received_bytes * 1_000 / PACE_BYTES);
        let stopping = async {
            self.gate.drained().await;
            tokio::time::sleep(STOPPING).await;
        };
        tokio::select! {
            next = next => Ok(next),
            () = tokio::time::sleep_until(started + self.timeout + pace) => Err(Refusal::TooSlow("the body of the request")),
            () = stopping => Err(Error::Unavailable("the node is stopping").into()),
        }
    }

    /// Room for so many bytes more.
    fn take<'a>(&'a self, room: &mut Room<'a>, bytes: u64) -> Result<(), Refusal> {
        let held = room.bytes.div_ceil(UNIT_BYTES);
        room.bytes += bytes;
        let wanted = room.bytes.div_ceil(UNIT_BYTES) - held;
        let wanted = u32::try_from(wanted).map_err(|_| Error::Overloaded)?;
        let more = self.room.try_acquire_many(wanted).map_err(|_| Error::Overloaded)?;
        match &mut room.units {
            Some(units) => units.merge(more),
            None => room.units = Some(more),
        }
        Ok(())
    }
}
