//! An accepted connection: bytes in and out, and a word for clients whose request never became one.
//!
//! hyper answers a head that it cannot read by itself, with a bare status. That answer is the only one that is written
//! before a request was seen, so it is known here and sent as a problem document instead.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::refusal::Refusal;
use super::socket::Stream;
use super::watch::Watch;
use crate::service::Error;

/// What is read and dropped of a body that nobody wants, so that its sender gets to read why: a socket that is closed with
/// unread bytes in it is reset, and takes the answer along.
const LINGER_BYTES: usize = 64 << 20;

/// A connection.
pub(super) struct Connection<S: Stream> {
    stream: S,
    watch: Arc<Watch>,
    /// What is still to be sent in the place of what hyper has written.
    instead: Vec<u8>,
    /// Bytes that may still be read and dropped before the connection ends.
    linger_bytes: usize,
    /// Once the node stops, nobody is lingered for.
    stopping: CancellationToken,
}

impl<S: Stream> Connection<S> {
    pub(super) fn new(stream: S, watch: Arc<Watch>, stopping: CancellationToken) -> Connection<S> {
        Connection { stream, watch, instead: Vec::new(), linger_bytes: LINGER_BYTES, stopping }
    }

    /// Takes note of what comes of writing.
    fn written(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.watch.sent(result.is_ready());
        result
    }

    /// Drops what the client still sends until it ends, within bounds; the watch sees to the time.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 8 << 10];
        while self.linger_bytes > 0 && !self.stopping.is_cancelled() {
            let mut buffer = ReadBuf::new(&mut scratch);
            std::task::ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
            self.linger_bytes = self.linger_bytes.saturating_sub(buffer.filled().len());
        }
        Poll::Ready(Ok(()))
    }

    fn poll_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.instead.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(context, &self.instead);
            let length = std::task::ready!(self.written(written))?;
            self.instead.drain(..length);
        }
        Poll::Ready(Ok(()))
    }
}

/// The answer to a head that hyper refuses with this status line.
fn answer_to(status_line: &[u8]) -> Vec<u8> {
    let status = status_line.get(9..12).and_then(|digits| str::from_utf8(digits).ok()).unwrap_or_default();
    let refusal = match status {
        "431" => Refusal::HeadTooLarge,
        "414" => Refusal::Service(Error::InvalidArgument("the request target is too long".to_owned())),
        _ => Refusal::Service(Error::InvalidArgument("the head of the request is malformed".to_owned())),
    };
    refusal.farewell()
}

impl<S: Stream> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        match buffer.filled().get(before..) {
            Some(received) if !received.is_empty() => self.watch.received(received),
            _ => {}
        }
        result
    }
}

impl<S: Stream> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.watch.is_before_request() && bytes.starts_with(b"HTTP/1.") {
            self.instead = answer_to(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.watch.is_before_request()
            && let Some(first) = slices.iter().find(|slice| !slice.is_empty())
        {
            return self.poll_write(context, first);
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_instead(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_instead(context))?;
        std::task::ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        if self.watch.has_unread() { self.poll_linger(context) } else { Poll::Ready(Ok(())) }
    }
}

impl<S: Stream> Drop for Connection<S> {
    fn drop(&mut self) {
        if self.watch.was_slow() {
            // If the socket does not take it at once, the client hears only that the connection ends.
            let _ = self.stream.try_send(&Refusal::TooSlow("the head of the request").farewell());
        }
    }
}
