//! One connection: two pipes, one each way, whose bytes take time.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::net::Net;

/// Bytes that may be under way, as a socket's buffers allow.
const BUFFER_BYTES: usize = 512 << 10;

/// One direction of a connection.
pub(crate) struct Pipe {
    net: Net,
    pub(crate) from: usize,
    pub(crate) to: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is under way, and when it arrives.
    queue: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    /// Nothing arrives before this.
    held_until: Option<Instant>,
    /// No more will be written.
    ended: bool,
    /// The connection is no more.
    broken: bool,
    /// Who wrote or reads does not exist any more, and nobody says so.
    void: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    pub(crate) fn new(net: Net, from: usize, to: usize) -> Arc<Pipe> {
        Arc::new(Pipe { net, from, to, state: Mutex::default() })
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        change(&mut state);
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Both ends hear that the connection is broken.
    pub(crate) fn reset(&self) {
        self.change(|state| state.broken = true);
    }

    /// The process on `host` is no more.
    pub(crate) fn kill(&self, host: usize, silent: bool) {
        let was_void = self.state.lock().void;
        match silent && !was_void {
            true => self.change(|state| {
                // What it sent already may still arrive; what is written from now on does not.
                state.void = true;
                if self.to == host {
                    state.queue.clear();
                }
            }),
            false => self.reset(),
        }
    }

    /// Lets what was held go on.
    pub(crate) fn release(&self, at: Instant) {
        self.change(|state| state.held_until = Some(at));
    }

    fn write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let arrival = self.net.arrival(self.from, self.to);
        let mut state = self.state.lock();
        if state.broken || state.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.void {
            return Poll::Ready(Ok(bytes.len()));
        }
        if state.bytes >= BUFFER_BYTES {
            state.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        state.bytes += bytes.len();
        let after = state.queue.back().map_or(arrival, |(last, _)| arrival.max(*last));
        match state.queue.back_mut() {
            // What is written at once travels together.
            Some((last, packet)) if *last == after => packet.extend_from_slice(bytes),
            _ => state.queue.push_back((after, bytes.to_vec())),
        }
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(bytes.len()))
    }

    /// Reads what has arrived; else when to look again, if that is known.
    fn read(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Result<io::Result<()>, Option<Instant>> {
        let cut = self.net.way(self.from, self.to).cut;
        let mut state = self.state.lock();
        if state.broken {
            return Ok(Err(io::ErrorKind::ConnectionReset.into()));
        }
        state.reader = Some(context.waker().clone());
        if cut {
            return Err(None);
        }
        let now = Instant::now();
        let held = state.held_until.unwrap_or(now);
        let Some((arrival, packet)) = state.queue.front_mut() else {
            return if state.ended && !state.void { Ok(Ok(())) } else { Err(None) };
        };
        let arrival = held.max(*arrival);
        if arrival > now {
            return Err(Some(arrival));
        }
        let count = packet.len().min(buffer.remaining());
        buffer.put_slice(&packet[..count]);
        packet.drain(..count);
        if packet.is_empty() {
            state.queue.pop_front();
        }
        state.bytes -= count;
        let writer = state.writer.take();
        drop(state);
        writer.into_iter().for_each(Waker::wake);
        Ok(Ok(()))
    }
}

/// One end of a connection.
pub(crate) struct End {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl End {
    pub(crate) fn new(incoming: Arc<Pipe>, outgoing: Arc<Pipe>) -> End {
        End { incoming, outgoing, timer: None }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.outgoing.change(|state| state.ended = true);
        // What comes now is answered with a reset.
        self.incoming.change(|state| state.ended = true);
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let at = match self.incoming.read(context, buffer) {
                Ok(result) => return Poll::Ready(result),
                Err(Some(at)) => at,
                Err(None) => return Poll::Pending,
            };
            let timer = match &mut self.timer {
                Some(timer) => {
                    if timer.deadline() != at {
                        timer.as_mut().reset(at);
                    }
                    timer
                }
                empty => empty.insert(Box::pin(sleep_until(at))),
            };
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.outgoing.write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.change(|state| state.ended = true);
        Poll::Ready(Ok(()))
    }
}
