//! The results of a batch on their way out: what was read may be far more than what was sent.

use std::iter;

use bytes::Bytes;
use futures_util::stream;
use poem::http::{HeaderValue, header};
use poem::{Body, IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;

use super::batch::{BatchDone, StepResult};
use super::coding::Coding;
use super::payload::media_types;
use crate::service::StepDone;

/// Results up to so many bytes of values are written as a whole, others one by one as the client takes them.
const WHOLE_BYTES: usize = 1 << 20;

/// What came of the steps of a batch.
pub(super) struct Results {
    pub(super) coding: Coding,
    pub(super) done: Vec<StepDone>,
}

impl IntoResponse for Results {
    fn into_response(self) -> Response {
        let Results { coding, done } = self;
        let values = done.iter().map(|done| match done {
            StepDone::Get(Some(entry)) => entry.value.len(),
            _ => 0,
        });
        let bytes: usize = values.sum();
        let (head, between, end) = coding.list("results", done.len());
        let results = done.into_iter().enumerate().map(move |(n, done)| {
            let mut piece = if n == 0 { Vec::new() } else { between.as_bytes().to_vec() };
            piece.extend(coding.encode(StepResult::from(done).document()));
            piece
        });
        let pieces = iter::once(head).chain(results).chain(iter::once(end.as_bytes().to_vec()));
        let body = if bytes <= WHOLE_BYTES {
            Body::from_vec(pieces.flatten().collect())
        } else {
            Body::from_bytes_stream(stream::iter(
                pieces.map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece))),
            ))
        };
        let content_type = HeaderValue::from_static(coding.media_type());
        Response::builder().header(header::CONTENT_TYPE, content_type).body(body)
    }
}

impl ApiResponse for Results {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "Everything is done.",
                status: Some(200),
                status_range: None,
                content: media_types(BatchDone::schema_ref()),
                headers: Vec::new(),
            }],
        }
    }

    fn register(registry: &mut Registry) {
        BatchDone::register(registry);
    }
}
