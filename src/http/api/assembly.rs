//! All groups of operations together.

use std::sync::Arc;
use std::time::Duration;

use super::backups::Backups;
use super::cluster::Cluster;
use super::deadlines::Deadlines;
use super::front::Front;
use super::keys::Keys;
use super::many::Many;
use super::node::Node;
use super::probes::Probes;
use crate::http::gate::Gate;
use crate::service::Consistency;

/// Every operation of one node.
pub(in crate::http) type Api = (Keys, Deadlines, Many, Cluster, Node, Backups, Probes);

/// The operations on what stands behind `gate`.
pub(in crate::http) fn api(gate: Arc<Gate>, default_consistency: Consistency, body_timeout: Duration) -> Api {
    let front = Arc::new(Front::new(gate, default_consistency, body_timeout));
    let front = || Arc::clone(&front);
    (
        Keys(front()),
        Deadlines(front()),
        Many(front()),
        Cluster(front()),
        Node(front()),
        Backups(front()),
        Probes(front()),
    )
}
