//! One simulation, from its seed: a cluster forms, works under trouble, is left in peace, and is then looked at.

use std::fmt;
use std::sync::Arc;

use kvorum::raft::AdminError;
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::chaos::{Chaos, FOUNDERS};
use crate::check;
use crate::clients::{Client, shared_keys};
use crate::history::{Ask, History, Told, Wrong};
use crate::host::{Host, World};
use crate::logs::Logs;
use crate::net::Net;
use crate::quiet::Threads;
use crate::random::Random;

/// Clients that work at the same time.
const CLIENTS: usize = 3;

/// Clients that read at one host after the other.
const HOPPERS: usize = 2;

/// How long clients work before anything goes wrong. Only apply is slow, on whoever leads.
const WELL: Duration = Duration::from_millis(1_500);

/// How often is looked who leads.
const LOOK: Duration = Duration::from_millis(5);

/// How long a cluster may take to form, or to recover once it is left in peace.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of a seed.
pub(crate) struct Report {
    pub(crate) wrongs: Vec<Wrong>,
    pub(crate) notes: Vec<String>,
    pub(crate) summary: Summary,
}

/// How much happened.
#[derive(Clone, Copy, Default)]
pub(crate) struct Summary {
    pub(crate) ops: usize,
    pub(crate) written: usize,
    pub(crate) unknown: usize,
    pub(crate) refused: usize,
    pub(crate) terms: usize,
    pub(crate) simulated: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { ops, written, unknown, refused, terms, simulated } = self;
        write!(f, "{ops} operations ({written} written, {unknown} unknown, {refused} refused), ")?;
        write!(f, "{terms} leaders, {:.1} s", simulated.as_secs_f64())
    }
}

/// Runs the simulation of a seed.
pub(crate) fn run(seed: u64) -> Report {
    let threads = Threads::default();
    let settling = threads.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .on_thread_park(move || settling.settle())
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let begin = Instant::now();
        let mut random = Random::new(seed);
        let world = World { net: Net::new(random.fork(1)), threads, history: History::new(begin), begin };
        Simulation::new(world, random).run().await
    })
}

struct Simulation {
    world: World,
    hosts: Arc<Vec<Arc<Host>>>,
    logs: Logs,
    random: Random,
    /// See [`Chaos::calm`].
    calm: bool,
}

impl Simulation {
    fn new(world: World, mut random: Random) -> Simulation {
        let founders: Vec<usize> = (0..FOUNDERS).collect();
        let newcomers = random.below(3) as usize;
        let hosts = (0..FOUNDERS + newcomers).map(|number| {
            let learner = number >= FOUNDERS && random.percent(30);
            Host::new(number, &founders, learner, &world, random.fork(number as u64))
        });
        let hosts: Vec<Arc<Host>> = hosts.collect();
        let apart_ms = if random.percent(50) { 7_200_000 } else { 200 };
        for host in &hosts {
            host.clock.set_wrong(random.below(apart_ms) as i64 - apart_ms as i64 / 2);
        }
        let calm = random.percent(50);
        Simulation { world, hosts: Arc::new(hosts), logs: Logs::default(), random, calm }
    }

    async fn run(mut self) -> Report {
        let history = self.world.history.clone();
        if self.form().await {
            self.work().await;
            if self.recover().await {
                self.compare().await;
            }
            self.stop().await;
            check::check(&history);
        }
        let ops = history.ops();
        let count = |is: fn(&Told) -> bool| ops.iter().filter(|op| is(&op.told)).count();
        let summary = Summary {
            ops: ops.len(),
            written: count(|told| matches!(told, Told::Written { .. })),
            unknown: count(|told| *told == Told::Unknown),
            refused: count(|told| *told == Told::Not),
            terms: history.terms(),
            simulated: self.world.begin.elapsed(),
        };
        self.hosts.iter().for_each(|host| host.crash(crate::host::Crash::Kill));
        Report { wrongs: history.wrongs(), notes: history.notes(), summary }
    }

    /// The founders start, in any order.
    async fn form(&mut self) -> bool {
        for host in &self.hosts[..FOUNDERS] {
            let (host, after) = (Arc::clone(host), self.random.millis(0, 500));
            tokio::spawn(async move {
                sleep(after).await;
                host.start();
            });
        }
        let hosts = Arc::clone(&self.hosts);
        self.eventually("forms", move || {
            let ready = |host: &Arc<Host>| host.node().is_some_and(|(node, _)| node.status().ready);
            hosts[..FOUNDERS].iter().all(ready)
        })
        .await
    }

    /// Waits until something holds; if it does not come about, the invariant of this name is broken.
    async fn eventually(&self, what: &'static str, holds: impl Fn() -> bool) -> bool {
        let end = Instant::now() + PATIENCE;
        while !holds() {
            if Instant::now() > end {
                let states = self.hosts.iter().map(|host| {
                    host.node().map(|(node, _)| {
                        let s = node.status();
                        (host.number, s.node.0, s.role, s.term, s.leader, s.last_log_index, s.applied_index)
                    })
                });
                let states: Vec<_> = states.collect();
                self.world.history.wrong(what, format!("not in {PATIENCE:?}: {states:?}"));
                return false;
            }
            sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// Clients work while things go wrong.
    async fn work(&mut self) {
        let stop = CancellationToken::new();
        let history = self.world.history.clone();
        self.watch(stop.clone());
        let mut client = |number: usize| {
            let random = self.random.fork(number as u64);
            Client::new(number, Arc::clone(&self.hosts), history.clone(), random)
        };
        let mut clients: Vec<_> =
            (0..CLIENTS).map(|number| tokio::spawn(client(number).run(stop.clone()))).collect();
        let hoppers = CLIENTS + 1..CLIENTS + 1 + HOPPERS;
        clients.extend(hoppers.map(|number| tokio::spawn(client(number).hop(stop.clone()))));
        self.work_well().await;
        let length = self.random.millis(4_000, 9_000);
        let chaos = Chaos {
            random: self.random.fork(7),
            hosts: Arc::clone(&self.hosts),
            net: self.world.net.clone(),
            history,
            logs: self.logs.clone(),
            calm: self.calm,
            wiped: false,
        };
        chaos.run(length).await;
        // What was begun for a while ends.
        sleep(Duration::from_secs(3)).await;
        stop.cancel();
        for client in clients {
            client.await.expect("a client does not fail");
        }
        self.world.net.heal();
        self.world.history.note("left in peace".to_owned());
    }

    /// Nothing goes wrong for a while, but whoever leads applies slowly.
    async fn work_well(&mut self) {
        let leads = |host: &&Arc<Host>| host.node().is_some_and(|(node, _)| node.status().role == "leader");
        let leader = self.hosts.iter().find(leads).cloned();
        if let Some(leader) = &leader {
            // Longer than it takes until the next entry is committed: followers get ahead of it.
            leader.processor.set_rest(20_000 + self.random.below(60_000));
        }
        let number = CLIENTS + 1 + HOPPERS;
        let random = self.random.fork(number as u64);
        let mut spy = Client::new(number, Arc::clone(&self.hosts), self.world.history.clone(), random);
        match &leader {
            Some(leader) => spy.spy(leader.number, WELL).await,
            None => sleep(WELL).await,
        }
        if let Some(leader) = leader {
            leader.processor.set_rest(0);
        }
    }

    /// Looks all the time who leads.
    fn watch(&self, stop: CancellationToken) {
        let (hosts, history) = (Arc::clone(&self.hosts), self.world.history.clone());
        tokio::spawn(async move {
            while !stop.is_cancelled() {
                for (node, _) in hosts.iter().filter_map(|host| host.node()) {
                    let status = node.status();
                    if status.role == "leader" {
                        history.leads(status.term, status.node.0);
                    }
                }
                sleep(LOOK).await;
            }
        });
    }

    /// Left in peace, every host serves again, and takes a write.
    async fn recover(&mut self) -> bool {
        let hosts = Arc::clone(&self.hosts);
        // One that was removed may be about to find out.
        let ready = |host: &&Arc<Host>| host.node().is_some_and(|(node, _)| node.status().ready);
        let all_ready = move || hosts.iter().filter(|host| host.is_up()).all(|host| ready(&host));
        if !self.eventually("lives again", all_ready).await {
            return false;
        }
        let running: Vec<Arc<Host>> = self.hosts.iter().filter(|host| host.is_up()).cloned().collect();
        let random = self.random.fork(9);
        let mut client = Client::new(CLIENTS, Arc::clone(&self.hosts), self.world.history.clone(), random);
        for host in &running {
            let value = client.next + host.number as u64;
            let key = format!("u{value}");
            let told = client.ask(host.number, key, Ask::Set(value), PATIENCE).await;
            // One that found out meanwhile that it was removed has ended; nothing else ends one in peace.
            if !matches!(told, Some(Told::Written { .. })) && host.is_up() {
                self.world.history.wrong("lives again", format!("a write at host {}: {told:?}", host.number));
                return false;
            }
        }
        for host in running.iter().filter(|host| host.is_up()) {
            self.read_all(&mut client, host.number).await;
        }
        true
    }

    /// Reads every key that was ever written, at one host.
    async fn read_all(&self, client: &mut Client, at: usize) {
        let ops = self.world.history.ops();
        let mut keys: Vec<String> = ops.into_iter().map(|op| op.key).chain(shared_keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        // Where a deadline is near, the time of the answer is that of the leader, which is ahead of the state.
        keys.retain(|key| !key.starts_with('t'));
        client.look(at, keys, PATIENCE).await;
    }

    /// All hosts come to the same state.
    async fn compare(&self) {
        let running: Vec<Arc<Host>> = self.hosts.iter().filter(|host| host.is_up()).cloned().collect();
        let level = || {
            let at = |host: &Arc<Host>| {
                host.node().map(|(node, _)| node.status()).map(|s| (s.applied_index, s.last_log_index))
            };
            let first = running.first().and_then(at);
            first.is_some_and(|(applied, last)| applied == last)
                && running.iter().all(|host| at(host) == first)
        };
        if !self.eventually("all apply the same", level).await {
            return;
        }
        for host in &running {
            let Some((node, _)) = host.node() else { continue };
            match node.snapshot().await {
                Ok(taken) => self.world.history.hash(taken.index, host.number, &taken.state_hash.to_string()),
                Err(AdminError::Busy) => {}
                Err(error) => self.world.history.wrong("lives again", format!("a snapshot: {error}")),
            }
        }
    }

    /// Everybody stops, and the logs are looked at.
    async fn stop(&self) {
        for host in self.hosts.iter().filter(|host| host.is_up()) {
            host.stop().await;
            let (logs, history, number, image) =
                (self.logs.clone(), self.world.history.clone(), host.number, host.image());
            let looked = tokio::task::spawn_blocking(move || logs.look(&history, number, &image));
            looked.await.expect("logs are looked at");
        }
    }
}
