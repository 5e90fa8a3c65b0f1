//! Consuming in order: of each queue one batch at a time, the next only when the one before is done. In a group a queue is
//! locked at its broker, so that no two members consume it at the same time, not even while it changes hands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::GIVEN_UP;
use super::assigned::Assigned;
use super::listener::{Messages, OrderlyStatus};
use super::push::Shared;
use crate::caught::{Callback, caught};

/// Time between two renewals of locks. The broker keeps one for 60 s.
const RENEWAL: Duration = Duration::from_secs(20);
/// The same after one that failed, or a connection that ended.
const RENEWAL_AGAIN: Duration = Duration::from_secs(1);
/// Time after which a lock that was not renewed is not relied on any more.
const VALID: Duration = Duration::from_secs(30);
/// Shortest and longest pause of a queue.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(30)];

/// Gives the messages of a queue to the listener, until the queue is given up or the consumer stops.
pub(super) async fn run(
    consumer: Arc<Shared>,
    assigned: Arc<Assigned>,
    listener: Arc<Callback<Messages, OrderlyStatus>>,
) {
    // The offset the listener got last and left uncommitted.
    let mut given = None;
    loop {
        // Registered before looking, so that nothing arrives in between.
        let arrived = assigned.arrived.notified();
        let size = consumer.settings.consume_batch_size;
        if assigned.held.lock().after(given, size).is_empty() {
            tokio::select! {
                () = arrived => continue,
                () = assigned.dropped() => return,
                () = consumer.stopping() => return,
            }
        }
        let Some(permit) = consumer.permit(&assigned).await else {
            return;
        };
        let at_work = assigned.at_work.lock().await;
        if assigned.is_dropped() || consumer.is_stopping() {
            return;
        }
        if consumer.locks() && !assigned.is_locked(consumer.instance.clock.monotonic()) {
            tracing::warn!(queue = ?assigned.queue, "the lock has lapsed, starting over");
            consumer.lose(&assigned);
            return;
        }
        let batch = assigned.held.lock().after(given, size);
        let status = caught(|| listener(batch.clone())).await.unwrap_or_else(|| {
            tracing::error!(queue = ?assigned.queue, "the listener panicked, it gets the same messages again");
            OrderlyStatus::Suspend
        });
        let settled = consumer.settle_in_order(&assigned, &batch, status, &mut given);
        let pause = settled.await;
        // Kept until everything is settled: who has them knows that nothing is under way.
        drop((at_work, permit));
        if let Some(pause) = pause {
            tokio::select! {
                () = tokio::time::sleep(pause.clamp(PAUSES[0], PAUSES[1])) => {}
                () = assigned.dropped() => return,
                () = consumer.stopping() => return,
            }
        }
    }
}

impl Shared {
    /// Whether queues are consumed only while this member has their locks.
    pub(super) fn locks(&self) -> bool {
        self.is_orderly() && self.is_clustering()
    }

    /// Does what the listener's answer calls for; answers how long the queue pauses.
    async fn settle_in_order(
        &self,
        assigned: &Assigned,
        batch: &Messages,
        status: OrderlyStatus,
        given: &mut Option<i64>,
    ) -> Option<Duration> {
        let last = batch.last().map(|message| message.queue_offset);
        let usual = self.settings.suspend_current_queue;
        let pause = match status {
            OrderlyStatus::Success => {
                let done = assigned.held.lock().up_to(last);
                self.finish(assigned, done);
                *given = None;
                return None;
            }
            OrderlyStatus::Uncommitted => {
                *given = last;
                return None;
            }
            OrderlyStatus::Rollback => {
                *given = None;
                return Some(usual);
            }
            OrderlyStatus::Suspend => usual,
            OrderlyStatus::SuspendFor(pause) => pause,
        };
        let mut all_done = true;
        for message in batch {
            let most = self.settings.max_reconsume_times;
            if most.is_some_and(|most| message.reconsume_times >= most)
                && self.dispose(message).await
            {
                self.finish(assigned, vec![message.queue_offset]);
            } else {
                assigned.held.lock().failed(message.queue_offset);
                all_done = false;
            }
        }
        (!all_done).then_some(pause)
    }

    /// Gets rid of a message that has failed too often.
    async fn dispose(&self, message: &crate::MessageExt) -> bool {
        tracing::warn!(message.msg_id, message.reconsume_times, "given up");
        !self.is_clustering() || self.send_back(message, GIVEN_UP).await
    }

    /// The queue is not this member's any more, or may not be: what it does there counts no longer.
    fn lose(&self, assigned: &Assigned) {
        assigned.drop_queue();
        self.offsets.remove(&assigned.queue);
        self.rebalance_now.notify_one();
    }

    /// Locks a queue that was assigned. False when another member has it.
    pub(super) async fn lock(&self, assigned: &Assigned) -> Result<bool, crate::ClientError> {
        let asked = self.instance.clock.monotonic();
        let queues = [assigned.queue.clone()].into();
        let granted = self.instance.lock(&self.settings.group, queues).await?;
        let locked = granted.contains(&assigned.queue);
        if locked {
            *assigned.locked_until.lock() = asked + VALID;
        }
        Ok(locked)
    }

    /// Renews the locks of all queues until the consumer stops: at once, too, when a connection ends, for a broker that
    /// has started anew knows of none.
    pub(super) async fn keep_locked(self: Arc<Self>) {
        let mut wait = RENEWAL;
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.instance.disconnected.notified() => {}
            }
            wait = RENEWAL;
            let mut brokers: BTreeMap<String, Vec<Arc<Assigned>>> = BTreeMap::new();
            for assigned in self.assigned() {
                let of_broker = brokers.entry(assigned.queue.broker_name.clone());
                of_broker.or_default().push(assigned);
            }
            for (broker_name, all) in brokers {
                let asked = self.instance.clock.monotonic();
                let queues = all.iter().map(|assigned| assigned.queue.clone()).collect();
                match self.instance.lock(&self.settings.group, queues).await {
                    Ok(granted) => {
                        for assigned in all {
                            if granted.contains(&assigned.queue) {
                                *assigned.locked_until.lock() = asked + VALID;
                            } else {
                                tracing::warn!(queue = ?assigned.queue, "another member has locked the queue");
                                self.lose(&assigned);
                            }
                        }
                    }
                    Err(error) => {
                        tracing::warn!(broker_name, %error, "could not renew the locks");
                        wait = RENEWAL_AGAIN;
                        for assigned in all.iter().filter(|one| !one.is_locked(asked)) {
                            self.lose(assigned);
                        }
                    }
                }
            }
        }
    }
}
