//! What a person at a terminal sees while it runs. Nobody else sees anything: the bar hides itself.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Time between two looks.
pub(super) const EVERY: Duration = Duration::from_millis(200);

/// The bar of one phase.
pub(super) struct Progress {
    bar: ProgressBar,
    /// How long the phase lasts, if it is time that ends it.
    lasts: Option<Duration>,
    before: u64,
}

impl Progress {
    /// For a phase of `requests`, or one that `lasts` some time.
    pub(super) fn new(name: &'static str, requests: Option<u64>, lasts: Option<Duration>) -> Progress {
        let length = lasts.map(|lasts| lasts.as_millis() as u64).or(requests).unwrap_or(0);
        let style = ProgressStyle::with_template("{prefix:8} {bar:30} {percent:>3} %  {msg}")
            .expect("the template is well-formed");
        Progress { bar: ProgressBar::new(length).with_style(style).with_prefix(name), lasts, before: 0 }
    }

    /// Shows how far it is: `requests` that ended, of them `failed`.
    pub(super) fn show(&mut self, elapsed: Duration, requests: u64, failed: u64) {
        let position = self.lasts.map_or(requests, |_| elapsed.as_millis() as u64);
        let per_s = (requests - self.before) * 1_000 / EVERY.as_millis() as u64;
        self.before = requests;
        self.bar.set_message(format!("{per_s} requests/s, {failed} errors"));
        self.bar.set_position(position);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
