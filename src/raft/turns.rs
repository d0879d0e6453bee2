//! When apply rests, so that the other tasks of the runtime have their turn.
//!
//! Apply is one task, and a long entry would keep a thread of the runtime, and with it heartbeats and votes. So it may rest
//! after each transaction, within an entry too, and after each entry. What can be seen then is a part of the entry: see
//! [`replica`](super::replica) and [`barrier`](super::barrier). A machine whose apply is slow is simulated here.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// Commands after which apply rests.
const YIELD_COMMANDS: usize = 256;

/// A wait of apply.
pub type Rest = BoxFuture<'static, ()>;

/// Says when apply rests.
pub trait Turns: Send + Sync + 'static {
    /// Apply has carried out a transaction, or an entry, and so many commands since it last rested. It rests now if there is
    /// something to wait for.
    fn rest(&self, commands: usize) -> Option<Rest>;
}

/// Lets the tasks that can run have their turn now and then.
#[derive(Clone, Copy, Debug, Default)]
pub struct Yielding;

impl Turns for Yielding {
    fn rest(&self, commands: usize) -> Option<Rest> {
        (commands > YIELD_COMMANDS).then(|| tokio::task::yield_now().boxed())
    }
}
