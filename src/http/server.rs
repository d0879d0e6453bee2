//! HTTP on a listener: bound before the node opens, served until it is told to stop.
//!
//! poem's own server knows no limits on connections, heads and idle clients, and does not set TCP_NODELAY; so hyper is
//! driven here, with poem's endpoints behind it.
//!
//! A stop waits for requests that are under way, but for no client that takes nothing of its answer for a second.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use poem::http::uri::Scheme;
use poem::http::{HeaderValue, Version, header};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Connection;
use super::face::Face;
use super::gate::Gate;
use super::hosts::Hosts;
use super::intake::Intake;
use super::ops::Ops;
use super::outgoing::{Content, Outgoing};
use super::refusal::Refusal;
use super::socket::{Listener, Stream};
use super::watch::{Busy, Patience, Watch, Watched, Watches};
use crate::clock::{Clock, SystemClock};
use crate::service::{Consistency, Error};

/// First and longest wait after an accept that failed for want of resources.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Connections that may wait to be accepted; the system may allow fewer (`net.core.somaxconn`).
const BACKLOG: u32 = 4_096;

/// How often those who wait for a place look for one that can be made.
const MAKE_ROOM: Duration = Duration::from_millis(100);

/// Longest head of a request, and the buffer that a connection reads into. A key of 4,096 bytes takes three times that in a
/// path.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Most requests at a time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 200;

/// The wall clock that hyper can put into a header `Date`, in milliseconds since the Unix epoch. Under any other it panics, with
/// that header or without.
const DATES_MS: RangeInclusive<u64> = 1..=253_402_300_799_999;

/// Connections of the listener for probes.
const PROBE_CONNECTIONS: usize = 64;

/// How the listener serves.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The names that clients may call the API by, beside IP addresses and `localhost`.
    pub hosts: Hosts,
    /// Where probes are answered too, if anywhere.
    pub ops_listen: Option<SocketAddr>,
    /// The consistency of reads that do not say.
    pub default_consistency: Consistency,
    /// Most connections at a time.
    pub max_connections: usize,
    /// From the opening of a connection, or the first byte of a later request, until its head is whole.
    pub header_timeout: Duration,
    /// What a body may take before it must keep a pace.
    pub body_timeout: Duration,
    /// Between two requests, and for a client to take some of an answer.
    pub idle_timeout: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            hosts: Hosts::default(),
            ops_listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9100))),
            default_consistency: Consistency::Linearizable,
            max_connections: 10_000,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
        }
    }
}

impl Config {
    /// Says what is wrong with the settings.
    pub fn validate(&self) -> Result<(), String> {
        if !(1..=1_000_000).contains(&self.max_connections) {
            return Err("http.max_connections is 1 to 1000000".to_owned());
        }
        let timeouts = [
            ("header_timeout_ms", self.header_timeout),
            ("body_timeout_ms", self.body_timeout),
            ("idle_timeout_ms", self.idle_timeout),
        ];
        let range = Duration::from_millis(10)..=Duration::from_secs(3_600);
        match timeouts.iter().find(|(_, timeout)| !range.contains(timeout)) {
            Some((name, _)) => Err(format!("http.{name} is 10 to 3600000")),
            None => Ok(()),
        }
    }

    fn patience(&self) -> Patience {
        Patience { head: self.header_timeout, idle: self.idle_timeout }
    }
}

/// A bound listener.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    config: Config,
}

impl Server {
    /// Binds the listener of the API. Fails if the address is in use or not this machine's.
    pub async fn bind(config: Config) -> io::Result<Server> {
        Server::bind_at(config.listen, config).await
    }

    /// Binds the listener of the probes at `address`.
    pub async fn bind_probes(address: SocketAddr, config: Config) -> io::Result<Server> {
        Server::bind_at(address, Config { max_connections: PROBE_CONNECTIONS, ..config }).await
    }

    async fn bind_at(address: SocketAddr, config: Config) -> io::Result<Server> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A node that was killed leaves connections behind that are no reason not to start.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok(Server { listener, address, config })
    }

    /// Where it listens: the port is real also where the configuration said 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests of the API until `stop` ends; then accepts no more, lets clients go that ask for nothing, finishes
    /// the requests that are under way for at most `patience`, and returns.
    pub async fn serve(self, gate: Arc<Gate>, stop: impl Future<Output = ()>, patience: Duration) {
        let Config { default_consistency, body_timeout, .. } = self.config;
        let face = Face::new(gate, self.config.hosts.clone(), default_consistency, body_timeout);
        self.run(face, stop, patience).await;
    }

    /// As [`Server::serve`], but answers probes only.
    pub async fn serve_probes(self, gate: Arc<Gate>, stop: impl Future<Output = ()>, patience: Duration) {
        self.run(Ops::new(gate), stop, patience).await;
    }

    async fn run<E>(self, endpoint: E, stop: impl Future<Output = ()>, patience: Duration)
    where
        E: Endpoint<Output = Response> + 'static,
    {
        let Server { listener, address, config } = self;
        serve_all((listener, LocalAddr(address.into())), config, endpoint, stop, patience).await;
    }
}

/// Answers requests on a listener until `stop` ends; then accepts no more and lets what is under way finish for at most
/// `patience`.
pub(super) async fn serve_all<L, E>(
    (listener, local): (L, LocalAddr),
    config: Config,
    endpoint: E,
    stop: impl Future<Output = ()>,
    patience: Duration,
) where
    L: Listener,
    E: Endpoint<Output = Response> + 'static,
{
    let served =
        Served { endpoint, local, stopping: CancellationToken::new(), cut: CancellationToken::new() };
    let (served, tracker) = (Arc::new(served), TaskTracker::new());
    let watches = Arc::new(Watches::new(config.patience()));
    let accepting = accept_all(listener, config.max_connections, &watches, &served, &tracker);
    tokio::select! {
        () = stop => {}
        () = accepting => {}
        () = watches.sweep() => {}
    }
    served.stopping.cancel();
    watches.stop();
    tracker.close();
    let ended = async {
        tokio::select! {
            () = tracker.wait() => {}
            () = watches.sweep() => {}
        }
    };
    if timeout(patience, ended).await.is_err() {
        served.cut.cancel();
        tracker.wait().await;
    }
}

/// What all connections of a listener share.
struct Served<E> {
    endpoint: E,
    local: LocalAddr,
    /// Idle connections end, busy ones after their request.
    stopping: CancellationToken,
    /// Everything ends at once.
    cut: CancellationToken,
}

/// Accepts for ever. A connection beyond the limit gets the place of one that has no use for it, or waits for one.
async fn accept_all<L, E>(
    listener: L,
    max_connections: usize,
    watches: &Arc<Watches>,
    served: &Arc<Served<E>>,
    tracker: &TaskTracker,
) where
    L: Listener,
    E: Endpoint<Output = Response> + 'static,
{
    let places = Arc::new(Semaphore::new(max_connections));
    loop {
        let (stream, remote) = accept(&listener).await;
        let place = loop {
            if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                break place;
            }
            watches.make_room();
            if let Ok(Ok(place)) = timeout(MAKE_ROOM, Arc::clone(&places).acquire_owned()).await {
                break place;
            }
        };
        let (watched, served) = (watches.add(), Arc::clone(served));
        tracker.spawn(async move {
            serve_connection(stream, remote, &watched, &served).await;
            drop((watched, place));
        });
    }
}

/// The next connection. Waits where the system lacks what a connection needs.
async fn accept<L: Listener>(listener: &L) -> (L::Stream, RemoteAddr) {
    let mut wait = BACK_OFF.0;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "cannot accept connections");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(BACK_OFF.1);
            }
        }
    }
}

/// Whether the error concerns only the connection that would have been accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

async fn serve_connection<S, E>(stream: S, remote: RemoteAddr, watched: &Watched, served: &Arc<Served<E>>)
where
    S: Stream,
    E: Endpoint<Output = Response> + 'static,
{
    let watch = &watched.watch;
    if !DATES_MS.contains(&SystemClock.wall().0) {
        tokio::select! {
            _ = turn_away(stream) => {}
            () = watch.ended() => {}
            () = served.stopping.cancelled() => {}
        }
        return;
    }
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let busy = watch.begin(!request.body().is_end_stream());
        let (served, remote) = (Arc::clone(served), remote.clone());
        answer(request, busy, Arc::clone(watch), served, remote)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(MAX_HEAD_BYTES).header_read_timeout(None);
    builder.http2().max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEAD_BYTES as u32);
    let io = TokioIo::new(Connection::new(stream, Arc::clone(watch), served.stopping.clone()));
    let mut connection = pin!(builder.serve_connection(io, service));
    tokio::select! {
        // What is wrong with a connection concerns only its client, who sees it.
        _ = connection.as_mut() => return,
        () = watch.ended() => return,
        () = served.stopping.cancelled() => {}
    }
    if watch.is_busy() {
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            _ = connection => {}
            () = watch.ended() => {}
            () = served.cut.cancelled() => {}
        }
    }
}

/// Says that nothing can be served, to whatever the client asks.
async fn turn_away<S: Stream>(mut stream: S) -> io::Result<()> {
    // A socket that is closed with unread bytes in it is reset, and takes the answer along.
    let _ = stream.read(&mut [0; 4 << 10]).await?;
    let refusal = Refusal::Service(Error::Unavailable(
        "the clock of this machine stands before 1970 or after 9999: set it",
    ));
    stream.write_all(&refusal.farewell()).await?;
    stream.shutdown().await
}

async fn answer<E>(
    request: hyper::Request<Incoming>,
    busy: Busy,
    watch: Arc<Watch>,
    served: Arc<Served<E>>,
    remote: RemoteAddr,
) -> Result<hyper::Response<Outgoing>, Infallible>
where
    E: Endpoint<Output = Response> + 'static,
{
    let has_body = !request.body().is_end_stream();
    let is_http2 = request.version() == Version::HTTP_2;
    let mut request = poem::Request::from((request, served.local.clone(), remote, Scheme::HTTP));
    if has_body {
        request.extensions_mut().insert(Arc::clone(&watch));
    }
    let intake = (has_body && is_http2).then(|| Intake::new(request.take_body()));
    if let Some(intake) = &intake {
        request.set_body(intake.body());
    }
    let response = match served.endpoint.call(request).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    };
    let mut response: hyper::Response<Content> = response.into();
    if watch.has_unread() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|content| Outgoing::new(content, busy, intake, is_http2)))
}
