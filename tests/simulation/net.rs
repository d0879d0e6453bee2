//! A network in memory: which connections there are, and what is wrong with the way between two hosts.
//!
//! Hosts are numbers. A way goes in one direction. What a cut way does to a connection is what a network does to TCP: bytes
//! wait, in order, and come after the way is whole again, unless somebody loses patience first; a connection is not made
//! while either direction is cut. Loss is the delay of a repetition. Messages overtake one another only on different
//! connections, as with TCP. A host that is killed answers with resets; one that lost its power does not answer at all until it is
//! back.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use futures_util::future::BoxFuture;
use kvorum::raft::{Connection, Incoming, Transport};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, sleep};

use crate::pipe::{End, Pipe};
use crate::random::Random;

/// How often a connection that is not answered is tried again.
const KNOCK: Duration = Duration::from_millis(200);

/// What is wrong with the way from one host to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) cut: bool,
    /// Shortest and longest delay, in microseconds.
    pub(crate) delay_us: (u64, u64),
    /// How many percent of the messages are lost, and repeated a little later.
    pub(crate) loss_percent: u64,
}

/// A way with nothing wrong.
pub(crate) const WHOLE: Way = Way { cut: false, delay_us: (100, 2_000), loss_percent: 0 };

/// The network. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Net(Arc<Mutex<State>>);

struct State {
    random: Random,
    ways: BTreeMap<(usize, usize), Way>,
    hosts: BTreeMap<usize, Host>,
    listeners: BTreeMap<SocketAddr, Listener>,
    connections: Vec<Weak<Pipe>>,
}

/// A machine in the network.
#[derive(Clone, Copy, Default)]
struct Host {
    /// Which of its processes is alive.
    life: u64,
    /// It does not even refuse.
    silent: bool,
}

struct Listener {
    host: usize,
    sender: mpsc::UnboundedSender<io::Result<Connection>>,
}

/// One process's access to the network.
pub(crate) struct Socket {
    net: Net,
    host: usize,
    life: u64,
    of: fn(SocketAddr) -> usize,
}

impl Net {
    pub(crate) fn new(random: Random) -> Net {
        Net(Arc::new(Mutex::new(State {
            random,
            ways: BTreeMap::new(),
            hosts: BTreeMap::new(),
            listeners: BTreeMap::new(),
            connections: Vec::new(),
        })))
    }

    /// What a new process on `host` talks through. Its predecessors are cut off, and whoever still waits for one of them is told.
    pub(crate) fn boot(&self, host: usize, of: fn(SocketAddr) -> usize) -> Socket {
        self.kill(host, false);
        let life = self.0.lock().hosts.entry(host).or_default().life;
        Socket { net: self.clone(), host, life, of }
    }

    /// Ends everything of the present process on `host`. `silent`: nobody is told.
    pub(crate) fn kill(&self, host: usize, silent: bool) {
        let pipes = {
            let mut state = self.0.lock();
            let entry = state.hosts.entry(host).or_default();
            entry.life += 1;
            entry.silent = silent;
            state.listeners.retain(|_, listener| listener.host != host);
            state.pipes()
        };
        for pipe in pipes.iter().filter(|pipe| pipe.from == host || pipe.to == host) {
            pipe.kill(host, silent);
        }
    }

    pub(crate) fn way(&self, from: usize, to: usize) -> Way {
        self.0.lock().ways.get(&(from, to)).copied().unwrap_or(WHOLE)
    }

    /// Changes a way. What waited on it goes on when it is whole again.
    pub(crate) fn set(&self, from: usize, to: usize, way: Way) {
        let pipes = {
            let mut state = self.0.lock();
            state.ways.insert((from, to), way);
            state.pipes()
        };
        if !way.cut {
            let again = self.0.lock().random.millis(1, 200);
            let pipes = pipes.iter().filter(|pipe| pipe.from == from && pipe.to == to);
            pipes.for_each(|pipe| pipe.release(Instant::now() + again));
        }
    }

    /// Everything is whole again.
    pub(crate) fn heal(&self) {
        let ways: Vec<_> = self.0.lock().ways.keys().copied().collect();
        for (from, to) in ways {
            self.set(from, to, WHOLE);
        }
    }

    /// Whether any way is cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.0.lock().ways.values().any(|way| way.cut)
    }

    /// Resets some of the connections.
    pub(crate) fn break_some(&self, percent: u64) {
        let broken: Vec<_> = {
            let mut state = self.0.lock();
            let pipes = state.pipes();
            pipes.into_iter().filter(|_| state.random.percent(percent)).collect()
        };
        broken.iter().for_each(|pipe| pipe.reset());
    }

    /// When something that is sent now on this way arrives.
    pub(crate) fn arrival(&self, from: usize, to: usize) -> Instant {
        let way = self.way(from, to);
        let mut state = self.0.lock();
        let lost = way.loss_percent > 0 && state.random.percent(way.loss_percent);
        let again = if lost { state.random.millis(100, 400) } else { Duration::ZERO };
        Instant::now() + state.random.micros(way.delay_us.0, way.delay_us.1) + again
    }

    fn is_alive(&self, host: usize, life: u64) -> bool {
        self.0.lock().hosts.get(&host).is_some_and(|host| host.life == life)
    }

    /// A connection's two ends.
    fn join(&self, from: usize, to: usize) -> (End, End) {
        let there = Pipe::new(self.clone(), from, to);
        let back = Pipe::new(self.clone(), to, from);
        let mut state = self.0.lock();
        state.connections.retain(|pipe| pipe.strong_count() > 0);
        state.connections.extend([Arc::downgrade(&there), Arc::downgrade(&back)]);
        (End::new(Arc::clone(&back), Arc::clone(&there)), End::new(there, back))
    }
}

impl State {
    fn pipes(&self) -> Vec<Arc<Pipe>> {
        self.connections.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Transport for Socket {
    fn connect(&self, address: &str) -> BoxFuture<'static, io::Result<Connection>> {
        let Ok(address) = address.parse::<SocketAddr>() else {
            return Box::pin(std::future::ready(Err(io::ErrorKind::InvalidInput.into())));
        };
        let (net, from, life, to) = (self.net.clone(), self.host, self.life, (self.of)(address));
        Box::pin(async move {
            let round = net.arrival(from, to).max(net.arrival(to, from));
            tokio::time::sleep_until(round).await;
            // Nobody but the caller loses patience.
            while net.way(from, to).cut || net.way(to, from).cut || net.is_silent(to) {
                sleep(KNOCK).await;
            }
            if !net.is_alive(from, life) {
                return Err(io::ErrorKind::NetworkUnreachable.into());
            }
            let sender = net.0.lock().listeners.get(&address).map(|listener| listener.sender.clone());
            let sender = sender.ok_or(io::ErrorKind::ConnectionRefused)?;
            let (near, far) = net.join(from, to);
            sender.send(Ok(Connection::new(far))).map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(Connection::new(near))
        })
    }

    fn listen(self: Arc<Self>, address: SocketAddr) -> io::Result<(SocketAddr, Incoming)> {
        if !self.net.is_alive(self.host, self.life) {
            return Err(io::ErrorKind::NetworkDown.into());
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        self.net.0.lock().listeners.insert(address, Listener { host: self.host, sender });
        let incoming = futures_util::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|connection| (connection, receiver))
        });
        Ok((address, Box::pin(incoming)))
    }
}

impl Net {
    fn is_silent(&self, host: usize) -> bool {
        self.0.lock().hosts.get(&host).is_some_and(|host| host.silent)
    }
}
