//! A queue this consumer reads, from the moment it is assigned until it is given up.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::process_queue::ProcessQueue;
use crate::MessageQueue;
use crate::route::MASTER_ID;

/// A queue and what is held of it.
#[derive(Debug, Default)]
pub(crate) struct Assigned {
    pub(crate) queue: MessageQueue,
    pub(crate) held: Mutex<ProcessQueue>,
    /// Messages came, for who consumes in order.
    pub(crate) arrived: Notify,
    /// Held across the call of a listener that consumes in order: who gets it knows that none is at work.
    pub(crate) at_work: tokio::sync::Mutex<()>,
    /// Until when this member may rely on its lock, on the consumer's monotonic clock.
    pub(crate) locked_until: Mutex<Duration>,
    /// Something was finished: a pull that waits for room may go on.
    pub(crate) room: Notify,
    /// Replica the broker wants the next pull to go to.
    pub(crate) pull_from: AtomicI64,
    dropped: watch::Sender<bool>,
    pub(crate) pull: Mutex<Option<AbortHandle>>,
}

impl Assigned {
    pub(crate) fn new(queue: MessageQueue) -> Self {
        Self {
            queue,
            pull_from: AtomicI64::new(MASTER_ID),
            ..Self::default()
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

    pub(crate) fn is_locked(&self, now: Duration) -> bool {
        now < *self.locked_until.lock()
    }

    /// Whether it is read: neither given up, nor did what pulls it end by itself.
    pub(crate) fn is_read(&self) -> bool {
        let ended = (self.pull.lock().as_ref()).is_some_and(AbortHandle::is_finished);
        !ended && !self.is_dropped()
    }
}
