//! The cluster, as `/v1/cluster` and what is below it send and take it.

use poem::Request;
use poem_openapi::Object;
use poem_openapi::registry::{MetaParamIn, MetaSchema};

use super::params::{Parameter, number};
use super::refusal::Refusal;
use crate::model::limits::{MAX_DEADLINE_MS, MAX_VALUE_BYTES};
use crate::model::{Eviction, NodeId, Settings, SettingsChange};
use crate::service::{ClusterView, MAX_VOTERS, MemberStatus};

/// Where the paths of single members begin.
const MEMBERS: &str = "/v1/cluster/members/";

/// The cluster as its leader sees it, and the place of the node that was asked.
#[derive(Debug, Object)]
#[oai(rename = "Cluster")]
pub(super) struct ClusterBody {
    /// The cluster's id, in hexadecimal.
    cluster: String,
    /// The node that was asked.
    node: u64,
    /// What it is: `leader`, `follower`, `candidate` or `learner`.
    role: String,
    /// The term that it knows.
    term: u64,
    /// The leader's id; null if none is known.
    leader: Option<u64>,
    /// Whether the rest is as the leader sees it; else it is what the node that was asked knows by itself.
    told_by_leader: bool,
    /// The level in force: the version of formats and rules that all members share.
    level: u16,
    /// The highest level that the node that was asked understands.
    max_level: u16,
    /// How many members are to vote; 0: all that may, the largest odd number of them.
    wanted_voters: u64,
    /// Index of the last entry.
    last_log_index: u64,
    /// Index up to which entries are committed.
    commit_index: u64,
    /// Index up to which the node that was asked has applied entries.
    applied_index: u64,
    /// The hash of the state of the node that was asked, after the entry where it last noted one; null before the first.
    state_hash: Option<StateHash>,
    /// Times that the node that was asked, as leader, has found members whose states differ.
    state_hash_mismatches: u64,
    /// Everybody.
    members: Vec<Member>,
}

/// The hash of a state.
#[derive(Debug, Object)]
struct StateHash {
    /// After this entry.
    index: u64,
    /// In hexadecimal.
    hash: String,
}

/// A member, as the leader sees it. What it does not know is null.
#[derive(Debug, Object)]
struct Member {
    /// The id; never given to another one.
    node: u64,
    /// Where other members reach it; empty if it listens to none.
    name: String,
    /// `leader`, `voter` or `learner`.
    role: String,
    /// `ok`; `silent` if it has not answered for two seconds; `full` if its disk is full, so that it takes no more writes; `stuck` if
    /// it answers and takes no entries; `behind` if it lags by more than 1,000 entries; `diverged` if its state is not that of the
    /// majority and it is out of service; `unknown`.
    state: String,
    /// Why it is `silent` or `stuck`.
    reason: Option<String>,
    /// Milliseconds since it last answered.
    silent_ms: Option<u64>,
    /// Last entry that it has.
    matched_index: Option<u64>,
    /// Last entry in its store.
    applied_index: Option<u64>,
    /// Entries that it has yet to get.
    lag_entries: Option<u64>,
    /// The highest level that it understands.
    max_level: Option<u16>,
    /// The entry after which the hash of its state was last compared and right.
    agreed_index: Option<u64>,
}

/// A member is silent after this long without an answer, in milliseconds.
const SILENT_MS: u64 = 2_000;

/// A member is behind if it lags by more entries than this.
const BEHIND_ENTRIES: u64 = 1_000;

impl From<ClusterView> for ClusterBody {
    fn from(view: ClusterView) -> ClusterBody {
        let ClusterView { node, cluster } = view;
        let leader = node.leader.map(|leader| leader.0);
        let last = cluster.last_log_index;
        ClusterBody {
            cluster: format!("{:032x}", node.cluster),
            node: node.node.0,
            role: node.role.to_owned(),
            term: node.term,
            leader,
            told_by_leader: cluster.is_of_leader,
            level: node.level.0,
            max_level: node.max_level.0,
            wanted_voters: cluster.wanted_voters,
            last_log_index: last,
            commit_index: cluster.commit_index,
            applied_index: node.applied_index,
            state_hash: cluster.checkpoint.map(|(index, hash)| StateHash { index, hash: hash.to_string() }),
            state_hash_mismatches: cluster.mismatches,
            members: cluster.members.into_iter().map(|member| shown(member, leader, last)).collect(),
        }
    }
}

fn shown(member: MemberStatus, leader: Option<u64>, last: u64) -> Member {
    let silent_ms = member.silent.map(|silent| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX));
    let lag_entries = member.matched_index.map(|matched| last.saturating_sub(matched));
    let state = match (silent_ms, lag_entries) {
        _ if member.has_diverged => "diverged",
        (None, _) => "unknown",
        (Some(silent), _) if silent >= SILENT_MS => "silent",
        _ if member.is_out_of_disk => "full",
        _ if member.trouble.is_some() => "stuck",
        (_, None) => "unknown",
        (_, Some(lag)) if lag > BEHIND_ENTRIES => "behind",
        _ => "ok",
    };
    let role = match member.is_voter {
        true if leader == Some(member.node.0) => "leader",
        true => "voter",
        false => "learner",
    };
    Member {
        node: member.node.0,
        name: member.name,
        role: role.to_owned(),
        state: state.to_owned(),
        reason: member.trouble.filter(|_| matches!(state, "silent" | "stuck" | "full" | "diverged")),
        silent_ms,
        matched_index: member.matched_index,
        applied_index: member.applied_index,
        lag_entries,
        max_level: member.max_level.map(|level| level.0),
        agreed_index: member.agreed_index,
    }
}

/// The member that it was about.
#[derive(Debug, Object)]
#[oai(rename = "MemberId")]
pub(super) struct MemberIdBody {
    /// Its id.
    pub(super) node: u64,
}

impl From<NodeId> for MemberIdBody {
    fn from(node: NodeId) -> MemberIdBody {
        MemberIdBody { node: node.0 }
    }
}

/// A node that is to become a member.
#[derive(Debug, Object)]
#[oai(rename = "NewMember", deny_unknown_fields)]
pub(super) struct NewMember {
    /// Where it listens to peers: host and port.
    #[oai(validator(max_length = 300, pattern = "^[A-Za-z0-9._\\-\\[\\]:]+:[0-9]{1,5}$"))]
    pub(super) address: String,
}

/// Who is to lead.
#[derive(Debug, Default, Object)]
#[oai(rename = "Transfer", deny_unknown_fields)]
pub(super) struct TransferBody {
    /// The voter; without it the one that has most of the log.
    #[oai(validator(minimum(value = "1")))]
    pub(super) to: Option<u64>,
}

/// The level.
#[derive(Debug, Object)]
#[oai(rename = "Level")]
pub(super) struct LevelBody {
    /// In force.
    pub(super) level: u16,
    /// The highest that the node that was asked understands.
    pub(super) max_level: u16,
}

/// The level that is wanted.
#[derive(Debug, Object)]
#[oai(rename = "WantedLevel", deny_unknown_fields)]
pub(super) struct WantedLevel {
    /// The level.
    #[oai(validator(minimum(value = "1"), maximum(value = "65535")))]
    pub(super) level: u16,
}

/// What the members have agreed on.
#[derive(Debug, Object)]
#[oai(rename = "Settings")]
pub(super) struct SettingsBody {
    /// Most accounted bytes; 0 means no limit.
    max_bytes: u64,
    /// Most keys; 0 means no limit.
    max_keys: u64,
    /// What makes room: `lru`, `volatile-lru`, `volatile-ttl` or `noeviction`.
    eviction: String,
    /// Longest value in bytes.
    max_value_bytes: u64,
    /// How many members are to vote; 0: all that may, the largest odd number of them.
    voters: u64,
}

impl From<Settings> for SettingsBody {
    fn from(settings: Settings) -> SettingsBody {
        SettingsBody {
            max_bytes: settings.max_bytes,
            max_keys: settings.max_keys,
            eviction: settings.eviction.name().to_owned(),
            max_value_bytes: settings.max_value_bytes,
            voters: settings.voters,
        }
    }
}

/// Settings with new values; what is left out stays.
#[derive(Debug, Object)]
#[oai(rename = "SettingsChange", deny_unknown_fields)]
pub(super) struct SettingsChangeBody {
    /// Most accounted bytes; 0 means no limit. A lowered limit is reached in steps.
    max_bytes: Option<u64>,
    /// Most keys; 0 means no limit. A lowered limit is reached in steps.
    max_keys: Option<u64>,
    /// What makes room: `lru`, `volatile-lru`, `volatile-ttl` or `noeviction`.
    #[oai(validator(pattern = "^(lru|volatile-lru|volatile-ttl|noeviction)$"))]
    eviction: Option<String>,
    /// Longest value in bytes.
    max_value_bytes: Option<u64>,
    /// How many members are to vote, an odd number; 0: all that may, the largest odd number of them.
    voters: Option<u64>,
}

impl SettingsChangeBody {
    /// What is to change.
    pub(super) fn change(self) -> Result<SettingsChange, Refusal> {
        let eviction = self.eviction.map(|name| name.parse::<Eviction>()).transpose();
        let change = SettingsChange {
            max_bytes: self.max_bytes,
            max_keys: self.max_keys,
            eviction: eviction.map_err(|error| Refusal::invalid(error.to_string()))?,
            max_value_bytes: self.max_value_bytes,
            voters: self.voters,
        };
        let numbers = [change.max_bytes, change.max_keys, change.max_value_bytes, change.voters];
        if numbers.into_iter().flatten().any(|number| number > MAX_DEADLINE_MS) {
            return Err(Refusal::invalid("a number is beyond 2^53 - 1"));
        }
        Ok(change)
    }

    /// Bounds of the numbers, for the document: name, lowest, highest.
    pub(super) const BOUNDS: [(&'static str, u64, u64); 4] = [
        ("max_bytes", 0, MAX_DEADLINE_MS),
        ("max_keys", 0, MAX_DEADLINE_MS),
        ("max_value_bytes", 1, MAX_VALUE_BYTES),
        ("voters", 0, MAX_VOTERS),
    ];
}

/// The member in the path.
impl Parameter for NodeId {
    const IN: MetaParamIn = MetaParamIn::Path;
    const REQUIRED: bool = true;

    fn schema() -> MetaSchema {
        MetaSchema {
            minimum: Some(1.0),
            maximum: Some(MAX_DEADLINE_MS as f64),
            example: Some(2.into()),
            ..MetaSchema::new_with_format("integer", "int64")
        }
    }

    fn parse(request: &Request, name: &str) -> Result<NodeId, Refusal> {
        let rest = request.uri().path().strip_prefix(MEMBERS).unwrap_or_default();
        let id = number(rest.split('/').next().unwrap_or_default());
        let id = id.filter(|id| (1..=MAX_DEADLINE_MS).contains(id)).map(NodeId);
        id.ok_or_else(|| Refusal::invalid(format!("{name} is a whole number: the id of a member")))
    }
}
