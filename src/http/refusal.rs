//! Errors on the wire: RFC 9457 problem documents.

use poem::Response;
use poem::http::{HeaderName, HeaderValue, StatusCode, header};
use poem_openapi::Object;
use poem_openapi::types::ToJSON;

use crate::service::{Applied, Code, Error, Gone};

/// Media type of every error.
pub(super) const PROBLEM: &str = "application/problem+json";

/// Says why a key is gone.
pub(super) const GONE: HeaderName = HeaderName::from_static("kvorum-gone");

/// Seconds after which a client that got a 503 may try again.
const RETRY_AFTER_S: u32 = 1;

/// Why a request is not answered with success.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The service says no.
    #[error(transparent)]
    Service(#[from] Error),
    /// No operation has this path.
    #[error("{0}")]
    NoSuchPath(&'static str),
    /// The path has operations, but not with this method.
    #[error("this path knows {allow}")]
    MethodNotAllowed {
        /// The methods that it knows, as the header has them.
        allow: String,
    },
    /// Nothing can be sent that the client accepts.
    #[error("{0}")]
    NotAcceptable(&'static str),
    /// A part of the request was sent too slowly.
    #[error("{0} did not arrive in time")]
    TooSlow(&'static str),
    /// The head of the request is too long.
    #[error("the head of a request has at most 64 KiB and 100 headers")]
    HeadTooLarge,
    /// The body cannot be taken as it is sent.
    #[error("{0}")]
    UnsupportedMediaType(&'static str),
    /// A page of another site asks.
    #[error("a page of another site asks for this: only pages of this server may")]
    ForeignSite,
    /// The request names a server that this one is not.
    #[error(
        "this server does not go by that name: http.allowed_hosts lists the names that clients may call it by"
    )]
    ForeignName,
    /// The body is coded for its transfer in another way than in chunks.
    #[error("a body is sent with Content-Length or in chunks: no other Transfer-Encoding is understood")]
    UnknownTransferCoding,
}

/// A problem document (RFC 9457).
#[derive(Debug, Object)]
pub(super) struct Problem {
    /// Names the kind of problem; `code` is its last part.
    #[oai(rename = "type")]
    kind: String,
    /// What the kind of problem is, for humans.
    title: String,
    /// The HTTP status.
    #[oai(validator(minimum(value = "400"), maximum(value = "599")))]
    status: u16,
    /// What is wrong in this case, for humans.
    detail: String,
    /// The stable name of the problem, for programs.
    code: String,
    /// For writes only: `no` if it certainly did not happen and will not, `unknown` if it may have or still may.
    #[oai(skip_serializing_if_is_none)]
    applied: Option<String>,
    /// For `precondition-failed` only: the key's version, 0 if there is no such key.
    #[oai(skip_serializing_if_is_none)]
    version: Option<u64>,
    /// For batches only: the number of the step that is wrong or failed, from 0.
    #[oai(skip_serializing_if_is_none)]
    step: Option<u64>,
    /// For `not-found` only: why the key is gone, if this node remembers.
    #[oai(skip_serializing_if_is_none)]
    gone: Option<GoneBody>,
}

/// Why and when a key went.
#[derive(Debug, Object)]
#[oai(rename = "Gone")]
pub(super) struct GoneBody {
    /// `deleted`, `expired`, `evicted` or `cleared`.
    reason: String,
    /// Cluster time at which it went, in milliseconds since the Unix epoch.
    at: u64,
    /// Index of the log entry that removed it.
    index: u64,
}

impl From<Gone> for GoneBody {
    fn from(gone: Gone) -> GoneBody {
        GoneBody { reason: gone.reason.name().to_owned(), at: gone.at.0, index: gone.index }
    }
}

impl Refusal {
    /// A request that makes no sense.
    pub(super) fn invalid(reason: impl Into<String>) -> Refusal {
        Refusal::Service(Error::InvalidArgument(reason.into()))
    }

    /// This, as what is wrong with a step of a batch.
    pub(super) fn of_step(self, at: usize) -> Refusal {
        match self {
            Refusal::Service(error) => Refusal::Service(Error::Step { at, error: Box::new(error) }),
            other => other,
        }
    }

    /// The stable name.
    pub(super) fn code(&self) -> Code {
        match self {
            Refusal::Service(error) => error.code(),
            Refusal::NoSuchPath(_) => Code::NotFound,
            Refusal::MethodNotAllowed { .. } => Code::MethodNotAllowed,
            Refusal::NotAcceptable(_) => Code::NotAcceptable,
            Refusal::UnsupportedMediaType(_) => Code::UnsupportedMediaType,
            Refusal::TooSlow(_) => Code::RequestTimeout,
            Refusal::HeadTooLarge => Code::HeadTooLarge,
            Refusal::ForeignSite => Code::Forbidden,
            Refusal::ForeignName => Code::Misdirected,
            Refusal::UnknownTransferCoding => Code::NotImplemented,
        }
    }

    /// The answer to what never became a request, as it is sent on a connection that ends with it.
    pub(super) fn farewell(&self) -> Vec<u8> {
        let status = status(self.code());
        let body = problem(self.code(), self.to_string(), None).to_json_string();
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {PROBLEM}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }

    /// The answer to a request that was refused; `write` says whether it asked for a change.
    pub(super) fn response(&self, write: bool) -> Response {
        let code = self.code();
        let applied = match self {
            Refusal::Service(error) => error.applied(),
            _ => Applied::No,
        };
        let mut problem = problem(code, self.to_string(), write.then_some(applied));
        let gone = match self {
            Refusal::Service(error) => problem.particulars(error),
            _ => None,
        };
        let mut response = Response::builder()
            .status(status(code))
            .header(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM))
            .body(problem.to_json_string());
        if let Refusal::MethodNotAllowed { allow } = self
            && let Ok(allow) = HeaderValue::from_str(allow)
        {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        if let Some(gone) = gone
            && let Ok(gone) = HeaderValue::from_str(&gone)
        {
            response.headers_mut().insert(GONE, gone);
        }
        if status(code) == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        response
    }
}

impl poem::error::ResponseError for Refusal {
    fn status(&self) -> StatusCode {
        status(self.code())
    }
}

impl Problem {
    /// Adds what only some errors have. Returns the text of the header that says why a key is gone.
    pub(super) fn particulars(&mut self, error: &Error) -> Option<String> {
        match error {
            Error::PreconditionFailed { version } => self.version = Some(version.0),
            Error::Step { at, error } => {
                self.step = u64::try_from(*at).ok();
                return self.particulars(error);
            }
            Error::NotFound(Some(gone)) => {
                self.gone = Some(GoneBody::from(*gone));
                return Some(format!("{}; at={}; index={}", gone.reason.name(), gone.at, gone.index));
            }
            _ => {}
        }
        None
    }
}

/// The document of one problem.
pub(super) fn problem(code: Code, detail: String, applied: Option<Applied>) -> Problem {
    Problem {
        kind: format!("urn:kvorum:error:{}", code.name()),
        title: code.summary().to_owned(),
        status: status(code).as_u16(),
        detail,
        code: code.name().to_owned(),
        applied: applied.map(|applied| applied.name().to_owned()),
        version: None,
        step: None,
        gone: None,
    }
}

/// The status that a code is sent with.
pub(super) fn status(code: Code) -> StatusCode {
    match code {
        Code::InvalidArgument | Code::KeyTooLarge => StatusCode::BAD_REQUEST,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
        Code::Conflict | Code::NotAnInteger => StatusCode::CONFLICT,
        Code::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Code::ValueTooLarge | Code::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        Code::Misdirected => StatusCode::MISDIRECTED_REQUEST,
        Code::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Code::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        Code::NoLeader | Code::Overloaded | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::UnknownOutcome => StatusCode::GATEWAY_TIMEOUT,
        Code::OutOfMemory | Code::OutOfDisk => StatusCode::INSUFFICIENT_STORAGE,
    }
}
