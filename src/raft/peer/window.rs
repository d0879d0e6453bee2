//! How many bytes are under way in a stream whose answers come in the order of what was sent.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a message takes in memory beside its bytes, about: a disk that hangs must not let small ones fill it.
const OVERHEAD: usize = 512;

/// Takes messages as long as those that are not answered yet are below a number of bytes. A single larger one passes
/// when it is alone.
#[derive(Clone)]
pub(crate) struct Window {
    bytes: Arc<Semaphore>,
    most: u32,
    under_way: Arc<Mutex<VecDeque<OwnedSemaphorePermit>>>,
}

impl Window {
    pub(crate) fn new(most: u32) -> Window {
        Window { bytes: Arc::new(Semaphore::new(most as usize)), most, under_way: Arc::default() }
    }

    /// Waits until a message of `bytes` may go; `false`: nobody waits for answers any more.
    pub(crate) async fn send(&self, bytes: usize) -> bool {
        let cost = u32::try_from(bytes + OVERHEAD).unwrap_or(u32::MAX).min(self.most);
        let permit = Arc::clone(&self.bytes).acquire_many_owned(cost).await.ok();
        let may_go = permit.is_some();
        self.under_way.lock().extend(permit);
        may_go
    }

    /// The oldest message under way was answered.
    pub(crate) fn answered(&self) {
        drop(self.under_way.lock().pop_front());
    }
}

/// The side of a window that waits for answers. When it goes, nothing waits to be sent any more.
pub(crate) struct Answers(pub(crate) Window);

impl Drop for Answers {
    fn drop(&mut self) {
        self.0.bytes.close();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn messages_wait_for_answers_and_a_large_one_for_all_of_them() {
        let window = Window::new(100 + 2 * OVERHEAD as u32);
        assert!(window.send(60).now_or_never().is_some());
        assert!(window.send(40).now_or_never().is_some());
        assert!(window.send(0).now_or_never().is_none());
        window.answered();
        assert!(window.send(10_000).now_or_never().is_none(), "not alone");
        window.answered();
        assert!(window.send(10_000).now_or_never().is_some(), "alone");
        assert!(window.send(1).now_or_never().is_none());
        window.answered();
        assert!(window.send(1).now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_waits_to_send_is_told_that_nobody_takes_answers() {
        let window = Window::new(1 + OVERHEAD as u32);
        let answers = Answers(window.clone());
        assert!(window.send(1).await);
        let waiting = tokio::spawn({
            let window = window.clone();
            async move { window.send(1).await }
        });
        tokio::task::yield_now().await;
        drop(answers);
        assert!(!waiting.await.expect("no panic"));
    }
}
