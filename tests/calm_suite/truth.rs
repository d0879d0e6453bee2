//! What nodes say of the cluster, held against what is so.

use serde_json::Value;

use super::group::Group;

/// What a node must say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Says<'a> {
    /// Whether it is ready.
    pub(crate) ready: bool,
    /// Who leads, if anybody does.
    pub(crate) leader: Option<usize>,
    /// The state of members, by the place of each. `!ok` is any state but that.
    pub(crate) states: &'a [(usize, &'a str)],
}

impl Group {
    /// Whether node `n` says so; else all that is wrong.
    pub(crate) fn says(&self, n: usize, expected: Says<'_>) -> Result<(), String> {
        let mut wrong: Vec<_> = self.is_ready(n, expected.ready).err().into_iter().collect();
        let told = self.member(n).cluster().ok_or(format!("node {n} tells nothing of the cluster"))?;
        let (leader, wanted) = (told["leader"].as_u64(), expected.leader.map(|n| self.id(n)));
        if leader != wanted {
            wrong.push(format!("node {n} says that {leader:?} leads, not {wanted:?}"));
        }
        if (told["role"] == "leader") != (expected.leader == Some(n)) {
            wrong.push(format!("node {n} says that it is {}", told["role"]));
        }
        if told["told_by_leader"] != expected.leader.is_some() {
            wrong.push(format!("node {n}: told_by_leader is {}", told["told_by_leader"]));
        }
        for (of, state) in expected.states {
            let known = state_of(&told, self.id(*of));
            if !(known == *state || *state == "!ok" && known != "ok") {
                wrong.push(format!("node {n} says of node {of}: {known}, not {state}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    /// Whether node `n` is ready, or not, as expected.
    pub(crate) fn is_ready(&self, n: usize, expected: bool) -> Result<(), String> {
        let ready = self.member(n).is_ready();
        let what = if ready { "is ready" } else { "is not ready" };
        (ready == expected).then_some(()).ok_or(format!("node {n} {what}"))
    }

    /// Whether all nodes that run are ready, agree on a leader, and all members are well.
    pub(crate) fn is_whole(&self) -> Result<(), String> {
        let mut leaders = Vec::new();
        for n in self.running() {
            self.is_ready(n, true)?;
            let told = self.member(n).cluster().ok_or(format!("node {n} tells nothing of the cluster"))?;
            let members = told["members"].as_array().ok_or("no members")?;
            if let Some(member) = members.iter().find(|member| member["state"] != "ok") {
                return Err(format!("node {n} says of member {}: {}", member["node"], member["state"]));
            }
            if members.len() != self.running().len() || told["told_by_leader"] != true {
                return Err(format!("node {n} knows {} members", members.len()));
            }
            let joining = |member: &&Value| member["role"] == "learner" && !self.is_learner(member);
            if let Some(member) = members.iter().find(joining) {
                return Err(format!("member {} does not vote yet", member["node"]));
            }
            leaders.push(told["leader"].as_u64());
        }
        leaders.dedup();
        (leaders.len() == 1 && leaders[0].is_some()).then_some(()).ok_or(format!("leaders: {leaders:?}"))
    }

    /// Whether a member is never to vote.
    fn is_learner(&self, member: &Value) -> bool {
        let named = |n: &usize| member["name"] == self.places.peers[*n].to_string();
        let settings = (0..self.own.len()).find(named).map(|n| &self.own[n].settings);
        settings.is_some_and(|settings| settings.contains(&("cluster.role".into(), "learner".into())))
    }
}

/// The state of a member, as it is told; `no member` if it is none.
pub(crate) fn state_of(told: &Value, id: u64) -> String {
    let members = told["members"].as_array().expect("a list");
    let member = members.iter().find(|member| member["node"] == id);
    member.map_or("no member".to_owned(), |member| member["state"].as_str().unwrap_or_default().to_owned())
}
