//! What a push consumer can be told before it starts.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::listener::{AnyListener, FnListener, MessageListener, Messages};
use super::local_offsets::LocalOffsets;
use super::{
    AllocateStrategy, ConsumeFromWhere, ConsumeStatus, FlowThresholds, MessageModel, PushConsumer,
};
use crate::config::ClientConfig;
use crate::error::ClientError;
use crate::validate;

/// What a consumer does when nothing else is said: the values of RocketMQ's own clients.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) group: String,
    pub(crate) message_model: MessageModel,
    pub(crate) consume_from_where: ConsumeFromWhere,
    pub(crate) allocate: AllocateStrategy,
    pub(crate) consume_threads: u32,
    pub(crate) consume_batch_size: usize,
    pub(crate) consume_timeout: Duration,
    pub(crate) max_reconsume_times: Option<i32>,
    pub(crate) pull_batch_size: i32,
    pub(crate) pull_interval: Duration,
    pub(crate) thresholds: FlowThresholds,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) local_offset_directory: PathBuf,
}

/// Prepares a [`PushConsumer`].
pub struct PushConsumerBuilder {
    config: ClientConfig,
    settings: Settings,
    subscriptions: Vec<(String, String)>,
    listener: Option<Arc<dyn AnyListener>>,
}

impl PushConsumerBuilder {
    pub(super) fn new(group: String, config: ClientConfig) -> Self {
        let settings = Settings {
            group,
            message_model: MessageModel::default(),
            consume_from_where: ConsumeFromWhere::default(),
            allocate: AllocateStrategy::default(),
            consume_threads: 20,
            consume_batch_size: 1,
            consume_timeout: Duration::from_mins(15),
            max_reconsume_times: None,
            pull_batch_size: 32,
            pull_interval: Duration::ZERO,
            thresholds: FlowThresholds::default(),
            shutdown_timeout: Duration::from_secs(10),
            local_offset_directory: LocalOffsets::default_directory(),
        };
        Self {
            config,
            settings,
            subscriptions: Vec::new(),
            listener: None,
        }
    }

    /// Subscribes to a topic: `*` for all of it, or tags as `A || B`. Repeat for further topics. All members
    /// of a group must subscribe to the same.
    #[must_use]
    pub fn subscribe(mut self, topic: impl Into<String>, expression: impl Into<String>) -> Self {
        self.subscriptions.push((topic.into(), expression.into()));
        self
    }

    /// Who gets the messages.
    #[must_use]
    pub fn listener(mut self, listener: impl MessageListener) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// As [`PushConsumerBuilder::listener`], for a closure that answers a future.
    #[must_use]
    pub fn on_messages<F, Fut>(self, listener: F) -> Self
    where
        F: Fn(Messages) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ConsumeStatus> + Send + 'static,
    {
        self.listener(FnListener(listener))
    }

    /// Sharing or broadcasting. Default [`MessageModel::Clustering`].
    #[must_use]
    pub fn message_model(mut self, model: MessageModel) -> Self {
        self.settings.message_model = model;
        self
    }

    /// Where a new group starts. Default [`ConsumeFromWhere::LastOffset`].
    #[must_use]
    pub fn consume_from_where(mut self, from: ConsumeFromWhere) -> Self {
        self.settings.consume_from_where = from;
        self
    }

    /// How queues are shared. Default [`AllocateStrategy::Average`].
    #[must_use]
    pub fn allocate_strategy(mut self, strategy: AllocateStrategy) -> Self {
        self.settings.allocate = strategy;
        self
    }

    /// Calls of the listener that run at the same time, 1 to 1000. Default 20.
    #[must_use]
    pub fn consume_threads(mut self, threads: u32) -> Self {
        self.settings.consume_threads = threads;
        self
    }

    /// Most messages given to the listener at once, 1 to 1024. Default 1.
    #[must_use]
    pub fn consume_batch_size(mut self, messages: usize) -> Self {
        self.settings.consume_batch_size = messages;
        self
    }

    /// A listener that holds a message longer than this has lost it: the message is delivered again.
    /// Default 15 minutes.
    #[must_use]
    pub fn consume_timeout(mut self, timeout: Duration) -> Self {
        self.settings.consume_timeout = timeout;
        self
    }

    /// Deliveries after the first before a message goes to the dead letter queue. Default 16.
    #[must_use]
    pub fn max_reconsume_times(mut self, times: u32) -> Self {
        self.settings.max_reconsume_times = Some(i32::try_from(times).unwrap_or(i32::MAX));
        self
    }

    /// Most messages asked for in one pull, 1 to 1024. Default 32.
    #[must_use]
    pub fn pull_batch_size(mut self, messages: i32) -> Self {
        self.settings.pull_batch_size = messages;
        self
    }

    /// Time between two pulls of a queue that brought messages. Default none.
    #[must_use]
    pub fn pull_interval(mut self, interval: Duration) -> Self {
        self.settings.pull_interval = interval;
        self
    }

    /// How much may be pulled and unfinished, per queue.
    #[must_use]
    pub fn flow_thresholds(mut self, thresholds: FlowThresholds) -> Self {
        self.settings.thresholds = thresholds;
        self
    }

    /// How long a shutdown waits for listeners that are at work. Default 10 s.
    #[must_use]
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.settings.shutdown_timeout = timeout;
        self
    }

    /// Where a broadcast consumer keeps its offsets. Default `~/.rocketmq_offsets`, which other RocketMQ
    /// clients use too.
    #[must_use]
    pub fn local_offset_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.settings.local_offset_directory = directory.into();
        self
    }

    /// Starts the consumer: brokers know it and its queues are assigned when this returns. A topic nobody
    /// created yet is no error; it is consumed once it exists.
    ///
    /// # Errors
    /// [`ClientError::InvalidConfig`] and [`ClientError::NoNameServer`]; [`ClientError::Transport`] when no
    /// name server answers.
    pub async fn start(self) -> Result<PushConsumer, ClientError> {
        self.settings.validate()?;
        let Some(listener) = self.listener else {
            return Err(invalid("listener", "give one before the start"));
        };
        if self.subscriptions.is_empty() {
            return Err(invalid(
                "subscription",
                "subscribe to at least one topic before the start",
            ));
        }
        for (topic, _) in &self.subscriptions {
            validate::topic(topic)?;
        }
        PushConsumer::start(self.config, self.settings, &self.subscriptions, listener).await
    }
}

fn invalid(what: &'static str, reason: impl Into<String>) -> ClientError {
    ClientError::InvalidConfig {
        what,
        reason: reason.into(),
    }
}

impl Settings {
    fn validate(&self) -> Result<(), ClientError> {
        validate::group("consumer group", &self.group)?;
        let check = |what, value: i64, most: i64| {
            if (1..=most).contains(&value) {
                return Ok(());
            }
            Err(invalid(
                what,
                format!("is {value}, 1 to {most} are allowed"),
            ))
        };
        let saturated = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        check("consume threads", i64::from(self.consume_threads), 1000)?;
        check(
            "consume batch size",
            saturated(self.consume_batch_size),
            1024,
        )?;
        check("pull batch size", i64::from(self.pull_batch_size), 1024)?;
        check(
            "threshold of messages per queue",
            saturated(self.thresholds.messages),
            65_535,
        )?;
        check(
            "threshold of bytes per queue",
            saturated(self.thresholds.bytes),
            1 << 30,
        )?;
        check("threshold of offset span", self.thresholds.span, 65_535)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> PushConsumerBuilder {
        PushConsumer::builder("group", "127.0.0.1:1")
            .subscribe("T", "*")
            .on_messages(|_| async { ConsumeStatus::Success })
    }

    async fn refused(builder: PushConsumerBuilder, part: &str) {
        let Err(error) = builder.start().await else {
            panic!("started in spite of {part}")
        };
        assert!(error.to_string().contains(part), "{error}");
    }

    #[tokio::test]
    async fn settings_out_of_range_are_refused_before_anything_is_sent() {
        refused(
            builder().consume_threads(0),
            "consume threads: is 0, 1 to 1000",
        )
        .await;
        refused(builder().consume_batch_size(1025), "consume batch size").await;
        refused(builder().pull_batch_size(0), "pull batch size").await;
        let none = FlowThresholds {
            messages: 0,
            ..FlowThresholds::default()
        };
        refused(builder().flow_thresholds(none), "messages per queue").await;
        refused(builder().subscribe("a.b", "*"), "'.'").await;
        refused(builder().subscribe("U", "|| ||"), "no tag").await;
    }

    #[tokio::test]
    async fn a_consumer_needs_a_group_a_listener_and_a_subscription() {
        let bare = PushConsumer::builder("group", "127.0.0.1:1");
        refused(bare.subscribe("T", "*"), "listener").await;
        let unsubscribed = PushConsumer::builder("group", "127.0.0.1:1")
            .on_messages(|_| async { ConsumeStatus::Success });
        refused(unsubscribed, "subscription").await;
        refused(
            PushConsumer::builder("a b", "127.0.0.1:1"),
            "consumer group",
        )
        .await;
    }
}
