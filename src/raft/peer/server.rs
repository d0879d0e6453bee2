//! The listener for peers: gRPC on a port of its own.
//!
//! It looks at secret and envelope, which are headers, before it reads anything of a message, and hands what passes to the
//! [`Desk`]. It answers from the very start, before the node has a cluster: seeds ask one another what they are.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, sleep};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::metadata::MetadataMap;
use tonic::server::{ClientStreamingService, Grpc, StreamingService, UnaryService};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::desk::Desk;
use super::envelope::Refusal;
use super::error::refused;
use super::link::{APPEND, CALL, CONVERSE, ENVELOPE, INSTALL, MAX_MESSAGE_BYTES, SECRET, SIGN_OF_LIFE};
use super::secret::Secret;
use super::unproven::{Admission, Proof};
use super::wire::{self, Envelope};
use crate::raft::transport::{Connection, Transport};

/// How long nothing is accepted after it failed: without files to open it fails again at once.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Bytes that may be under way on a stream before they were taken.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// The same for all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Most streams of a connection at the same time.
const MAX_STREAMS: u32 = 256;

/// A listener that is bound and not served yet.
pub(crate) struct Listener {
    incoming: Incoming,
    address: SocketAddr,
}

/// Connections that are taken.
enum Incoming {
    Tcp(TcpListener),
    Other(BoxStream<'static, io::Result<Connection>>),
}

impl Listener {
    /// Binds `address`, of TCP or of what is there instead.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) async fn bind(
        address: SocketAddr,
        transport: Option<&Arc<dyn Transport>>,
    ) -> io::Result<Listener> {
        if let Some(transport) = transport {
            let (address, incoming) = Arc::clone(transport).listen(address)?;
            return Ok(Listener { incoming: Incoming::Other(incoming), address });
        }
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Listener { incoming: Incoming::Tcp(listener), address })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stopped`. Connections that were accepted before go on until one side closes them.
    pub(crate) async fn serve(self, desk: Arc<Desk>, secret: Arc<Secret>, stopped: impl Future<Output = ()>) {
        let peer = Peer { desk, secret };
        let serving = match self.incoming {
            Incoming::Tcp(listener) => serve_on(peer, accept(listener)).boxed(),
            Incoming::Other(incoming) => serve_on(peer, incoming).boxed(),
        };
        tokio::select! {
            served = serving => {
                if let Err(error) = served {
                    tracing::error!(%error, "the listener for peers ended");
                }
            }
            () = stopped => {}
        }
    }
}

/// Connections as they come. Where one cannot be accepted, as for want of files, the next is waited for.
pub(super) fn accept(listener: TcpListener) -> BoxStream<'static, io::Result<TcpStream>> {
    let accepted = stream::unfold(listener, |listener| async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // Without it messages are only slower.
                    let _ = stream.set_nodelay(true);
                    return Some((Ok(stream), listener));
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection of a peer could not be accepted");
                    sleep(AFTER_FAILURE).await;
                }
            }
        }
    });
    accepted.boxed()
}

async fn serve_on<I, IO>(peer: Peer, incoming: I) -> Result<(), tonic::transport::Error>
where
    I: Stream<Item = io::Result<IO>>,
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let admission = Admission::default();
    let incoming = incoming.map(move |accepted| accepted.map(|io| admission.hold(io)));
    tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        // A peer that is gone without a word must not keep its streams open.
        .http2_keepalive_interval(Some(SIGN_OF_LIFE / 2))
        .http2_keepalive_timeout(Some(SIGN_OF_LIFE))
        .serve_with_incoming(peer, incoming)
        .await
}

/// The service `kvorum.Peer`.
#[derive(Clone)]
struct Peer {
    desk: Arc<Desk>,
    secret: Arc<Secret>,
}

impl Peer {
    /// The envelope, if the sender knows the secret.
    fn open(&self, headers: &http::HeaderMap, proof: Option<&Proof>) -> Result<Envelope, Status> {
        let mut picked = http::HeaderMap::new();
        for name in [SECRET, ENVELOPE] {
            if let Some(value) = headers.get(name) {
                picked.insert(name, value.clone());
            }
        }
        let metadata = MetadataMap::from_headers(picked);
        let given = metadata.get_bin(SECRET).and_then(|secret| secret.to_bytes().ok());
        if !self.secret.accepts(given.as_deref()) {
            return Err(self.refuse(Refusal::Secret));
        }
        if proof.is_some_and(|proof| !proof.prove()) {
            return Err(Status::resource_exhausted("too many connections of peers"));
        }
        let envelope = metadata.get_bin(ENVELOPE).and_then(|envelope| envelope.to_bytes().ok());
        let envelope = envelope.and_then(|bytes| Envelope::decode(bytes).ok());
        envelope.ok_or_else(|| self.refuse(Refusal::Malformed))
    }

    fn refuse(&self, refusal: Refusal) -> Status {
        self.desk.count(refusal);
        refused(refusal)
    }

    fn done<T>(&self, result: Result<T, Refusal>) -> Result<Response<T>, Status> {
        result.map(Response::new).map_err(|refusal| self.refuse(refusal))
    }
}

type Answering<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

/// A message of a peer who knows the secret.
struct Opened {
    peer: Peer,
    envelope: Envelope,
}

struct Calls(Opened);

impl UnaryService<wire::Request> for Calls {
    type Response = wire::Response;
    type Future = Answering<wire::Response>;

    fn call(&mut self, request: Request<wire::Request>) -> Self::Future {
        let (peer, envelope) = (self.0.peer.clone(), self.0.envelope);
        Box::pin(async move {
            let Some(ask) = request.into_inner().ask else {
                return Err(Status::unimplemented("a request of a newer version"));
            };
            let said = peer.desk.answer(&envelope, ask).await;
            peer.done(said.map(|say| wire::Response { say: Some(say) }))
        })
    }
}

struct Appends(Opened);

impl StreamingService<wire::Append> for Appends {
    type Response = wire::Appended;
    type ResponseStream = BoxStream<'static, Result<wire::Appended, Status>>;
    type Future = Answering<Self::ResponseStream>;

    fn call(&mut self, request: Request<Streaming<wire::Append>>) -> Self::Future {
        let Opened { peer, envelope } = &self.0;
        let answers = peer.done(peer.desk.append(envelope, request.into_inner()));
        Box::pin(std::future::ready(answers))
    }
}

struct Installs(Opened);

impl ClientStreamingService<wire::Piece> for Installs {
    type Response = wire::Installed;
    type Future = Answering<wire::Installed>;

    fn call(&mut self, request: Request<Streaming<wire::Piece>>) -> Self::Future {
        let (peer, envelope) = (self.0.peer.clone(), self.0.envelope);
        Box::pin(async move {
            let installed = peer.desk.install(&envelope, request.into_inner()).await;
            let installed = installed.map_err(|refusal| peer.refuse(refusal))?;
            installed.map(Response::new).map_err(|error| Status::new(Code::Aborted, error))
        })
    }
}

struct Converses(Opened);

impl StreamingService<wire::Asked> for Converses {
    type Response = wire::Answered;
    type ResponseStream = BoxStream<'static, Result<wire::Answered, Status>>;
    type Future = Answering<Self::ResponseStream>;

    fn call(&mut self, request: Request<Streaming<wire::Asked>>) -> Self::Future {
        let Opened { peer, envelope } = &self.0;
        let answers = peer.desk.converse(*envelope, request.into_inner());
        Box::pin(std::future::ready(Ok(Response::new(answers))))
    }
}

impl Service<http::Request<Body>> for Peer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let opened = self.open(request.headers(), request.extensions().get::<Proof>());
        let opened = opened.map(|envelope| Opened { peer: self.clone(), envelope });
        Box::pin(async move {
            let opened = match opened {
                Ok(opened) => opened,
                Err(status) => return Ok(status.into_http()),
            };
            Ok(match request.uri().path() {
                CALL => grpc().unary(Calls(opened), request).await,
                APPEND => grpc().streaming(Appends(opened), request).await,
                INSTALL => grpc().client_streaming(Installs(opened), request).await,
                CONVERSE => grpc().streaming(Converses(opened), request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

fn grpc<T, U>() -> Grpc<ProstCodec<T, U>>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    Grpc::new(ProstCodec::default())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}
