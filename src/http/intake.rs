//! The body of an HTTP/2 request, which outlives the operation that reads it.
//!
//! Over HTTP/2 a body that is dropped cuts its stream off, and the answer with it: who sent too much would not hear why.
//! So the stream of the body is shared with the answer and goes only when that was handed over; by then cutting it off
//! says no more than that nobody wants the rest.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

/// A share of the body: one is read, the others keep it open.
#[derive(Clone)]
pub(super) struct Intake(Arc<Mutex<BoxBody<Bytes, io::Error>>>);

impl Intake {
    pub(super) fn new(body: poem::Body) -> Intake {
        Intake(Arc::new(Mutex::new(body.into())))
    }

    /// The share that is read.
    pub(super) fn body(&self) -> poem::Body {
        self.clone().boxed().into()
    }
}

impl Body for Intake {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut *self.0.lock()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().size_hint()
    }
}
