//! Offsets of groups and queues.

use std::collections::BTreeMap;

use serde_json::json;

use super::{DataVersion, MessageQueue, bodies};
use crate::wire::fastjson::{bean_keys, tables_with_bean_keys, to_vec};

bodies! {
    /// Offsets of all groups: answer of `GET_ALL_CONSUMER_OFFSET`.
    pub struct ConsumerOffsetSerializeWrapper {
        /// Version of the table.
        pub data_version: DataVersion,
        /// Topics by group.
        pub group_topic_map: BTreeMap<String, Vec<String>>,
        /// Next offset by queue, by `topic@group`.
        pub offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
        /// Offsets pulled so far, in the same form.
        pub pull_offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
        /// Next offset of groups of light queues, by `topic@group`.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub lmq_offset_table: BTreeMap<String, i64>,
    }

    /// Offsets of the delay levels: answer of `GET_ALL_DELAY_OFFSET`.
    pub struct DelayOffsetSerializeWrapper {
        /// Version of the table.
        pub data_version: DataVersion,
        /// Next offset by level.
        pub offset_table: BTreeMap<i32, i64>,
    }

    /// Offsets a reset leads to. `encode` writes them as clients in Java and Go read them.
    pub struct ResetOffsetBody {
        /// Offset by queue.
        #[serde(serialize_with = "bean_keys")]
        pub offset_table: BTreeMap<MessageQueue, i64>,
    }

    /// Offsets a consumer is at, as it tells its broker, and as the broker gathers it from all of them.
    pub struct GetConsumerStatusBody {
        /// Offset by queue, by client id.
        #[serde(serialize_with = "tables_with_bean_keys")]
        pub consumer_table: BTreeMap<String, BTreeMap<MessageQueue, i64>>,
        /// Offset by queue of the client that answers.
        #[serde(serialize_with = "bean_keys")]
        pub message_queue_table: BTreeMap<MessageQueue, i64>,
    }
}

impl ResetOffsetBody {
    /// The body as clients in C++ read it: a list.
    pub fn encode_list(&self) -> Vec<u8> {
        let entries = self.offset_table.iter().map(|(queue, offset)| {
            json!({
                "brokerName": queue.broker_name,
                "offset": offset,
                "queueId": queue.queue_id,
                "topic": queue.topic,
            })
        });
        to_vec(&json!({ "offsetTable": entries.collect::<Vec<_>>() }))
    }
}
