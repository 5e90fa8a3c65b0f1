//! Which queues this consumer reads: looked at every 20 s, when brokers say that the group has changed, and
//! when routes change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::assigned::Assigned;
use super::broker::{self, Report};
use super::pull;
use super::push::Shared;
use super::start_offset::Start;
use crate::MessageQueue;
use crate::error::ClientError;
use crate::names::RETRY_TOPIC_PREFIX;
use crate::route::{MASTER_ID, TopicRoute};

/// Time between two looks when nothing happens.
const INTERVAL: Duration = Duration::from_secs(20);
/// Time to the next look while a topic does not exist. The group's retry topic comes with its first heartbeat.
const INTERVAL_INCOMPLETE: Duration = Duration::from_secs(5);
/// Time to the next look after one that left something undone.
const INTERVAL_UNBALANCED: Duration = Duration::from_secs(1);
/// Time between two looks at least: members that come one after another cause one look, not many.
const SPACING: Duration = Duration::from_millis(200);

/// What has to change for a consumer to read exactly `wanted`.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    give_up: Vec<MessageQueue>,
    take: Vec<MessageQueue>,
}

/// Compares the queues read of one topic with those wanted. Pure.
fn change(read: &BTreeSet<MessageQueue>, wanted: &BTreeSet<MessageQueue>) -> Change {
    Change {
        give_up: read.difference(wanted).cloned().collect(),
        take: wanted.difference(read).cloned().collect(),
    }
}

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
            if !topics.contains(&assigned.queue.topic) {
                self.give_up(&assigned).await;
            }
        }
        again
    }

    /// The queues of `topic` this consumer should read; `None` when there is no such topic.
    async fn wanted(&self, topic: &str) -> Result<Option<BTreeSet<MessageQueue>>, ClientError> {
        let route = match self.instance.routes.get(topic).await {
            Ok(route) => route,
            Err(ClientError::NoRoute { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if !self.is_clustering() {
            return Ok(Some(route.subscribe.iter().cloned().collect()));
        }
        let Some(address) = any_broker(&route) else {
            return Ok(None);
        };
        let group = &self.settings.group;
        let mut members = broker::consumer_ids(&self.instance, &address, group).await?;
        members.sort_unstable();
        members.dedup();
        let own = &self.instance.client_id;
        if !members.contains(own) {
            tracing::warn!(
                group,
                client_id = own,
                "the broker does not list this member yet"
            );
            self.instance.beat_soon();
        }
        let share = self
            .settings
            .allocate
            .allocate(own, &route.subscribe, &members);
        Ok(Some(share.into_iter().collect()))
    }

    async fn apply(self: &Arc<Self>, topic: &str, wanted: &BTreeSet<MessageQueue>) -> bool {
        let read: BTreeMap<MessageQueue, Arc<Assigned>> = self
            .assigned()
            .into_iter()
            .filter(|assigned| assigned.queue.topic == topic)
            .map(|assigned| (assigned.queue.clone(), assigned))
            .collect();
        let alive = |assigned: &Assigned| !assigned.is_dead() && !assigned.is_dropped();
        let reading = read
            .iter()
            .filter(|(_, a)| alive(a))
            .map(|(queue, _)| queue.clone())
            .collect();
        let change = change(&reading, wanted);
        for (queue, assigned) in &read {
            if change.give_up.contains(queue) || !alive(assigned) {
                self.give_up(assigned).await;
            }
        }
        if change
            != (Change {
                give_up: Vec::new(),
                take: Vec::new(),
            })
        {
            tracing::info!(
                topic,
                taken = change.take.len(),
                given_up = change.give_up.len(),
                now = wanted.len(),
                "queues reassigned"
            );
        }
        let mut all = true;
        for queue in change.take {
            if let Err(error) = self.take(&queue).await {
                tracing::warn!(?queue, %error, "cannot start on the queue yet");
                all = false;
            }
        }
        all
    }

    /// Stops reading a queue and leaves to the next owner word of how far this one came.
    pub(super) async fn give_up(&self, assigned: &Assigned) {
        assigned.drop_queue();
        self.remove(&assigned.queue);
        let Some(offset) = self.offsets.remove(&assigned.queue) else {
            return;
        };
        if !self.is_clustering() {
            self.keep_local(&assigned.queue, offset);
            return;
        }
        let group = &self.settings.group;
        let reported = broker::update_offset(
            &self.instance,
            group,
            &assigned.queue,
            offset,
            Report::Confirmed,
        );
        if let Err(error) = reported.await {
            tracing::warn!(queue = ?assigned.queue, %error, "could not report the offset of a queue given up");
        }
    }

    async fn take(self: &Arc<Self>, queue: &MessageQueue) -> Result<(), ClientError> {
        let first = self.first_offset(queue).await?;
        if self.is_stopping() {
            return Ok(());
        }
        let assigned = Arc::new(Assigned::new(queue.clone()));
        self.offsets.set(queue, first);
        self.insert(Arc::clone(&assigned));
        let task = tokio::spawn(pull::run(Arc::clone(self), Arc::clone(&assigned), first));
        assigned.set_pull_task(task.abort_handle());
        Ok(())
    }

    /// Where to read on: where the group is, else where it was told to start.
    async fn first_offset(&self, queue: &MessageQueue) -> Result<i64, ClientError> {
        let known = if self.is_clustering() {
            broker::query_offset(&self.instance, &self.settings.group, queue).await?
        } else {
            self.local_offset(queue)
        };
        if let Some(offset) = known.filter(|offset| *offset >= 0) {
            return Ok(offset);
        }
        let is_retry = queue.topic.starts_with(RETRY_TOPIC_PREFIX);
        match self.settings.consume_from_where.start(is_retry) {
            Start::At(offset) => Ok(offset),
            Start::MaxOffset => broker::max_offset(&self.instance, queue).await,
            Start::StoredSince(since) => broker::search_offset(&self.instance, queue, since).await,
        }
    }

    /// A broker moved the group on this queue: forget what is held and begin at `to`.
    pub(super) async fn start_over(&self, assigned: &Assigned, to: i64) {
        assigned.drop_queue();
        self.offsets.freeze(&assigned.queue, to);
        self.give_up(assigned).await;
        self.rebalance_now.notify_one();
    }
}

/// A broker of the topic, not always the same: its master, or a replica while there is none.
fn any_broker(route: &TopicRoute) -> Option<String> {
    let names: BTreeSet<&str> = route
        .subscribe
        .iter()
        .map(|queue| queue.broker_name.as_str())
        .collect();
    let known: Vec<_> = names
        .iter()
        .filter_map(|name| route.brokers.get(*name))
        .collect();
    let addresses = known.get(rand::random_range(0..known.len().max(1)))?;
    addresses
        .get(&MASTER_ID)
        .or_else(|| addresses.values().next())
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[i32]) -> BTreeSet<MessageQueue> {
        ids.iter()
            .map(|id| MessageQueue::new("T", "broker-a", *id))
            .collect()
    }

    fn ids(queues: &[MessageQueue]) -> Vec<i32> {
        queues.iter().map(|queue| queue.queue_id).collect()
    }

    #[test]
    fn only_differences_change() {
        let check = |read: &[i32], wanted: &[i32], give_up: &[i32], take: &[i32]| {
            let change = change(&set(read), &set(wanted));
            assert_eq!(
                (ids(&change.give_up), ids(&change.take)),
                (give_up.into(), take.into())
            );
        };
        check(&[], &[0, 1], &[], &[0, 1]);
        check(&[0, 1, 2, 3], &[0, 1], &[2, 3], &[]);
        check(&[0, 1], &[1, 2], &[0], &[2]);
        check(&[0, 1], &[0, 1], &[], &[]);
        check(&[0, 1], &[], &[0, 1], &[]);
    }
}
