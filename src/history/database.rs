//! The database: two trees, ordered by time.
//!
//! ```text
//! samples   at (u64 ms, big endian)                   -> sample
//! slow      at (u64 ms, big endian) | number (u32)    -> slow request
//! ```
//!
//! sled panics where its files are not what it expects, so each call is fenced: a panic is an error like any other.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::sample::Sample;
use super::slow::Slow;
use crate::model::Timestamp;

/// Samples are kept this long, in milliseconds: 7 days.
const KEPT_MS: u64 = 7 * DAY_MS;

/// After this long, in milliseconds, only one sample of each [`COARSE_MS`] is kept.
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// See [`DAY_MS`]: 5 minutes.
const COARSE_MS: u64 = 5 * 60 * 1_000;

/// Slow requests that are kept.
const SLOW_ENTRIES: usize = 1_000;

/// Memory for pages.
const CACHE_BYTES: u64 = 4 << 20;

/// An open database.
pub(super) struct Database {
    db: sled::Db,
    samples: sled::Tree,
    slow: sled::Tree,
    next_slow: u32,
}

/// Runs a call of sled.
fn fenced<T>(call: impl FnOnce() -> sled::Result<T>) -> io::Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(sled::Error::Io(error))) => Err(error),
        Ok(Err(error)) => Err(io::Error::other(error)),
        Err(_panic) => Err(io::Error::other("the database met a broken invariant")),
    }
}

impl Database {
    pub(super) fn open(dir: &Path) -> io::Result<Database> {
        let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        fenced(|| {
            let db = config.mode(sled::Mode::LowSpace).open()?;
            let (samples, slow) = (db.open_tree("samples")?, db.open_tree("slow")?);
            Ok(Database { db, samples, slow, next_slow: 0 })
        })
    }

    /// Adds a sample, and writes what was added since the last one: sled's own thread would keep it to itself if that fails.
    pub(super) fn add_sample(&self, sample: &Sample) -> io::Result<()> {
        fenced(|| self.samples.insert(sample.at.0.to_be_bytes(), sample.encode()))?;
        fenced(|| self.db.flush().map(|_| ()))
    }

    pub(super) fn add_slow(&mut self, slow: &Slow) -> io::Result<()> {
        let number = self.next_slow;
        self.next_slow = number.wrapping_add(1);
        let key = [slow.at.0.to_be_bytes().as_slice(), &number.to_be_bytes()].concat();
        fenced(|| self.slow.insert(key, slow.encode()).map(|_| ()))
    }

    /// The samples from `since` on, and the last one before, oldest first. What cannot be read is passed over.
    pub(super) fn samples(&self, since: Timestamp) -> io::Result<Vec<Sample>> {
        let since = since.0.to_be_bytes();
        fenced(|| {
            let before = self.samples.range(..since).next_back();
            let found = before.into_iter().chain(self.samples.range(since..));
            let samples = found.map(|pair| pair.map(|(at, bytes)| Sample::decode(time_of(&at)?, &bytes)));
            samples.filter_map(Result::transpose).collect()
        })
    }

    /// The newest slow requests, newest first.
    pub(super) fn slow(&self, most: usize) -> io::Result<Vec<Slow>> {
        fenced(|| {
            let newest = self.slow.iter().rev().take(most);
            let slow = newest.map(|pair| pair.map(|(at, bytes)| Slow::decode(time_of(&at)?, &bytes)));
            slow.filter_map(Result::transpose).collect()
        })
    }

    /// Removes what is too old, all but the last sample of each five minutes of what is older than a day, and what bears
    /// a time that lies far ahead, which a wall clock that was wrong left behind.
    pub(super) fn thin(&self, now: Timestamp) -> io::Result<()> {
        fenced(|| {
            let coarse_end = now.0.saturating_sub(DAY_MS);
            let mut before: Option<(sled::IVec, u64)> = None;
            for at in self.samples.range(..coarse_end.to_be_bytes()).keys() {
                let at = at?;
                let Some(Timestamp(time)) = time_of(&at) else { continue };
                if time < now.0.saturating_sub(KEPT_MS) {
                    self.samples.remove(&at)?;
                    continue;
                }
                let slot = time / COARSE_MS;
                if let Some((earlier, _)) = before.take().filter(|(_, earlier)| *earlier == slot) {
                    self.samples.remove(earlier)?;
                }
                before = Some((at, slot));
            }
            let ahead = now.0.saturating_add(DAY_MS).to_be_bytes();
            for at in self.samples.range(ahead..).keys() {
                self.samples.remove(at?)?;
            }
            let surplus = self.slow.len().saturating_sub(SLOW_ENTRIES);
            for at in self.slow.iter().keys().take(surplus) {
                self.slow.remove(at?)?;
            }
            Ok(())
        })
    }

    /// Ends it; what was added is handed to the system.
    pub(super) fn close(self) -> io::Result<()> {
        fenced(|| self.db.flush().map(|_| ()))?;
        fenced(|| {
            drop(self);
            Ok(())
        })
    }
}

fn time_of(key: &[u8]) -> Option<Timestamp> {
    Some(Timestamp(u64::from_be_bytes(*key.first_chunk::<8>()?)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::history::FIGURES;

    fn sample(at: u64) -> Sample {
        Sample { at: Timestamp(at), figures: [at; FIGURES.len()] }
    }

    fn database() -> (tempfile::TempDir, Database) {
        let dir = tempfile::tempdir().expect("a directory");
        let database = Database::open(&dir.path().join("history")).expect("a new database");
        (dir, database)
    }

    /// Goal: of a week only what the rule names is left, whatever the order in which it came, and thinning again changes
    /// nothing. Against the rule written down naively.
    #[test]
    fn thinning_keeps_what_the_rule_names() {
        let (_dir, database) = database();
        let now = 30 * DAY_MS;
        let times: Vec<u64> = (0..4_000_u64).map(|n| now - (n * 7_919_000) % (9 * DAY_MS)).collect();
        times.iter().for_each(|at| database.add_sample(&sample(*at)).expect("added"));
        database.add_sample(&sample(now + 2 * DAY_MS)).expect("added");
        let kept = |at: u64| {
            let same_slot = |other: &&u64| **other / COARSE_MS == at / COARSE_MS && **other < now - DAY_MS;
            let is_last = times.iter().filter(same_slot).max() == Some(&at);
            at >= now - KEPT_MS && (at >= now - DAY_MS || is_last)
        };
        let mut wanted: Vec<u64> = times.iter().copied().filter(|at| kept(*at)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        for _ in 0..2 {
            database.thin(Timestamp(now)).expect("thinned");
            let left: Vec<u64> =
                database.samples(Timestamp(0)).expect("read").iter().map(|s| s.at.0).collect();
            assert_eq!(left, wanted);
        }
        assert!(wanted.len() < times.len() && wanted.len() > 500);
    }

    /// Goal: a question gets the sample before its range too, from which rates are counted.
    #[test]
    fn the_sample_before_the_range_is_there() {
        let (_dir, database) = database();
        (1..=5).for_each(|n| database.add_sample(&sample(n * 10)).expect("added"));
        let times = |since| {
            database.samples(Timestamp(since)).expect("read").iter().map(|s| s.at.0).collect::<Vec<_>>()
        };
        assert_eq!(times(30), [20, 30, 40, 50]);
        assert_eq!(times(5), [10, 20, 30, 40, 50]);
        assert_eq!(times(99), [50]);
    }

    /// Goal: the slow log holds its newest entries, also where several ended in one millisecond.
    #[test]
    fn the_slow_log_is_bounded() {
        let (_dir, mut database) = database();
        for n in 0..(SLOW_ENTRIES as u64 + 50) {
            let (operation, duration) = ("get".to_owned(), Duration::from_millis(n));
            database.add_slow(&Slow { at: Timestamp(n / 10), operation, duration, bytes: n }).expect("added");
        }
        database.thin(Timestamp(0)).expect("thinned");
        let slow = database.slow(usize::MAX).expect("read");
        assert_eq!(slow.len(), SLOW_ENTRIES);
        assert_eq!((slow[0].bytes, slow[SLOW_ENTRIES - 1].bytes), (SLOW_ENTRIES as u64 + 49, 50));
        assert_eq!(database.slow(3).expect("read").len(), 3);
    }

    /// Goal: a week's samples, thinned as they are, take little space on disk, although sled is known to bloat.
    #[test]
    fn a_week_takes_little_space() {
        let (dir, database) = database();
        let week = 7 * DAY_MS / 10_000;
        for n in 0..week {
            let at = 20_000 * DAY_MS + n * 10_000;
            let figures = std::array::from_fn(|figure| n * 7_919 * figure as u64);
            fenced(|| {
                database.samples.insert(at.to_be_bytes(), Sample { at: Timestamp(at), figures }.encode())
            })
            .expect("added");
            if n % 120 == 0 {
                database.thin(Timestamp(at)).expect("thinned");
            }
            if n % 6 == 0 {
                database.db.flush().expect("flushed");
            }
        }
        let kept = DAY_MS / 10_000 + 6 * DAY_MS / COARSE_MS;
        assert!((kept..kept + 200).contains(&(database.samples.len() as u64)));
        database.close().expect("closed");
        let sizes = ["db", "conf"].map(|name| {
            let file =
                crate::disk::Disk::open_read(&crate::disk::Real, &dir.path().join("history").join(name));
            file.and_then(|file| file.len()).expect("a file")
        });
        let bytes: u64 = sizes.iter().sum();
        assert!(bytes < 32 << 20, "{bytes} bytes");
    }

    /// Goal: what was added is there after closing and opening again.
    #[test]
    fn it_survives_a_restart() {
        let (dir, database) = database();
        database.add_sample(&sample(10)).expect("added");
        database.close().expect("closed");
        let again = Database::open(&dir.path().join("history")).expect("opened");
        assert_eq!(again.samples(Timestamp(0)).expect("read"), [sample(10)]);
    }
}
