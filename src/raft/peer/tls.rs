//! TLS between members, with a certificate on both sides (mTLS), over TCP.
//!
//! Certificate, key and the authorities that are trusted are read again each second, also when they are symbolic links that
//! were swapped: new connections use what is there, those that exist go on. Authorities are exchanged without a stop by
//! putting both into the bundle first. TLS 1.3 only: all peers are Kvorum.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::StreamExt;
use parking_lot::RwLock;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::disk::Disk;
use crate::raft::transport::{Connection, Incoming, Transport};

/// Longest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// Handshakes at the same time.
const HANDSHAKES: usize = 1_024;

/// How long nothing is accepted after it failed: without files to open it fails again at once.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

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
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// Connections by TLS.
pub(crate) struct Tls {
    disk: Arc<dyn Disk>,
    files: TlsFiles,
    loaded: RwLock<Loaded>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn load(disk: &Arc<dyn Disk>, files: TlsFiles) -> Result<Arc<Tls>, String> {
        let loaded = Loaded::of(read(disk.as_ref(), &files)?, &files)?;
        Ok(Arc::new(Tls { disk: Arc::clone(disk), files, loaded: RwLock::new(loaded) }))
    }

    /// Reads the files again, on a thread that may wait for a disk. What is wrong with them leaves the former in force.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn reload(&self) -> Result<(), String> {
        let bytes = read(self.disk.as_ref(), &self.files)?;
        if bytes == self.loaded.read().bytes {
            return Ok(());
        }
        let loaded = Loaded::of(bytes, &self.files)?;
        *self.loaded.write() = loaded;
        tracing::info!("the certificates for peers were exchanged");
        Ok(())
    }
}

fn read(disk: &dyn Disk, files: &TlsFiles) -> Result<[Vec<u8>; 3], String> {
    let one = |path: &PathBuf| -> Result<Vec<u8>, String> {
        let read = || -> io::Result<Vec<u8>> {
            let file = disk.open_read(path)?;
            let mut bytes = vec![0; usize::try_from(file.len()?.min(MAX_BYTES)).unwrap_or(0)];
            file.read_exact_at(0, &mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|error| format!("{}: {error}", path.display()))
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
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider)).build();
        let verifier = verifier.map_err(|error| wrong(&files.ca, &error))?;
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
        Ok(Loaded { bytes, client: Arc::new(client), server: Arc::new(server) })
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
            Ok(Connection::new(stream.map_err(|_| io::ErrorKind::TimedOut)??))
        })
    }

    fn listen(self: Arc<Self>, address: SocketAddr) -> io::Result<(SocketAddr, Incoming)> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let accepted = futures_util::stream::unfold(listener, |listener| async move {
            let accepted = listener.accept().await;
            if accepted.is_err() {
                tokio::time::sleep(AFTER_FAILURE).await;
            }
            Some((accepted, listener))
        });
        let connections = accepted
            .map(move |accepted| {
                let acceptor = TlsAcceptor::from(Arc::clone(&self.loaded.read().server));
                async move {
                    let (stream, _) = accepted?;
                    stream.set_nodelay(true)?;
                    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await;
                    Ok(Connection::new(stream.map_err(|_| io::ErrorKind::TimedOut)??))
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
