//! Why a call has no answer, and how a refusal travels.

use tonic::metadata::MetadataValue;
use tonic::{Code, ConnectError, Status};

use super::envelope::Refusal;

/// Where the name of a refusal travels.
const REFUSED: &str = "kvorum-refused";

/// Why a call has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// No connection: nothing was sent.
    #[error("not reachable: {0}")]
    Unsent(String),
    /// The other side did not look at it.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// It was sent, and what became of it is not known.
    #[error("no answer: {0}")]
    Lost(String),
}

impl CallError {
    pub(super) fn of(status: &Status) -> CallError {
        let refused = status.metadata().get(REFUSED).and_then(|name| name.to_str().ok());
        if let Some(refusal) = refused.and_then(Refusal::named) {
            return CallError::Refused(refusal);
        }
        let mut cause: Option<&dyn std::error::Error> = Some(status);
        while let Some(error) = cause {
            if error.is::<ConnectError>() {
                return CallError::Unsent(root_cause(error).to_string());
            }
            cause = error.source();
        }
        let what = if status.message().is_empty() { "no reason given" } else { status.message() };
        CallError::Lost(format!("{}: {what}", status.code().description()))
    }
}

/// The innermost cause: those around it only say that something failed.
fn root_cause(mut error: &dyn std::error::Error) -> &dyn std::error::Error {
    while let Some(cause) = error.source() {
        error = cause;
    }
    error
}

/// The status of a message that is not looked at.
pub(crate) fn refused(refusal: Refusal) -> Status {
    let code = match refusal {
        Refusal::Secret => Code::Unauthenticated,
        Refusal::Forming | Refusal::Starting => Code::Unavailable,
        _ => Code::FailedPrecondition,
    };
    let mut status = Status::new(code, refusal.to_string());
    status.metadata_mut().insert(REFUSED, MetadataValue::from_static(refusal.name()));
    status
}
