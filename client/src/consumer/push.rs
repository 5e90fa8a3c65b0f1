//! The push consumer: its parts, its start and its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use common::names::retry_topic;
use common::wire::body::{self, SubscriptionData};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

use super::MessageModel;
use super::assigned::Assigned;
use super::broker::Report;
use super::builder::{PushConsumerBuilder, Settings};
use super::listener::Listener;
use super::local_offsets::LocalOffsets;
use super::offsets::Offsets;
use super::requests;
use super::start_offset::ConsumeFromWhere;
use super::subscription::{SUBSCRIBE_ALL, subscription};
use crate::config::ClientConfig;
use crate::error::ClientError;
use crate::instance::Instance;
use crate::{MessageQueue, validate};

/// Instance name of a broadcast consumer: its offsets are filed under it, so it stays the same.
const BROADCAST_INSTANCE: &str = "DEFAULT";

/// What a consumer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Suspended,
    /// For good.
    Stopping,
}

/// What all tasks of a consumer share.
pub(crate) struct Shared {
    pub(super) instance: Arc<Instance>,
    pub(super) settings: Settings,
    pub(super) listener: Listener,
    pub(super) offsets: Offsets,
    /// One per listener call that may run.
    pub(super) permits: Arc<Semaphore>,
    /// Look at the assignment now.
    pub(super) rebalance_now: Notify,
    /// What is wanted of each topic, the retry topic among them.
    pub(super) subscriptions: RwLock<BTreeMap<String, SubscriptionData>>,
    pub(super) queues: Mutex<BTreeMap<MessageQueue, Arc<Assigned>>>,
    phase: watch::Sender<Phase>,
    local: LocalOffsets,
    /// Offsets of a broadcast consumer on queues it does not read at the moment.
    pub(super) local_table: Mutex<BTreeMap<MessageQueue, i64>>,
}

/// Reads topics for its group and gives the messages to a listener.
///
/// ```no_run
/// # async fn example() -> Result<(), client::ClientError> {
/// use client::{ConsumeStatus, PushConsumer};
///
/// let consumer = PushConsumer::builder("billing", "127.0.0.1:9876")
///     .subscribe("orders", "created || paid")
///     .on_messages(|messages| async move {
///         for message in &messages {
///             println!("{}: {} bytes", message.msg_id, message.body.len());
///         }
///         ConsumeStatus::Success
///     })
///     .start()
///     .await?;
/// // ... and when the process ends:
/// consumer.shutdown().await;
/// # Ok(())
/// # }
/// ```
///
/// Every message is delivered at least once: again after a failure, and again after a crash or a change of
/// members if its offset had not been reported yet. A message the listener fails on goes back to the broker,
/// which delivers it again later; if no broker takes it, it is delivered again by this consumer after 5 s, and
/// the group's offset waits for it.
///
/// Dropping the consumer without [`PushConsumer::shutdown`] stops it at once; messages under way and offsets
/// of the last seconds are delivered again.
pub struct PushConsumer {
    shared: Arc<Shared>,
}

impl Drop for PushConsumer {
    fn drop(&mut self) {
        self.shared.phase.send_replace(Phase::Stopping);
        self.shared.instance.stop();
    }
}

impl PushConsumer {
    /// A consumer of `group` that finds its brokers through these name servers: `"host:port;host:port"` or a
    /// [`ClientConfig`].
    pub fn builder(
        group: impl Into<String>,
        config: impl Into<ClientConfig>,
    ) -> PushConsumerBuilder {
        PushConsumerBuilder::new(group.into(), config.into())
    }

    pub(super) async fn start(
        config: ClientConfig,
        settings: Settings,
        subscriptions: &[(String, String)],
        listener: Listener,
    ) -> Result<Self, ClientError> {
        let clustering = settings.message_model == MessageModel::Clustering;
        let (instance, inbox) =
            Instance::start(config, (!clustering).then_some(BROADCAST_INSTANCE)).await?;
        let shared = Shared::new(instance, settings, listener);
        // From here on dropping it stops what was started.
        let consumer = Self {
            shared: Arc::new(shared),
        };
        let shared = &consumer.shared;
        for (topic, expression) in subscriptions {
            shared.subscribe(topic, expression)?;
        }
        if clustering {
            shared.subscribe(&retry_topic(&shared.settings.group), SUBSCRIBE_ALL)?;
        } else {
            *shared.local_table.lock() = shared.local.load().await?;
        }
        let instance = &shared.instance;
        for topic in shared.topics() {
            instance.routes.find(&topic).await?;
        }
        // Brokers serve pulls of known members only.
        instance.heartbeat().await;
        instance.spawn(requests::serve(Arc::clone(shared), inbox));
        // Subscribed before looking: what changes meanwhile is looked at again.
        let routes = instance.routes.changes();
        let next_look = shared.rebalance().await;
        instance.spawn(Arc::clone(shared).keep_balanced(next_look, routes));
        instance.spawn(Arc::clone(shared).keep_reporting());
        if shared.locks() {
            instance.spawn(Arc::clone(shared).keep_locked());
        }
        instance.spawn(Arc::clone(shared).keep_sending_back_overdue());
        Ok(consumer)
    }

    /// Subscribes to a further topic, or to the same one with another expression. All members of the group
    /// have to.
    ///
    /// # Errors
    /// [`ClientError::InvalidConfig`] for an expression without tags, [`ClientError::IllegalMessage`] for an
    /// impossible topic; what kept the name servers from answering.
    pub async fn subscribe(&self, topic: &str, expression: &str) -> Result<(), ClientError> {
        validate::topic(topic)?;
        self.shared.subscribe(topic, expression)?;
        self.shared.instance.routes.find(topic).await?;
        self.shared.resubscribed().await;
        Ok(())
    }

    /// Stops reading a topic.
    pub async fn unsubscribe(&self, topic: &str) {
        self.shared.subscriptions.write().remove(topic);
        self.shared.announce();
        self.shared.resubscribed().await;
    }

    /// Pulls nothing more until [`PushConsumer::resume`]. What was pulled is still consumed.
    pub fn suspend(&self) {
        self.shared.change_phase(Phase::Running, Phase::Suspended);
    }

    /// Ends [`PushConsumer::suspend`].
    pub fn resume(&self) {
        self.shared.change_phase(Phase::Suspended, Phase::Running);
    }

    /// The queues this consumer reads now, sorted.
    pub fn assigned_queues(&self) -> Vec<MessageQueue> {
        self.shared.queues.lock().keys().cloned().collect()
    }

    /// The offset the group has come to on each of these queues, as far as this consumer knows.
    pub fn offsets(&self) -> BTreeMap<MessageQueue, i64> {
        self.shared.offsets.all()
    }

    /// The name under which brokers know this client.
    pub fn client_id(&self) -> &str {
        &self.shared.instance.client_id
    }

    /// Stops pulling, waits for listeners at work, reports the offsets and takes leave of the brokers, which
    /// then share the queues among the other members.
    pub async fn shutdown(self) {
        let shared = &self.shared;
        shared.phase.send_replace(Phase::Stopping);
        let all = shared.permits.acquire_many(shared.settings.consume_threads);
        let all = tokio::time::timeout(shared.settings.shutdown_timeout, all);
        if all.await.is_err() {
            tracing::warn!("listeners are still at work, their messages will be delivered again");
        }
        // At once: a broker that is gone shall not cost one timeout per queue.
        let mut reports = JoinSet::new();
        for assigned in shared.assigned() {
            let shared = Arc::clone(shared);
            reports.spawn(async move { shared.give_up(&assigned).await });
        }
        while reports.join_next().await.is_some() {}
        if !shared.is_clustering() {
            shared.save_local().await;
        }
        let group = Some(shared.settings.group.as_str());
        shared.instance.unregister(None, group).await;
        shared.instance.stop();
    }
}

impl Shared {
    fn new(instance: Arc<Instance>, settings: Settings, listener: Listener) -> Self {
        let directory = &settings.local_offset_directory;
        let local = LocalOffsets::new(directory, &instance.client_id, &settings.group);
        let threads = usize::try_from(settings.consume_threads).unwrap_or(usize::MAX);
        Self {
            permits: Arc::new(Semaphore::new(threads.min(Semaphore::MAX_PERMITS))),
            instance,
            settings,
            listener,
            offsets: Offsets::default(),
            rebalance_now: Notify::new(),
            subscriptions: RwLock::default(),
            queues: Mutex::default(),
            phase: watch::Sender::new(Phase::Running),
            local,
            local_table: Mutex::default(),
        }
    }

    pub(super) fn is_clustering(&self) -> bool {
        self.settings.message_model == MessageModel::Clustering
    }

    pub(super) fn is_orderly(&self) -> bool {
        matches!(self.listener, Listener::Orderly(_))
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.phase.borrow() == Phase::Stopping
    }

    /// Returns once the consumer stops.
    pub(super) async fn stopping(&self) {
        let mut phase = self.phase.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = phase.wait_for(|phase| *phase == Phase::Stopping).await;
    }

    /// Returns once the consumer is not suspended.
    pub(super) async fn resumed(&self) {
        let mut phase = self.phase.subscribe();
        let _ = phase.wait_for(|phase| *phase != Phase::Suspended).await;
    }

    fn change_phase(&self, from: Phase, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let changes = *phase == from;
            if changes {
                *phase = to;
            }
            changes
        });
    }

    /// Topics read, the retry topic among them.
    pub(super) fn topics(&self) -> BTreeSet<String> {
        self.subscriptions.read().keys().cloned().collect()
    }

    fn subscribe(&self, topic: &str, expression: &str) -> Result<(), ClientError> {
        let version = self.instance.clock.now().0;
        let subscription = subscription(topic, expression, version)?;
        (self.subscriptions.write()).insert(topic.to_owned(), subscription);
        self.announce();
        Ok(())
    }

    /// Has brokers know of a changed subscription, and queues assigned by it.
    async fn resubscribed(&self) {
        self.instance.heartbeat().await;
        self.rebalance_now.notify_one();
    }

    /// Has heartbeats say what is subscribed now.
    fn announce(&self) {
        let consumer = body::ConsumerData {
            group_name: self.settings.group.clone(),
            consume_type: body::ConsumeType::ConsumePassively,
            message_model: match self.settings.message_model {
                MessageModel::Clustering => body::MessageModel::Clustering,
                MessageModel::Broadcasting => body::MessageModel::Broadcasting,
            },
            consume_from_where: match self.settings.consume_from_where {
                ConsumeFromWhere::LastOffset => body::ConsumeFromWhere::ConsumeFromLastOffset,
                ConsumeFromWhere::FirstOffset => body::ConsumeFromWhere::ConsumeFromFirstOffset,
                ConsumeFromWhere::Timestamp(_) => body::ConsumeFromWhere::ConsumeFromTimestamp,
            },
            subscription_data_set: self.subscriptions.read().values().cloned().collect(),
            unit_mode: false,
        };
        self.instance
            .set_heartbeat(|data| data.consumer_data_set = vec![consumer]);
    }

    pub(super) fn assigned(&self) -> Vec<Arc<Assigned>> {
        self.queues.lock().values().cloned().collect()
    }

    async fn keep_reporting(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.instance.config.persist_offset_interval).await;
            if self.is_clustering() {
                self.report_offsets().await;
            } else {
                self.save_local().await;
            }
        }
    }

    async fn report_offsets(&self) {
        let group = &self.settings.group;
        for (queue, offset) in self.offsets.all() {
            let reported = (self.instance).update_offset(group, &queue, offset, Report::Oneway);
            if let Err(error) = reported.await {
                tracing::warn!(?queue, %error, "could not report an offset");
            }
        }
    }

    async fn save_local(&self) {
        let mut table = self.local_table.lock().clone();
        table.extend(self.offsets.all());
        if let Err(error) = self.local.save(table).await {
            tracing::warn!(%error, "could not save the offsets");
        }
    }

    async fn keep_sending_back_overdue(self: Arc<Self>) {
        let pause = self.settings.consume_timeout.max(Duration::from_secs(1));
        loop {
            tokio::time::sleep(pause).await;
            self.send_back_overdue().await;
        }
    }
}
