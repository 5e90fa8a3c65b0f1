//! A queue this consumer reads, from the moment it is assigned until it is given up.

use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::process_queue::ProcessQueue;
use crate::MessageQueue;
use crate::route::MASTER_ID;

/// A queue and what is held of it.
#[derive(Debug)]
pub(crate) struct Assigned {
    pub(crate) queue: MessageQueue,
    pub(crate) held: Mutex<ProcessQueue>,
    /// Something was finished: a pull that waits for room may go on.
    pub(crate) room: Notify,
    /// Replica the broker wants the next pull to go to.
    pull_from: AtomicI64,
    dropped: watch::Sender<bool>,
    pull: Mutex<Option<AbortHandle>>,
}

impl Assigned {
    pub(crate) fn new(queue: MessageQueue) -> Self {
        let (dropped, _) = watch::channel(false);
        Self {
            queue,
            held: Mutex::default(),
            room: Notify::new(),
            pull_from: AtomicI64::new(MASTER_ID),
            dropped,
            pull: Mutex::new(None),
        }
    }

    /// Gives the queue up: pulling ends, and results of deliveries under way no longer count.
    pub(crate) fn drop_queue(&self) {
        self.dropped.send_replace(true);
    }

    pub(crate) fn is_dropped(&self) -> bool {
        *self.dropped.borrow()
    }

    /// Returns once the queue is given up.
    pub(crate) async fn dropped(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.dropped.subscribe().wait_for(|dropped| *dropped).await;
    }

    pub(crate) fn pull_from(&self) -> i64 {
        self.pull_from.load(Ordering::Relaxed)
    }

    pub(crate) fn set_pull_from(&self, broker_id: i64) {
        self.pull_from.store(broker_id, Ordering::Relaxed);
    }

    pub(crate) fn set_pull_task(&self, task: AbortHandle) {
        *self.pull.lock() = Some(task);
    }

    /// Whether nothing pulls any more although the queue was not given up.
    pub(crate) fn is_dead(&self) -> bool {
        self.pull
            .lock()
            .as_ref()
            .is_some_and(AbortHandle::is_finished)
            && !self.is_dropped()
    }
}
