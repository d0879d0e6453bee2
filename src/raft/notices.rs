//! Log lines about the leader and the members: a line when somebody goes, one when it is back, a reminder each minute.
//!
//! Looked at once a second. openraft speaks of each message that fails, and is silenced (`telemetry::logs`); an hour of
//! trouble is a few lines here.

use std::collections::BTreeMap;

use tokio::time::{Duration, Instant};

use super::members::{Members, PRESENT};

/// Time between two reminders.
const REMINDER: Duration = Duration::from_secs(60);

/// A trouble with a member that answers must last for so long to be told: a stream that breaks is opened again.
const LASTING: Duration = Duration::from_secs(5);

/// A node that was without a leader for no longer than this was in an election.
const ELECTION: Duration = Duration::from_secs(3);

/// The state that was logged last.
#[derive(Default)]
pub(super) struct Notices {
    leader: Option<u64>,
    leaderless: Option<Trouble>,
    /// Members with which something is wrong, as this node sees it as leader.
    members: BTreeMap<u64, Trouble>,
}

struct Trouble {
    since: Instant,
    /// When the log last told of it; `None`: not yet.
    told: Option<Instant>,
}

impl Trouble {
    fn begin() -> Trouble {
        Trouble { since: Instant::now(), told: None }
    }

    /// Whether it is to be told now, once it has lasted for `lasting`.
    fn is_due(&mut self, lasting: Duration) -> bool {
        let is_due = match self.told {
            None => self.since.elapsed() >= lasting,
            Some(told) => told.elapsed() >= REMINDER,
        };
        if is_due {
            self.told = Some(Instant::now());
        }
        is_due
    }

    /// How long it lasted, in seconds, if it was told.
    fn lasted_s(&self) -> Option<u64> {
        self.told.map(|_| self.since.elapsed().as_secs())
    }
}

impl Notices {
    /// Tells what has changed since the last call.
    pub(super) fn give(&mut self, members: &Members) {
        self.tell_leader(members);
        self.tell_members(members);
    }

    fn tell_leader(&mut self, members: &Members) {
        let Some(leader) = members.leader.heard() else {
            if self.leaderless.get_or_insert_with(Trouble::begin).is_due(ELECTION) {
                let what = if members.since().is_some() {
                    "too few voters answer this leader: no write is acknowledged"
                } else {
                    "no leader is heard: writes and linearizable reads wait"
                };
                let reasons = members.vote_troubles();
                tracing::warn!(last_leader = self.leader, ?reasons, "{what}");
            }
            return;
        };
        let leaderless_s = self.leaderless.take().and_then(|trouble| trouble.lasted_s());
        let is_own = leader == members.leader.node;
        if self.leader != Some(leader) || leaderless_s.is_some() {
            match leaderless_s {
                Some(leaderless_s) => tracing::info!(leader, leaderless_s, "there is a leader again"),
                None if is_own => {}
                None => tracing::info!(leader, "follows a leader"),
            }
        }
        self.leader = Some(leader);
    }

    fn tell_members(&mut self, members: &Members) {
        let membership = members.since().and_then(|_| members.ledger.membership());
        let Some(membership) = membership else {
            self.members.clear();
            return;
        };
        self.members.retain(|id, _| membership.get_node(id).is_some());
        for (id, member) in membership.nodes().filter(|(id, _)| **id != members.leader.node) {
            let Some(reason) = members.trouble(*id) else {
                if let Some(away_s) = self.members.remove(id).and_then(|trouble| trouble.lasted_s()) {
                    tracing::info!(member = id, address = member.advertise, away_s, "a member follows again");
                }
                continue;
            };
            let answers = members.unanswered(*id) < PRESENT;
            let lasting = if answers { LASTING } else { Duration::ZERO };
            if self.members.entry(*id).or_insert_with(Trouble::begin).is_due(lasting) {
                let what = if answers { "a member takes no entries" } else { "a member does not answer" };
                tracing::warn!(member = id, address = member.advertise, reason, "{what}");
            }
        }
    }
}
