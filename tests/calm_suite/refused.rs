//! Members that are there, and whom the others do not hear.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::figures::{State, Whole};
use super::group::Group;
use super::truth::Says;
use crate::cluster_suite::authority::Authority;
use crate::cluster_suite::harness::Cluster;
use crate::node::eventually;

/// The files by which a node proves that it belongs to a cluster, and the settings that name them.
fn give(group: &mut Group, n: usize, authority: &Authority, secret: &str) {
    let file = |name: &str| group.places.directory_of(&format!("{name}{n}"));
    let (cert, key, ca, secrets) = (file("cert"), file("key"), file("ca"), file("secret"));
    authority.give(&cert, &key);
    fs::write(&ca, &authority.pem).expect("it can be written");
    fs::write(&secrets, secret).expect("it can be written");
    let files = [
        ("peer.tls_cert_file", cert),
        ("peer.tls_key_file", key),
        ("peer.tls_ca_file", ca),
        ("cluster.secret_file", secrets),
    ];
    for (key, file) in files {
        group.set(n, key, &file.display().to_string());
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().expect("it runs");
    assert!(copied.success(), "{copied}");
}

const SECRET: &str = "the secret that all members share\n";

impl Group {
    /// Whether the others do not count on `away`, and it does not count itself among them.
    fn shuts_out(&self, leader: usize, away: usize, state: &str) -> Result<(), String> {
        let here = self.running().into_iter().filter(|n| *n != away);
        let states: Vec<_> = here.clone().map(|n| (n, "ok")).chain([(away, state)]).collect();
        let says = Says { ready: true, leader: Some(leader), states: &states };
        here.clone().try_for_each(|n| self.says(n, says))?;
        self.is_ready(away, false)
    }

    /// Restarts a member with such papers, watches it, and gives it the right ones again.
    fn is_refused(
        &mut self,
        whole: &Whole,
        name: &str,
        (authority, right): (&Authority, &Authority),
        secret: &str,
    ) {
        let (leader, followers) = self.roles();
        let away = followers[0];
        self.stop(away);
        self.wait_until_quiet();
        let mark = self.mark();
        give(self, away, authority, secret);
        self.start(away);
        let truth = |group: &Group| group.shuts_out(leader, away, "silent");
        // That it had gone, and that it is there and may not get in.
        self.endures(whole, &mark, &State { name, truth: &truth, lines: 2, ..State::default() });
        self.stop(away);
        self.wait_until_quiet();
        let mark = self.mark();
        give(self, away, right, SECRET);
        self.start(away);
        self.is_mended(away, &mark, 1);
    }
}

/// The leader must stay the same: only it knows what a member had acknowledged.
#[test]
fn a_member_that_is_refused_disturbs_nobody() {
    let places = Cluster::of(4, 3)
        .with("cluster.replace_after_s", "3")
        .with("raft.election_min_ms", "1500")
        .with("raft.election_max_ms", "3000");
    let (right, other) = (Authority::new(), Authority::new());
    let mut group = Group::at(places);
    (0..4).for_each(|n| give(&mut group, n, &right, SECRET));
    group.start_all(0..3);
    let whole = group.whole("whole cluster of three, with TLS");
    group.is_refused(&whole, "follower with a wrong secret", (&right, &right), "a secret of somebody else\n");
    group.is_refused(&whole, "follower with certificates of another authority", (&other, &right), SECRET);
    takes_a_taken_address(&mut group, &whole);
    is_rolled_back(&mut group, &whole);
    group.finish();
}

/// A node that says that it is reached where a member is reached.
fn takes_a_taken_address(group: &mut Group, whole: &Whole) {
    let (leader, followers) = group.roles();
    let taken = group.places.peers[followers[0]].to_string();
    group.set(3, "peer.advertise", &taken);
    let mark = group.mark();
    group.start(3);
    let truth = |group: &Group| {
        let states: Vec<_> = (0..3).map(|n| (n, "ok")).collect();
        for n in 0..3 {
            group.says(n, Says { ready: true, leader: Some(leader), states: &states })?;
            let told = group.member(n).cluster().ok_or("no answer")?;
            let count = told["members"].as_array().map_or(0, Vec::len);
            (count == 3).then_some(()).ok_or(format!("node {n} knows {count} members, not three"))?;
        }
        group.is_ready(3, false)
    };
    let name = "newcomer with the address of a live member";
    group.endures(whole, &mark, &State { name, truth: &truth, ..State::default() });
    group.kill(3);
    // The phantom, if it became one.
    let told = group.member(leader).cluster().expect("an answer");
    let members =
        told["members"].as_array().expect("a list").iter().filter_map(|member| member["node"].as_u64());
    let own: Vec<_> = (0..3).map(|n| group.id(n)).collect();
    for phantom in members.filter(|id| !own.contains(id)) {
        let path = format!("/v1/cluster/members/{phantom}");
        eventually("it is removed", || {
            let removed = group.member(group.leader()?).send("DELETE", &path, b"")?;
            matches!(removed.status, 200 | 404).then_some(())
        });
    }
    group.is_well();
}

/// A member that comes back with an older copy of its directory.
fn is_rolled_back(group: &mut Group, whole: &Whole) {
    let (leader, followers) = group.roles();
    let away = followers[0];
    let (path, older) = (group.places.path(away), group.places.directory_of("older"));
    group.stop(away);
    copy(&path, &older);
    let mark = group.mark();
    group.start(away);
    group.is_mended(away, &mark, 1);
    group.stop(away);
    group.empty(away);
    copy(&older, &path);
    group.wait_until_quiet();
    let mark = group.mark();
    group.start(away);
    let truth = |group: &Group| group.shuts_out(leader, away, "diverged");
    let name = "follower with an older copy of its directory";
    group.endures(
        whole,
        &mark,
        &State { name, truth: &truth, within: Duration::from_secs(10), ..State::default() },
    );
    group.stop(away);
    group.empty(away);
    group.start(away);
    group.is_well();
    group.learn_ids();
    let mark = group.mark();
    group.is_mended(away, &mark, 1);
}
