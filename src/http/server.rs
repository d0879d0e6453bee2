//! One HTTP listener: bound before the node opens, served until it is told to stop.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::acceptor::Acceptor;
use super::face::Face;
use super::gate::Gate;
use crate::service::Consistency;

/// How the listener serves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The consistency of reads that do not say.
    pub default_consistency: Consistency,
    /// Most connections at a time; more wait in the kernel's queue.
    pub max_connections: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            default_consistency: Consistency::Linearizable,
            max_connections: 10_000,
        }
    }
}

impl Config {
    /// Says what is wrong with the settings.
    pub fn validate(&self) -> Result<(), String> {
        match self.max_connections {
            1..=1_000_000 => Ok(()),
            _ => Err("http.max_connections is 1 to 1000000".to_owned()),
        }
    }
}

/// A bound listener.
pub struct Server {
    acceptor: Acceptor,
    address: SocketAddr,
    default_consistency: Consistency,
}

impl Server {
    /// Binds the listener. Fails if the address is in use or not this machine's.
    pub async fn bind(config: Config) -> io::Result<Server> {
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        let acceptor = Acceptor::new(listener, config.max_connections)?;
        Ok(Server { acceptor, address, default_consistency: config.default_consistency })
    }

    /// Where it listens: the port is real also where the configuration said 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `stop` ends; then accepts no more, finishes the requests that are under way for at
    /// most `patience`, and returns.
    pub async fn serve(
        self,
        gate: Arc<Gate>,
        stop: impl Future<Output = ()>,
        patience: Duration,
    ) -> io::Result<()> {
        let face = Face::new(gate, self.default_consistency);
        let server = poem::Server::new_with_acceptor(self.acceptor).name("http");
        server.run_with_graceful_shutdown(face, stop, Some(patience)).await
    }
}
