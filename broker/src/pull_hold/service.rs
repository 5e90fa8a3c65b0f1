//! The hold behind its one lock, woken by the store and by its own timer.

use super::hold::{MAX_HELD_PULLS, Parked, PullHold};
use common::clock::Clock;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;
use store::{Arrivals, Queue};
use tokio::sync::Notify;

/// A request that is parked.
pub trait Held: Send + 'static {
    /// The wait is over, for whatever reason: look at the queue once more and answer. Called by the thread that
    /// dispatches messages, so the work itself is done elsewhere.
    fn resume(self);
}

struct Waiting<T> {
    queue: Arc<Queue>,
    pull: T,
}

/// All parked pulls of the broker.
pub struct PullHoldService<T> {
    /// Keyed by the address of the queue, which every entry keeps alive.
    hold: Mutex<PullHold<usize, Waiting<T>>>,
    /// A deadline came before all others.
    earlier: Notify,
    clock: Arc<dyn Clock>,
}

impl<T: Held> PullHoldService<T> {
    /// Nothing is parked.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            hold: Mutex::new(PullHold::new(MAX_HELD_PULLS)),
            earlier: Notify::new(),
            clock,
        }
    }

    /// Time that deadlines are measured in.
    pub fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Number of parked pulls.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.hold.lock().len()
    }

    /// True when nothing is parked.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Parks a pull that found nothing at the end of `queue`. Gives it back when it has to be answered at once: the
    /// hold is full, or a message arrived since.
    pub fn park(&self, queue: &Arc<Queue>, parked: Parked<T>) -> Option<T> {
        let (offset, deadline, waits) = (parked.offset, parked.deadline, Arc::clone(queue));
        let Parked {
            connection,
            filter,
            pull,
            ..
        } = parked;
        let parked = Parked {
            connection,
            offset,
            filter,
            deadline,
            pull: Waiting { queue: waits, pull },
        };
        // First the watch, then the entry, then the second look: a message that is published before the look is seen
        // by it, one that is published later finds the watch and the entry. The fence keeps the look behind the watch.
        queue.watch();
        let (id, first) = {
            let mut hold = self.hold.lock();
            let next = hold.next_deadline();
            match hold.park(key(queue), parked) {
                Ok(id) => (id, next.is_none_or(|next| deadline < next)),
                Err(refused) => {
                    drop(hold);
                    return Some(refused.leave());
                }
            }
        };
        fence(Ordering::SeqCst);
        if queue.max_offset() > offset {
            let taken = self.hold.lock().take(id);
            return taken.map(Waiting::leave);
        }
        if first {
            self.earlier.notify_one();
        }
        None
    }

    /// Drops the pulls of a connection that is gone.
    pub fn closed(&self, connection: u64) {
        let gone = self.hold.lock().closed(connection);
        for waiting in gone {
            drop(waiting.leave());
        }
    }

    /// Resumes the pulls whose time is over.
    pub fn expire(&self) {
        let now = self.now();
        let over = self.hold.lock().expired(now);
        resume(over);
    }

    /// Resumes every pull, so that none is unanswered when the broker goes.
    pub fn resume_all(&self) {
        let all = self.hold.lock().drain();
        resume(all);
    }

    /// Resumes pulls whose time is over until the task is dropped. Sleeps exactly to the next deadline.
    pub async fn run(self: Arc<Self>) {
        loop {
            let next = self.hold.lock().next_deadline();
            let earlier = self.earlier.notified();
            match next {
                None => earlier.await,
                Some(deadline) => {
                    let wait = deadline.saturating_sub(self.now());
                    // A deadline that moved forward is looked at anew; both ends are harmless when they meet.
                    let _ = tokio::time::timeout(wait, earlier).await;
                    self.expire();
                }
            }
        }
    }
}

impl<T: Held> Arrivals for PullHoldService<T> {
    fn arrived(&self, queue: &Arc<Queue>, max_offset: u64, tags_code: i64, _store_timestamp: i64) {
        let now = self.now();
        let (woken, first) = {
            let mut hold = self.hold.lock();
            let before = hold.next_deadline();
            let woken = hold.arrived(&key(queue), max_offset, tags_code, now);
            let after = hold.next_deadline();
            (woken, after.is_some() && after < before)
        };
        if first {
            self.earlier.notify_one();
        }
        resume(woken);
    }
}

impl<T> Waiting<T> {
    /// Leaves the queue.
    fn leave(self) -> T {
        self.queue.unwatch();
        self.pull
    }
}

fn resume<T: Held>(pulls: Vec<Waiting<T>>) {
    for waiting in pulls {
        waiting.leave().resume();
    }
}

fn key(queue: &Arc<Queue>) -> usize {
    Arc::as_ptr(queue).addr()
}
