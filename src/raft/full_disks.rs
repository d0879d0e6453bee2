//! Whether the members that answer can store what a leader would propose.

use std::collections::BTreeSet;

use super::ledger::{Ledger, is_quorum};
use super::members::PRESENT;
use super::peer::Roster;

/// The members with full disks, if without them no quorum is left of those that have answered lately. `None` also where there is
/// no quorum at all: that is another trouble.
pub(super) fn full_disks(
    ledger: &Ledger,
    roster: &Roster,
    (own, own_is_full): (u64, bool),
) -> Option<BTreeSet<u64>> {
    let membership = ledger.membership()?;
    let voters: Vec<u64> = membership.voter_ids().collect();
    let state = |id: u64| if id == own { Some(own_is_full) } else { roster.has_full_disk(id, PRESENT) };
    let those = |state_is: fn(bool) -> bool| -> BTreeSet<u64> {
        voters.iter().copied().filter(|id| state(*id).is_some_and(state_is)).collect()
    };
    let (answer, roomy) = (those(|_| true), those(|is_full| !is_full));
    (is_quorum(&membership, &answer) && !is_quorum(&membership, &roomy)).then(|| those(|is_full| is_full))
}
