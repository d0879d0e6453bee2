//! What connections come from: a port, or a socket under a name in a directory.

use std::future::Future;
use std::io;

use poem::web::RemoteAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Gives connections.
pub(super) trait Listener: Send + Sync + 'static {
    /// What it gives.
    type Stream: Stream;

    /// The next one, and who is at its other end.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, RemoteAddr)>> + Send;
}

/// Carries bytes both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Sends what the system takes at once.
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, RemoteAddr)> {
        let (stream, remote) = TcpListener::accept(self).await?;
        // A peer that is gone already shows at the first read.
        let _ = stream.set_nodelay(true);
        Ok((stream, RemoteAddr(remote.into())))
    }
}

impl Stream for TcpStream {
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write(bytes)
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, RemoteAddr)> {
        let (stream, remote) = UnixListener::accept(self).await?;
        Ok((stream, RemoteAddr(remote.into())))
    }
}

impl Stream for UnixStream {
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write(bytes)
    }
}
