//! Connections to one node.
//!
//! Made when they are needed, and again when they broke; the name is looked up each time, because a pod that comes back
//! has another address. Four connections, so that nothing waits behind what is long: votes and heartbeats, entries,
//! forwarded writes, snapshots.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::sync::Notify;
use tonic::codegen::Service;
use tonic::codegen::http::uri::{PathAndQuery, Uri};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use super::conversation::{Answers, Conversation};
use super::envelope::Refusal;
use super::error::CallError;
use super::exchange::Forward;
use super::secret::Secret;
use super::wire::{self, Answered, Asked, Envelope};
use crate::raft::transport::{Connection, Transport};

/// Longest message: a transaction of the largest size, and what goes with it.
pub(crate) const MAX_MESSAGE_BYTES: usize = 17 << 20;

/// Longest time for a connection to be made.
const CONNECTING: Duration = Duration::from_secs(1);

/// A connection that shows no sign of life is given up after an interval and this.
pub(crate) const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// Bytes that may be under way on a stream before the other side has taken them.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// The same for all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Where the envelope travels, and the secret.
pub(crate) const ENVELOPE: &str = "kvorum-envelope-bin";
pub(crate) const SECRET: &str = "kvorum-secret-bin";

pub(crate) const CALL: &str = "/kvorum.Peer/Call";
pub(crate) const APPEND: &str = "/kvorum.Peer/Append";
pub(crate) const INSTALL: &str = "/kvorum.Peer/Install";
pub(crate) const CONVERSE: &str = "/kvorum.Peer/Converse";

/// The connections to one address. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Link(Arc<Inner>);

struct Inner {
    quick: Channel,
    entries: Channel,
    writes: Channel,
    snapshots: Channel,
    secret: Arc<Secret>,
    /// On `quick`.
    questions: Conversation,
    /// On `writes`: a large transaction must not hold up who only asks.
    forwards: Conversation,
    /// Told when a reader there waits for a commit.
    commit_wanted: Arc<Notify>,
}

impl Link {
    /// Connections to `address`, a host and a port, over TCP or what is there instead. None is made yet.
    ///
    /// # Errors
    /// It is not an address.
    pub(crate) fn new(
        address: &str,
        secret: Arc<Secret>,
        transport: Option<&Arc<dyn Transport>>,
    ) -> Result<Link, CallError> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| CallError::Unsent(format!("{address}: {error}")))?
            .connect_timeout(CONNECTING)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(SIGN_OF_LIFE / 2)
            .keep_alive_timeout(SIGN_OF_LIFE)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let [quick, entries, writes, snapshots] = [(); 4].map(|()| match transport {
            None => endpoint.connect_lazy(),
            Some(transport) => endpoint.connect_with_connector_lazy(Connector(Arc::clone(transport))),
        });
        let (questions, forwards, commit_wanted) = Default::default();
        Ok(Link(Arc::new(Inner {
            quick,
            entries,
            writes,
            snapshots,
            secret,
            questions,
            forwards,
            commit_wanted,
        })))
    }

    /// Told when a reader there waits for what is committed here.
    pub(crate) fn commit_wanted(&self) -> &Arc<Notify> {
        &self.0.commit_wanted
    }

    /// As [`Link::call`], for what is asked all the time.
    pub(crate) async fn ask(
        &self,
        envelope: &Envelope,
        ask: wire::Ask,
        patience: Duration,
    ) -> Result<wire::Say, CallError> {
        let question = Asked { request: Some(wire::Request { ask: Some(ask) }), ..Asked::default() };
        let asking = async {
            let open = |questions| self.converse(&self.0.quick, envelope, questions);
            let mut answers = self.0.questions.ask(envelope, open, question).await?;
            let answer =
                answers.next().await.ok_or_else(|| CallError::Lost("the connection broke".into()))?;
            if let Some(refusal) = Refusal::named(&answer.refused) {
                return Err(CallError::Refused(refusal));
            }
            let say = answer.response.and_then(|response| response.say);
            say.ok_or_else(|| CallError::Lost("an answer of a newer version".into()))
        };
        let said = tokio::time::timeout(patience, asking).await;
        said.unwrap_or_else(|_| Err(CallError::Lost("too late".into())))
    }

    /// Hands transactions to the leader.
    pub(crate) async fn forward(&self, envelope: &Envelope, forward: Forward) -> Result<Answers, CallError> {
        let question = Asked { forward: Some(forward), ..Asked::default() };
        let open = |questions| self.converse(&self.0.writes, envelope, questions);
        self.0.forwards.ask(envelope, open, question).await
    }

    /// Opens a stream of questions.
    async fn converse(
        &self,
        channel: &Channel,
        envelope: &Envelope,
        questions: BoxStream<'static, Asked>,
    ) -> Result<Streaming<Answered>, CallError> {
        let request = self.request(envelope, questions);
        let opening = async {
            let mut grpc = ready(channel).await?;
            let codec = ProstCodec::<Asked, Answered>::default();
            grpc.streaming(request, PathAndQuery::from_static(CONVERSE), codec).await
        };
        opening.await.map(tonic::Response::into_inner).map_err(|status| CallError::of(&status))
    }

    /// Asks, and waits for the answer at most `patience`.
    pub(crate) async fn call(
        &self,
        envelope: &Envelope,
        ask: wire::Ask,
        patience: Duration,
    ) -> Result<wire::Say, CallError> {
        let request = self.request(envelope, wire::Request { ask: Some(ask) });
        let asking = async {
            let mut grpc = ready(&self.0.quick).await?;
            let codec = ProstCodec::<wire::Request, wire::Response>::default();
            grpc.unary(request, PathAndQuery::from_static(CALL), codec).await
        };
        let answer = tokio::time::timeout(patience, asking).await;
        let answer = answer.map_err(|_| CallError::Lost("too late".into()))?;
        let response = answer.map_err(|status| CallError::of(&status))?.into_inner();
        response.say.ok_or_else(|| CallError::Lost("an answer of a newer version".into()))
    }

    /// Opens a stream of entries. Its answers come in order.
    pub(crate) async fn append(
        &self,
        envelope: &Envelope,
        entries: impl Stream<Item = wire::Append> + Send + 'static,
    ) -> Result<Streaming<wire::Appended>, CallError> {
        let request = self.request(envelope, entries);
        let streaming = async {
            let mut grpc = ready(&self.0.entries).await?;
            let codec = ProstCodec::<wire::Append, wire::Appended>::default();
            grpc.streaming(request, PathAndQuery::from_static(APPEND), codec).await
        };
        streaming.await.map(tonic::Response::into_inner).map_err(|status| CallError::of(&status))
    }

    /// Sends a snapshot.
    pub(crate) async fn install(
        &self,
        envelope: &Envelope,
        pieces: impl Stream<Item = wire::Piece> + Send + 'static,
    ) -> Result<wire::Installed, CallError> {
        let request = self.request(envelope, pieces);
        let sending = async {
            let mut grpc = ready(&self.0.snapshots).await?;
            let codec = ProstCodec::<wire::Piece, wire::Installed>::default();
            grpc.client_streaming(request, PathAndQuery::from_static(INSTALL), codec).await
        };
        sending.await.map(tonic::Response::into_inner).map_err(|status| CallError::of(&status))
    }

    fn request<T>(&self, envelope: &Envelope, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert_bin(ENVELOPE, MetadataValue::from_bytes(&envelope.encode_to_vec()));
        if let Some(secret) = self.0.secret.sent() {
            let mut secret = MetadataValue::from_bytes(&secret);
            secret.set_sensitive(true);
            metadata.insert_bin(SECRET, secret);
        }
        request
    }
}

/// Connects as a transport does.
struct Connector(Arc<dyn Transport>);

impl Service<Uri> for Connector {
    type Response = TokioIo<Connection>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let connecting = self.0.connect(address.authority().map_or("", |authority| authority.as_str()));
        Box::pin(async move { connecting.await.map(TokioIo::new) })
    }
}

/// A client on `channel`.
async fn ready(channel: &Channel) -> Result<tonic::client::Grpc<Channel>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
    Ok(grpc)
}
