//! Which queues this consumer reads: looked at every 20 s, when brokers say that the group has changed, and
//! when routes change.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use common::names::is_retry_topic;
use tokio::sync::watch;

use super::assigned::Assigned;
use super::broker::Report;
use super::listener::Listener;
use super::push::Shared;
use super::start_offset::Start;
use super::{orderly, pull};
use crate::MessageQueue;
use crate::error::ClientError;
use crate::route::{MASTER_ID, TopicRoute};

/// Time between two looks when nothing happens.
const INTERVAL: Duration = Duration::from_secs(20);
/// Time to the next look while a topic does not exist. The group's retry topic comes with its first heartbeat.
const INTERVAL_INCOMPLETE: Duration = Duration::from_secs(5);
/// Time to the next look after one that left something undone.
const INTERVAL_UNBALANCED: Duration = Duration::from_secs(1);
/// Time between two looks at least: members that come one after another cause one look, not many.
const SPACING: Duration = Duration::from_millis(200);

/// How long giving up a queue waits for a listener that consumes it in order, before it is tried again later.
const LISTENER_TIME: Duration = Duration::from_millis(500);

impl Shared {
    /// Keeps the assignment right until the consumer stops.
    pub(super) async fn keep_balanced(
        self: Arc<Self>,
        mut wait: Duration,
        mut routes: watch::Receiver<u64>,
    ) {
        loop {
            tokio::time::sleep(SPACING).await;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.rebalance_now.notified() => {}
                changed = routes.changed() => if changed.is_err() { return },
                () = self.stopping() => return,
            }
            wait = self.rebalance().await;
        }
    }

    /// One look at all topics; answers when to look again.
    pub(super) async fn rebalance(self: &Arc<Self>) -> Duration {
        let topics = self.topics();
        let mut again = INTERVAL;
        for topic in &topics {
            let wait = match self.wanted(topic).await {
                Ok(Some(wanted)) if self.apply(topic, &wanted).await => INTERVAL,
                Ok(Some(_)) => INTERVAL_UNBALANCED,
                Ok(None) => INTERVAL_INCOMPLETE,
                Err(error) => {
                    tracing::warn!(topic, %error, "queues stay as they are for now");
                    INTERVAL_UNBALANCED
                }
            };
            again = again.min(wait);
        }
        for assigned in self.assigned() {
            if !topics.contains(&assigned.queue.topic) && !self.give_up(&assigned).await {
                again = INTERVAL_UNBALANCED;
            }
        }
        again
    }

    /// The queues of `topic` this consumer should read; `None` when there is no such topic.
    async fn wanted(&self, topic: &str) -> Result<Option<BTreeSet<MessageQueue>>, ClientError> {
        let Some(route) = self.instance.routes.find(topic).await? else {
            return Ok(None);
        };
        if !self.is_clustering() {
            return Ok(Some(route.subscribe.iter().cloned().collect()));
        }
        let Some(address) = any_broker(&route) else {
            return Ok(None);
        };
        let group = &self.settings.group;
        let mut members = self.instance.consumer_ids(&address, group).await?;
        members.sort_unstable();
        members.dedup();
        let own = &self.instance.client_id;
        if !members.contains(own) {
            tracing::warn!(
                group,
                client_id = own,
                "the broker does not list this member yet"
            );
            self.instance.beat_now.notify_one();
        }
        let strategy = self.settings.allocate_strategy;
        let share = strategy.allocate(own, &route.subscribe, &members);
        Ok(Some(share.into_iter().collect()))
    }

    /// Has exactly `wanted` of `topic` read. False: something is left to do.
    async fn apply(self: &Arc<Self>, topic: &str, wanted: &BTreeSet<MessageQueue>) -> bool {
        let (mut all, mut given_up) = (true, 0);
        let mut read = BTreeSet::new();
        for assigned in self.assigned() {
            if assigned.queue.topic != topic {
                continue;
            }
            if assigned.is_read() && wanted.contains(&assigned.queue) {
                read.insert(assigned.queue.clone());
            } else {
                given_up += usize::from(!wanted.contains(&assigned.queue));
                all &= self.give_up(&assigned).await;
            }
        }
        let taken = wanted.len() - read.len();
        if taken + given_up > 0 {
            tracing::info!(
                topic,
                taken,
                given_up,
                now = wanted.len(),
                "queues reassigned"
            );
        }
        for queue in wanted.difference(&read) {
            match self.take(queue).await {
                Ok(taken) => all &= taken,
                Err(error) => {
                    tracing::warn!(?queue, %error, "cannot start on the queue yet");
                    all = false;
                }
            }
        }
        all
    }

    /// Stops reading a queue and leaves to the next owner word of how far this one came. False: a listener that consumes
    /// in order is still at work on it, so that nobody else may.
    pub(super) async fn give_up(&self, assigned: &Assigned) -> bool {
        assigned.drop_queue();
        let idle = !self.is_orderly()
            || (tokio::time::timeout(LISTENER_TIME, assigned.at_work.lock()).await).is_ok();
        if !idle && !self.is_stopping() {
            return false;
        }
        self.queues.lock().remove(&assigned.queue);
        if let Some(offset) = self.offsets.remove(&assigned.queue) {
            self.leave_word(assigned, offset).await;
        }
        if self.locks() && idle {
            let queues = [assigned.queue.clone()].into();
            let unlocked = self.instance.unlock(&self.settings.group, queues);
            if let Err(error) = unlocked.await {
                tracing::warn!(queue = ?assigned.queue, %error, "could not unlock");
            }
        }
        true
    }

    async fn leave_word(&self, assigned: &Assigned, offset: i64) {
        let (group, queue) = (&self.settings.group, &assigned.queue);
        if !self.is_clustering() {
            self.local_table.lock().insert(queue.clone(), offset);
            return;
        }
        let reported = (self.instance).update_offset(group, queue, offset, Report::Confirmed);
        if let Err(error) = reported.await {
            tracing::warn!(?queue, %error, "could not report the offset of a queue given up");
        }
    }

    /// Starts reading a queue. False: it has to wait for others, or for this consumer's own listener.
    async fn take(self: &Arc<Self>, queue: &MessageQueue) -> Result<bool, ClientError> {
        let assigned = Arc::new(Assigned::new(queue.clone()));
        let held = self.queues.lock().contains_key(queue);
        if held || self.locks() && !self.lock(&assigned).await? {
            return Ok(false);
        }
        // Only now: who had the lock may have moved it until then.
        let first = self.first_offset(queue).await?;
        if self.is_stopping() {
            return Ok(true);
        }
        self.offsets.set(queue, first);
        (self.queues.lock()).insert(queue.clone(), Arc::clone(&assigned));
        let task = tokio::spawn(pull::run(Arc::clone(self), Arc::clone(&assigned), first));
        *assigned.pull.lock() = Some(task.abort_handle());
        if let Listener::Orderly(listener) = &self.listener {
            let (consumer, listener) = (Arc::clone(self), Arc::clone(listener));
            tokio::spawn(orderly::run(consumer, assigned, listener));
        }
        Ok(true)
    }

    /// Where to read on: where the group is, else where it was told to start.
    async fn first_offset(&self, queue: &MessageQueue) -> Result<i64, ClientError> {
        let instance = &self.instance;
        let known = if self.is_clustering() {
            instance.query_offset(&self.settings.group, queue).await?
        } else {
            self.local_table.lock().get(queue).copied()
        };
        if let Some(offset) = known.filter(|offset| *offset >= 0) {
            return Ok(offset);
        }
        let is_retry = is_retry_topic(&queue.topic);
        match self.settings.consume_from_where.start(is_retry) {
            Start::At(offset) => Ok(offset),
            Start::MaxOffset => instance.max_offset(queue).await,
            Start::StoredSince(since) => instance.search_offset(queue, since).await,
        }
    }

    /// A broker moved the group on this queue: forget what is held and begin at `to`.
    pub(super) async fn start_over(&self, assigned: &Assigned, to: i64) {
        assigned.drop_queue();
        // Results of older deliveries do not count any more.
        self.offsets.remove(&assigned.queue);
        self.leave_word(assigned, to).await;
        self.give_up(assigned).await;
        self.rebalance_now.notify_one();
    }
}

/// A broker of the topic, not always the same: its master, or a replica while there is none.
fn any_broker(route: &TopicRoute) -> Option<String> {
    let queues = route.subscribe.iter();
    let names: BTreeSet<_> = queues.map(|queue| &queue.broker_name).collect();
    let known: Vec<_> = names
        .iter()
        .filter_map(|name| route.brokers.get(*name))
        .collect();
    let addresses = known.get(rand::random_range(0..known.len().max(1)))?;
    let master = addresses.get(&MASTER_ID);
    master.or_else(|| addresses.values().next()).cloned()
}
