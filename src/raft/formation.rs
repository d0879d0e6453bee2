//! How a node gets into a cluster: it joins the one that its seeds are in, or creates it with them.
//!
//! ```text
//!  every seed empty, same list everywhere      the first by name creates: every other one promises, on disk, to let no
//!                                              other one do so; then its cluster begins with all of them as voters
//!  some seed is a member                       ask it to be admitted
//!  no seeds                                    this node creates a cluster of its own
//! ```
//!
//! A cluster that begins with a backup (`cluster.restore_from`) is created in the same way: the creator, and nobody else,
//! reads it once all have promised, and the content is there before the creator tells anybody that it is in a cluster.
//!
//! A node that is not among its own seeds only joins. Starting order and restarts do not matter: everything that was
//! promised or decided is in `join.json` before anybody hears of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::OpenError;
use super::identity::{Directory, Given};
use super::peer::{Ask, CallError, Join, Joined, Link, Me, Meet, Met, Promise, Promised, Say, Secret};
use super::restore::Beginning;
use super::transport::Transport;
use super::types::Member;
use crate::model::Level;
use crate::wal;

/// How often the seeds are asked.
const ROUND: Duration = Duration::from_millis(200);

/// How long one of them may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a node may be admitted: the leader may have to be elected first.
const ADMISSION: Duration = Duration::from_secs(10);

/// How often an operator is told what is waited for.
const REPORT: Duration = Duration::from_secs(10);

/// What a node is to its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PeerName {
    /// Where they reach it: host and port.
    pub(super) advertise: String,
    /// Whom it asks: hosts and ports.
    pub(super) seeds: Vec<String>,
    /// It is never to vote.
    pub(super) learner: bool,
    /// The highest level that it understands.
    pub(super) max_level: Level,
}

/// Answers other nodes that want to know what this one is, from its start on.
pub(super) struct Lobby {
    name: PeerName,
    incarnation: u128,
    directory: Directory,
    /// It may help to create a cluster. A node that is to be admitted anew may not: there is one.
    may_promise: bool,
    cluster: OnceLock<u128>,
    /// A member of a cluster that has invited this node.
    invited_by: parking_lot::Mutex<Option<String>>,
    /// One promise at a time.
    turn: parking_lot::Mutex<()>,
}

/// What was decided.
pub(super) struct Formed {
    pub(super) identity: wal::Identity,
}

impl Lobby {
    /// `seeds` in any order; their order does not count.
    pub(super) fn new(
        mut name: PeerName,
        incarnation: u128,
        directory: Directory,
        may_promise: bool,
    ) -> Arc<Lobby> {
        name.seeds.sort();
        name.seeds.dedup();
        let (cluster, invited_by, turn) = (OnceLock::new(), Default::default(), Default::default());
        Arc::new(Lobby { name, incarnation, directory, may_promise, cluster, invited_by, turn })
    }

    /// From now on this node is a member of that cluster.
    pub(super) fn entered(&self, cluster: u128) {
        // It never changes.
        let _ = self.cluster.set(cluster);
    }

    /// Whether this node is a member of a cluster.
    pub(super) fn is_member(&self) -> bool {
        self.cluster.get().is_some()
    }

    /// What this node is.
    pub(super) fn meet(&self) -> Met {
        Met {
            name: self.name.advertise.clone(),
            seeds: self.name.seeds.clone(),
            cluster: self.cluster.get().map(|cluster| (*cluster).into()),
            incarnation: self.incarnation.into(),
            learner: self.name.learner,
            max_level: u32::from(self.name.max_level.0),
        }
    }

    /// A member of a cluster says that this node may join it.
    pub(super) fn invited(&self, member: String) {
        *self.invited_by.lock() = Some(member);
    }

    /// Another seed wants to create a cluster. Blocks.
    pub(super) fn promise(&self, asked: &Promise) -> Promised {
        let answer = |granted, reason: &str| Promised {
            granted,
            incarnation: self.incarnation.into(),
            reason: reason.to_owned(),
        };
        let _turn = self.turn.lock();
        if self.cluster.get().is_some() {
            return answer(false, "it is a member of a cluster already");
        }
        if !self.may_promise {
            return answer(false, "it waits to be admitted again to the cluster that it was in");
        }
        if asked.seeds != self.name.seeds {
            return answer(false, "it has another list of seeds");
        }
        let level = u16::try_from(asked.level).map_or(Level(u16::MAX), Level);
        if level > self.name.max_level {
            return answer(false, "it does not understand the level of the cluster to be");
        }
        let wanted = Given {
            cluster: asked.cluster.into(),
            creator: asked.creator.clone(),
            seeds: asked.seeds.clone(),
            level,
        };
        match self.directory.given() {
            Ok(Some(given)) if given == wanted => return answer(true, ""),
            // A promise for another list of seeds is void.
            Ok(Some(given)) if given.seeds == wanted.seeds && given.cluster != wanted.cluster => {
                return answer(false, "it has promised itself to another creator");
            }
            Ok(_) => {}
            Err(error) => return answer(false, &error.to_string()),
        }
        match self.directory.give(&wanted) {
            Ok(()) => answer(true, ""),
            Err(error) => answer(false, &error.to_string()),
        }
    }
}

/// Gets this node, which is none yet, into a cluster. Takes as long as it takes.
pub(super) struct Formation {
    pub(super) lobby: Arc<Lobby>,
    pub(super) secret: Arc<Secret>,
    pub(super) boot: u128,
    pub(super) transport: Option<Arc<dyn Transport>>,
    /// What a cluster begins with that is created here, if not with nothing.
    pub(super) beginning: Option<Beginning>,
}

/// A seed that answered.
struct Seed {
    link: Link,
    met: Met,
}

impl Formation {
    /// Returns when it is decided which node of which cluster this is.
    pub(super) async fn run(&self) -> Result<Formed, OpenError> {
        let name = &self.lobby.name;
        if name.seeds.is_empty() {
            let level = self.level(name.max_level)?;
            return self.create(&BTreeMap::new(), level).await;
        }
        let links = self.links();
        let (mut report, mut reported) = (Instant::now(), String::new());
        loop {
            let met = self.meet(&links).await;
            let missing = match self.proceed(&met).await? {
                Ok(formed) => return Ok(formed),
                Err(missing) => missing,
            };
            if report <= Instant::now() || missing != reported {
                tracing::info!(waiting = missing, "not a member of a cluster yet");
                (report, reported) = (Instant::now() + REPORT, missing);
            }
            sleep(ROUND).await;
        }
    }

    /// Has the members admit this node anew, in place of `old`, which may have lost what it acknowledged. Takes as long as it
    /// takes a quorum of them.
    pub(super) async fn replace(&self, old: wal::Identity) -> Formed {
        let links = self.links();
        let mut report = Instant::now();
        loop {
            let mut missing = "a member that answers".to_owned();
            for seed in self.meet(&links).await.into_values() {
                if seed.met.cluster.map(u128::from) != Some(old.cluster) {
                    continue;
                }
                match self.join(&seed.link).await {
                    Ok(identity) => return Formed { identity },
                    Err(reason) => missing = format!("admission by a quorum of the others: {reason}"),
                }
            }
            if report <= Instant::now() {
                tracing::warn!(
                    old = old.node,
                    waiting = missing,
                    "the machine restarted without a clean shutdown while wal.durability was \"interval\": this node may have \
                     lost what it acknowledged, and waits to be admitted as a new member; its directory is untouched. If no \
                     quorum of the others is left, stop this node and use `kvorum recover`"
                );
                report = Instant::now() + REPORT;
            }
            sleep(ROUND).await;
        }
    }

    /// Ways to all seeds but this node.
    fn links(&self) -> BTreeMap<&String, Link> {
        let name = &self.lobby.name;
        let others = name.seeds.iter().filter(|seed| **seed != name.advertise);
        others.filter_map(|seed| Some((seed, self.link(seed)?))).collect()
    }

    fn link(&self, address: &str) -> Option<Link> {
        Link::new(address, Arc::clone(&self.secret), self.transport.as_ref()).ok()
    }

    /// One step; what is missing, if it did not lead into a cluster.
    async fn proceed(&self, met: &BTreeMap<&String, Seed>) -> Result<Result<Formed, String>, OpenError> {
        let name = &self.lobby.name;
        let invited_by = self.lobby.invited_by.lock().clone();
        if let Some(link) = invited_by.and_then(|member| self.link(&member)) {
            match self.join(&link).await {
                Ok(identity) => return Ok(Ok(Formed { identity })),
                Err(reason) => tracing::debug!(reason, "invited and not admitted"),
            }
        }
        let mut refusal = None;
        for seed in met.values().filter(|seed| seed.met.cluster.is_some()) {
            match self.join(&seed.link).await {
                Ok(identity) => return Ok(Ok(Formed { identity })),
                Err(reason) => refusal = Some(format!("admission by {}: {reason}", seed.met.name)),
            }
        }
        if let Some(refusal) = refusal {
            return Ok(Err(refusal));
        }
        if !name.seeds.contains(&name.advertise) {
            return Ok(Err("a seed that is in a cluster; this node is not among the seeds".to_owned()));
        }
        let silent = name.seeds.iter().filter(|seed| **seed != name.advertise).find(|seed| {
            // A seed that answers under another name is some other node.
            met.get(seed).is_none_or(|found| found.met.name != **seed)
        });
        if let Some(seed) = silent {
            return Ok(Err(format!("the seed {seed}")));
        }
        if let Some((seed, _)) = met.iter().find(|(_, seed)| seed.met.seeds != name.seeds) {
            return Ok(Err(format!("the seed {seed} to have the same list of seeds")));
        }
        if name.seeds.first() != Some(&name.advertise) {
            return Ok(Err(format!("the seed {} to create the cluster", name.seeds[0])));
        }
        let levels = met.values().filter_map(|seed| u16::try_from(seed.met.max_level).ok()).map(Level);
        let known = levels.chain([name.max_level]).min().unwrap_or(Level::FIRST).max(Level::FIRST);
        let level = self.level(known)?;
        if level > known {
            return Ok(Err(format!("every seed to understand level {level}, which is that of the backup")));
        }
        match self.promises(met, level).await? {
            Ok(incarnations) => self.create(&incarnations, level).await.map(Ok),
            Err(reason) => Ok(Err(reason)),
        }
    }

    /// The level at which the cluster begins: `known` to all, or that of what it begins with.
    fn level(&self, known: Level) -> Result<Level, OpenError> {
        let Some(beginning) = &self.beginning else { return Ok(known) };
        let (level, max_level) = (beginning.level(&self.lobby.directory)?, self.lobby.name.max_level);
        if level > max_level {
            let file = beginning.what.file.display();
            let what = format!(
                "{file} is at level {level}, and this node understands levels up to {max_level} only"
            );
            return Err(OpenError::LevelTooHigh(what));
        }
        Ok(level)
    }

    async fn meet<'a>(&self, links: &BTreeMap<&'a String, Link>) -> BTreeMap<&'a String, Seed> {
        let meeting = links.iter().map(|(seed, link)| async move {
            let ask = Ask::Meet(Meet {
                name: self.lobby.name.advertise.clone(),
                seeds: self.lobby.name.seeds.clone(),
            });
            match self.call(link, ask, PATIENCE).await {
                Ok(Say::Met(met)) => Some((*seed, Seed { link: link.clone(), met })),
                Ok(_) => None,
                Err(error) => {
                    tracing::debug!(seed, %error, "a seed does not answer");
                    None
                }
            }
        });
        futures_util::future::join_all(meeting).await.into_iter().flatten().collect()
    }

    /// The promise of every other seed: its data directory, by name.
    async fn promises(
        &self,
        met: &BTreeMap<&String, Seed>,
        level: Level,
    ) -> Result<Result<BTreeMap<String, u128>, String>, OpenError> {
        let identity = self.lobby.directory.begin()?;
        let name = &self.lobby.name;
        let asked = Promise {
            cluster: identity.cluster.into(),
            creator: name.advertise.clone(),
            seeds: name.seeds.clone(),
            level: u32::from(level.0),
        };
        // What it asks of others it promises itself.
        let own = self.lobby.promise(&asked);
        if !own.granted {
            return Ok(Err(format!("itself: {}", own.reason)));
        }
        let mut incarnations = BTreeMap::new();
        for (seed, found) in met {
            match self.call(&found.link, Ask::Promise(asked.clone()), PATIENCE).await {
                Ok(Say::Promised(promised)) if promised.granted => {
                    incarnations.insert((*seed).clone(), promised.incarnation.into());
                }
                Ok(Say::Promised(promised)) => {
                    return Ok(Err(format!("the promise of {seed}: {}", promised.reason)));
                }
                Ok(_) => return Ok(Err(format!("a sensible answer of {seed}"))),
                Err(error) => return Ok(Err(format!("the promise of {seed}: {error}"))),
            }
        }
        Ok(Ok(incarnations))
    }

    /// Creates a cluster with the seeds of which these are the data directories; with none it is alone.
    async fn create(&self, incarnations: &BTreeMap<String, u128>, level: Level) -> Result<Formed, OpenError> {
        let identity = self.lobby.directory.begin()?;
        let name = &self.lobby.name;
        let own =
            Member { incarnation: identity.incarnation, advertise: name.advertise.clone(), learner: false };
        let others = incarnations.iter().map(|(seed, incarnation)| Member {
            incarnation: *incarnation,
            advertise: seed.clone(),
            learner: false,
        });
        // The largest odd number of them; the rest joins.
        let voters = (incarnations.len() + 1).div_ceil(2) * 2 - 1;
        let founders: BTreeMap<u64, Member> =
            (identity.node..).zip([own].into_iter().chain(others).take(voters)).collect();
        self.lobby.directory.found(&founders, level)?;
        let names: BTreeSet<_> = founders.values().map(|member| member.advertise.clone()).collect();
        tracing::info!(cluster = format!("{:032x}", identity.cluster), ?names, "creating a cluster");
        if let Some(beginning) = self.beginning.clone() {
            let directory = self.lobby.directory.clone();
            let created = tokio::task::spawn_blocking(move || beginning.create(&directory, &founders)).await;
            created.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        }
        Ok(Formed { identity })
    }

    async fn join(&self, link: &Link) -> Result<wal::Identity, String> {
        let ask = Join {
            name: self.lobby.name.advertise.clone(),
            incarnation: self.lobby.incarnation.into(),
            learner: self.lobby.name.learner,
            relayed: false,
            max_level: u32::from(self.lobby.name.max_level.0),
            known: false,
        };
        match self.call(link, Ask::Join(ask), ADMISSION).await {
            Ok(Say::Joined(Joined { cluster: Some(cluster), node, .. })) => {
                let (cluster, incarnation) = (cluster.into(), self.lobby.incarnation);
                tracing::info!(cluster = format!("{cluster:032x}"), node, "admitted");
                if self.beginning.is_some() {
                    tracing::info!(
                        "not restored: cluster.restore_from is for a new cluster, and this one is there already"
                    );
                }
                Ok(wal::Identity { cluster, node, incarnation })
            }
            Ok(Say::Joined(Joined { reason, .. })) => Err(reason),
            Ok(_) => Err("the answer is to another question".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn call(&self, link: &Link, ask: Ask, patience: Duration) -> Result<Say, CallError> {
        let me = Me { cluster: 0, node: 0, incarnation: self.lobby.incarnation, boot: self.boot };
        link.call(&me.to(0, 0, Level::FIRST.0), ask, patience).await
    }
}
