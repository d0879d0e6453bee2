//! Goal: when the disk fails, the log stops for good and says so; when it is full, the log goes on with what
//! it has; and each mode answers when it promised to.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use kvorum::disk::{Disk, Fault, Faulty, Operation};
use kvorum::wal::{
    Admission, Config, Durability, Error, Kind, Lack, Line, Room, Urgency, Vote, append_bytes, inspect,
};

use crate::support::{Model, dir, entry, eventually, id, open, tiny, wait, wait_for_spare};

const EIO: i32 = 5;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;

fn fault(operation: Operation, name: &str, errno: i32) -> Fault {
    Fault { operation, name: name.to_string(), skip: 0, times: u64::MAX, errno }
}

/// The operations on segment files, temporary names included, that make or write records.
fn writes(disk: &Faulty) -> usize {
    let counts = |operation| matches!(operation, Operation::Write | Operation::Sync);
    disk.trace().iter().filter(|(operation, _)| counts(*operation)).count()
}

fn synced_lines(disk: &Faulty) -> usize {
    let mut count = 0;
    inspect(disk, dir(), &mut |line| count += usize::from(matches!(line.kind, Kind::Synced { .. }))).unwrap();
    count
}

#[test]
fn a_failed_write_or_sync_poisons_for_good_and_is_never_tried_again() {
    for operation in [Operation::Write, Operation::Sync] {
        for errno in [EIO, ENOSPC] {
            let disk = Faulty::new();
            let wal = open(&disk, Config::default()).unwrap();
            wait(|done| wal.append(0, vec![entry(0, b"kept")], done)).unwrap();
            wait_for_spare(&disk, 2);
            eventually("the spare", || wal.room() == Room::Ample);
            disk.inject(Fault { times: 1, ..fault(operation, "", errno) });
            let failed = wait(|done| wal.append(0, vec![entry(1, b"lost")], done));
            // On a busy machine the log's own idle sync may meet the fault before the append does.
            assert!(
                matches!(failed, Err(Error::Io { .. } | Error::Poisoned { .. })),
                "{operation:?} {errno}: {failed:?}"
            );
            let before = writes(&disk);
            let vote = Vote { term: 1, node: 1, committed: false };
            assert!(matches!(wait(|done| wal.save_vote(0, vote, done)), Err(Error::Poisoned { .. })));
            assert!(matches!(wal.poisoned(), Some(Error::Poisoned { .. })));
            assert!(wal.close().is_err());
            assert_eq!(
                writes(&disk),
                before,
                "{operation:?} {errno}: nothing was written or synced any more"
            );
            let wal = open(&disk.after_power_cut(1), Config::default()).unwrap();
            assert_eq!(wal.read(0, 0..1, 0).unwrap(), [entry(0, b"kept")]);
        }
    }
}

#[test]
fn a_failure_while_making_a_segment_other_than_a_full_disk_poisons() {
    let disk = Faulty::new();
    disk.inject(Fault { skip: 1, ..fault(Operation::Allocate, "", EIO) });
    let wal = open(&disk, tiny()).unwrap();
    eventually("the poisoning", || wal.poisoned().is_some());
    assert!(matches!(wait(|done| wal.append(0, vec![entry(0, b"")], done)), Err(Error::Poisoned { .. })));
}

/// On a full disk the present segment goes on, votes included; what does not fit waits for space and is
/// answered then.
#[test]
fn no_space_for_the_spare_is_a_reserve_and_no_poison() {
    let disk = Faulty::new();
    disk.set_capacity(Some(4096 + 2000));
    let wal = open(&disk, tiny()).unwrap();
    eventually("the reserve", || wal.room() == Room::Reserve);
    let vote = Vote { term: 3, node: 1, committed: true };
    wait(|done| wal.save_vote(0, vote, done)).unwrap();
    wait(|done| wal.append(0, vec![entry(0, &[1; 2000])], done)).unwrap();
    let (tell, told) = mpsc::channel();
    wal.append(0, vec![entry(1, &[2; 2000])], Box::new(move |result| tell.send(result).unwrap()));
    assert!(told.recv_timeout(Duration::from_millis(300)).is_err(), "it does not fit and waits");
    assert!(wal.poisoned().is_none());
    disk.set_capacity(None);
    told.recv_timeout(Duration::from_secs(10)).unwrap().unwrap();
    eventually("room again", || wal.room() == Room::Ample);
    let all = Model::of(&wal);
    drop(wal);
    let wal = open(&disk.after_power_cut(3), tiny()).unwrap();
    assert_eq!(Model::of(&wal), all);
    assert_eq!(wal.state(0).vote, Some(vote));
}

/// Goal: what is admitted never exceeds what is left, so a vote is written at once however many appends were taken before it,
/// and the reserve serves what the cluster needs after ordinary appends are refused. Also where the log was opened on a full
/// disk with a next segment that is ready, and where appends are large.
#[test]
fn what_is_admitted_never_exceeds_what_is_left() {
    for (payload, restarted) in [(10, false), (300, false), (300, true), (2_000, true)] {
        let disk = Faulty::new();
        let wal = open(&disk, tiny()).unwrap();
        wait_for_spare(&disk, 2);
        disk.set_capacity(Some(1));
        let (wal, disk) = match restarted {
            false => (wal, disk),
            true => {
                drop(wal);
                let left = disk.after_kill();
                left.set_capacity(Some(1));
                (open(&left, tiny()).unwrap(), left)
            }
        };
        let (tell, told) = mpsc::channel();
        let (mut index, mut waits) = (0, 0);
        let mut append = |urgency, payload: usize| {
            let bytes = append_bytes(1, payload);
            let grant = loop {
                match wal.admit(bytes, urgency) {
                    Admission::Granted(grant) => break grant,
                    Admission::Refused => return false,
                    Admission::Later => thread::yield_now(),
                }
                waits += 1;
                assert!(waits < 10_000, "{payload} {restarted}: it is never known whether there is room");
            };
            let tell = tell.clone();
            let done = Box::new(move |result: Result<(), Error>| {
                drop(grant);
                tell.send(result).unwrap();
            });
            wal.append(0, vec![entry(index, &vec![7; payload])], done);
            index += 1;
            true
        };
        while append(Urgency::Ordinary, payload) {}
        assert!(append(Urgency::Needed, 1), "{payload} {restarted}: the reserve");
        while append(Urgency::Needed, 1) {}
        let taken = index;
        let vote = Vote { term: 9, node: 1, committed: false };
        let (voted, vote_told) = mpsc::channel();
        wal.save_vote(0, vote, Box::new(move |result| voted.send(result).unwrap()));
        vote_told.recv_timeout(Duration::from_secs(10)).expect("the vote waits for nothing").unwrap();
        (0..taken).for_each(|_| told.recv_timeout(Duration::from_secs(10)).unwrap().unwrap());
        assert!(taken > 0 && wal.poisoned().is_none());
        disk.set_capacity(None);
        eventually("room again", || matches!(wal.admit(200, Urgency::Ordinary), Admission::Granted(_)));
    }
}

/// A roll can be refused, so it must not stand in the way of a vote that fits.
#[test]
fn a_roll_on_a_full_disk_is_refused_in_its_turn_and_holds_nothing_up() {
    let disk = Faulty::new();
    disk.set_capacity(Some(4096 + 2000));
    let wal = open(&disk, tiny()).unwrap();
    let vote = Vote { term: 3, node: 1, committed: true };
    let (tell, told) = mpsc::channel();
    let hear = |what: &'static str| {
        let tell = tell.clone();
        Box::new(move |result: Result<(), Error>| tell.send((what, result)).unwrap())
    };
    for index in 0..3 {
        wal.append(0, vec![entry(index, b"before")], hear("append"));
        wal.roll(hear("roll"));
        wal.save_vote(0, vote, hear("vote"));
        let heard: Vec<_> = (0..3).map(|_| told.recv_timeout(Duration::from_secs(10)).unwrap()).collect();
        let expected = matches!(
            heard.as_slice(),
            [("append", Ok(())), ("roll", Err(Error::NoSpace { .. })), ("vote", Ok(()))]
        );
        assert!(expected, "{heard:?}");
    }
    assert!(wal.poisoned().is_none());
    disk.set_capacity(None);
    eventually("room again", || wal.room() == Room::Ample);
    wait(|done| wal.roll(done)).unwrap();
    let all = Model::of(&wal);
    let wal = open(&disk.after_power_cut(4), tiny()).unwrap();
    assert_eq!(Model::of(&wal), all);
    assert_eq!((wal.state(0).vote, wal.state(0).last), (Some(vote), Some(id(1, 2))));
}

/// What is synced on the way to a refused roll is the last that happens, and a Synced record must still follow.
#[test]
fn what_was_answered_before_a_refused_roll_is_no_torn_end_later() {
    let disk = Faulty::new();
    disk.set_capacity(Some(4096 + 2000));
    let wal = open(&disk, tiny()).unwrap();
    eventually("the reserve", || wal.room() == Room::Reserve);
    // The writer is held up, so that it takes both of what follows at once.
    let (release, released) = mpsc::channel::<()>();
    wal.truncate_after(0, None, Box::new(move |_| released.recv().unwrap()));
    wal.append(0, vec![entry(0, b"x")], Box::new(|result| result.unwrap()));
    let refused = wait(|done| {
        wal.roll(done);
        release.send(()).unwrap();
    });
    assert!(matches!(refused, Err(Error::NoSpace { .. })), "{refused:?}");
    wal.close().unwrap();
    let (mut appended, mut claimed) = (0, 0);
    let mut note = |line: Line| match line.kind {
        Kind::Entry { .. } => appended = line.offset,
        Kind::Synced { upto } => claimed = upto,
        _ => {}
    };
    inspect(&disk, dir(), &mut note).unwrap();
    assert!(0 < appended && appended < claimed, "the entry at {appended}, synced up to {claimed}");
}

/// Other parts of the process may use up its file descriptors; they come back, so the log waits for them.
#[test]
fn no_descriptor_for_the_spare_is_a_reserve_and_no_poison() {
    for (operation, name) in [(Operation::Create, ".seg"), (Operation::SyncDir, "wal")] {
        for errno in [ENFILE, EMFILE] {
            let disk = Faulty::new();
            let wal = open(&disk, tiny()).unwrap();
            wait(|done| wal.append(0, vec![entry(0, b"x")], done)).unwrap();
            wait_for_spare(&disk, 2);
            disk.inject(fault(operation, name, errno));
            wait(|done| wal.roll(done)).unwrap();
            eventually("the reserve", || wal.room() == Room::Reserve);
            assert_eq!(wal.lack(), Some(Lack::Files), "{operation:?} {errno}: the disk is not full");
            wait(|done| wal.append(0, vec![entry(1, b"y")], done)).unwrap();
            let refused = wait(|done| wal.roll(done));
            assert!(matches!(refused, Err(Error::Io { .. })), "{operation:?} {errno}: {refused:?}");
            assert!(wal.poisoned().is_none(), "{operation:?} {errno}");
            disk.clear_faults();
            eventually("room again", || wal.room() == Room::Ample);
            wait(|done| wal.roll(done)).unwrap();
            let all = Model::of(&wal);
            let wal = open(&disk.after_power_cut(6), tiny()).unwrap();
            assert_eq!(Model::of(&wal), all, "{operation:?} {errno}");
        }
    }
}

#[test]
fn closing_on_a_full_disk_ends_and_loses_nothing_acknowledged() {
    let disk = Faulty::new();
    disk.set_capacity(Some(4096 + 2000));
    let wal = open(&disk, tiny()).unwrap();
    wait(|done| wal.append(0, vec![entry(0, &[1; 2000])], done)).unwrap();
    let (tell, told) = mpsc::channel();
    for index in 1..3 {
        let tell = tell.clone();
        wal.append(0, vec![entry(index, &[2; 2000])], Box::new(move |result| tell.send(result).unwrap()));
    }
    assert!(wal.close().is_err());
    assert!(told.recv().unwrap().is_err() && told.recv().unwrap().is_err(), "both are told");
    let wal = open(&disk.after_power_cut(0), tiny()).unwrap();
    assert_eq!(wal.read(0, 0..9, usize::MAX).unwrap(), [entry(0, &[1; 2000])]);
    eventually("the reserve again", || wal.room() == Room::Reserve);
}

/// The plainest form of the promise, beside the crash matrix: when the callback runs, the last thing that
/// happened to the segment is a sync, after the write.
#[test]
fn an_append_is_answered_after_its_sync() {
    let disk = Faulty::new();
    let wal = open(&disk, Config::default()).unwrap();
    eventually("the spare", || disk.trace().iter().any(|(_, file)| file == "0000000000000002.seg"));
    eventually("its name", || matches!(disk.trace().last(), Some((Operation::SyncDir, _))));
    for index in 0..20 {
        let (seen, before) = (disk.clone(), disk.operations() as usize);
        let (tell, told) = mpsc::channel();
        let done = Box::new(move |result: Result<(), Error>| {
            let since: Vec<Operation> =
                seen.trace()[before..].iter().map(|(operation, _)| *operation).collect();
            tell.send((result, since)).unwrap();
        });
        wal.append(0, vec![entry(index, b"x")], done);
        let (result, since) = told.recv().unwrap();
        assert!(result.is_ok());
        assert_eq!(since, [Operation::Write, Operation::Sync]);
    }
}

#[test]
fn interval_mode_answers_after_the_write_and_syncs_soon_but_votes_at_once() {
    let interval = Duration::from_millis(200);
    let config = Config { durability: Durability::Interval, interval, ..Config::default() };
    let disk = Faulty::new();
    let wal = open(&disk, config).unwrap();
    eventually("the spare", || disk.trace().iter().any(|(_, file)| file == "0000000000000002.seg"));
    eventually("its name", || matches!(disk.trace().last(), Some((Operation::SyncDir, _))));
    let last_of = |disk: &Faulty| disk.trace().last().map(|(operation, _)| *operation);
    let last = || last_of(&disk);
    let (seen, (tell, told)) = (disk.clone(), mpsc::channel());
    let answered = move |result: Result<(), Error>| tell.send((result.is_ok(), last_of(&seen))).unwrap();
    wal.append(0, vec![entry(0, b"x")], Box::new(answered));
    assert_eq!(told.recv().unwrap(), (true, Some(Operation::Write)), "answered before the sync");
    eventually("the sync of the interval", || last() == Some(Operation::Sync));
    let vote = Vote { term: 1, node: 1, committed: false };
    wait(|done| wal.save_vote(0, vote, done)).unwrap();
    assert_eq!(last(), Some(Operation::Sync), "a vote is synced before it is answered");
    wait(|done| wal.append_synced(0, vec![entry(1, b"membership")], done)).unwrap();
    assert_eq!(last(), Some(Operation::Sync), "and what asks for it");
}

#[test]
fn an_idle_log_says_within_seconds_what_is_synced_and_then_keeps_still() {
    let disk = Faulty::new();
    let wal = open(&disk, Config::default()).unwrap();
    wait_for_spare(&disk, 2);
    let before = synced_lines(&disk);
    wait(|done| wal.append(0, vec![entry(0, b"x")], done)).unwrap();
    let acknowledged = disk.operations();
    wal.save_committed(0, id(1, 0));
    eventually("a Synced record", || synced_lines(&disk) == before + 1);
    eventually("its sync", || matches!(disk.trace().last(), Some((Operation::Sync, _))));
    let operations = disk.operations();
    assert_eq!(operations - acknowledged, 2, "one write and one sync carry both");
    std::thread::park_timeout(Duration::from_millis(1500));
    assert_eq!(disk.operations(), operations, "an idle log writes nothing");
    let wal = open(&disk.after_power_cut(0), Config::default()).unwrap();
    assert_eq!(wal.state(0).committed, Some(id(1, 0)), "the commit position rode along");
}

#[test]
fn what_breaks_the_laws_of_the_log_is_refused_and_changes_nothing() {
    let disk = Faulty::new();
    let wal = open(&disk, tiny()).unwrap();
    wait(|done| wal.append(0, vec![entry(5, b"first at any index")], done)).unwrap();
    wait(|done| wal.purge_upto(0, id(1, 5), done)).unwrap();
    wait(|done| wal.append(0, vec![entry(6, b"")], done)).unwrap();
    let before = Model::of(&wal);
    let invalid = |result| matches!(result, Err(Error::Invalid { .. }));
    assert!(invalid(wait(|done| wal.append(0, vec![entry(8, b"gap")], done))));
    assert!(invalid(wait(|done| wal.append(0, vec![entry(7, b""), entry(9, b"gap inside")], done))));
    assert!(invalid(wait(|done| wal.append(0, vec![entry(6, b"again")], done))));
    assert!(invalid(wait(|done| wal.truncate_after(0, Some(id(1, 3)), done))));
    assert!(invalid(wait(|done| wal.truncate_after(0, None, done))));
    let huge = kvorum::wal::Entry { id: id(1, 7), payload: vec![0; (32 << 20) + 1].into() };
    assert!(invalid(wait(|done| wal.append(0, vec![huge], done))));
    assert_eq!(Model::of(&wal), before);
    wal.close().unwrap();
    assert!(matches!(wait(|done| wal.append(0, vec![entry(7, b"")], done)), Err(Error::Closed)));
    wal.close().unwrap();
}

#[test]
fn a_record_larger_than_a_segment_gets_a_segment_of_its_own() {
    let disk = Faulty::new();
    let wal = open(&disk, tiny()).unwrap();
    let large: Vec<u8> = (0..17u32 << 20).map(|at| (at >> 9) as u8).collect();
    wait(|done| wal.append(0, vec![entry(0, b"before"), entry(1, &large), entry(2, b"after")], done))
        .unwrap();
    wal.note_applied(0, 2);
    for round in 0..2 {
        let read = wal.read(0, 1..2, 10).unwrap();
        assert!(read.len() == 1 && read[0].payload == large, "round {round}");
        assert_eq!(wal.read(0, 0..9, usize::MAX).unwrap().len(), 3);
    }
    wal.close().unwrap();
    let wal = open(&disk, tiny()).unwrap();
    assert!(wal.read(0, 1..2, 10).unwrap()[0].payload == large);
    wait(|done| wal.append(0, vec![entry(3, b"goes on")], done)).unwrap();
}

#[test]
fn rolling_and_purging_frees_the_files_and_the_bytes() {
    let disk = Faulty::new();
    let wal = open(&disk, tiny()).unwrap();
    for index in 0..40 {
        wait(|done| wal.append(0, vec![entry(index, &[3; 600])], done)).unwrap();
    }
    let before = wal.stats();
    assert!(before.bytes > 40 * 600 && before.segments > 5, "{before:?}");
    wait(|done| wal.roll(done)).unwrap();
    wait(|done| wal.purge_upto(0, id(1, 39), done)).unwrap();
    let after = wal.stats();
    assert!(after.bytes < 2000 && after.segments == 1 && after.spans.is_empty(), "{after:?}");
    eventually("the files are removed", || disk.read_dir(dir()).unwrap().len() == 2);
    wait(|done| wal.append(0, vec![entry(40, b"next")], done)).unwrap();
    let wal = open(&disk.after_power_cut(5), tiny()).unwrap();
    assert_eq!((wal.state(0).purged, wal.state(0).last), (Some(id(1, 39)), Some(id(1, 40))));
}

#[test]
fn the_last_handle_may_be_dropped_by_a_callback() {
    let disk = Faulty::new();
    let wal = open(&disk, tiny()).unwrap();
    let (tell, told) = mpsc::channel();
    let (held, handle) = (wal.clone(), wal);
    let done = Box::new(move |result: Result<(), Error>| {
        drop(held);
        tell.send(result).unwrap();
    });
    handle.append(0, vec![entry(0, b"x")], done);
    drop(handle);
    told.recv_timeout(Duration::from_secs(10)).unwrap().unwrap();
}
