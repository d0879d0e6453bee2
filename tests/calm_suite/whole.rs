//! A cluster in which all is well has nothing to say, and neither has one that is restarted node by node.

use std::time::Duration;

use serde_json::Value;

use super::group::Group;
use super::load::Load;
use crate::cluster_suite::harness::Cluster;

/// How long it is loaded.
const LOADED: Duration = Duration::from_secs(20);

fn is_trouble(line: &Value) -> bool {
    matches!(line["level"].as_str(), Some("WARN" | "ERROR"))
}

#[test]
fn a_whole_cluster_is_silent_and_a_restart_of_each_node_is_no_trouble() {
    let mut group = Group::at(Cluster::of(3, 3));
    group.start_all(0..3);
    group.wait_until_quiet();
    let begun = group.mark();
    group.whole_for("whole cluster", LOADED);
    let trouble: Vec<_> =
        group.lines_since(&begun).into_iter().filter(|(_, line)| is_trouble(line)).collect();
    group.report.check(trouble.is_empty(), || {
        format!("a healthy cluster gives {} warnings, first: {:#?}", trouble.len(), trouble.first())
    });
    group.report.begin("restart of each node");
    let begun = group.mark();
    let addresses: Vec<_> = group.running().into_iter().map(|n| group.member(n).address()).collect();
    let load = Load::on(&addresses);
    for n in 0..3 {
        group.stop(n);
        group.start(n);
        group.is_well();
    }
    load.stop();
    let lines = group.all_lines_since(&begun).into_iter();
    let of_raft = |line: &Value| line["target"].as_str().is_some_and(|target| target.starts_with("openraft"));
    let trouble: Vec<_> = lines.filter(|(_, line)| is_trouble(line) && of_raft(line)).collect();
    group.report.check(trouble.is_empty(), || {
        format!("orderly stops give {} warnings of openraft, first: {:#?}", trouble.len(), trouble.first())
    });
    group.finish();
}
