//! Offsets of groups and queues.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{DataVersion, MessageQueue, codec, decodes};
use crate::wire::fastjson::{to_vec, write_object_keys};

/// Offsets of all groups: answer of `GET_ALL_CONSUMER_OFFSET`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumerOffsetSerializeWrapper {
    /// Version of the table.
    pub data_version: DataVersion,
    /// Topics by group.
    pub group_topic_map: BTreeMap<String, Vec<String>>,
    /// Next offset by queue, by `topic@group`.
    pub offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
    /// Offsets pulled so far, in the same form.
    pub pull_offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
}

/// Offsets of the delay levels: answer of `GET_ALL_DELAY_OFFSET`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DelayOffsetSerializeWrapper {
    /// Version of the table.
    pub data_version: DataVersion,
    /// Next offset by level.
    pub offset_table: BTreeMap<i32, i64>,
}

/// Answer of `QUERY_CORRECTION_OFFSET`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueryCorrectionOffsetBody {
    /// Offset by queue id.
    pub correction_offsets: BTreeMap<i32, i64>,
}

/// Offsets a reset leads to.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResetOffsetBody {
    /// Offset by queue.
    pub offset_table: BTreeMap<MessageQueue, i64>,
}

impl ResetOffsetBody {
    /// The body as clients in Java and Go read it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = br#"{"offsetTable":"#.to_vec();
        append_offsets(&mut out, &self.offset_table);
        out.push(b'}');
        out
    }

    /// The body as clients in C++ read it: a list.
    pub fn encode_list(&self) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Entry<'a> {
            broker_name: &'a str,
            offset: i64,
            queue_id: i32,
            topic: &'a str,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct List<'a> {
            offset_table: Vec<Entry<'a>>,
        }
        to_vec(&List {
            offset_table: self
                .offset_table
                .iter()
                .map(|(queue, offset)| Entry {
                    broker_name: &queue.broker_name,
                    offset: *offset,
                    queue_id: queue.queue_id,
                    topic: &queue.topic,
                })
                .collect(),
        })
    }
}

/// Offsets a consumer is at, as it tells its broker, and as the broker gathers it from all of them.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GetConsumerStatusBody {
    /// Offset by queue, by client id.
    pub consumer_table: BTreeMap<String, BTreeMap<MessageQueue, i64>>,
    /// Offset by queue of the client that answers.
    pub message_queue_table: BTreeMap<MessageQueue, i64>,
}

impl GetConsumerStatusBody {
    /// The body as the reference writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = br#"{"consumerTable":"#.to_vec();
        write_object_keys(&mut out, &self.consumer_table, |out, table| {
            append_offsets(out, table);
        });
        out.extend_from_slice(br#","messageQueueTable":"#);
        append_offsets(&mut out, &self.message_queue_table);
        out.push(b'}');
        out
    }
}

fn append_offsets(out: &mut Vec<u8>, table: &BTreeMap<MessageQueue, i64>) {
    write_object_keys(out, table, |out, offset| {
        out.extend_from_slice(itoa::Buffer::new().format(*offset).as_bytes());
    });
}

codec!(
    ConsumerOffsetSerializeWrapper,
    DelayOffsetSerializeWrapper,
    QueryCorrectionOffsetBody
);
decodes!(ResetOffsetBody, GetConsumerStatusBody);
