//! Documents on their way in and out, in the coding that the client chose.

use std::marker::PhantomData;

use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Request, RequestBody, Response};
use poem_openapi::registry::{
    MetaMediaType, MetaRequest, MetaResponse, MetaResponses, MetaSchemaRef, Registry,
};
use poem_openapi::types::{ParseFromJSON, ToJSON, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions};
use serde_json::Value;

use super::body::{Bodies, Incoming, Room};
use super::coding::{Coding, JSON, MESSAGE_PACK};
use super::refusal::Refusal;
use super::versions::{EntityTag, NOT_MODIFIED, tag, version_headers};
use crate::model::Version;
use crate::service::Error;

/// Longest document about a single key, as it is sent.
pub(super) const SMALL_BYTES: u64 = 4 << 10;

/// A document in the body of a request: of type `T`, and at most `LIMIT` bytes long as it is sent.
pub(super) struct Document<T, const LIMIT: u64> {
    body: Incoming,
    coding: Result<Coding, Refusal>,
    of: PhantomData<T>,
}

impl<'a, T: Type, const LIMIT: u64> ApiExtractor<'a> for Document<T, LIMIT> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest { description: None, content: media_types(T::schema_ref()), required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Document<T, LIMIT>> {
        let coding = Coding::of_body(request.headers());
        Ok(Document { body: Incoming::new(request, body)?, coding, of: PhantomData })
    }
}

impl<T: ParseFromJSON, const LIMIT: u64> Document<T, LIMIT> {
    /// The document, checked against its schema.
    pub(super) async fn read(self, bodies: &Bodies) -> Result<T, Refusal> {
        let (document, _room) = self.value(bodies).await?;
        T::parse_from_json(Some(document)).map_err(|error| Refusal::invalid(reason(error.message())))
    }
}

impl<T, const LIMIT: u64> Document<T, LIMIT> {
    /// The document as it came, and the room that it takes in `bodies`.
    pub(super) async fn value(self, bodies: &Bodies) -> Result<(Value, Room<'_>), Refusal> {
        let coding = self.coding?;
        let (bytes, room) = self.body.read(LIMIT, Error::BodyTooLarge { limit_bytes: LIMIT }, bodies).await?;
        let document = coding.decode(&bytes)?;
        if has_null(&document) {
            return Err(Refusal::invalid("a field is null: leave out what is not said"));
        }
        Ok((document, room))
    }
}

fn has_null(document: &Value) -> bool {
    match document {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(fields) => fields.values().any(has_null),
        _ => false,
    }
}

/// What poem-openapi says of a document that does not fit its schema, without what was found in its place.
pub(super) fn reason(message: &str) -> String {
    message
        .split(", found")
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect()
}

/// A document as an answer.
pub(super) struct Shown<T>(pub(super) Coding, pub(super) T);

impl<T: ToJSON> IntoResponse for Shown<T> {
    fn into_response(self) -> Response {
        let Shown(coding, document) = self;
        let body = coding.encode(document.to_json().unwrap_or_default());
        Response::builder()
            .header(header::CONTENT_TYPE, HeaderValue::from_static(coding.media_type()))
            .body(body)
    }
}

impl<T: ToJSON> ApiResponse for Shown<T> {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                // The document puts what its schema says in its place.
                description: "",
                status: Some(200),
                status_range: None,
                content: media_types(T::schema_ref()),
                headers: Vec::new(),
            }],
        }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// A document about a key of this version, and the tag that it bears.
pub(super) struct Tagged<T>(pub(super) Version, pub(super) EntityTag, pub(super) Shown<T>);

impl<T: ToJSON> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let Tagged(version, name, shown) = self;
        let mut response = shown.into_response();
        tag(response.headers_mut(), version, name);
        response
    }
}

impl<T: ToJSON> ApiResponse for Tagged<T> {
    fn meta() -> MetaResponses {
        let mut meta = Shown::<T>::meta();
        meta.responses.iter_mut().for_each(|response| response.headers = version_headers());
        meta
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// What a conditional read of a document about a key answers.
pub(super) enum Seen<T> {
    /// The document.
    Whole(Tagged<T>),
    /// The client has this representation already.
    NotModified(Version, EntityTag),
}

impl<T: ToJSON> IntoResponse for Seen<T> {
    fn into_response(self) -> Response {
        match self {
            Seen::Whole(tagged) => tagged.into_response(),
            Seen::NotModified(version, name) => {
                let mut response = StatusCode::NOT_MODIFIED.into_response();
                response.headers_mut().remove(header::CONTENT_TYPE);
                tag(response.headers_mut(), version, name);
                response
            }
        }
    }
}

impl<T: ToJSON> ApiResponse for Seen<T> {
    fn meta() -> MetaResponses {
        let mut meta = Tagged::<T>::meta();
        meta.responses.push(MetaResponse {
            description: NOT_MODIFIED,
            status: Some(304),
            status_range: None,
            content: Vec::new(),
            headers: version_headers(),
        });
        meta
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// Both codings of a schema.
pub(super) fn media_types(schema: MetaSchemaRef) -> Vec<MetaMediaType> {
    let of = |content_type| MetaMediaType { content_type, schema: schema.clone() };
    vec![of(JSON), of(MESSAGE_PACK)]
}
