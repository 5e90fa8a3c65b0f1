//! What the broker's settings say about topics.

use crate::config::BrokerConfig;
use common::names;

/// What the broker's settings say about topics.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a setting of its own"
)]
pub struct TopicRules {
    /// Name of the cluster.
    pub cluster_name: String,
    /// Name of the broker.
    pub broker_name: String,
    /// `autoCreateTopicEnable`.
    pub auto_create: bool,
    /// `defaultTopicQueueNums`: queues of `TBW102`.
    pub default_queue_nums: i32,
    /// `clusterTopicEnable`.
    pub cluster_topic: bool,
    /// `brokerTopicEnable`.
    pub broker_topic: bool,
    /// `msgTraceTopicName`, if `traceTopicEnable`.
    pub trace_topic: Option<String>,
    /// `validateSystemTopicWhenUpdateTopic`: requests cannot create or delete system topics.
    pub protect_system_topics: bool,
    /// `enableMixedMessageType`.
    pub mixed_message_type: bool,
}

impl TopicRules {
    /// The rules that follow from the settings.
    pub fn new(config: &BrokerConfig) -> Self {
        Self {
            cluster_name: config.broker_cluster_name.clone(),
            broker_name: config.broker_name.clone(),
            auto_create: config.auto_create_topic_enable,
            default_queue_nums: i32::try_from(config.default_topic_queue_nums).unwrap_or(i32::MAX),
            cluster_topic: config.cluster_topic_enable,
            broker_topic: config.broker_topic_enable,
            trace_topic: config
                .trace_topic_enable
                .then(|| config.msg_trace_topic_name.clone()),
            protect_system_topics: config.validate_system_topic_when_update_topic,
            mixed_message_type: config.enable_mixed_message_type,
        }
    }

    /// True for topics that are the broker's own.
    pub fn is_system_topic(&self, topic: &str) -> bool {
        names::is_fixed_system_topic(topic)
            || topic == self.cluster_name
            || topic == self.broker_name
            || self.trace_topic.as_deref() == Some(topic)
            || topic == names::reply_topic(&self.cluster_name)
    }
}
