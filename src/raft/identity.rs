//! Who this node is: `node.json` and the other marks in the data directory.
//!
//! ```text
//! data/lock            locked while a process uses the directory
//! data/restore.json    {format}                              there while a backup is being restored
//! data/join.json       {format, nonce, incarnation, promise, given, founders, level}
//!                      written first, so that a first start can be repeated
//! data/wal/            the log                                second
//! data/node.json       {format, cluster, node, incarnation}   last: its being there says that the node exists
//! data/retired.json     {format, reason, is_done, cluster, node}
//!                      there once the node has asked to leave, or is no member any more
//! data/running.json    {format, boot_id, durability}          there from start to clean shutdown
//! data/time.json       {format, cluster, at_ms, sum}          where cluster time was last seen; drawn in `time_note`
//! data/snapshots/
//! data/again.json          as join.json, of a node that waits to be admitted anew: its log may have lost what it acknowledged
//! data/reserve         space that is kept for a full disk; what it holds does not matter
//! data/admin.sock      a socket for the machine's administrator; holds nothing, and outlives a node that was killed
//! ```
//!
//! A directory is *new* (no node.json, and nothing but the beginnings of a first start), *known* (node.json and
//! log agree) or refused. The promise is the cluster that this node creates if it is to create one; `given` is the promise
//! that it gave another seed, `founders` are the first members of the cluster that it does create, `level` is the one at which
//! that cluster begins. Ids are 128 random bits, written as 32 hexadecimal digits. What a node that has left leaves behind is
//! moved into `retired-<cluster>-<node>/` at the next start, and never deleted.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::OpenError;
use super::types::Member;
use crate::disk::{self, Ballast, Disk};
use crate::model::Level;
use crate::wal::{self, Durability};

/// The socket in a data directory over which a node is administered from its own machine.
pub const ADMIN_SOCKET: &str = "admin.sock";

/// The format of all marks.
pub(super) const FORMAT: u32 = 1;
pub(super) const JOIN: &str = "join.json";
pub(super) const NODE: &str = "node.json";
const RUNNING: &str = "running.json";
const RESTORE: &str = "restore.json";

/// Where the snapshot is that a recovery begins a new cluster with.
pub(super) const RECOVERY: &str = "recovery";

/// The id of the node that creates a cluster. Later ones get theirs from the log.
pub(super) const FIRST_NODE: u64 = 1;

/// Largest file of marks that is read.
const MAX_MARK_BYTES: u64 = 64 << 10;

/// Where the kernel says which start of the machine this is.
const KERNEL_BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JoinFile {
    format: u32,
    nonce: String,
    pub(super) incarnation: String,
    promise: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    given: Option<GivenFile>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    founders: Vec<FounderFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    level: Option<u16>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenFile {
    cluster: String,
    creator: String,
    seeds: Vec<String>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FounderFile {
    node: u64,
    incarnation: String,
    advertise: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeFile {
    format: u32,
    cluster: String,
    node: u64,
    incarnation: String,
}

#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunningFile {
    format: u32,
    boot_id: String,
    durability: String,
}

/// What every mark has, whatever else a newer version writes into it.
#[derive(Serialize, Deserialize)]
struct Format {
    format: u32,
}

impl JoinFile {
    /// The beginning of a node that nobody knows yet.
    pub(super) fn new() -> JoinFile {
        let [nonce, incarnation, promise] = [(); 3].map(|()| hex(random_id()));
        let (given, founders, level) = (None, Vec::new(), None);
        JoinFile { format: FORMAT, nonce, incarnation, promise, given, founders, level }
    }
}

/// The promise to let none but one seed create a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    /// The cluster to be.
    pub(super) cluster: u128,
    /// Who creates it.
    pub(super) creator: String,
    /// The seeds for which this holds.
    pub(super) seeds: Vec<String>,
    /// The level at which the cluster begins.
    pub(super) level: Level,
}

/// A data directory and its marks.
#[derive(Clone)]
pub(super) struct Directory {
    disk: Arc<dyn Disk>,
    root: PathBuf,
}

impl Directory {
    pub(super) fn new(disk: Arc<dyn Disk>, root: &Path) -> Directory {
        Directory { disk, root: root.to_owned() }
    }

    /// Creates the directory if needed and locks it for this process.
    pub(super) fn lock(&self) -> Result<disk::Lock, OpenError> {
        self.disk.create_dir_all(&self.root).map_err(|error| OpenError::io(&self.root, error))?;
        if self.disk.is_open_to_others(&self.root).unwrap_or(false) {
            let directory = self.root.display();
            tracing::warn!(%directory, "every user of this machine may look into the data directory; chmod 700 closes it");
        }
        let path = self.root.join("lock");
        self.disk.lock(&path).map_err(|error| match error {
            disk::LockError::Held => OpenError::Locked(self.root.clone()),
            disk::LockError::Io(error) => OpenError::io(path, error),
        })
    }

    /// The directory itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where its files are.
    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(super) fn wal(&self) -> PathBuf {
        self.root.join("wal")
    }

    pub(super) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// The identity of a node that exists; `None` if the directory is new.
    pub(super) fn known(&self) -> Result<Option<wal::Identity>, OpenError> {
        if let Some(node) = self.read::<NodeFile>(NODE)? {
            let identity = wal::Identity {
                cluster: self.id(NODE, &node.cluster)?,
                node: node.node,
                incarnation: self.id(NODE, &node.incarnation)?,
            };
            if !self.names(&self.wal())?.iter().any(|name| name.ends_with(".seg")) {
                return Err(
                    self.foreign("node.json is there but its log (wal/) is not: restore both together")
                );
            }
            return Ok(Some(identity));
        }
        if self.is_being_restored()? {
            return Err(self.foreign(match self.is_being_recovered()? {
                true => "its recovery was not finished: run `kvorum recover` again",
                false => {
                    "a restore into it was not finished: run `kvorum restore` again, or use an empty directory"
                }
            }));
        }
        if !self.names(&self.snapshots())?.is_empty() {
            return Err(
                self.foreign("there are snapshots but no node.json: restore it, or use an empty directory")
            );
        }
        Ok(None)
    }

    /// Whether a node exists here.
    pub(super) fn has_node(&self) -> Result<bool, OpenError> {
        let path = self.root.join(NODE);
        self.disk.exists(&path).map_err(|error| OpenError::io(path, error))
    }

    /// Whether a restore was begun here; without a node it was not finished.
    pub(super) fn is_being_restored(&self) -> Result<bool, OpenError> {
        self.read::<Format>(RESTORE).map(|mark| mark.is_some())
    }

    /// Whether what is being restored is the node that was here: then there may be files of it that were not moved yet.
    pub(super) fn is_being_recovered(&self) -> Result<bool, OpenError> {
        Ok(!self.names(&self.root.join(RECOVERY))?.is_empty())
    }

    /// Marks that a restore is under way: from now on no node starts here until it is finished.
    pub(super) fn mark_restore(&self) -> Result<(), OpenError> {
        self.write(RESTORE, &Format { format: FORMAT })
    }

    /// Marks that a restore is under way, and removes what an earlier one or a first start has left.
    pub(super) fn begin_restore(&self) -> Result<(), OpenError> {
        self.mark_restore()?;
        for directory in [self.wal(), self.snapshots()] {
            for name in self.names(&directory)? {
                let path = directory.join(name);
                self.disk.remove(&path).map_err(|error| OpenError::io(path, error))?;
            }
        }
        Ok(())
    }

    /// Takes the mark of a restore away, once there is a node.
    pub(super) fn finish_restore(&self) -> Result<(), OpenError> {
        if !self.is_being_restored()? {
            return Ok(());
        }
        let path = self.root.join(RESTORE);
        let removed = self.disk.remove(&path).and_then(|()| self.disk.sync_dir(&self.root));
        removed.map_err(|error| OpenError::io(path, error))
    }

    /// First step of a first start: an identity that stays the same however often the start is repeated. It is that of
    /// the node that creates a cluster.
    pub(super) fn begin(&self) -> Result<wal::Identity, OpenError> {
        let join = self.beginning()?;
        let (cluster, incarnation) = (self.id(JOIN, &join.promise)?, self.id(JOIN, &join.incarnation)?);
        Ok(wal::Identity { cluster, node: FIRST_NODE, incarnation })
    }

    fn beginning(&self) -> Result<JoinFile, OpenError> {
        if let Some(join) = self.read::<JoinFile>(JOIN)? {
            return Ok(join);
        }
        self.clear_blank_log()?;
        let join = JoinFile::new();
        self.write(JOIN, &join)?;
        Ok(join)
    }

    /// The promise that was given another seed, if any.
    pub(super) fn given(&self) -> Result<Option<Given>, OpenError> {
        let join = self.beginning()?;
        let Some(GivenFile { cluster, creator, seeds }) = join.given else { return Ok(None) };
        let level = join.level.map_or(Level::FIRST, Level);
        Ok(Some(Given { cluster: self.id(JOIN, &cluster)?, creator, seeds, level }))
    }

    /// Gives a promise. It is on disk when this returns.
    pub(super) fn give(&self, given: &Given) -> Result<(), OpenError> {
        let mut join = self.beginning()?;
        join.given = Some(GivenFile {
            cluster: hex(given.cluster),
            creator: given.creator.clone(),
            seeds: given.seeds.clone(),
        });
        join.level = Some(given.level.0);
        self.write(JOIN, &join)
    }

    /// The level at which the cluster begins that this node has helped to create.
    pub(super) fn first_level(&self) -> Result<Level, OpenError> {
        let level = self.read::<JoinFile>(JOIN)?.and_then(|join| join.level);
        Ok(level.map_or(Level::FIRST, Level))
    }

    /// The first members of the cluster that this node has created, if it has.
    pub(super) fn founders(&self) -> Result<BTreeMap<u64, Member>, OpenError> {
        let founders = self.read::<JoinFile>(JOIN)?.map(|join| join.founders).unwrap_or_default();
        let member = |founder: FounderFile| {
            let incarnation = self.id(JOIN, &founder.incarnation)?;
            Ok((founder.node, Member { incarnation, advertise: founder.advertise, learner: false }))
        };
        founders.into_iter().map(member).collect()
    }

    /// Notes the first members of the cluster that this node creates: before it exists, so that it is the same cluster
    /// however often the start is repeated.
    pub(super) fn found(&self, founders: &BTreeMap<u64, Member>, level: Level) -> Result<(), OpenError> {
        let mut join = self.beginning()?;
        let founder = |(node, member): (&u64, &Member)| FounderFile {
            node: *node,
            incarnation: hex(member.incarnation),
            advertise: member.advertise.clone(),
        };
        join.founders = founders.iter().map(founder).collect();
        join.level = Some(level.0);
        self.write(JOIN, &join)
    }

    /// Whether the log holds nothing but what a first start writes before it is finished.
    pub(super) fn log_is_blank(&self) -> Result<bool, OpenError> {
        wal::is_blank(self.disk.as_ref(), &self.wal()).map_err(OpenError::from)
    }

    /// Removes the beginnings of a log that a first start without a mark left behind: they bear another identity.
    fn clear_blank_log(&self) -> Result<(), OpenError> {
        let directory = self.wal();
        let mut names = self.names(&directory)?;
        names.retain(|name| wal::is_of_log(name));
        // The mark of a closed log first, and for good: without its segments it would be refused.
        names.sort_by_key(|name| name.ends_with(".seg"));
        for name in &names {
            let path = directory.join(name);
            let removed = self.disk.remove(&path).and_then(|()| self.disk.sync_dir(&directory));
            removed.map_err(|error| OpenError::io(path, error))?;
        }
        Ok(())
    }

    /// Last step of a first start: from here on the node exists.
    pub(super) fn finish(&self, identity: &wal::Identity) -> Result<(), OpenError> {
        let node = NodeFile {
            format: FORMAT,
            cluster: hex(identity.cluster),
            node: identity.node,
            incarnation: hex(identity.incarnation),
        };
        self.write(NODE, &node)
    }

    /// Refuses a directory that another start of the machine left in use in a mode that does not survive a power cut:
    /// its log may have lost what was acknowledged.
    pub(super) fn check_last_stop(&self, config: &wal::Config) -> Result<(), OpenError> {
        match self.read::<RunningFile>(RUNNING)? {
            Some(mark)
                if mark.durability == Durability::Interval.name() && !self.is_this_boot(&mark.boot_id) =>
            {
                let interval_ms = u64::try_from(config.interval.as_millis()).unwrap_or(u64::MAX);
                Err(OpenError::UncleanBoot(interval_ms, self.root.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Marks the directory as in use, until [`Directory::mark_stopped`].
    pub(super) fn mark_running(&self, config: &wal::Config) -> Result<(), OpenError> {
        let durability = config.durability.name().to_owned();
        let mark = RunningFile { format: FORMAT, boot_id: self.boot_id(), durability };
        // A mark that is there already needs no space on a disk that may be full.
        if self.read::<RunningFile>(RUNNING)?.is_some_and(|found| found == mark) {
            return Ok(());
        }
        self.write(RUNNING, &mark)
    }

    /// Takes the mark away after a clean shutdown.
    pub(super) fn mark_stopped(&self) -> std::io::Result<()> {
        self.disk.remove(&self.root.join(RUNNING))?;
        self.disk.sync_dir(&self.root)
    }

    /// Whether a mark was left since the machine started. Where the kernel does not say, it was not.
    fn is_this_boot(&self, boot_id: &str) -> bool {
        !boot_id.is_empty() && boot_id == self.boot_id()
    }

    /// Which start of the machine this is; empty where the kernel does not say.
    fn boot_id(&self) -> String {
        let mut buffer = [0; 64];
        let read =
            self.disk.open_read(Path::new(KERNEL_BOOT_ID)).and_then(|file| file.read_at(0, &mut buffer));
        let length = read.unwrap_or(0);
        String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).trim().to_owned()
    }

    /// The names in a directory; none if it is not there.
    pub(super) fn names(&self, directory: &Path) -> Result<Vec<String>, OpenError> {
        let there = self.disk.exists(directory).map_err(|error| OpenError::io(directory, error))?;
        if !there {
            return Ok(Vec::new());
        }
        self.disk.read_dir(directory).map_err(|error| OpenError::io(directory, error))
    }

    pub(super) fn read<T: for<'a> Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, OpenError> {
        let path = self.root.join(name);
        if !self.disk.exists(&path).map_err(|error| OpenError::io(&path, error))? {
            return Ok(None);
        }
        let bytes =
            self.disk.read_to_end(&path, MAX_MARK_BYTES).map_err(|error| OpenError::io(&path, error))?;
        let damaged = |error: serde_json::Error| OpenError::Damaged {
            file: path.clone(),
            offset: 0,
            what: error.to_string(),
        };
        let Format { format } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if format > FORMAT {
            let what =
                format!("{} has format {format}, this version knows formats up to {FORMAT}", path.display());
            return Err(OpenError::LevelTooHigh(what));
        }
        serde_json::from_slice(&bytes).map_err(damaged).map(Some)
    }

    pub(super) fn write(&self, name: &str, value: &impl Serialize) -> Result<(), OpenError> {
        let write = || self.try_write(name, value);
        let written = self.ballast().helping(MAX_MARK_BYTES, write);
        written.map_err(|error| OpenError::io(self.root.join(name), error))
    }

    /// As [`Directory::write`], without the space that is kept for a full disk: for what a node can go on without.
    pub(super) fn try_write(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        let mut bytes = serde_json::to_vec_pretty(value).expect("plain fields always serialise");
        bytes.push(b'\n');
        disk::replace(self.disk.as_ref(), &self.root, name, &bytes)
    }

    pub(super) fn id(&self, name: &str, digits: &str) -> Result<u128, OpenError> {
        let valid = digits.len() == 32;
        valid.then(|| u128::from_str_radix(digits, 16).ok()).flatten().ok_or_else(|| OpenError::Damaged {
            file: self.root.join(name),
            offset: 0,
            what: "an id is not 32 hexadecimal digits".into(),
        })
    }

    /// Space that is kept for a full disk.
    pub(super) fn ballast(&self) -> Ballast {
        Ballast::new(Arc::clone(&self.disk), &self.root)
    }

    pub(super) fn foreign(&self, what: &str) -> OpenError {
        OpenError::Foreign { directory: self.root.clone(), what: what.into() }
    }
}

/// 128 random bits.
pub(super) fn random_id() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    u128::from_le_bytes(bytes)
}

/// An id as it is written.
pub(super) fn hex(id: u128) -> String {
    format!("{id:032x}")
}
