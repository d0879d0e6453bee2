//! Goal: a data directory is one member, for ever; what is not that is refused, with the way out.

use std::fs;
use std::path::Path;

use super::harness::{Cluster, cluster, id, leader_of, members, removed, serves, settled};
use crate::node::{Node, eventually};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), &target).expect("a file");
        }
    }
}

/// A node whose directory was emptied comes back under another id and takes the place of the one that it was.
#[test]
fn an_emptied_node_replaces_the_silent_one_of_its_name() {
    let places = Cluster::of(3, 3).with("cluster.replace_after_s", "3");
    let mut nodes = places.start_all();
    let leader = leader_of(&nodes);
    let wiped = (leader + 1) % 3;
    let old = id(&nodes[wiped]);
    serves(&nodes, "before");
    nodes.remove(wiped).kill();
    fs::remove_dir_all(places.path(wiped)).expect("it can be emptied");
    let back = places.start(wiped);
    let new = id(&back);
    assert_ne!(new, old, "an id is never given out again");
    nodes.push(back);
    eventually("it takes the place", || {
        let ids: Vec<u64> = members(&nodes[0]).into_iter().map(|(id, _, _)| id).collect();
        (ids.contains(&new) && !ids.contains(&old)).then_some(())
    });
    settled(&nodes[0], 3, 3);
    serves(&nodes, "after");
    assert_eq!(nodes[2].get("/v1/kv/before-0").status, 200);
}

/// Two processes with the same identity: the second is not heard.
#[test]
fn a_copied_directory_is_refused() {
    let places = Cluster::of(4, 3);
    let mut nodes = vec![places.begin(0), places.begin(1), places.begin(2)];
    let mut nodes: Vec<_> = nodes.drain(..).map(|node| node.join().expect("it starts")).collect();
    let follower = (leader_of(&nodes) + 1) % 3;
    // The copy is taken from a stopped node, as a careless backup would be.
    nodes.remove(follower).terminate();
    let twin = places.directory_of("twin");
    copy(&places.path(follower), &twin);
    let original = places.start(follower);
    serves(&nodes, "before");
    let twin = places.try_begin_in(twin, places.peers[3], &[("log.level", "info,kvorum::raft::peer=debug")]);
    let twin = twin.join().expect("no panic");
    match twin {
        // It starts, but no member hears it: it is never ready, and the cluster does not notice.
        Ok(twin) => {
            serves(&nodes, "meanwhile");
            let read = twin.get("/v1/kv/before-0");
            assert_ne!(read.status, 200, "a copy must not serve linearizable reads: {read:?}");
        }
        Err(ended) => assert!(ended.said.contains("same data directory"), "{}", ended.said),
    }
    settled(&original, 3, 3);
}

/// A node that was taken out says so, ends with a status of its own, and does not come back.
#[test]
fn a_removed_node_ends_and_stays_out() {
    let places = Cluster::of(3, 3);
    let mut nodes = places.start_all();
    settled(&nodes[0], 3, 3);
    let removed = (leader_of(&nodes) + 1) % 3;
    let node = nodes.remove(removed);
    let done = nodes[0].client(&["cluster", "remove", &id(&node).to_string()]);
    assert!(done.status.success(), "{done:?}");
    let ended = node.ended();
    assert_eq!(ended.status, Some(80), "{}", ended.said);
    assert!(ended.said.contains("it was removed"), "{}", ended.said);
    let again = places.try_begin(removed, &[]).join().expect("no panic").err().expect("it stays out");
    assert_eq!(again.status, Some(80), "{}", again.said);
    assert!(again.said.contains("empty it"), "the way out is named: {}", again.said);
    settled(&nodes[0], 2, 2);
    serves(&nodes, "k");
}

/// A removed node that was down hears of it when it is started.
#[test]
fn a_node_that_was_removed_while_it_was_down_hears_of_it() {
    let places = Cluster::of(3, 3);
    let mut nodes = places.start_all();
    settled(&nodes[0], 3, 3);
    let removed = (leader_of(&nodes) + 1) % 3;
    let node = nodes.remove(removed);
    let old = id(&node).to_string();
    node.kill();
    let done = nodes[0].client(&["cluster", "remove", &old]);
    assert!(done.status.success(), "{done:?}");
    let ended = match places.try_begin(removed, &[]).join().expect("no panic") {
        Ok(node) => node.ended(),
        Err(ended) => ended,
    };
    assert_eq!(ended.status, Some(80), "{}", ended.said);
}

/// A founder that is stopped before its first entry may have reached it, and removed, hears of it at its next start: it asks
/// its seeds while it knows no member.
#[test]
fn a_founder_that_is_removed_right_away_hears_of_it() {
    let places = Cluster::of(3, 3);
    let mut nodes = places.start_all();
    let away = (leader_of(&nodes) + 1) % 3;
    let node = nodes.remove(away);
    let old = id(&node);
    node.kill();
    removed(&nodes[0], old);
    let ended = match places.try_begin(away, &[]).join().expect("no panic") {
        Ok(node) => node.ended(),
        Err(ended) => ended,
    };
    assert_eq!(ended.status, Some(80), "{}", ended.said);
}

/// Goal: a node that may have lost what it acknowledged (the machine restarted while syncs came at intervals) is not heard under
/// its old id again: by itself it is admitted as a new member by a quorum of the others, and takes the old one's place. What it
/// had is untouched, set aside.
#[test]
fn a_node_that_may_have_lost_what_it_acknowledged_is_admitted_anew() {
    let places = Cluster::of(3, 3).with("cluster.replace_after_s", "3").with("wal.durability", "interval");
    let mut nodes = places.start_all();
    let lost = (leader_of(&nodes) + 1) % 3;
    let old = id(&nodes[lost]);
    serves(&nodes, "before");
    nodes.remove(lost).kill();
    let path = places.path(lost);
    restarted_machine(&path);
    let log = fs::read(path.join("wal/0000000000000001.seg")).expect("its log");
    let back = places.start(lost);
    let new = id(&back);
    assert_ne!(new, old, "it has another id");
    nodes.push(back);
    eventually("it takes the place", || {
        let ids: Vec<u64> = members(&nodes[0]).into_iter().map(|(id, _, _)| id).collect();
        (ids.contains(&new) && !ids.contains(&old)).then_some(())
    });
    settled(&nodes[0], 3, 3);
    serves(&nodes, "after");
    assert_eq!(nodes[2].get("/v1/kv/before-0").status, 200);
    let aside = fs::read_dir(&path).expect("a directory").flatten().map(|entry| entry.path());
    let mut aside = aside
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("unclean-")));
    let aside = aside.next().expect("what it had");
    assert!(fs::read(aside.join("wal/0000000000000001.seg")).expect("its log") == log, "it is untouched");
}

/// Goal: where no quorum of others can admit it, such a node leaves its directory as it is and names the way out: it waits while
/// it knows of others, and ends where it is alone.
#[test]
fn a_node_that_nobody_can_admit_anew_says_so() {
    let places = Cluster::of(3, 3).with("wal.durability", "interval");
    let mut nodes = places.start_all();
    serves(&nodes, "before");
    nodes.drain(..).for_each(Node::kill);
    for n in 0..2 {
        restarted_machine(&places.path(n));
    }
    for n in 0..2 {
        let log = places.directory_of(&format!("log-{n}"));
        let mut command = places.command(n);
        command.stderr(fs::File::create(&log).expect("a file"));
        let mut child = command.spawn().expect("the program runs");
        eventually("it names the way out", || {
            fs::read_to_string(&log).expect("a file").contains("kvorum recover").then_some(())
        });
        child.kill().expect("it waits");
        child.wait().expect("it ends");
        assert!(places.path(n).join("node.json").exists(), "its directory is as it was");
    }
    let lone = places.directory_of("lone");
    let settings = [("wal.durability", "interval")];
    Node::start_with(&lone, &settings).kill();
    restarted_machine(&lone);
    let command = std::process::Command::new(crate::node::PROGRAM);
    let ended = Node::try_start(command, &lone, &settings).err().expect("it does not start");
    assert_eq!(ended.status, Some(79), "{}", ended.said);
    assert!(ended.said.contains("kvorum recover"), "{}", ended.said);
}

/// As if the machine had been started anew since the node last ran in this directory.
fn restarted_machine(path: &Path) {
    let mark = path.join("running.json");
    let text = fs::read_to_string(&mark).expect("the mark of a node that was killed");
    let mut mark_of: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    mark_of["boot_id"] = "another".into();
    fs::write(&mark, mark_of.to_string()).expect("it can be written");
}

/// A node that has left sets aside what it had and joins as a new member.
#[test]
fn a_node_that_has_left_joins_as_a_new_member() {
    let places = Cluster::of(3, 3);
    let mut nodes = places.start_all();
    settled(&nodes[0], 3, 3);
    serves(&nodes, "before");
    // The leader, which hands over first.
    let leaving = leader_of(&nodes);
    let node = nodes.remove(leaving);
    let old = id(&node);
    let left = node.client(&["cluster", "leave"]);
    assert!(left.status.success(), "{left:?}");
    assert_eq!(node.ended().status, Some(80));
    settled(&nodes[0], 2, 2);
    let back = places.start(leaving);
    assert_ne!(id(&back), old);
    nodes.push(back);
    settled(&nodes[0], 3, 3);
    serves(&nodes, "after");
    assert_eq!(nodes[2].get("/v1/kv/before-0").status, 200);
    let aside = fs::read_dir(places.path(leaving))
        .expect("a directory")
        .any(|entry| entry.expect("an entry").file_name().to_string_lossy().starts_with("retired-"));
    assert!(aside, "nothing is deleted");
}

/// Without the secret nobody is heard, and nothing of a message is read.
#[test]
fn a_node_with_a_wrong_secret_is_not_admitted() {
    let secret = tempfile::NamedTempFile::new().expect("a file");
    fs::write(secret.path(), "the right secret of this cluster\n").expect("it can be written");
    let wrong = tempfile::NamedTempFile::new().expect("a file");
    fs::write(wrong.path(), "another secret, a wrong one\n").expect("it can be written");
    let places = Cluster::of(2, 1).with("cluster.secret_file", &secret.path().display().to_string());
    let first = places.start(0);
    let stranger = places.try_begin(1, &[("cluster.secret_file", &wrong.path().display().to_string())]);
    std::thread::park_timeout(std::time::Duration::from_secs(2));
    assert!(!stranger.is_finished(), "it waits to be admitted");
    assert_eq!(members(&first).len(), 1, "it is not");
    // Both secrets are accepted while one is exchanged for the other, without a restart.
    for (file, first, second) in [
        (secret.path(), "the right secret of this cluster", "another secret, a wrong one"),
        (wrong.path(), "another secret, a wrong one", "the right secret of this cluster"),
    ] {
        fs::write(file, format!("{first}\n{second}\n")).expect("it can be written");
    }
    let second = stranger.join().expect("no panic").expect("it starts");
    settled(&second, 1, 2);
}

/// A node of another cluster is not taken for a member.
#[test]
fn a_node_of_another_cluster_is_refused() {
    let (ours, theirs) = (Cluster::of(1, 1), Cluster::of(1, 1));
    let (first, other) = (ours.start(0), theirs.start(0));
    let added = first.client(&["cluster", "add", &theirs.peers[0].to_string()]);
    assert_eq!(added.status.code(), Some(5), "{added:?}");
    assert!(String::from_utf8_lossy(&added.stderr).contains("another cluster"), "{added:?}");
    assert_ne!(cluster(&first)["cluster"], cluster(&other)["cluster"]);
}

/// A member may come back under another address.
#[test]
fn a_member_may_get_another_address() {
    let places = Cluster::of(4, 3);
    let starting = [places.begin(0), places.begin(1), places.begin(2)];
    let mut nodes: Vec<_> = starting.into_iter().map(|node| node.join().expect("it starts")).collect();
    settled(&nodes[0], 3, 3);
    let moved = (leader_of(&nodes) + 1) % 3;
    let node = nodes.remove(moved);
    let old = id(&node);
    node.terminate();
    let elsewhere = places.try_begin_in(places.path(moved), places.peers[3], &[]);
    let back = elsewhere.join().expect("no panic").expect("it starts");
    assert_eq!(id(&back), old);
    let address = places.peers[3].to_string();
    eventually("its address is noted", || {
        let cluster = cluster(&nodes[0]);
        let members = cluster["members"].as_array().expect("a list");
        members.iter().any(|member| member["node"] == old && member["name"] == address.as_str()).then_some(())
    });
    settled(&nodes[0], 3, 3);
}

/// A directory that is older than what it has acknowledged is noticed by the leader to whom it was.
#[test]
fn a_rolled_back_directory_is_out_of_service() {
    // The leader of another term would not know.
    let places = Cluster::of(3, 3).with("raft.election_min_ms", "1500").with("raft.election_max_ms", "3000");
    let mut nodes = places.start_all();
    settled(&nodes[0], 3, 3);
    let follower = (leader_of(&nodes) + 1) % 3;
    serves(&nodes, "before");
    nodes.remove(follower).terminate();
    let backup = places.directory_of("backup");
    copy(&places.path(follower), &backup);
    let node = places.start(follower);
    serves(&nodes, "meanwhile");
    eventually("it has all of it", || {
        (node.get("/v1/kv/meanwhile-1?consistency=stale").status == 200).then_some(())
    });
    node.terminate();
    fs::remove_dir_all(places.path(follower)).expect("it can be removed");
    copy(&backup, &places.path(follower));
    let mut back = places.start(follower);
    let line = back.wait_for(
        "out of service. Stop this node and empty its data directory; it then joins as a new member",
    );
    assert!(line["reason"].as_str().is_some_and(|reason| reason.contains("rolled back")), "{line}");
    back.get("/v1/kv/before-0").problem(503, "unavailable");
    let id = id(&back);
    eventually("its state is shown", || {
        members(&nodes[0]).contains(&(id, "voter".into(), "diverged".into())).then_some(())
    });
    serves(&nodes, "after");
}
