//! What a consumer tells about its work.

use std::collections::BTreeMap;

use super::{MessageQueue, SubscriptionData, bodies, wire_enum};
use crate::wire::fastjson::bean_keys;

wire_enum! {
    /// How a consumer ended a message given to it directly.
    pub enum CmResult {
        /// Consumed.
        #[default]
        Success = "CR_SUCCESS",
        /// To be delivered again.
        Later = "CR_LATER",
        /// Rolled back.
        Rollback = "CR_ROLLBACK",
        /// Committed.
        Commit = "CR_COMMIT",
        /// The listener threw.
        ThrowException = "CR_THROW_EXCEPTION",
        /// The listener returned nothing.
        ReturnNull = "CR_RETURN_NULL",
    }
}

bodies! {
    /// Answer of `CONSUME_MESSAGE_DIRECTLY`.
    pub struct ConsumeMessageDirectlyResult {
        /// Whether the listener commits by itself.
        pub auto_commit: bool,
        /// How it ended.
        pub consume_result: CmResult,
        /// Whether the listener consumes in order.
        pub order: bool,
        /// What the listener threw.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub remark: Option<String>,
        /// Milliseconds it took.
        pub spent_time_mills: i64,
    }

    /// A queue as its consumer sees it.
    pub struct ProcessQueueInfo {
        /// Messages held.
        pub cached_msg_count: i32,
        /// Largest offset held.
        pub cached_msg_max_offset: i64,
        /// Smallest offset held.
        pub cached_msg_min_offset: i64,
        /// Mebibytes held.
        #[serde(rename = "cachedMsgSizeInMiB")]
        pub cached_msg_size_in_mib: i32,
        /// Offset committed.
        pub commit_offset: i64,
        /// Whether the queue was given up (the wire's spelling).
        pub droped: bool,
        /// When it last consumed.
        pub last_consume_timestamp: i64,
        /// When it last locked the queue.
        pub last_lock_timestamp: i64,
        /// When it last pulled.
        pub last_pull_timestamp: i64,
        /// Whether the queue is locked.
        pub locked: bool,
        /// Messages being consumed in order.
        pub transaction_msg_count: i32,
        /// Largest offset of those.
        pub transaction_msg_max_offset: i64,
        /// Smallest offset of those.
        pub transaction_msg_min_offset: i64,
        /// Tries to unlock.
        pub try_unlock_times: i64,
    }

    /// Speed of a consumer on one topic.
    pub struct ConsumeStatus {
        /// Messages failed in the last hour.
        pub consume_failed_msgs: i64,
        /// Messages failed per second.
        #[serde(rename = "consumeFailedTPS")]
        pub consume_failed_tps: f64,
        /// Messages consumed per second.
        #[serde(rename = "consumeOKTPS")]
        pub consume_ok_tps: f64,
        /// Milliseconds per message.
        #[serde(rename = "consumeRT")]
        pub consume_rt: f64,
        /// Milliseconds per pull.
        #[serde(rename = "pullRT")]
        pub pull_rt: f64,
        /// Messages pulled per second.
        #[serde(rename = "pullTPS")]
        pub pull_tps: f64,
    }

    /// Answer of `GET_CONSUMER_RUNNING_INFO`.
    pub struct ConsumerRunningInfo {
        /// Dump of the consumer's threads, when asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub jstack: Option<String>,
        /// Queues consumed by popping.
        #[serde(serialize_with = "bean_keys")]
        pub mq_pop_table: BTreeMap<MessageQueue, ProcessQueueInfo>,
        /// Queues consumed by pulling.
        #[serde(serialize_with = "bean_keys")]
        pub mq_table: BTreeMap<MessageQueue, ProcessQueueInfo>,
        /// Properties of the consumer.
        pub properties: BTreeMap<String, String>,
        /// Speed by topic.
        pub status_table: BTreeMap<String, ConsumeStatus>,
        /// Subscriptions.
        pub subscription_set: Vec<SubscriptionData>,
        /// Values the application adds.
        pub user_consumer_info: BTreeMap<String, String>,
    }
}
