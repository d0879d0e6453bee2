//! An answer on its way out: the request counts as served until the client has taken it.
//!
//! Over HTTP/1 hyper takes the next piece of a body when the last one has gone into the socket. Over HTTP/2 it takes a
//! piece of whatever size as soon as the client's window is open at all, and keeps it until the client takes it: so there
//! an answer is handed over in small pieces, and no more than one of them is out of sight.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};

use super::intake::Intake;
use super::watch::Busy;

/// Largest piece over HTTP/2: what a frame takes unless the client allows more.
const PIECE_BYTES: usize = 16 << 10;

/// poem's body.
pub(super) type Content = BoxBody<Bytes, io::Error>;

/// The body of an answer.
pub(super) struct Outgoing {
    content: Content,
    /// What was taken from it and not handed over yet; over HTTP/2 only.
    rest: Bytes,
    in_pieces: bool,
    busy: Busy,
    /// What is left of the request: it may go when the answer has.
    _intake: Option<Intake>,
}

impl Outgoing {
    pub(super) fn new(content: Content, busy: Busy, intake: Option<Intake>, in_pieces: bool) -> Outgoing {
        busy.answers();
        Outgoing { content, rest: Bytes::new(), in_pieces, busy, _intake: intake }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.rest.is_empty() {
            let Poll::Ready(frame) = Pin::new(&mut self.content).poll_frame(context) else {
                self.busy.pauses();
                return Poll::Pending;
            };
            self.busy.answers();
            match frame {
                Some(Ok(frame)) if self.in_pieces && frame.is_data() => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                other => return Poll::Ready(other),
            }
        }
        let length = self.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.content.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}
