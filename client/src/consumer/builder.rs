//! What a push consumer can be told before it starts.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::listener::{Listener, Messages, OrderlyStatus};
use super::local_offsets::LocalOffsets;
use super::{
    AllocateStrategy, ConsumeFromWhere, ConsumeStatus, FlowThresholds, MessageModel, PushConsumer,
};
use crate::caught::Boxed;
use crate::config::ClientConfig;
use crate::error::ClientError;
use crate::settings::settings;
use crate::validate;

/// Prepares a [`PushConsumer`].
pub struct PushConsumerBuilder {
    config: ClientConfig,
    settings: Settings,
    subscriptions: Vec<(String, String)>,
    listener: Option<Listener>,
}

settings! {
    /// What a consumer does when nothing else is said: the values of RocketMQ's own clients.
    pub(crate) struct Settings, set by PushConsumerBuilder {
        /// Sharing or broadcasting. Default [`MessageModel::Clustering`].
        message_model: MessageModel = MessageModel::default(),
        /// Where a new group starts. Default [`ConsumeFromWhere::LastOffset`].
        consume_from_where: ConsumeFromWhere = ConsumeFromWhere::default(),
        /// How queues are shared. Default [`AllocateStrategy::Average`].
        allocate_strategy: AllocateStrategy = AllocateStrategy::default(),
        /// Calls of the listener that run at the same time, 1 to 1000. Default 20.
        consume_threads: u32 = 20,
        /// Most messages given to the listener at once, 1 to 1024. Default 1.
        consume_batch_size: usize = 1,
        /// A listener that holds a message longer than this has lost it: the message is delivered again.
        /// Default 15 minutes.
        consume_timeout: Duration = Duration::from_mins(15),
        /// How long a queue pauses after [`OrderlyStatus::Suspend`], 10 ms to 30 s. Default 1 s.
        suspend_current_queue: Duration = Duration::from_secs(1),
        /// Most messages asked for in one pull, 1 to 1024. Default 32.
        pull_batch_size: i32 = 32,
        /// Time between two pulls of a queue that brought messages. Default none.
        pull_interval: Duration = Duration::ZERO,
        /// How much may be pulled and unfinished, per queue.
        flow_thresholds: FlowThresholds = FlowThresholds::default(),
        /// How long a shutdown waits for listeners that are at work. Default 10 s.
        shutdown_timeout: Duration = Duration::from_secs(10),
    } and otherwise {
        max_reconsume_times: Option<i32> = None,
        local_offset_directory: PathBuf = LocalOffsets::default_directory(),
    }
}

impl PushConsumerBuilder {
    pub(super) fn new(group: String, config: ClientConfig) -> Self {
        Self {
            config,
            settings: Settings::new(group),
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

    /// Who gets the messages, in no particular order: calls run at the same time, as many as there are
    /// [consume threads](PushConsumerBuilder::consume_threads), each with messages of one queue. A panic counts as
    /// [`ConsumeStatus::ReconsumeLater`].
    #[must_use]
    pub fn on_messages<F, Fut>(mut self, listener: F) -> Self
    where
        F: Fn(Messages) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ConsumeStatus> + Send + 'static,
    {
        let listener = Arc::new(move |messages| -> Boxed<_> { Box::pin(listener(messages)) });
        self.listener = Some(Listener::Concurrent(listener));
        self
    }

    /// Who gets the messages, of each queue in their order: the next ones only when those before are done. In a group,
    /// queues are locked for that, so that a message is not consumed by two members at the same time. A panic counts as
    /// [`OrderlyStatus::Suspend`].
    #[must_use]
    pub fn on_messages_in_order<F, Fut>(mut self, listener: F) -> Self
    where
        F: Fn(Messages) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = OrderlyStatus> + Send + 'static,
    {
        let listener = Arc::new(move |messages| -> Boxed<_> { Box::pin(listener(messages)) });
        self.listener = Some(Listener::Orderly(listener));
        self
    }

    /// Deliveries after the first before a message goes to the dead letter queue. Default 16; in order without limit.
    #[must_use]
    pub fn max_reconsume_times(mut self, times: u32) -> Self {
        self.settings.max_reconsume_times = Some(i32::try_from(times).unwrap_or(i32::MAX));
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
            let reason = "give one before the start";
            return Err(ClientError::invalid("listener", reason));
        };
        if self.subscriptions.is_empty() {
            let reason = "subscribe to at least one topic before the start";
            return Err(ClientError::invalid("subscription", reason));
        }
        for (topic, _) in &self.subscriptions {
            validate::topic(topic)?;
        }
        PushConsumer::start(self.config, self.settings, &self.subscriptions, listener).await
    }
}

impl Settings {
    fn validate(&self) -> Result<(), ClientError> {
        validate::group("consumer group", &self.group)?;
        let saturated = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let thresholds = &self.flow_thresholds;
        for (what, value, most) in [
            ("consume threads", self.consume_threads.into(), 1000),
            (
                "consume batch size",
                saturated(self.consume_batch_size),
                1024,
            ),
            ("pull batch size", self.pull_batch_size.into(), 1024),
            (
                "threshold of messages per queue",
                saturated(thresholds.messages),
                65_535,
            ),
            (
                "threshold of bytes per queue",
                saturated(thresholds.bytes),
                1 << 30,
            ),
            ("threshold of offset span", thresholds.span, 65_535),
        ] {
            if !(1..=most).contains(&value) {
                let reason = format!("is {value}, 1 to {most} are allowed");
                return Err(ClientError::invalid(what, reason));
            }
        }
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
        refused(builder().subscribe("a.b", "*"), "illegal char").await;
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
