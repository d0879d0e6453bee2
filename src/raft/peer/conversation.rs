//! Questions to one node and its answers, on one stream that stays open: what is asked thousands of times a second does not
//! pay for a call each time.
//!
//! ```text
//!  ask ----number, question----> stream ~~~~> desk
//!  ask <---------waiting[number]--------- reader <~~~~ number, part of the answer
//! ```
//!
//! The stream is opened by whoever asks first, again when it broke, and when it is to be another sender's or receiver's. A
//! question is sent at most once. Answers come in any order; the parts of one come in theirs.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream::{BoxStream, StreamExt, poll_fn};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tonic::Streaming;

use super::error::CallError;
use super::wire::{Answered, Asked, Envelope};

/// Questions that wait to be sent; who asks beyond waits.
const UNSENT: usize = 256;

/// What is asked of one node.
#[derive(Default)]
pub(super) struct Conversation {
    open: tokio::sync::Mutex<Option<Arc<Open>>>,
}

/// A stream that was opened.
struct Open {
    envelope: Envelope,
    questions: mpsc::Sender<Asked>,
    next: AtomicU64,
    waiting: Waiting,
}

/// Who waits for the answer with that number; `None` once nothing comes any more.
type Waiting = Arc<Mutex<Option<BTreeMap<u64, mpsc::UnboundedSender<Answered>>>>>;

/// The answer to one question, in parts.
pub(crate) struct Answers {
    number: u64,
    parts: mpsc::UnboundedReceiver<Answered>,
    waiting: Waiting,
}

impl Conversation {
    /// Asks. `open` opens a stream on which these questions are sent.
    ///
    /// # Errors
    /// [`CallError::Unsent`] if the question was certainly not sent, and what `open` says.
    pub(super) async fn ask<F>(
        &self,
        envelope: &Envelope,
        open: impl FnOnce(BoxStream<'static, Asked>) -> F,
        question: Asked,
    ) -> Result<Answers, CallError>
    where
        F: Future<Output = Result<Streaming<Answered>, CallError>>,
    {
        let stream = self.stream(envelope, open).await?;
        let number = stream.next.fetch_add(1, Ordering::Relaxed);
        let (sender, parts) = mpsc::unbounded_channel();
        let ended = || CallError::Unsent("the connection has ended".into());
        stream.waiting.lock().as_mut().ok_or_else(ended)?.insert(number, sender);
        let answers = Answers { number, parts, waiting: Arc::clone(&stream.waiting) };
        let sent = stream.questions.send(Asked { number, ..question }).await;
        sent.map(|()| answers).map_err(|_| ended())
    }

    async fn stream<F>(
        &self,
        envelope: &Envelope,
        open: impl FnOnce(BoxStream<'static, Asked>) -> F,
    ) -> Result<Arc<Open>, CallError>
    where
        F: Future<Output = Result<Streaming<Answered>, CallError>>,
    {
        let mut opened = self.open.lock().await;
        if let Some(stream) = opened.as_ref()
            && stream.envelope == *envelope
            && stream.waiting.lock().is_some()
        {
            return Ok(Arc::clone(stream));
        }
        *opened = None;
        let (questions, mut receiver) = mpsc::channel(UNSENT);
        let answers = open(poll_fn(move |context| receiver.poll_recv(context)).boxed()).await?;
        let waiting: Waiting = Arc::new(Mutex::new(Some(BTreeMap::new())));
        tokio::spawn(read(answers, Arc::clone(&waiting)));
        let stream = Arc::new(Open { envelope: *envelope, questions, next: AtomicU64::new(1), waiting });
        *opened = Some(Arc::clone(&stream));
        Ok(stream)
    }
}

/// Hands out what comes, until nothing does.
async fn read(mut answers: Streaming<Answered>, waiting: Waiting) {
    while let Some(Ok(answer)) = answers.next().await {
        let mut waiting = waiting.lock();
        let Some(waiting) = waiting.as_mut() else { return };
        let asker = match answer.last {
            true => waiting.remove(&answer.number),
            false => waiting.get(&answer.number).cloned(),
        };
        if let Some(asker) = asker {
            // One that does not wait any more wants no answer.
            let _ = asker.send(answer);
        }
    }
    // Whoever waits sees that nothing comes.
    waiting.lock().take();
}

impl Answers {
    /// The next part; `None` if the connection ended before the last one.
    pub(crate) async fn next(&mut self) -> Option<Answered> {
        self.parts.recv().await
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.lock().as_mut() {
            waiting.remove(&self.number);
        }
    }
}
