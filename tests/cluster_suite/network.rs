//! A network between real nodes that can be cut, each way for itself.
//!
//! ```text
//!  node A --connect to B's port--> [shim] --> port of the way from A to B --> here --> B's port
//! ```
//!
//! All nodes know one another by the same names, so a proxy in front of a node could not tell who talks to it. Each node
//! runs behind [`shim`](super::shim) instead, which leads its connections to proxies of its own: one for each ordered pair.
//!
//! What is sent on a way that is cut waits, as it would for TCP to send it again, and arrives when the way is whole. A new
//! connection needs both ways.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::harness::Cluster;
use super::shim;
use crate::node::{Ended, Node};

/// Bytes that are passed on at once.
const PIECE_BYTES: usize = 64 << 10;

/// How long a receiver that takes nothing may hold up whoever cuts the way.
const PUSH: Duration = Duration::from_millis(20);

/// The ways between the nodes of a cluster.
pub(crate) struct Network {
    ways: Arc<Ways>,
    /// For each node: the ports of the others, and those of its ways to them.
    routes: Vec<Vec<(u16, u16)>>,
    proxies: Vec<SocketAddr>,
}

/// From each node to each other one.
struct Ways {
    count: usize,
    ways: Vec<Way>,
    over: AtomicBool,
}

/// One direction between two nodes.
#[derive(Default)]
struct Way {
    is_cut: Mutex<bool>,
    whole: Condvar,
}

impl Network {
    /// A network for the nodes of `places`, all of it whole.
    pub(crate) fn between(places: &Cluster) -> Network {
        let count = places.peers.len();
        let ways = (0..count * count).map(|_| Way::default()).collect();
        let ways = Arc::new(Ways { count, ways, over: AtomicBool::new(false) });
        let mut network = Network { ways, routes: vec![Vec::new(); count], proxies: Vec::new() };
        for (from, to) in (0..count).flat_map(|from| (0..count).map(move |to| (from, to))) {
            if from != to {
                network.lay(from, to, places.peers[to]);
            }
        }
        network
    }

    fn lay(&mut self, from: usize, to: usize, target: SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let proxy = listener.local_addr().expect("an address");
        self.routes[from].push((target.port(), proxy.port()));
        self.proxies.push(proxy);
        let ways = Arc::clone(&self.ways);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if ways.over.load(Ordering::SeqCst) {
                    return;
                }
                let ways = Arc::clone(&ways);
                std::thread::spawn(move || ways.join(near, target, (from, to)));
            }
        });
    }

    /// Starts node `n` of `places` in this network.
    pub(crate) fn begin(&self, places: &Cluster, n: usize) -> JoinHandle<Result<Node, Ended>> {
        places.try_begin_with(n, &shim::variables(None, &self.routes[n]))
    }

    /// Starts all nodes and waits until they serve.
    pub(crate) fn start_all(&self, places: &Cluster) -> Vec<Node> {
        let starting: Vec<_> = (0..self.ways.count).map(|n| self.begin(places, n)).collect();
        starting.into_iter().map(|node| node.join().expect("no panic").expect("it starts")).collect()
    }

    /// Cuts these ways, each from the first to the second. Once this returns nothing passes.
    pub(crate) fn cut(&self, ways: &[(usize, usize)]) {
        ways.iter().for_each(|(from, to)| self.ways.way(*from, *to).set(true));
    }

    /// Everything is whole again.
    pub(crate) fn heal(&self) {
        self.ways.ways.iter().for_each(|way| way.set(false));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.ways.over.store(true, Ordering::SeqCst);
        self.heal();
        // Each proxy waits for a connection, to see that it is over.
        self.proxies.iter().for_each(|proxy| drop(TcpStream::connect(proxy)));
    }
}

impl Ways {
    fn way(&self, from: usize, to: usize) -> &Way {
        &self.ways[from * self.count + to]
    }

    /// Carries a connection until it ends.
    fn join(self: Arc<Self>, near: TcpStream, target: SocketAddr, (from, to): (usize, usize)) {
        self.way(from, to).wait();
        self.way(to, from).wait();
        let Ok(far) = TcpStream::connect(target) else {
            // Nobody is there: whoever connected finds his connection closed.
            return;
        };
        for stream in [&near, &far] {
            stream.set_nodelay(true).expect("a socket takes TCP_NODELAY");
            stream.set_write_timeout(Some(PUSH)).expect("a socket takes a timeout");
        }
        let (near_too, far_too) =
            (near.try_clone().expect("a descriptor"), far.try_clone().expect("a descriptor"));
        let ways = Arc::clone(&self);
        let back = std::thread::spawn(move || ways.way(to, from).carry(far_too, near_too));
        self.way(from, to).carry(near, far);
        let _ = back.join();
    }
}

impl Way {
    fn set(&self, is_cut: bool) {
        *self.is_cut.lock().expect("nobody panics with it") = is_cut;
        self.whole.notify_all();
    }

    fn wait(&self) {
        let is_cut = self.is_cut.lock().expect("nobody panics with it");
        drop(self.whole.wait_while(is_cut, |is_cut| *is_cut).expect("nobody panics with it"));
    }

    /// Passes on what comes, as long as something does.
    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let length = match from.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read.unwrap_or(0),
            };
            if length == 0 || self.push(&mut to, &piece[..length]).is_err() {
                break;
            }
        }
        // An end has to travel too.
        self.wait();
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    }

    /// Passes on these bytes, none of them while the way is cut.
    fn push(&self, to: &mut TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let is_cut = self.is_cut.lock().expect("nobody panics with it");
            let is_whole = self.whole.wait_while(is_cut, |is_cut| *is_cut).expect("nobody panics with it");
            let pushed = to.write(bytes);
            drop(is_whole);
            match pushed {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => bytes = &bytes[length..],
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
