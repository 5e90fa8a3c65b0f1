//! Answers that wait for the disk.
//!
//! The turns of one I/O thread that wait do so in one queue with one task: a sync wakes that task, however many
//! connections it answers. Positions grow in the queue, for a thread appends one turn after the other; a turn that only repeats
//! what was sent before waits for less, and is answered with those before it.

use super::reply::{Pending, ReplyTemplate};
use bytes::BytesMut;
use common::transport::Connection;
use common::wire::{Reply, response_code};
use parking_lot::Mutex;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use store::{Appended, StoreWriter};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// The requests of a turn that want to know that they are on the disk.
pub(super) struct Late {
    pub(super) connection: Arc<Connection>,
    pub(super) template: Arc<ReplyTemplate>,
    pub(super) sent: Vec<Pending>,
    /// Position in the log up to which it has to be on the disk.
    pub(super) end: u64,
    /// Where all of the turn is stored.
    pub(super) appended: Vec<Appended>,
    pub(super) unique_keys: String,
    /// When they are told that it takes too long.
    pub(super) deadline: Instant,
}

struct Queue {
    flushed: watch::Receiver<u64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    late: VecDeque<Late>,
    /// A sync will be asked for when this thread has served what has arrived.
    asking: bool,
    /// There is a task that answers.
    running: bool,
}

thread_local! {
    /// The queues of this thread: one, as long as there is one store.
    static QUEUES: RefCell<Vec<Arc<Queue>>> = const { RefCell::new(Vec::new()) };
}

impl Late {
    /// Answers once `flushed` has passed the turn, it has failed, or the time is up. The store is asked for a sync after the
    /// turns of the other connections that have something to read now, so that one sync serves them all.
    pub(super) fn wait(self, flushed: watch::Receiver<u64>, store: &StoreWriter) {
        let queue = QUEUES.with_borrow_mut(|queues| {
            // Of stores that are gone, or whose disk has failed.
            queues.retain(|queue| queue.flushed.has_changed().is_ok());
            let known = queues
                .iter()
                .find(|queue| queue.flushed.same_channel(&flushed));
            if let Some(queue) = known {
                return Arc::clone(queue);
            }
            let queue = Arc::new(Queue {
                flushed,
                state: Mutex::default(),
            });
            queues.push(Arc::clone(&queue));
            queue
        });
        let mut state = queue.state.lock();
        if !std::mem::replace(&mut state.running, true) {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move { queue.run().await });
        }
        state.late.push_back(self);
        if !std::mem::replace(&mut state.asking, true) {
            let (queue, store) = (Arc::clone(&queue), store.clone());
            // A new task comes behind all that are ready to run.
            tokio::spawn(async move {
                queue.state.lock().asking = false;
                store.ask_for_flush();
            });
        }
    }

    fn answer(&self, code: i32) {
        let mut frames = BytesMut::new();
        for sent in &self.sent {
            let stored = &self.appended[sent.records.clone()];
            self.template
                .write(&mut frames, sent, code, &self.unique_keys, stored);
        }
        self.connection.write_frames(&frames);
    }

    /// The disk has failed: nobody may take this for stored.
    fn refuse(&self) {
        let text = "the message could not be brought to the disk; the store is read-only";
        let refusal = || Reply::error(response_code::SERVICE_NOT_AVAILABLE, text);
        for sent in &self.sent {
            self.connection
                .reply(sent.to, self.template.refuse(refusal()));
        }
    }
}

impl Queue {
    async fn run(&self) {
        let mut flushed = self.flushed.clone();
        while let Some((end, deadline)) = self.first() {
            let passed = timeout_at(deadline, flushed.wait_for(|offset| *offset >= end)).await;
            match passed {
                Ok(Ok(offset)) => {
                    let offset = *offset;
                    for late in self.take(|late| late.end <= offset) {
                        late.answer(response_code::SUCCESS);
                    }
                }
                Ok(Err(_)) => self.take(|_| true).iter().for_each(Late::refuse),
                Err(_) => {
                    for late in self.take(|late| late.deadline <= deadline) {
                        late.answer(response_code::FLUSH_DISK_TIMEOUT);
                    }
                }
            }
        }
    }

    /// Position and time the task waits for; without any it ends.
    fn first(&self) -> Option<(u64, Instant)> {
        let mut state = self.state.lock();
        let first = state.late.front().map(|late| (late.end, late.deadline));
        state.running = first.is_some();
        first
    }

    fn take(&self, which: impl Fn(&Late) -> bool) -> Vec<Late> {
        let mut state = self.state.lock();
        let count = state.late.iter().take_while(|late| which(late)).count();
        state.late.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests;
