//! Messages about the cluster itself: how it is formed, who belongs to it, and what is to become of it.

use super::party::Id;

/// A node introduces itself to a seed and asks what that is.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Meet {
    /// Its address for peers.
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    /// Its seeds, in order.
    #[prost(string, repeated, tag = "2")]
    pub(crate) seeds: Vec<String>,
}

/// The answer to a [`Meet`].
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Met {
    /// The address for peers of who answers.
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) seeds: Vec<String>,
    /// The cluster it is a member of.
    #[prost(message, optional, tag = "3")]
    pub(crate) cluster: Option<Id>,
    #[prost(message, required, tag = "4")]
    pub(crate) incarnation: Id,
    /// It is never to vote.
    #[prost(bool, tag = "5")]
    pub(crate) learner: bool,
    /// The highest level that it understands.
    #[prost(uint32, tag = "6")]
    pub(crate) max_level: u32,
}

/// A seed that is going to create a cluster asks another for the promise to let no other one do so.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Promise {
    /// The cluster to be.
    #[prost(message, required, tag = "1")]
    pub(crate) cluster: Id,
    /// The creator's address for peers.
    #[prost(string, tag = "2")]
    pub(crate) creator: String,
    #[prost(string, repeated, tag = "3")]
    pub(crate) seeds: Vec<String>,
    /// The level at which the cluster begins: every founder understands it.
    #[prost(uint32, tag = "4")]
    pub(crate) level: u32,
}

/// The answer to a [`Promise`].
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Promised {
    #[prost(bool, tag = "1")]
    pub(crate) granted: bool,
    #[prost(message, required, tag = "2")]
    pub(crate) incarnation: Id,
    /// Why not.
    #[prost(string, tag = "3")]
    pub(crate) reason: String,
}

/// A node asks to be a member.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Join {
    /// Its address for peers.
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, required, tag = "2")]
    pub(crate) incarnation: Id,
    /// It is never to vote.
    #[prost(bool, tag = "3")]
    pub(crate) learner: bool,
    /// It came to a member that did not lead, and is passed on once.
    #[prost(bool, tag = "4")]
    pub(crate) relayed: bool,
    /// The highest level that it understands.
    #[prost(uint32, tag = "5")]
    pub(crate) max_level: u32,
    /// It is a member already, as far as it knows, and tells its address: it is not to be admitted anew.
    #[prost(bool, tag = "6")]
    pub(crate) known: bool,
}

/// The answer to a [`Join`].
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Joined {
    /// The cluster; without it, it was not admitted.
    #[prost(message, optional, tag = "1")]
    pub(crate) cluster: Option<Id>,
    #[prost(uint64, tag = "2")]
    pub(crate) node: u64,
    /// Why not.
    #[prost(string, tag = "3")]
    pub(crate) reason: String,
}

/// A cluster asks a node that is in none to join it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Invite {
    /// Where a member of it is.
    #[prost(string, tag = "1")]
    pub(crate) member: String,
}

/// Is the sender of this still a member? Only the leader knows for certain.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Standing {
    #[prost(message, required, tag = "1")]
    pub(crate) cluster: Id,
    #[prost(uint64, tag = "2")]
    pub(crate) node: u64,
    #[prost(message, required, tag = "3")]
    pub(crate) incarnation: Id,
    /// Its address for peers.
    #[prost(string, tag = "4")]
    pub(crate) name: String,
}

/// The answer to a [`Standing`].
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Stands {
    /// It is certain that it is a member no more.
    #[prost(bool, tag = "1")]
    pub(crate) gone: bool,
    /// Another member bears its name.
    #[prost(bool, tag = "2")]
    pub(crate) replaced: bool,
}

/// Something that the leader is to do to the cluster.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Administer {
    #[prost(oneof = "Task", tags = "1, 2, 3, 4, 5, 6")]
    pub(crate) task: Option<Task>,
    /// Time left, in milliseconds.
    #[prost(uint64, tag = "15")]
    pub(crate) left_ms: u64,
}

/// What the leader is to do.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Task {
    /// Admit the node at this address.
    #[prost(string, tag = "1")]
    Add(String),
    /// Take this member out.
    #[prost(uint64, tag = "2")]
    Remove(u64),
    /// Make this learner a voter.
    #[prost(uint64, tag = "3")]
    Promote(u64),
    /// Hand leadership to this voter; 0: to the one that has most of the log.
    #[prost(uint64, tag = "4")]
    Transfer(u64),
    /// Raise the level.
    #[prost(uint32, tag = "5")]
    Raise(u32),
    /// May this member stop?
    #[prost(uint64, tag = "6")]
    Stop(u64),
}

/// What came of it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Administered {
    /// 0 done, 1 no such member, 2 refused, 3 who was asked does not lead, 4 it is not known what came of it.
    #[prost(uint32, tag = "1")]
    pub(crate) code: u32,
    /// Why not.
    #[prost(string, tag = "2")]
    pub(crate) reason: String,
    /// The member it was about.
    #[prost(uint64, tag = "3")]
    pub(crate) node: u64,
    /// Refused because a node that must take part does not answer.
    #[prost(bool, optional, tag = "4")]
    pub(crate) unreachable: Option<bool>,
}

/// What does the leader know of the members?
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Survey {}

/// The answer to a [`Survey`].
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Surveyed {
    /// Whether who was asked leads; without that there is nothing else.
    #[prost(bool, tag = "1")]
    pub(crate) leads: bool,
    #[prost(uint64, tag = "2")]
    pub(crate) last_index: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) commit_index: u64,
    #[prost(message, repeated, tag = "4")]
    pub(crate) members: Vec<Surveyee>,
}

/// A member, as the leader sees it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Surveyee {
    #[prost(uint64, tag = "1")]
    pub(crate) node: u64,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(bool, tag = "3")]
    pub(crate) voter: bool,
    /// It is never to vote.
    #[prost(bool, tag = "4")]
    pub(crate) learner: bool,
    /// Since when it gave no sign of life, in milliseconds; none if it never did.
    #[prost(uint64, optional, tag = "5")]
    pub(crate) silent_ms: Option<u64>,
    #[prost(uint64, optional, tag = "6")]
    pub(crate) matched: Option<u64>,
    #[prost(uint64, optional, tag = "7")]
    pub(crate) applied: Option<u64>,
    #[prost(uint32, optional, tag = "8")]
    pub(crate) max_level: Option<u32>,
    /// Where the hash of its state was last compared.
    #[prost(uint64, optional, tag = "9")]
    pub(crate) compared: Option<u64>,
    /// Its state is not that of the others.
    #[prost(bool, tag = "10")]
    pub(crate) diverged: bool,
    /// Why it cannot be reached, or takes no entries.
    #[prost(string, optional, tag = "11")]
    pub(crate) trouble: Option<String>,
    /// Its disk is full.
    #[prost(bool, tag = "12")]
    pub(crate) out_of_disk: bool,
}

/// The leader says that the receiver is not what the others take it for.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Diverged {
    /// After this entry.
    #[prost(uint64, tag = "1")]
    pub(crate) index: u64,
    /// It has lost what it had acknowledged up to there; else its state differs.
    #[prost(bool, tag = "2")]
    pub(crate) rolled_back: bool,
}
