//! What carries connections between members: TCP, TLS over it, or a network of a simulation.
//!
//! Everything above it is the same for both: gRPC, its deadlines, its keep-alive. So the simulation in `tests/simulation`
//! cuts, delays and breaks what a network would, and nothing of the members' conversation is replaced.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Connections as they come.
pub type Incoming = BoxStream<'static, io::Result<Connection>>;

/// What connects nodes other than plain TCP.
pub trait Transport: Send + Sync + 'static {
    /// Connects to `address`, a host and a port.
    fn connect(&self, address: &str) -> BoxFuture<'static, io::Result<Connection>>;

    /// Takes connections to `address` from now on, until what it returns is dropped. Port 0 takes a free one: the address that
    /// it returns says which.
    ///
    /// # Errors
    /// As of a socket that is bound.
    fn listen(self: Arc<Self>, address: SocketAddr) -> io::Result<(SocketAddr, Incoming)>;
}

/// Bytes both ways, in order.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection of a [`Transport`].
pub struct Connection(Box<dyn Stream>);

impl Connection {
    /// A connection over `stream`.
    pub fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Connection {
        Connection(Box::new(stream))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
