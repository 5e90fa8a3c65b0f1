//! Figures of topics, groups and queues.

use std::collections::BTreeMap;

use super::{MessageQueue, bodies};
use crate::wire::fastjson::bean_keys;

bodies! {
    /// The range of one queue.
    #[derive(Copy)]
    pub struct TopicOffset {
        /// Store time of the last message, 0 when there is none.
        pub last_update_timestamp: i64,
        /// Offset behind the last message.
        pub max_offset: i64,
        /// Offset of the first message.
        pub min_offset: i64,
    }

    /// Answer of `GET_TOPIC_STATS_INFO`.
    pub struct TopicStatsTable {
        /// Range by queue.
        #[serde(serialize_with = "bean_keys")]
        pub offset_table: BTreeMap<MessageQueue, TopicOffset>,
        /// Messages stored per second.
        pub topic_put_tps: f64,
    }

    /// How far a group is on one queue.
    #[derive(Copy)]
    pub struct OffsetWrapper {
        /// Offset behind the queue's last message.
        pub broker_offset: i64,
        /// Offset the group consumes next.
        pub consumer_offset: i64,
        /// Store time of the message before that.
        pub last_timestamp: i64,
        /// Offset the group pulls next.
        pub pull_offset: i64,
    }

    /// Answer of `GET_CONSUME_STATS`.
    pub struct ConsumeStats {
        /// Messages consumed per second.
        pub consume_tps: f64,
        /// Progress by queue.
        #[serde(serialize_with = "bean_keys")]
        pub offset_table: BTreeMap<MessageQueue, OffsetWrapper>,
    }

    /// Answer of `GET_BROKER_CONSUME_STATS`.
    pub struct ConsumeStatsList {
        /// `ip:port` of the broker.
        pub broker_addr: String,
        /// One entry per group: its progress, topic by topic.
        pub consume_stats_list: Vec<BTreeMap<String, Vec<ConsumeStats>>>,
        /// Messages not yet consumed.
        pub total_diff: i64,
        /// Messages pulled and not yet consumed.
        pub total_inflight_diff: i64,
    }
}
