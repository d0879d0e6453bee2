//! What becomes of the directory of a node that is no member any more: `retired.json`.
//!
//! A node that has left joins as a new member at its next start: what it leaves behind is moved aside first, never deleted.
//! One that was removed or replaced stays out until somebody empties its directory.

use serde::{Deserialize, Serialize};

use super::identity::{ADMIN_SOCKET, Directory, FORMAT, hex};
use super::{OpenError, Retired};
use crate::wal;

const RETIRED: &str = "retired.json";

/// What stays where it is when a node is set aside.
const STAYING: [&str; 3] = ["lock", "history", ADMIN_SOCKET];

/// What the name of the directory begins with into which it is moved.
const ASIDE: &str = "retired-";

/// What all such names begin with.
const ASIDES: [&str; 2] = [ASIDE, "lost-"];

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
        // The mark last: until it is gone, a start that was cut off goes on here.
        self.set_aside(&aside, &STAYING, Some(RETIRED))?;
        tracing::info!(to = aside, "this node had left its cluster: what it had is set aside");
        Ok(())
    }

    /// Moves everything but `staying`, and what was set aside before, into a directory below this one: `last` after all else is
    /// durably there.
    pub(super) fn set_aside(
        &self,
        name: &str,
        staying: &[&str],
        last: Option<&str>,
    ) -> Result<(), OpenError> {
        let aside = self.root().join(name);
        let io = |error| OpenError::io(&aside, error);
        self.disk().create_dir_all(&aside).map_err(io)?;
        let mut names = self.names(self.root())?;
        names.retain(|name| {
            !staying.contains(&name.as_str()) && !ASIDES.iter().any(|aside| name.starts_with(aside))
        });
        names.sort_by_key(|name| Some(name.as_str()) == last);
        let sync =
            || self.disk().sync_dir(self.root()).and_then(|()| self.disk().sync_dir(&aside)).map_err(io);
        for name in &names {
            if Some(name.as_str()) == last {
                sync()?;
            }
            self.disk().rename(&self.root().join(name), &aside.join(name)).map_err(io)?;
        }
        sync()
    }
}
