//! TLS between members, with a certificate on both sides (mTLS), over TCP.
//!
//! Certificate, key and the authorities that are trusted are read again each second, also when they are symbolic links that
//! were swapped: new connections use what is there, those that exist go on. Authorities are exchanged without a stop by
//! putting both into the bundle first. TLS 1.3 only: all peers are Kvorum.
//!
//! The files in force are exchanged only for better ones, or equally bad ones: a certificate that other members would refuse
//! (expired, not valid yet, of no authority in this node's own bundle) takes no place of one that they accept. The log names
//! the certificate and its end at the start, at each exchange, and once a day from [`NOTICE`] before the end.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::StreamExt;
use parking_lot::{Mutex, RwLock};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certificate::{Certificate, Handshake, date, wrong_with};
use super::server::accept;
use super::unproven::{Admission, UNPROVEN};
use crate::clock::Clock;
use crate::disk::Disk;
use crate::model::Timestamp;
use crate::raft::transport::{Connection, Incoming, Transport};

/// Longest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// Handshakes at the same time; [`Admission`] cuts the oldest before there are so many.
const HANDSHAKES: usize = 2 * UNPROVEN;

/// How long a handshake with a member that is called may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How long before its end a certificate is warned of.
const NOTICE: Duration = Duration::from_secs(14 * 86_400);

/// How often.
const DAY: Duration = Duration::from_secs(86_400);

/// How often refused connections are logged, at most.
const REFUSED: Duration = Duration::from_secs(60);

/// What every member has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Its certificate and those between it and the authority, as PEM.
    pub cert: PathBuf,
    /// The key of its certificate, as PEM.
    pub key: PathBuf,
    /// The authorities that certificates of members come from, as PEM.
    pub ca: PathBuf,
}

/// What the files make, and their bytes.
struct Loaded {
    bytes: [Vec<u8>; 3],
    /// The certificate of this node. Its time is the one in which all that stand between it and the authority hold too.
    own: Certificate,
    /// What members would find wrong with it at any time.
    foreign: Option<String>,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// Connections by TLS.
pub(crate) struct Tls {
    disk: Arc<dyn Disk>,
    files: TlsFiles,
    clock: Arc<dyn Clock>,
    loaded: RwLock<Loaded>,
    /// When the certificate in force was last warned of, on the boot clock.
    warned: Mutex<Option<Duration>>,
    /// When a refused connection was last logged, on the boot clock.
    refused: Mutex<Option<Duration>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn load(
        disk: &Arc<dyn Disk>,
        files: TlsFiles,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Tls>, String> {
        let loaded = Loaded::of(read(disk.as_ref(), &files)?, &files)?;
        let Certificate { names, until, .. } = &loaded.own;
        tracing::info!(names, until = date(*until), "the certificate for peers");
        let (disk, loaded) = (Arc::clone(disk), RwLock::new(loaded));
        let (warned, refused) = Default::default();
        let tls = Arc::new(Tls { disk, files, clock, loaded, warned, refused });
        tls.warn();
        Ok(tls)
    }

    /// Reads the files again, on a thread that may wait for a disk. What is wrong with them leaves the former in force.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn reload(&self) -> Result<(), String> {
        self.warn();
        let bytes = read(self.disk.as_ref(), &self.files)?;
        if bytes == self.loaded.read().bytes {
            return Ok(());
        }
        let new = Loaded::of(bytes, &self.files)?;
        let now = self.clock.wall();
        if let Some(fault) = new.fault(now)
            && self.loaded.read().fault(now).is_none()
        {
            return Err(format!(
                "{}: the certificate of {} {fault}",
                self.files.cert.display(),
                new.own.names
            ));
        }
        let Certificate { names, until, .. } = new.own.clone();
        *self.loaded.write() = new;
        *self.warned.lock() = None;
        tracing::info!(names, until = date(until), "the certificates for peers were exchanged");
        self.warn();
        Ok(())
    }

    /// Warns of a certificate that members refuse, or soon will; once a day.
    fn warn(&self) {
        let (now, boot) = (self.clock.wall(), self.clock.boot());
        let mut warned = self.warned.lock();
        if warned.is_some_and(|at| boot < at + DAY) {
            return;
        }
        let loaded = self.loaded.read();
        let Certificate { names, until, .. } = &loaded.own;
        if let Some(fault) = loaded.fault(now) {
            let file = self.files.cert.display();
            tracing::error!(%file, names, fault, "other members refuse the certificate of this node");
        } else if now.0 + NOTICE.as_millis() as u64 >= until.0 {
            let days = until.millis_since(now) / DAY.as_millis() as u64;
            let file = self.files.cert.display();
            tracing::warn!(%file, names, until = date(*until), days, "the certificate for peers expires soon");
        } else {
            return;
        }
        *warned = Some(boot);
    }

    /// A connection did not get through its handshake. Whoever it is may try all the time.
    fn note_refused(&self, from: SocketAddr, error: &io::Error) {
        let boot = self.clock.boot();
        let mut refused = self.refused.lock();
        if refused.is_none_or(|at| boot >= at + REFUSED) {
            *refused = Some(boot);
            tracing::warn!(%from, %error, "a connection to peer.listen was refused; more in the next minute are not logged");
        }
    }
}

fn read(disk: &dyn Disk, files: &TlsFiles) -> Result<[Vec<u8>; 3], String> {
    let one = |path: &PathBuf| {
        disk.read_to_end(path, MAX_BYTES).map_err(|error| format!("{}: {error}", path.display()))
    };
    Ok([one(&files.cert)?, one(&files.key)?, one(&files.ca)?])
}

impl Loaded {
    fn of(bytes: [Vec<u8>; 3], files: &TlsFiles) -> Result<Loaded, String> {
        let wrong = |path: &PathBuf, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let [cert, key, ca] = &bytes;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(cert)
            .collect::<Result<_, _>>()
            .map_err(|e| wrong(&files.cert, &e))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| wrong(&files.key, &error))?;
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(ca) {
            let authority = authority.map_err(|error| wrong(&files.ca, &error))?;
            roots.add(authority).map_err(|error| wrong(&files.ca, &error))?;
        }
        let own = chain_of(&chain).map_err(|error| wrong(&files.cert, &error))?;
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider)).build();
        let verifier = verifier.map_err(|error| wrong(&files.ca, &error))?;
        let foreign = foreign(&chain, &own, &roots, (verifier.as_ref(), &provider));
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .and_then(|builder| {
                builder.with_client_cert_verifier(verifier).with_single_cert(chain.clone(), key.clone_key())
            });
        let mut server = server.map_err(|error| wrong(&files.cert, &error))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .and_then(|builder| builder.with_root_certificates(roots).with_client_auth_cert(chain, key));
        let mut client = client.map_err(|error| wrong(&files.cert, &error))?;
        server.alpn_protocols = vec![b"h2".to_vec()];
        client.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Loaded { bytes, own, foreign, client: Arc::new(client), server: Arc::new(server) })
    }

    /// What members find wrong with the certificate of this node at a time, as the end of a sentence about it.
    fn fault(&self, now: Timestamp) -> Option<String> {
        let Certificate { from, until, .. } = &self.own;
        if now >= *until {
            return Some(format!("expired on {}", date(*until)));
        }
        if now < *from {
            return Some(format!("is not valid before {}", date(*from)));
        }
        self.foreign.clone()
    }
}

/// The first certificate of a chain, with the time in which all of them hold.
fn chain_of(chain: &[CertificateDer<'_>]) -> Result<Certificate, String> {
    let mut parsed = chain.iter().map(Certificate::parse);
    let mut own = parsed.next().ok_or("it holds no certificate")??;
    for other in parsed {
        let other = other?;
        own.from = own.from.max(other.from);
        own.until = own.until.min(other.until);
    }
    Ok(own)
}

/// What members would find wrong with a chain while it is valid, if they trust the same authorities as this node: each of them
/// is asked for it as a server and as a client.
fn foreign(
    chain: &[CertificateDer<'_>],
    own: &Certificate,
    roots: &RootCertStore,
    (verifier, provider): (&dyn ClientCertVerifier, &rustls::crypto::CryptoProvider),
) -> Option<String> {
    let (first, between) = chain.split_first()?;
    let now = UnixTime::since_unix_epoch(Duration::from_millis(own.from.0));
    let algorithms = provider.signature_verification_algorithms.all;
    let as_server = ParsedCertificate::try_from(first)
        .and_then(|first| verify_server_cert_signed_by_trust_anchor(&first, roots, between, now, algorithms));
    let as_client = || verifier.verify_client_cert(first, between, now).map(|_| ());
    match as_server.and_then(|()| as_client()) {
        Ok(()) => None,
        Err(rustls::Error::InvalidCertificate(error)) => Some(wrong_with(&error)),
        Err(error) => Some(format!("does not verify: {error}")),
    }
}

impl Transport for Tls {
    fn connect(&self, address: &str) -> BoxFuture<'static, io::Result<Connection>> {
        let (connector, address) =
            (TlsConnector::from(Arc::clone(&self.loaded.read().client)), address.to_owned());
        Box::pin(async move {
            let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = ServerName::try_from(host)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            let stream = TcpStream::connect(&address).await?;
            stream.set_nodelay(true)?;
            let stream = tokio::time::timeout(HANDSHAKE, connector.connect(name, stream)).await;
            Ok(Connection::new(stream.map_err(|_| io::ErrorKind::TimedOut)?.map_err(told)?))
        })
    }

    fn listen(self: Arc<Self>, address: SocketAddr) -> io::Result<(SocketAddr, Incoming)> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let admission = Admission::default();
        let connections = accept(listener)
            .map(move |accepted| {
                let acceptor = TlsAcceptor::from(Arc::clone(&self.loaded.read().server));
                let (tls, held) =
                    (Arc::clone(&self), accepted.map(|stream| (stream.peer_addr(), admission.hold(stream))));
                async move {
                    let (from, stream) = held?;
                    let (from, proof) = (from?, stream.proof());
                    let stream = acceptor.accept(stream).await.map_err(told);
                    let stream = stream.inspect_err(|error| tls.note_refused(from, error))?;
                    // Its certificate is a member's. What it shows next is the secret.
                    if proof.prove() {
                        Ok(Connection::new(stream))
                    } else {
                        Err(io::ErrorKind::QuotaExceeded.into())
                    }
                }
            })
            // Who is slow with its handshake keeps nobody else waiting.
            .buffer_unordered(HANDSHAKES)
            .filter_map(|connection: io::Result<Connection>| async move {
                if let Err(error) = &connection {
                    tracing::debug!(%error, "a peer did not get through its handshake");
                }
                connection.ok().map(Ok)
            });
        Ok((address, connections.boxed()))
    }
}

/// The same error with a text for operators.
fn told(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), Handshake(error))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

    use super::*;
    use crate::clock::ManualClock;
    use crate::disk::{Faulty, replace};

    const DIRECTORY: &str = "/tls";
    const DAY_MS: u64 = 86_400_000;
    /// 2030-06-01, at midnight.
    const JUNE: Timestamp = Timestamp(1_906_502_400_000);

    struct Authority(Issuer<'static, KeyPair>, String);

    impl Authority {
        fn new() -> Authority {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let pem = params.self_signed(&key).unwrap().pem();
            Authority(Issuer::new(params, key), pem)
        }

        /// Writes a certificate that holds between two days of June 2030, and its key.
        fn give(&self, disk: &Faulty, from: u8, until: u8) {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec!["kvorum-0".to_owned()]).unwrap();
            params.not_before = date_time_ymd(2030, 6, from);
            params.not_after = date_time_ymd(2030, 6, until);
            write(disk, "cert", &params.signed_by(&key, &self.0).unwrap().pem());
            write(disk, "key", &key.serialize_pem());
        }
    }

    fn write(disk: &Faulty, name: &str, text: &str) {
        replace(disk, Path::new(DIRECTORY), name, text.as_bytes()).unwrap();
    }

    fn day(day: u64) -> Timestamp {
        Timestamp(JUNE.0 + (day - 1) * DAY_MS)
    }

    fn begun() -> (Faulty, Authority, Arc<ManualClock>, Arc<Tls>) {
        let (disk, ours) = (Faulty::new(), Authority::new());
        disk.create_dir_all(Path::new(DIRECTORY)).unwrap();
        ours.give(&disk, 1, 20);
        write(&disk, "ca", &ours.1);
        let [cert, key, ca] = ["cert", "key", "ca"].map(|name| Path::new(DIRECTORY).join(name));
        let clock = Arc::new(ManualClock::new(day(2)));
        let of_tls: Arc<dyn Disk> = Arc::new(disk.clone());
        let tls = Tls::load(&of_tls, TlsFiles { cert, key, ca }, clock.clone()).unwrap();
        (disk, ours, clock, tls)
    }

    fn until(tls: &Tls) -> Timestamp {
        tls.loaded.read().own.until
    }

    /// Goal: what members would refuse takes no place of what they accept, and the reason names the certificate and its date;
    /// of two that are refused the newer one counts.
    #[test]
    fn only_a_certificate_that_members_accept_replaces_one_that_they_accept() {
        let (disk, ours, clock, tls) = begun();
        assert_eq!((until(&tls), tls.loaded.read().fault(day(2))), (day(20), None));
        let refused = |words: &str| {
            let error = tls.reload().unwrap_err();
            assert!(error.contains("kvorum-0") && error.contains(words), "{error}");
            assert_eq!(until(&tls), day(20), "the former holds");
        };
        clock.set_wall(day(10));
        ours.give(&disk, 1, 9);
        refused("expired on 2030-06-09T00:00:00Z");
        ours.give(&disk, 11, 30);
        refused("is not valid before 2030-06-11T00:00:00Z");
        Authority::new().give(&disk, 1, 30);
        refused("comes from no authority of peer.tls_ca_file");
        let other = KeyPair::generate().unwrap();
        ours.give(&disk, 1, 30);
        write(&disk, "key", &other.serialize_pem());
        assert!(tls.reload().is_err(), "the key does not fit");
        assert_eq!(until(&tls), day(20));
        ours.give(&disk, 1, 25);
        tls.reload().unwrap();
        assert_eq!(until(&tls), day(25));
        clock.set_wall(day(26));
        ours.give(&disk, 1, 24);
        tls.reload().unwrap();
        assert_eq!(until(&tls), day(24), "neither is any better");
    }

    /// Goal: a certificate is warned of from two weeks before its end, once a day, and at once when members refuse it.
    #[test]
    fn an_end_is_warned_of_once_a_day() {
        let (_, _, clock, tls) = begun();
        let mut warned = Vec::new();
        // By quarters of a day from the second of June on, and so that the wall clock's date does not matter.
        for quarter in 0..80_u64 {
            let before = *tls.warned.lock();
            tls.reload().unwrap();
            if *tls.warned.lock() != before {
                warned.push(2 + quarter / 4);
            }
            clock.advance(Duration::from_millis(DAY_MS / 4));
        }
        assert_eq!(warned, (6..=21).collect::<Vec<_>>());
    }
}
