//! Figures of topics, groups and queues.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{MessageQueue, codec, decodes};
use crate::wire::fastjson::{to_vec, write_object_keys};

/// The range of one queue.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicOffset {
    /// Store time of the last message, 0 when there is none.
    pub last_update_timestamp: i64,
    /// Offset behind the last message.
    pub max_offset: i64,
    /// Offset of the first message.
    pub min_offset: i64,
}

/// Answer of `GET_TOPIC_STATS_INFO`.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicStatsTable {
    /// Range by queue.
    pub offset_table: BTreeMap<MessageQueue, TopicOffset>,
    /// Messages stored per second.
    pub topic_put_tps: f64,
}

impl TopicStatsTable {
    /// The body as the reference writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = br#"{"offsetTable":"#.to_vec();
        write_object_keys(&mut out, &self.offset_table, |out, range| {
            out.extend_from_slice(&to_vec(range));
        });
        out.extend_from_slice(br#","topicPutTps":"#);
        out.extend_from_slice(&to_vec(&self.topic_put_tps));
        out.push(b'}');
        out
    }
}

/// How far a group is on one queue.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
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
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumeStats {
    /// Messages consumed per second.
    pub consume_tps: f64,
    /// Progress by queue.
    pub offset_table: BTreeMap<MessageQueue, OffsetWrapper>,
}

impl ConsumeStats {
    /// The body as the reference writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.append(&mut out);
        out
    }

    fn append(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"consumeTps":"#);
        out.extend_from_slice(&to_vec(&self.consume_tps));
        out.extend_from_slice(br#","offsetTable":"#);
        write_object_keys(out, &self.offset_table, |out, progress| {
            out.extend_from_slice(&to_vec(progress));
        });
        out.push(b'}');
    }
}

/// Answer of `GET_BROKER_CONSUME_STATS`.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
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

impl ConsumeStatsList {
    /// The body as the reference writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = br#"{"brokerAddr":"#.to_vec();
        out.extend_from_slice(&to_vec(&self.broker_addr));
        out.extend_from_slice(br#","consumeStatsList":"#);
        append_list(&mut out, &self.consume_stats_list, |out, groups| {
            write_object_keys(out, groups, |out, topics| {
                append_list(out, topics, |out, stats| stats.append(out));
            });
        });
        out.extend_from_slice(br#","totalDiff":"#);
        out.extend_from_slice(&to_vec(&self.total_diff));
        out.extend_from_slice(br#","totalInflightDiff":"#);
        out.extend_from_slice(&to_vec(&self.total_inflight_diff));
        out.push(b'}');
        out
    }
}

fn append_list<T>(out: &mut Vec<u8>, items: &[T], mut item: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (index, one) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        item(out, one);
    }
    out.push(b']');
}

/// One figure over one span.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BrokerStatsItem {
    /// Average per event.
    pub avgpt: f64,
    /// Sum over the span.
    pub sum: i64,
    /// Per second.
    pub tps: f64,
}

/// Answer of `VIEW_BROKER_STATS_DATA`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BrokerStatsData {
    /// Over the last day.
    pub stats_day: BrokerStatsItem,
    /// Over the last hour.
    pub stats_hour: BrokerStatsItem,
    /// Over the last minute.
    pub stats_minute: BrokerStatsItem,
}

/// How far behind in time a group is on one queue.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueueTimeSpan {
    /// Store time of the last message consumed.
    pub consume_time_stamp: i64,
    /// Milliseconds the group is behind.
    pub delay_time: i64,
    /// Store time of the last message.
    pub max_time_stamp: i64,
    /// The queue.
    pub message_queue: MessageQueue,
    /// Store time of the first message.
    pub min_time_stamp: i64,
}

/// Answer of `QUERY_CONSUME_TIME_SPAN`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueryConsumeTimeSpanBody {
    /// One entry per queue.
    pub consume_time_span_set: Vec<QueueTimeSpan>,
}

/// A unit of a ConsumeQueue as `QUERY_CONSUME_QUEUE` shows it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumeQueueData {
    /// Bit map of filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bit_map: Option<String>,
    /// Whether the group's filter lets it pass.
    pub eval: bool,
    /// Extension of the unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extend_data_json: Option<String>,
    /// What went wrong while reading it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg: Option<String>,
    /// Offset in the CommitLog.
    pub physic_offset: i64,
    /// Bytes of the record.
    pub physic_size: i32,
    /// Hash code of the tag.
    pub tags_code: i64,
}

/// Answer of `QUERY_CONSUME_QUEUE`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueryConsumeQueueResponseBody {
    /// The group's filter data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_data: Option<String>,
    /// Offset behind the last unit.
    pub max_queue_index: i64,
    /// Offset of the first unit.
    pub min_queue_index: i64,
    /// Units.
    pub queue_data: Vec<ConsumeQueueData>,
    /// The group's subscription.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<super::SubscriptionData>,
}

codec!(
    TopicOffset,
    BrokerStatsData,
    QueryConsumeTimeSpanBody,
    QueryConsumeQueueResponseBody
);
decodes!(TopicStatsTable, ConsumeStats, ConsumeStatsList);
