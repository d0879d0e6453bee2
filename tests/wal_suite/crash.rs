//! Goal: whatever the disk operation at which the power goes, recovery finds what was handed over up to some
//! point, and at least all that was acknowledged. Method: run a random workload on the disk that forgets, cut
//! it off at operation 0, 1, 2, ...; draw what is left; open; compare with the naive log.

use kvorum::disk::Faulty;
use kvorum::wal::{Config, Durability};

use crate::support::{History, Luck, Model, open, tiny};

const STEPS: usize = 45;

/// Runs the workload `seed` on a new disk that is cut off at `point`. `None` once the workload ends before
/// that.
fn crashed(seed: u64, point: u64, config: Config) -> Option<(Faulty, History)> {
    let disk = Faulty::new();
    disk.cut_off_at(point);
    let mut history = History::new();
    if let Ok(wal) = open(&disk, config) {
        history.run(&wal, &mut Luck(seed), STEPS);
        let _cut_off = wal.close();
    }
    disk.is_off().then_some((disk, history))
}

/// Calls `check` for every crash point of the workload `seed`.
fn at_every_operation(seed: u64, config: Config, mut check: impl FnMut(&str, &Faulty, &History)) {
    for point in 0.. {
        let Some((disk, history)) = crashed(seed, point, config) else {
            assert!(point > 70, "the workload is too small to mean anything: {point} operations");
            return;
        };
        check(&format!("workload {seed} cut at operation {point}"), &disk, &history);
    }
}

#[test]
fn a_power_cut_at_any_operation_keeps_all_acknowledged_and_a_prefix_of_the_rest() {
    for seed in 0..3 {
        at_every_operation(seed, tiny(), |context, disk, history| {
            for draw in 0..4 {
                let image = disk.after_power_cut(draw);
                let context = format!("{context}, draw {draw}");
                let wal = open(&image, tiny()).unwrap_or_else(|error| panic!("{context}: {error}"));
                history.check(&wal, &Model::of(&wal), history.acknowledged, &context);
            }
        });
    }
}

/// What recovery showed once must not be taken back, whatever happens to recovery itself.
#[test]
fn a_power_cut_at_any_operation_of_recovery_changes_nothing() {
    at_every_operation(10, tiny(), |context, disk, history| {
        let found = disk.after_power_cut(history.states.len() as u64);
        for point in 0.. {
            let recovering = found.after_kill();
            recovering.cut_off_at(point);
            let shown = open(&recovering, tiny()).ok().map(|wal| Model::try_of(&wal));
            let done = !recovering.is_off();
            let context = format!("{context}, recovery cut at {point}");
            let image = recovering.after_power_cut(point);
            let wal = open(&image, tiny()).unwrap_or_else(|error| panic!("{context}: {error}"));
            history.check(&wal, &Model::of(&wal), history.acknowledged, &context);
            if let Some(shown) = shown.flatten() {
                assert_eq!(Model::of(&wal), shown, "{context}: recovery showed this before");
            }
            if done {
                break;
            }
        }
    });
}

/// A killed process leaves writes in the page cache that no sync covered. Recovery shows them, so it must
/// make them durable first; and what is written afterwards must stand on firm ground.
#[test]
fn what_recovery_finds_only_in_the_page_cache_is_durable_once_it_is_shown() {
    for seed in 20..22 {
        at_every_operation(seed, tiny(), |context, disk, history| {
            let next = disk.after_kill();
            let wal = open(&next, tiny()).unwrap_or_else(|error| panic!("{context}, killed: {error}"));
            history.check(&wal, &Model::of(&wal), history.acknowledged, context);
            let mut more = History::of(&wal, Model::of(&wal));
            // The power goes at once, or after some more work; the process never gets to close the log.
            for steps in [0, 4] {
                more.run(&wal, &mut Luck(seed + 100), steps);
                for draw in 0..3 {
                    let context = format!("{context}, killed, {steps} steps, draw {draw}");
                    let image = next.after_power_cut(draw);
                    let wal = open(&image, tiny()).unwrap_or_else(|error| panic!("{context}: {error}"));
                    more.check(&wal, &Model::of(&wal), more.acknowledged, &context);
                }
            }
        });
    }
}

#[test]
fn several_crashes_in_a_row_keep_all_acknowledged() {
    for seed in 0..40 {
        let mut luck = Luck(seed);
        let mut disk = Faulty::new();
        let mut history = History::new();
        for round in 0..6 {
            disk.cut_off_at(20 + luck.below(120));
            // The background thread may meet the cut at once, and then nothing can be read either.
            let wal = open(&disk, tiny()).ok();
            if let Some((wal, found)) = wal.and_then(|wal| Model::try_of(&wal).map(|found| (wal, found))) {
                let context = format!("seed {seed} round {round}");
                history.check(&wal, &found, history.acknowledged, &context);
                history = History::of(&wal, found);
                history.run(&wal, &mut luck, STEPS);
            }
            disk = disk.after_power_cut(luck.below(1 << 20));
        }
    }
}

#[test]
fn in_interval_mode_a_kill_loses_nothing_and_a_power_cut_nothing_up_to_the_last_vote() {
    let config = Config { durability: Durability::Interval, ..tiny() };
    for seed in 30..34 {
        at_every_operation(seed, config, |context, disk, history| {
            let wal =
                open(&disk.after_kill(), config).unwrap_or_else(|error| panic!("{context}, killed: {error}"));
            history.check(&wal, &Model::of(&wal), history.acknowledged, &format!("{context}, killed"));
            for draw in 0..4 {
                let context = format!("{context}, draw {draw}");
                let image = disk.after_power_cut(draw);
                let wal = open(&image, config).unwrap_or_else(|error| panic!("{context}: {error}"));
                history.check(&wal, &Model::of(&wal), history.synced, &context);
            }
        });
    }
}
