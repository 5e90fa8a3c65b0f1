//! Pulling.

use crate::wire::wire_header;

/// Bit of [`PullMessageRequestHeader::sys_flag`]: commit `commitOffset` for the group.
pub const PULL_COMMIT_OFFSET: i32 = 1;
/// Bit: the broker may hold the request until a message arrives.
pub const PULL_SUSPEND: i32 = 1 << 1;
/// Bit: `subscription` of the request counts, not the group's registration.
pub const PULL_SUBSCRIPTION: i32 = 1 << 2;

wire_header! {
    /// `PULL_MESSAGE` (11) and `LITE_PULL_MESSAGE` (361).
    pub struct PullMessageRequestHeader {
        /// Consumer group.
        pub consumer_group: String = "consumerGroup",
        /// Topic.
        pub topic: String = "topic",
        /// Queue.
        pub queue_id: i32 = "queueId",
        /// Offset of the first message wanted.
        pub queue_offset: i64 = "queueOffset",
        /// Messages wanted at most.
        pub max_msg_nums: i32 = "maxMsgNums",
        /// `PULL_…` bits.
        pub sys_flag: i32 = "sysFlag",
        /// Offset to commit when the bit says so.
        pub commit_offset: Option<i64> = "commitOffset",
        /// Milliseconds the request may be held.
        pub suspend_timeout_millis: Option<i64> = "suspendTimeoutMillis",
        /// Filter expression.
        pub subscription: Option<String> = "subscription",
        /// Version of the subscription the consumer has.
        pub sub_version: Option<i64> = "subVersion",
        /// `TAG` or `SQL92`.
        pub expression_type: Option<String> = "expressionType",
        /// Sent by newer clients, not looked at.
        pub max_msg_bytes: Option<i32> = "maxMsgBytes",
        /// Who asks: −1 SDK, 0 to 2 kinds of proxy.
        pub request_source: Option<i32> = "requestSource",
        /// Client behind a proxy; the key is spelled as the protocol spells it.
        pub proxy_forward_client_id: Option<String> = "proxyFrowardClientId",
    }

    /// Answer to a pull, on `SUCCESS` and on the three codes that move or hold the consumer.
    pub struct PullMessageResponseHeader {
        /// Broker id the next pull should go to.
        pub suggest_which_broker_id: i64 = "suggestWhichBrokerId",
        /// Offset of the next pull.
        pub next_begin_offset: i64 = "nextBeginOffset",
        /// First offset the queue still has.
        pub min_offset: i64 = "minOffset",
        /// Offset the next message will get.
        pub max_offset: i64 = "maxOffset",
        /// `topicSysFlag` of the topic.
        pub topic_sys_flag: Option<i32> = "topicSysFlag",
        /// `groupSysFlag` of the group.
        pub group_sys_flag: Option<i32> = "groupSysFlag",
        /// With `NO_PERMISSION`: 1 broker, 2 group, 3 topic, 4 broadcast, 5 subscription.
        pub forbidden_type: Option<i32> = "forbiddenType",
    }
}
