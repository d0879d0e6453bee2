//! A node whose directory may have lost what it acknowledged takes no part under its old id: the members would come to differ.
//!
//! ```text
//! again.json is written         a new incarnation; nothing else is touched
//! the members admit it          their quorum decides: this node's old id is not running
//! unclean-<incarnation>/        what was here is moved there, never deleted; node.json first
//! join.json                     again.json under this name, last: from here on it is a first start like any other
//! ```
//!
//! Where no quorum of others can exist the node ends, and `kvorum recover` makes a new cluster of what is there.

use super::OpenError;
use super::identity::{Directory, JOIN, JoinFile, hex};
use super::retirement::{STAYING, UNCLEAN};

/// Mark of the identity under which the node asks to be admitted anew.
const AGAIN: &str = "again.json";

impl Directory {
    /// The incarnation under which this node asks to be admitted; the same however often it asks.
    pub(super) fn begin_again(&self) -> Result<u128, OpenError> {
        let join = match self.read::<JoinFile>(AGAIN)? {
            Some(join) => join,
            None => {
                let join = JoinFile::new();
                self.write(AGAIN, &join)?;
                join
            }
        };
        self.id(AGAIN, &join.incarnation)
    }

    /// The node was admitted: moves aside what is here. May be repeated after it was cut off.
    pub(super) fn replace(&self) -> Result<(), OpenError> {
        let aside = format!("{UNCLEAN}{}", hex(self.begin_again()?));
        let staying: Vec<&str> = STAYING.into_iter().chain([AGAIN]).collect();
        self.set_aside(&aside, &staying)?;
        let (from, to) = (self.root().join(AGAIN), self.root().join(JOIN));
        let renamed = self.disk().rename(&from, &to).and_then(|()| self.disk().sync_dir(self.root()));
        renamed.map_err(|error| OpenError::io(from, error))?;
        tracing::info!(to = aside, "admitted as a new member: what this node had is set aside");
        Ok(())
    }

    /// Finishes a move that was cut off: node.json went first.
    pub(super) fn finish_replacement(&self) -> Result<(), OpenError> {
        // A recovery that was cut off has moved it too, and is to be begun again by whoever began it.
        let was_admitted = !self.has_node()? && !self.is_being_restored()?;
        if was_admitted && self.read::<JoinFile>(AGAIN)?.is_some() { self.replace() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::disk::{Disk, Faulty};
    use crate::wal;

    fn directory(disk: &Faulty) -> Directory {
        Directory::new(Arc::new(disk.clone()), Path::new("/data"))
    }

    /// Goal: wherever the power goes while the old files are moved, the next start finds either the old directory, untouched, or a
    /// first start under the new incarnation, and never a mixture; nothing is lost.
    #[test]
    fn the_move_is_finished_wherever_it_was_cut_off() {
        let identity = wal::Identity { cluster: 7, node: 2, incarnation: 9 };
        for point in 0.. {
            let disk = Faulty::new();
            disk.create_dir_all(Path::new("/data/wal")).unwrap();
            let old = directory(&disk);
            old.begin().unwrap();
            old.finish(&identity).unwrap();
            disk.put(Path::new("/data/wal/0000000000000001.seg"), b"the log");
            let again = old.begin_again().unwrap();
            disk.cut_off_at(disk.operations() + point);
            let is_done = old.replace().is_ok();
            for seed in 0..10 {
                let left = disk.after_power_cut(seed);
                let found = directory(&left);
                if found.has_node().unwrap() {
                    assert!(!is_done, "point {point}");
                    assert_eq!(found.known().unwrap(), Some(identity), "point {point}");
                    assert_eq!(
                        found.begin_again().unwrap(),
                        again,
                        "point {point}: it asks under the same name"
                    );
                    continue;
                }
                found.finish_replacement().unwrap();
                assert_eq!(found.known().unwrap(), None, "point {point}");
                assert_eq!(found.begin().unwrap().incarnation, again, "point {point}");
                let kept = format!("/data/{UNCLEAN}{}/wal/0000000000000001.seg", hex(again));
                assert_eq!(left.content(Path::new(&kept)).unwrap(), b"the log", "point {point}");
            }
            if is_done {
                return;
            }
        }
    }
}
