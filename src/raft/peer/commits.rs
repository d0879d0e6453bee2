//! What is committed travels with the entries that come next.
//!
//! openraft tells a follower of a commit at once, in a message without entries: under load that is every second message,
//! with an answer to each. Here such a message waits for the entries that mostly follow, and is dropped when they do, for
//! they carry the commit too. It goes alone when none come, or when the follower has a reader who waits for it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use openraft::raft::AppendEntriesRequest;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::raft::types::TypeConfig;

/// How long a commit waits for entries: up to twice this, as the runtime's timers go.
const PATIENCE: Duration = Duration::from_millis(1);

type Append = AppendEntriesRequest<TypeConfig>;

/// The same appends, without those that only tell of a commit which the next one tells of as well. `wanted` is told when
/// somebody waits for a commit.
pub(super) fn with_entries(
    appends: impl Stream<Item = Append> + Send + Unpin + 'static,
    wanted: Arc<Notify>,
) -> impl Stream<Item = Append> + Send + 'static {
    let waiting = Waiting { appends: appends.fuse(), wanted, has_begun: false };
    stream::unfold(waiting, |mut waiting| async move { Some((waiting.next().await?, waiting)) })
}

struct Waiting<S> {
    appends: stream::Fuse<S>,
    wanted: Arc<Notify>,
    /// What comes first may ask how far the follower is, whatever it carries: it does not wait.
    has_begun: bool,
}

impl<S: Stream<Item = Append> + Unpin> Waiting<S> {
    async fn next(&mut self) -> Option<Append> {
        let append = self.appends.next().await?;
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        if is_first || !append.entries.is_empty() {
            return Some(append);
        }
        let (mut commit, until) = (append, Instant::now() + PATIENCE);
        loop {
            let next = tokio::select! {
                biased;
                next = self.appends.next() => next,
                () = self.wanted.notified() => None,
                () = sleep_until(until) => None,
            };
            match next {
                Some(append) if append.entries.is_empty() => commit = append,
                Some(append) => return Some(append),
                None => return Some(commit),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use openraft::EntryPayload;
    use tokio::sync::mpsc;

    use super::*;
    use crate::raft::types::{self, LogId, committed_leader};

    fn append(entry: Option<u64>, commit: u64) -> Append {
        let id = |index| LogId { leader_id: committed_leader(1), index };
        let entry = entry.map(|index| types::Entry { log_id: id(index), payload: EntryPayload::Blank });
        let vote = openraft::Vote::new_committed(1, 1);
        Append {
            vote,
            prev_log_id: None,
            entries: entry.into_iter().collect(),
            leader_commit: Some(id(commit)),
        }
    }

    struct Sent {
        appends: mpsc::UnboundedSender<Append>,
        wanted: Arc<Notify>,
        sent: stream::BoxStream<'static, Append>,
    }

    impl Sent {
        fn begin() -> Sent {
            let (appends, mut receiver) = mpsc::unbounded_channel();
            let (wanted, taken) =
                (Arc::new(Notify::new()), stream::poll_fn(move |cx| receiver.poll_recv(cx)));
            Sent { appends, sent: with_entries(taken, Arc::clone(&wanted)).boxed(), wanted }
        }

        fn take(&mut self, entry: Option<u64>, commit: u64) {
            self.appends.send(append(entry, commit)).expect("somebody takes it");
        }

        /// What is sent now: the entry, and the commit.
        fn now(&mut self) -> Option<(Option<u64>, Option<u64>)> {
            self.sent.next().now_or_never().flatten().map(told)
        }
    }

    fn told(append: Append) -> (Option<u64>, Option<u64>) {
        (append.entries.first().map(|entry| entry.log_id.index), append.leader_commit.map(|id| id.index))
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_travels_with_the_entries_that_come_next() {
        let mut sent = Sent::begin();
        sent.take(None, 1);
        assert_eq!(sent.now(), Some((None, Some(1))), "what comes first does not wait");
        sent.take(Some(2), 1);
        assert_eq!(sent.now(), Some((Some(2), Some(1))));
        sent.take(None, 2);
        assert_eq!(sent.now(), None);
        sent.take(Some(3), 2);
        assert_eq!(sent.now(), Some((Some(3), Some(2))));
        assert_eq!(sent.now(), None, "it was told already");
        sent.take(None, 3);
        sent.take(None, 4);
        sent.take(Some(5), 4);
        assert_eq!(sent.now(), Some((Some(5), Some(4))), "of several as of one");
    }

    #[tokio::test(start_paused = true)]
    async fn later_commits_prolong_no_wait() {
        let mut sent = Sent::begin();
        sent.take(Some(1), 0);
        assert!(sent.now().is_some());
        let begun = Instant::now();
        sent.take(None, 1);
        assert_eq!(sent.now(), None);
        tokio::time::advance(PATIENCE / 2).await;
        sent.take(None, 2);
        assert_eq!(sent.sent.next().await.map(told), Some((None, Some(2))));
        assert!(begun.elapsed() < PATIENCE * 2 + Duration::from_micros(1), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_goes_alone_when_nothing_comes_or_somebody_waits_for_it() {
        let mut sent = Sent::begin();
        sent.take(Some(1), 0);
        assert!(sent.now().is_some());
        sent.take(None, 1);
        let begun = Instant::now();
        assert_eq!(sent.sent.next().await.map(told), Some((None, Some(1))));
        assert!(begun.elapsed() >= PATIENCE);
        sent.take(None, 2);
        sent.wanted.notify_one();
        let begun = Instant::now();
        assert_eq!(sent.sent.next().await.map(told), Some((None, Some(2))));
        assert_eq!(begun.elapsed(), Duration::ZERO);
        sent.take(None, 3);
        drop(sent.appends);
        assert_eq!(sent.sent.next().await.map(told), Some((None, Some(3))), "the last one is not lost");
        assert!(sent.sent.next().await.is_none());
    }
}
