//! What a restore makes of a backup.

use std::path::Path;
use std::sync::Arc;

use kvorum::disk::{Disk, Faulty};
use kvorum::model::{Command, Condition, Outcome, Version};
use kvorum::raft::{Lifetimes, Node, OpenError};

use super::support::*;

/// A backup of some keys, one of them deleted and one with a deadline; and the version of `k1`.
pub(crate) async fn backup() -> (Vec<u8>, u128) {
    let (disk, clock) = (Faulty::new(), clock());
    let node = open(&disk, &clock).await;
    for number in 0..10 {
        write(&node, set(&format!("k{number}"), format!("{number}"))).await;
    }
    write(&node, set_for("volatile", 1 << 40)).await;
    write(&node, Command::Delete { key: key("k4"), condition: Condition::Always }).await;
    let backup = node.backup().await.expect("a backup");
    let cluster = backup.taken().cluster;
    let bytes = bytes_of(backup);
    node.close().await.expect("a clean stop");
    (bytes, cluster)
}

/// Goal: a restored store is the one of the backup but for what makes it another cluster: its id, its hash seed, its
/// counters, and a revision and versions that are 2^32 larger.
#[test]
fn a_restored_store_is_that_of_the_backup() {
    runtime().block_on(async {
        let (bytes, old_cluster) = backup().await;
        let old = load(&bytes, old_cluster);
        let disk = disk_with(&bytes);
        let restored = restore_on(&disk, &clock(), Lifetimes::Deadline).expect("restored");
        assert_ne!(restored.cluster, old_cluster);
        let new = newest(&disk, restored.cluster);
        assert_eq!(new.meta.last_log, old.meta.last_log);
        assert_eq!(restored.index, old.meta.last_log.index);
        let ((was, entries), (is, new_entries)) = (contents(&old.store), contents(&new.store));
        let moved =
            entries.into_iter().map(|entry| Entry { version: Version(entry.version.0 + REVISIONS), ..entry });
        assert!(moved.eq(new_entries), "the entries differ");
        assert_eq!((is.revision, is.keys, is.now), (was.revision + REVISIONS, was.keys, was.now));
        assert_eq!((restored.revision, restored.keys), (is.revision, is.keys));
        assert_eq!(
            (is.settings, is.level, is.recency, is.bytes),
            (was.settings, was.level, was.recency, was.bytes)
        );
        assert_ne!(is.hash_seed, was.hash_seed, "whoever has the backup knows the old one");
        let names = disk.read_dir(data_dir()).expect("a directory");
        assert!(!names.contains(&"restore.json".to_owned()), "{names:?}");
    });
}

/// Goal: the node of a restored directory starts, serves, writes, stops and starts again; a version of the old cluster
/// matches nothing, and new ones grow from beyond 2^32.
#[test]
fn old_versions_match_nothing_and_new_ones_grow() {
    runtime().block_on(async {
        let (bytes, old_cluster) = backup().await;
        let disk = disk_with(&bytes);
        let old = load(&bytes, old_cluster);
        let old_version = contents(&old.store).1[1].version;
        let restored = restore_on(&disk, &clock(), Lifetimes::Deadline).expect("restored");
        let node = open(&disk, &clock()).await;
        let status = node.status();
        assert_eq!(status.cluster, restored.cluster);
        assert!(status.applied_index > restored.index, "{status:?}");
        assert!(status.term > old.meta.last_log.term, "terms go on as well: {status:?}");
        assert_eq!(version(&node, "k1").await, Some(Version(old_version.0 + REVISIONS)));
        assert_eq!(version(&node, "k4").await, None);
        let with = |version: Version| {
            let Command::Set { key, value, expiry, .. } = set("k1", "new") else { unreachable!("a set") };
            Command::Set { key, value, expiry, condition: Condition::Version(version) }
        };
        assert!(matches!(write(&node, with(old_version)).await, Outcome::Unmet { .. }));
        let Outcome::Written { version: first, .. } =
            write(&node, with(Version(old_version.0 + REVISIONS))).await
        else {
            panic!("its present version matches")
        };
        assert_eq!(first, Version(restored.revision + 1));
        node.close().await.expect("a clean stop");

        let node = open(&disk, &clock()).await;
        assert_eq!(version(&node, "k1").await, Some(first));
        let taken = node.compact().await.expect("a compaction");
        assert!(taken.index > restored.index);
        write(&node, set("more", "v")).await;
        let again = node.backup().await.expect("a backup of what was restored");
        assert_eq!(again.taken().cluster, restored.cluster);
        drop(again);
        node.close().await.expect("a clean stop");
        let node = open(&disk, &clock()).await;
        assert!(version(&node, "more").await > Some(first));
        node.close().await.expect("a clean stop");
    });
}

/// Goal: a backup of a store without keys is a backup, and so is one of a cluster that was itself restored.
#[test]
fn empty_stores_and_restored_ones_can_be_restored() {
    runtime().block_on(async {
        let (first, clock) = (Faulty::new(), clock());
        let node = open(&first, &clock).await;
        let empty = bytes_of(node.backup().await.expect("a backup"));
        node.close().await.expect("a clean stop");
        let second = disk_with(&empty);
        let restored = restore_on(&second, &clock, Lifetimes::Deadline).expect("restored");
        assert_eq!((restored.keys, restored.revision), (0, REVISIONS));
        let node = open(&second, &clock).await;
        let Outcome::Written { version, .. } = write(&node, set("k", "v")).await else { panic!("a set") };
        assert_eq!(version, Version(REVISIONS + 1));
        let again = bytes_of(node.backup().await.expect("a backup"));
        node.close().await.expect("a clean stop");
        let third = disk_with(&again);
        let again = restore_on(&third, &clock, Lifetimes::Remaining).expect("restored");
        assert_eq!((again.keys, again.revision), (1, 2 * REVISIONS + 1));
        assert_ne!(again.cluster, restored.cluster);
        let node = open(&third, &clock).await;
        assert_eq!(super::support::version(&node, "k").await, Some(Version(2 * REVISIONS + 1)));
        node.close().await.expect("a clean stop");
    });
}

/// Goal: a new node begins with the backup that its configuration names; afterwards, and in a directory with a node, the
/// same setting changes nothing.
#[test]
fn a_configured_backup_seeds_a_new_node_only() {
    runtime().block_on(async {
        let (bytes, _) = backup().await;
        let (disk, clock) = (disk_with(&bytes), clock());
        let seeded = || {
            let mut options = options(&disk, &clock);
            options.restore_from = Some(what(Lifetimes::Deadline));
            options
        };
        let node = Node::open(seeded()).await.expect("a new node");
        let (cluster, revision) = (node.status().cluster, node.store_status().revision);
        assert!(revision > REVISIONS && version(&node, "k1").await.is_some());
        write(&node, Command::Delete { key: key("k1"), condition: Condition::Always }).await;
        node.close().await.expect("a clean stop");

        disk.remove(Path::new(FILE)).expect("nobody needs it any more");
        let node = Node::open(seeded()).await.expect("the same node");
        assert_eq!((node.status().cluster, version(&node, "k1").await), (cluster, None));
        node.close().await.expect("a clean stop");

        let old = Faulty::new();
        let node = open(&old, &clock).await;
        let cluster = node.status().cluster;
        node.close().await.expect("a clean stop");
        let mut options = options(&old, &clock);
        options.restore_from = Some(what(Lifetimes::Deadline));
        let node = Node::open(options).await.expect("the old node, though there is no such file");
        assert_eq!(node.status().cluster, cluster);
        node.close().await.expect("a clean stop");
    });
}

/// Goal: a backup that is not there keeps a new node from starting empty.
#[test]
fn a_configured_backup_that_is_missing_is_no_empty_cluster() {
    runtime().block_on(async {
        let (disk, clock) = (Faulty::new(), clock());
        let mut seeded = options(&disk, &clock);
        seeded.restore_from = Some(what(Lifetimes::Deadline));
        let error = Node::open(seeded).await.err().expect("a refusal");
        assert!(matches!(&error, OpenError::Io { path, .. } if path == Path::new(FILE)), "{error}");
        assert!(!disk.exists(&data_dir().join("node.json")).expect("asked"));
    });
}

/// Goal: a directory that is not empty is refused and stays as it is: that of a node, of a stopped node, with another
/// file; one with the beginnings of a first start counts as empty.
#[test]
fn a_directory_that_is_not_empty_is_refused() {
    runtime().block_on(async {
        let (bytes, _) = backup().await;
        let clock = clock();
        let disk = disk_with(&bytes);
        let node = open(&disk, &clock).await;
        let locked = restore_on(&disk, &clock, Lifetimes::Deadline);
        assert!(matches!(locked, Err(OpenError::Locked(_))), "{locked:?}");
        node.close().await.expect("a clean stop");
        let before = disk.operations();
        let refused = restore_on(&disk, &clock, Lifetimes::Deadline);
        assert!(matches!(refused, Err(OpenError::NotEmpty(_))), "{refused:?}");
        assert_eq!(disk.operations(), before, "nothing was touched");

        let disk = disk_with(&bytes);
        disk.create_dir_all(data_dir()).expect("a directory");
        disk.put(&data_dir().join("letter.txt"), b"dear");
        let refused = restore_on(&disk, &clock, Lifetimes::Deadline);
        assert!(matches!(refused, Err(OpenError::NotEmpty(_))), "{refused:?}");
        assert_eq!(disk.content(&data_dir().join("letter.txt")), Some(b"dear".to_vec()));

        for operation in 0.. {
            let disk = disk_with(&bytes);
            disk.cut_off_at(disk.operations() + operation);
            if Node::open(options(&disk, &clock)).await.is_ok_and(|_node| true)
                || disk.after_kill().exists(&data_dir().join("node.json")).expect("asked")
            {
                assert!(operation > 5, "there are beginnings: {operation}");
                break;
            }
            let left = disk.after_power_cut(operation);
            let restored = restore_on(&left, &clock, Lifetimes::Deadline);
            assert!(restored.is_ok(), "first start cut off at {operation}: {restored:?}");
        }
    });
}

/// Goal: what a restore reads is only read.
#[test]
fn the_backup_stays_as_it_is() {
    runtime().block_on(async {
        let (bytes, _) = backup().await;
        let disk = disk_with(&bytes);
        let mut told = Vec::new();
        let disk_of: Arc<dyn Disk> = Arc::new(disk.clone());
        let done = kvorum::raft::restore(
            disk_of,
            data_dir(),
            log(),
            &*clock(),
            &what(Lifetimes::Deadline),
            &mut |done, of| told.push((done, of)),
        );
        done.expect("restored");
        assert_eq!(disk.content(Path::new(FILE)), Some(bytes));
        assert!(told.is_sorted() && told.iter().all(|(done, of)| done <= of), "progress grows: {told:?}");
    });
}
