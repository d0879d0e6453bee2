//! What goes wrong, drawn from the seed: the network, processes, disks, clocks, the membership.

use std::sync::Arc;

use tokio::time::{Duration, Instant, sleep};

use crate::history::History;
use crate::host::{Crash, Host, SYNC_US};
use crate::logs::Logs;
use crate::net::{Net, WHOLE, Way};
use crate::random::Random;

/// Hosts that found the cluster.
pub(crate) const FOUNDERS: usize = 3;

/// For how long a host must have been up to be taken to know cluster time.
const WARM: Duration = Duration::from_secs(2);

/// Makes trouble.
pub(crate) struct Chaos {
    pub(crate) random: Random,
    pub(crate) hosts: Arc<Vec<Arc<Host>>>,
    pub(crate) net: Net,
    pub(crate) history: History,
    pub(crate) logs: Logs,
    /// One process dies at a time, and only while the others know cluster time: it must then never jump.
    pub(crate) calm: bool,
    /// A disk was lost already.
    pub(crate) wiped: bool,
}

impl Chaos {
    /// Makes trouble for so long. Some of it may go on a little longer.
    pub(crate) async fn run(mut self, length: Duration) {
        let end = Instant::now() + length;
        while Instant::now() < end {
            let pause = self.random.millis(50, 1_200);
            sleep(pause).await;
            match self.random.below(100) {
                0..24 => self.partition(),
                24..30 => self.delay(),
                30..36 => self.lose(),
                36..42 => self.break_connections(),
                42..64 => self.crash().await,
                64..68 => self.slow_disk(),
                68..71 => self.full_disk().await,
                71..75 => self.slow_apply(),
                75..80 => self.turn_clock(),
                80..84 => self.snapshot(),
                84..89 => self.hand_over(),
                _ => self.change_members(),
            }
        }
    }

    fn any(&mut self) -> Arc<Host> {
        let at = self.random.index(self.hosts.len());
        Arc::clone(&self.hosts[at])
    }

    /// The leader in half of the cases, if there is one; else any founder.
    fn victim(&mut self) -> Arc<Host> {
        let leads = |host: &&Arc<Host>| host.node().is_some_and(|(node, _)| node.status().role == "leader");
        let leader = self.hosts.iter().find(leads).cloned();
        match leader {
            Some(leader) if self.random.percent(50) => leader,
            _ => Arc::clone(&self.hosts[self.random.index(FOUNDERS)]),
        }
    }

    /// Changes some ways, and later makes them whole.
    fn spoil(&mut self, what: &str, ways: Vec<(usize, usize)>, bad: Way) {
        let length = self.random.millis(100, 3_000);
        self.history.note(format!("{what} for {length:?}: {ways:?}"));
        ways.iter().for_each(|(from, to)| self.net.set(*from, *to, bad));
        let net = self.net.clone();
        tokio::spawn(async move {
            sleep(length).await;
            ways.into_iter().for_each(|(from, to)| net.set(from, to, WHOLE));
        });
    }

    fn partition(&mut self) {
        let victim = self.victim().number;
        let others: Vec<usize> = (0..self.hosts.len()).filter(|host| *host != victim).collect();
        let other = others[self.random.index(others.len())];
        let ways = match self.random.below(5) {
            0 | 1 => others.iter().flat_map(|host| [(victim, *host), (*host, victim)]).collect(),
            2 => others.iter().map(|host| (victim, *host)).collect(),
            3 => others.iter().map(|host| (*host, victim)).collect(),
            _ if self.random.percent(50) => vec![(victim, other), (other, victim)],
            _ => vec![(victim, other)],
        };
        self.spoil("cut", ways, Way { cut: true, ..WHOLE });
    }

    fn some_ways(&mut self) -> Vec<(usize, usize)> {
        let all = (0..self.hosts.len()).flat_map(|from| (0..self.hosts.len()).map(move |to| (from, to)));
        let all: Vec<(usize, usize)> = all.filter(|(from, to)| from != to).collect();
        all.into_iter().filter(|_| self.random.percent(40)).collect()
    }

    fn delay(&mut self) {
        let most = 5_000 + self.random.below(120_000);
        let ways = self.some_ways();
        self.spoil("delay", ways, Way { delay_us: (most / 10, most), ..WHOLE });
    }

    fn lose(&mut self) {
        let loss_percent = 1 + self.random.below(30);
        let ways = self.some_ways();
        self.spoil("loss", ways, Way { loss_percent, ..WHOLE });
    }

    fn break_connections(&mut self) {
        let percent = 10 + self.random.below(90);
        self.history.note(format!("{percent} % of the connections break"));
        self.net.break_some(percent);
    }

    /// Whether all others know cluster time.
    fn others_are_warm(&self, but: usize) -> bool {
        let others = self.hosts[..FOUNDERS].iter().filter(|host| host.number != but);
        let warm = |host: &Arc<Host>| {
            host.age() > WARM && host.node().is_some_and(|(node, _)| node.status().leader.is_some())
        };
        !self.net.is_cut() && others.into_iter().all(warm)
    }

    async fn crash(&mut self) {
        let victim = self.victim();
        if !victim.is_up() {
            return;
        }
        if !self.others_are_warm(victim.number) {
            if self.calm {
                return;
            }
            self.history.set_cold();
        }
        if !self.calm && self.random.percent(30) {
            return self.black_out().await;
        }
        self.crash_one(&victim);
        if !self.calm && self.random.percent(25) {
            self.history.set_cold();
            let both = self.random.percent(50);
            let hosts = Arc::clone(&self.hosts);
            hosts
                .iter()
                .filter(|host| host.is_up())
                .take(if both { 1 } else { 5 })
                .for_each(|host| self.crash_one(host));
        }
    }

    /// The power of every host goes at the same moment, so that what was on no disk yet is nowhere any more. In most of the
    /// cases disks were slow before: whoever takes for synced what is not has then told much of it.
    async fn black_out(&mut self) {
        self.history.set_cold();
        if self.random.percent(80) {
            let most_us = 50_000 + self.random.below(400_000);
            self.history.note(format!("syncs of every host take up to {most_us} us"));
            self.hosts.iter().for_each(|host| host.set_latency(most_us));
            let pause = self.random.millis(100, 1_000);
            sleep(pause).await;
        }
        self.history.note("the power is out everywhere".to_owned());
        let hosts = Arc::clone(&self.hosts);
        hosts.iter().filter(|host| host.is_up()).for_each(|host| self.bring_down(host, Crash::Power));
        hosts.iter().for_each(|host| host.set_latency(SYNC_US));
    }

    fn crash_one(&mut self, host: &Arc<Host>) {
        let crash = if self.random.percent(60) { Crash::Power } else { Crash::Kill };
        self.bring_down(host, crash);
    }

    /// Ends a host's process, which comes back by itself.
    fn bring_down(&mut self, host: &Arc<Host>, crash: Crash) {
        host.crash(crash);
        let (history, logs, number, image) =
            (self.history.clone(), self.logs.clone(), host.number, host.image());
        tokio::task::spawn_blocking(move || logs.look(&history, number, &image));
        let down =
            if self.random.percent(50) { self.random.millis(1, 200) } else { self.random.millis(200, 3_000) };
        let (host, history) = (Arc::clone(host), self.history.clone());
        tokio::spawn(async move {
            sleep(down).await;
            // A newcomer may have been begun anew meanwhile.
            if !host.is_up() {
                history.note(format!("host {} is back after {down:?}", host.number));
                host.start();
            }
        });
    }

    fn slow_disk(&mut self) {
        let host = self.any();
        let most_us = 10_000 + self.random.below(400_000);
        let length = self.random.millis(200, 3_000);
        self.history.note(format!("syncs of host {} take up to {most_us} us for {length:?}", host.number));
        host.set_latency(most_us);
        tokio::spawn(async move {
            sleep(length).await;
            host.set_latency(SYNC_US);
        });
    }

    fn slow_apply(&mut self) {
        let host = self.victim();
        let most_us = 1_000 + self.random.below(30_000);
        let length = self.random.millis(200, 3_000);
        let what =
            format!("host {} rests up to {most_us} us after each transaction for {length:?}", host.number);
        self.history.note(what);
        host.processor.set_rest(most_us);
        tokio::spawn(async move {
            sleep(length).await;
            host.processor.set_rest(0);
        });
    }

    /// Somebody takes all the space on a host's disk, for a while; then some process dies, often the leader. Whoever starts on the
    /// full disk must start; and once there is space again the cluster must go on as ever.
    async fn full_disk(&mut self) {
        let host = Arc::clone(&self.hosts[self.random.index(FOUNDERS)]);
        if host.node().is_none() {
            return;
        }
        let length = self.random.millis(300, 3_000);
        self.history.note(format!("the disk of host {} is full for {length:?}", host.number));
        host.fill_disk();
        tokio::spawn(async move {
            sleep(length).await;
            host.free_disk();
        });
        let pause = self.random.millis(0, 2_000);
        sleep(pause).await;
        if self.random.percent(60) {
            self.crash().await;
        }
    }

    fn turn_clock(&mut self) {
        let host = self.any();
        let wrong_ms = self.random.below(7_200_000) as i64 - 3_600_000;
        self.history.note(format!("the clock of host {} is {wrong_ms} ms ahead", host.number));
        host.clock.set_wrong(wrong_ms);
    }

    fn snapshot(&mut self) {
        let host = self.any();
        let compacts = self.random.percent(50);
        let history = self.history.clone();
        let Some((node, over)) = host.node() else { return };
        history.note(format!("host {} takes a snapshot, and purges: {compacts}", host.number));
        tokio::spawn(async move {
            if compacts {
                // It may not come to it.
                let _ = node.compact().await;
            } else if let Ok(taken) = node.snapshot().await
                && !over.is_cancelled()
            {
                history.hash(taken.index, host.number, &taken.state_hash.to_string());
            }
        });
    }

    fn hand_over(&mut self) {
        let host = self.victim();
        if let Some((node, _)) = host.node() {
            self.history.note(format!("host {} hands over, if it leads", host.number));
            let deadline = Instant::now() + Duration::from_secs(2);
            // Whether it comes to it does not matter.
            tokio::spawn(async move { drop(node.transfer_leadership(None, deadline).await) });
        }
    }

    /// A newcomer joins, or goes again: it leaves, or is removed by somebody else.
    fn change_members(&mut self) {
        let newcomers = &self.hosts[FOUNDERS..];
        if newcomers.is_empty() || self.random.percent(25) {
            return self.lose_disk();
        }
        let newcomer = Arc::clone(&newcomers[self.random.index(newcomers.len())]);
        let Some((node, _)) = newcomer.node() else {
            if !newcomer.is_up() {
                newcomer.start();
            }
            return;
        };
        let deadline = Instant::now() + Duration::from_secs(3);
        let asked = self.any().node().filter(|_| self.random.percent(50));
        let (number, id) = (newcomer.number, node.status().node);
        self.history.note(format!("host {number}, node {}, is to go; removed: {}", id.0, asked.is_some()));
        let history = self.history.clone();
        tokio::spawn(async move {
            let gone = match asked {
                Some((other, _)) => other.remove_member(id, deadline).await.map(|_| ()),
                None => node.leave(deadline).await,
            };
            history.note(format!("host {number}, node {}, was to go: {gone:?}", id.0));
        });
    }

    /// A host comes back with an empty disk.
    fn lose_disk(&mut self) {
        let victim = self.victim();
        if self.wiped || !victim.is_up() || !self.others_are_warm(victim.number) {
            return;
        }
        self.wiped = true;
        victim.crash(Crash::Power);
        victim.wipe();
        let down = self.random.millis(1, 3_000);
        tokio::spawn(async move {
            sleep(down).await;
            victim.start();
        });
    }
}
