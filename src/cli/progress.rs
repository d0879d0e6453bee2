//! A bar for what takes longer than a second. It goes to standard error, and only if that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock::Stopwatch;

/// What takes no longer than this shows no bar.
const SHORT: Duration = Duration::from_secs(1);

/// What the bar looks like: no colours, and widths that suit any terminal.
const LOOK: &str = "{prefix} [{bar:30}] {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left";

/// How far something with a known number of bytes has come. Dropping it takes the bar away.
pub(super) struct Progress {
    what: &'static str,
    begun: Stopwatch,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Nothing is done yet.
    pub(super) fn new(what: &'static str) -> Progress {
        Progress { what, begun: Stopwatch::start(), bar: None }
    }

    /// Shows that `done` bytes `of` all are done.
    pub(super) fn at(&mut self, done: u64, of: u64) {
        if self.bar.is_none() && self.begun.elapsed() >= SHORT {
            let bar = ProgressBar::with_draw_target(Some(of), ProgressDrawTarget::stderr());
            bar.set_style(ProgressStyle::with_template(LOOK).expect("the template above is well-formed"));
            bar.set_prefix(self.what);
            self.bar = Some(bar);
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
