//! A pull in the hold.

use super::{Pull, PullHandler};
use crate::pull_hold::Held;
use std::sync::Arc;
use tokio::runtime::Handle;

/// A parked pull with all it takes to run it again.
pub struct HeldPull {
    handler: Arc<PullHandler>,
    pub(super) pull: Pull,
    /// The I/O thread of its connection. It runs there again: the answer needs no second hop, and by then all messages
    /// of the turn that woke it can be read.
    thread: Handle,
}

impl HeldPull {
    /// Called on the I/O thread of the connection.
    pub(super) fn new(handler: Arc<PullHandler>, pull: Pull) -> Self {
        Self {
            handler,
            pull,
            thread: Handle::current(),
        }
    }
}

impl Held for HeldPull {
    fn resume(self) {
        let Self {
            handler,
            pull,
            thread,
        } = self;
        thread.spawn(async move {
            let (connection, to) = (Arc::clone(&pull.connection), pull.to);
            if let Some(reply) = handler.again(pull) {
                connection.reply(to, reply);
            }
        });
    }
}
