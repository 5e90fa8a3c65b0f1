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

type Request = Box<dyn FnOnce(&SendHandler, &mut SendSession, &mut Replies<'_>) + Send>;

/// Requests that wait for the disk.
#[derive(Default)]
pub(super) struct Cold {
    waiting: VecDeque<(Arc<Connection>, Request)>,
    /// There is a thread that takes them.
    running: bool,
}

impl SendHandler {
    /// Whether reading the record at a position cannot block.
    pub(super) fn is_hot(&self, physical_offset: i64) -> bool {
        let offset = PhysicalOffset::from_wire(physical_offset);
        offset.is_none_or(|offset| self.state.reader.is_hot(offset.0))
    }

    /// Has a request taken, as in a turn of its own, by a thread that may block.
    pub(super) fn take_later(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        to: ReplyTo,
        request: impl FnOnce(&Self, &mut SendSession, &mut Replies<'_>) + Send + 'static,
    ) {
        let mut cold = self.cold.lock();
        if cold.waiting.len() >= MOST_WAITING {
            let text = format!("{MOST_WAITING} requests wait for old messages from the disk");
            return connection.reply(to, Reply::error(response_code::SYSTEM_BUSY, text));
        }
        cold.waiting
            .push_back((Arc::clone(connection), Box::new(request)));
        if !std::mem::replace(&mut cold.running, true) {
            let this = Arc::clone(self);
            tokio::task::spawn_blocking(move || this.take_cold());
        }
    }

    fn take_cold(&self) {
        let mut session = self.session();
        while let Some((connection, request)) = next(&self.cold) {
            let turn = AssertUnwindSafe(|| {
                connection.answer(|replies| {
                    request(self, &mut session, replies);
                    self.commit(&mut session, &connection, replies);
                });
            });
            if catch_unwind(turn).is_err() {
                tracing::error!(peer = %connection.peer(), "a request handler panicked; its connection is closed");
                connection.close();
                session = self.session();
            }
        }
    }
}

fn next(cold: &Mutex<Cold>) -> Option<(Arc<Connection>, Request)> {
    let mut cold = cold.lock();
    let next = cold.waiting.pop_front();
    cold.running = next.is_some();
    next
}

#[cfg(test)]
mod tests;
