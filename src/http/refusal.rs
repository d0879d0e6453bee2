//! Errors on the wire: RFC 9457 problem documents.

use poem::Response;
use poem::http::{HeaderValue, StatusCode, header};
use poem_openapi::Object;
use poem_openapi::types::ToJSON;

use crate::service::{Applied, Code, Error};

/// Media type of every error.
pub(super) const PROBLEM: &str = "application/problem+json";

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
    #[error("this can be sent as application/octet-stream or application/json")]
    NotAcceptable,
    /// The body cannot be taken as it is sent.
    #[error("{0}")]
    UnsupportedMediaType(&'static str),
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
}

impl Refusal {
    /// A request that makes no sense.
    pub(super) fn invalid(reason: impl Into<String>) -> Refusal {
        Refusal::Service(Error::InvalidArgument(reason.into()))
    }

    /// The stable name.
    pub(super) fn code(&self) -> Code {
        match self {
            Refusal::Service(error) => error.code(),
            Refusal::NoSuchPath(_) => Code::NotFound,
            Refusal::MethodNotAllowed { .. } => Code::MethodNotAllowed,
            Refusal::NotAcceptable => Code::NotAcceptable,
            Refusal::UnsupportedMediaType(_) => Code::UnsupportedMediaType,
        }
    }

    /// The answer to a request that was refused; `write` says whether it asked for a change.
    pub(super) fn response(&self, write: bool) -> Response {
        let code = self.code();
        let applied = match self {
            Refusal::Service(error) => error.applied(),
            _ => Applied::No,
        };
        let version = match self {
            Refusal::Service(Error::PreconditionFailed { version }) => Some(version.0),
            _ => None,
        };
        let problem = problem(code, self.to_string(), write.then_some(applied), version);
        let mut response = Response::builder()
            .status(status(code))
            .header(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM))
            .body(problem.to_json_string());
        if let Refusal::MethodNotAllowed { allow } = self
            && let Ok(allow) = HeaderValue::from_str(allow)
        {
            response.headers_mut().insert(header::ALLOW, allow);
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

/// The document of one problem.
pub(super) fn problem(code: Code, detail: String, applied: Option<Applied>, version: Option<u64>) -> Problem {
    Problem {
        kind: format!("urn:kvorum:error:{}", code.name()),
        title: code.summary().to_owned(),
        status: status(code).as_u16(),
        detail,
        code: code.name().to_owned(),
        applied: applied.map(|applied| applied.name().to_owned()),
        version,
    }
}

/// The status that a code is sent with.
pub(super) fn status(code: Code) -> StatusCode {
    match code {
        Code::InvalidArgument | Code::KeyTooLarge => StatusCode::BAD_REQUEST,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
        Code::Conflict => StatusCode::CONFLICT,
        Code::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Code::ValueTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Code::NoLeader | Code::Overloaded | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::UnknownOutcome => StatusCode::GATEWAY_TIMEOUT,
        Code::OutOfMemory | Code::OutOfDisk => StatusCode::INSUFFICIENT_STORAGE,
    }
}
