//! What becomes of the directory of a node that is no member any more: `retired.json`.
//!
//! A node that has left joins as a new member at its next start: what it leaves behind is moved aside first, never deleted.
//! One that was removed or replaced stays out until somebody empties its directory.

use serde::{Deserialize, Serialize};

use super::identity::{ADMIN_SOCKET, Directory, FORMAT, NODE, hex};
use super::{OpenError, Retired};
use crate::disk::Ballast;
use crate::wal;

const RETIRED: &str = "retired.json";

/// What stays where it is when a node is set aside.
pub(super) const STAYING: [&str; 4] = ["lock", "history", ADMIN_SOCKET, Ballast::NAME];

/// What the name of the directory begins with into which it is moved.
const ASIDE: &str = "retired-";

/// The same for a node that may have lost what it acknowledged, and was admitted anew.
pub(super) const UNCLEAN: &str = "unclean-";

/// What all such names begin with.
const ASIDES: [&str; 3] = [ASIDE, "lost-", UNCLEAN];

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RetiredFile {
    format: u32,
    reason: String,
    /// False: it has asked to leave, and does not know yet what came of it.
    is_done: bool,
    cluster: String,
    node: u64,
}

impl Directory {
    /// Marks that the node is about to ask to leave: whatever becomes of the answer, it is known why it went.
    pub(super) fn begin_leaving(&self) -> Result<(), OpenError> {
        self.mark(Retired::Left, false)
    }

    /// It does not leave after all.
    pub(super) fn stay(&self) -> Result<(), OpenError> {
        let path = self.root().join(RETIRED);
        let removed = self.disk().remove(&path).and_then(|()| self.disk().sync_dir(self.root()));
        removed.map_err(|error| OpenError::io(path, error))
    }

    /// Whether the node has asked to leave.
    pub(super) fn is_leaving(&self) -> Result<bool, OpenError> {
        Ok(self.read::<RetiredFile>(RETIRED)?.is_some_and(|mark| mark.reason == Retired::Left.name()))
    }

    /// Marks that the node is no member any more.
    pub(super) fn retire(&self, reason: Retired) -> Result<(), OpenError> {
        self.mark(reason, true)
    }

    fn mark(&self, retired: Retired, is_done: bool) -> Result<(), OpenError> {
        let identity = self.known()?.unwrap_or(wal::Identity { cluster: 0, node: 0, incarnation: 0 });
        let (reason, cluster) = (retired.name().to_owned(), hex(identity.cluster));
        let node = identity.node;
        self.write(RETIRED, &RetiredFile { format: FORMAT, reason, is_done, cluster, node })
    }

    /// Refuses the directory of a node that is no member any more. What one that has left leaves behind is moved aside.
    /// Called with the lock.
    pub(super) fn check_retired(&self) -> Result<(), OpenError> {
        let Some(mark) = self.read::<RetiredFile>(RETIRED)?.filter(|mark| mark.is_done) else {
            return Ok(());
        };
        let reason = Retired::named(&mark.reason).ok_or_else(|| OpenError::Damaged {
            file: self.root().join(RETIRED),
            offset: 0,
            what: "it gives no reason that is known".into(),
        })?;
        if reason != Retired::Left {
            return Err(OpenError::Retired(self.root().to_owned(), reason));
        }
        let aside = format!("{ASIDE}{}-{}", mark.cluster, mark.node);
        self.set_aside(&aside, &STAYING)?;
        tracing::info!(to = aside, "this node had left its cluster: what it had is set aside");
        Ok(())
    }

    /// Moves everything but `staying`, and what was set aside before, into a directory below this one. `node.json` goes first:
    /// without it nobody takes what is left for a node whose log is incomplete. The mark of a node that was retired goes last:
    /// as long as it is here, a start goes on with the move. May be repeated after it was cut off; what is there already stays
    /// where it is, because it is of what came later.
    pub(super) fn set_aside(&self, name: &str, staying: &[&str]) -> Result<(), OpenError> {
        let aside = self.root().join(name);
        let io = |error| OpenError::io(&aside, error);
        self.disk().create_dir_all(&aside).map_err(io)?;
        let moved = self.names(&aside)?;
        let mut names = self.names(self.root())?;
        names.retain(|name| {
            let stays = staying.contains(&name.as_str()) || moved.contains(name);
            !stays && !ASIDES.iter().any(|aside| name.starts_with(aside))
        });
        let is_first = |name: &&String| *name == NODE;
        let is_last = |name: &&String| *name == RETIRED;
        let others = names.iter().filter(|name| !is_first(name) && !is_last(name)).collect();
        let steps: [Vec<&String>; 3] =
            [names.iter().filter(is_first).collect(), others, names.iter().filter(is_last).collect()];
        for step in steps {
            self.disk().sync_dir(&aside).and_then(|()| self.disk().sync_dir(self.root())).map_err(io)?;
            for name in step {
                self.disk().rename(&self.root().join(name), &aside.join(name)).map_err(io)?;
            }
        }
        self.disk().sync_dir(&aside).and_then(|()| self.disk().sync_dir(self.root())).map_err(io)
    }
}
