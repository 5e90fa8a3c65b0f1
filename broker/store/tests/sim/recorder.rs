//! Remembers the disk before each of its steps, and what was promised at that moment.

use std::collections::VecDeque;
use std::sync::Arc;

use common::clock::{Clock, ManualClock};
use parking_lot::Mutex;
use store::FlushMode;
use store::sim::{Image, Observer, Op, SimFiles};

use crate::check::{Promise, Store};
use crate::message::Message;
use crate::model::Model;

/// A moment in which the machine or the process may die.
pub struct Point {
    /// What would have come next.
    pub op: Op,
    pub image: Image,
    pub promise: Promise,
}

/// What a run and the observer of its disk share.
pub struct Shared {
    pub mode: FlushMode,
    pub model: Mutex<Model>,
    pub files: Mutex<Arc<SimFiles>>,
    /// The store, while it is open.
    pub store: Mutex<Option<Arc<Store>>>,
    pub points: Mutex<Vec<Point>>,
    /// What consumers had seen and committed when the store was closed.
    pub closed: Mutex<Promise>,
    /// What is sent while the next steps of the disk are on their way, if anything.
    pub meanwhile: Mutex<VecDeque<Option<Arc<Message>>>>,
    pub problem: Mutex<Option<String>>,
    pub clock: Arc<ManualClock>,
}

impl Shared {
    pub fn promise(&self) -> Promise {
        let model = self.model.lock();
        let Some(store) = self.store.lock().clone() else {
            return Promise {
                flushed: model.safe,
                written: model.written,
                ..self.closed.lock().clone()
            };
        };
        let mut committed = Vec::new();
        for queue in store.reader.queues() {
            if queue.max_offset() > 0 {
                committed.push(((queue.topic().to_owned(), queue.id()), queue.max_offset()));
            }
        }
        // With asynchronous flushes consumers see what a power cut may take.
        let seen = match self.mode {
            FlushMode::Sync => committed.clone(),
            FlushMode::Async => Vec::new(),
        };
        Promise {
            flushed: *store.writer.flushed().borrow(),
            written: model.written,
            seen,
            committed,
        }
    }

    /// Appends messages, foreseen by the model. Returns how many were appended.
    pub fn append(&self, messages: &[Arc<Message>], group: bool) -> Result<usize, String> {
        let Some(store) = self.store.lock().clone() else {
            return Ok(0);
        };
        let foreseen = self
            .model
            .lock()
            .append(messages, group, self.clock.now().0);
        let appended = store.append(messages, group, &foreseen)?;
        if let Some(last) = foreseen[..appended].last() {
            self.model.lock().written = last.end();
        }
        Ok(appended)
    }
}

impl Observer for Shared {
    fn before(&self, op: &Op) {
        let point = Point {
            op: op.clone(),
            image: self.files.lock().image(),
            promise: self.promise(),
        };
        self.points.lock().push(point);
    }

    fn after(&self, _: &Op) {
        // What is sent now makes steps of its own, in the middle of which nobody sends.
        let mut waiting = std::mem::take(&mut *self.meanwhile.lock());
        if let Some(Some(message)) = waiting.pop_front()
            && let Err(problem) = self.append(&[message], false)
        {
            *self.problem.lock() = Some(problem);
        }
        *self.meanwhile.lock() = waiting;
    }
}
