//! Requests about a message that may have to come from the disk: an I/O thread that waited for it would keep all its
//! connections waiting. They leave their turn, and one thread that may block takes them in the order in which they came.

use super::{SendHandler, SendSession};
use common::ids::PhysicalOffset;
use common::transport::{Connection, Replies};
use common::wire::{Reply, ReplyTo, response_code};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Requests that wait for the disk; further ones are answered `SYSTEM_BUSY`.
const MOST_WAITING: usize = 10_000;

/// What is done with a request: it joins the batch of a turn, or is answered at once.
type Request =
    Box<dyn FnOnce(&SendHandler, &mut SendSession) -> Result<Option<Reply>, Reply> + Send>;

/// Requests that wait for the disk.
#[derive(Default)]
pub(super) struct Cold {
    waiting: VecDeque<(Arc<Connection>, ReplyTo, Request)>,
    /// There is a thread that takes them.
    running: bool,
}

impl SendHandler {
    /// Takes a request about the record at a position: now, or as in a turn of its own by a thread that may block. A record that
    /// may have to come from the disk once does so from then on: requests about one are taken in their order.
    pub(super) fn take_record(
        self: &Arc<Self>,
        session: &mut SendSession,
        (connection, to): (&Arc<Connection>, ReplyTo),
        position: i64,
        replies: &mut Replies<'_>,
        request: impl FnOnce(&Self, &mut SendSession) -> Result<Option<Reply>, Reply> + Send + 'static,
    ) {
        let offset = PhysicalOffset::from_wire(position);
        if offset.is_none_or(|offset| self.state.reader.is_hot(offset.0)) {
            return session.take(to, replies, |session| request(self, session));
        }
        let mut cold = self.cold.lock();
        if cold.waiting.len() >= MOST_WAITING {
            let text = format!("{MOST_WAITING} requests wait for old messages from the disk");
            return replies.push(to, Reply::error(response_code::SYSTEM_BUSY, text));
        }
        let waiting = (Arc::clone(connection), to, Box::new(request) as Request);
        cold.waiting.push_back(waiting);
        if !std::mem::replace(&mut cold.running, true) {
            let this = Arc::clone(self);
            tokio::task::spawn_blocking(move || this.take_cold());
        }
    }

    fn take_cold(&self) {
        let mut session = self.session();
        session.begin(true);
        while let Some((connection, to, request)) = next(&self.cold) {
            let turn = AssertUnwindSafe(|| {
                connection.answer(|replies| {
                    session.take(to, replies, |session| request(self, session));
                    self.commit(&mut session, &connection, replies);
                });
            });
            if catch_unwind(turn).is_err() {
                tracing::error!(peer = %connection.peer(), "a request handler panicked; its connection is closed");
                connection.close();
                session = self.session();
                session.begin(true);
            }
        }
    }
}

fn next(cold: &Mutex<Cold>) -> Option<(Arc<Connection>, ReplyTo, Request)> {
    let mut cold = cold.lock();
    let next = cold.waiting.pop_front();
    cold.running = next.is_some();
    next
}

#[cfg(test)]
mod tests;
