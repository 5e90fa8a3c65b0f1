//! Offsets of groups and of queues.

use crate::wire::wire_header;

wire_header! {
    /// `QUERY_CONSUMER_OFFSET` (14).
    pub struct QueryConsumerOffsetRequestHeader {
        /// Consumer group.
        pub consumer_group: String = "consumerGroup",
        /// Topic.
        pub topic: String = "topic",
        /// Queue.
        pub queue_id: i32 = "queueId",
        /// False: answer `QUERY_NOT_FOUND` rather than guess 0 for a young queue.
        pub set_zero_if_not_found: Option<bool> = "setZeroIfNotFound",
    }

    /// `UPDATE_CONSUMER_OFFSET` (15).
    pub struct UpdateConsumerOffsetRequestHeader {
        /// Consumer group.
        pub consumer_group: String = "consumerGroup",
        /// Topic.
        pub topic: String = "topic",
        /// Queue.
        pub queue_id: i32 = "queueId",
        /// Offset of the next message to consume.
        pub commit_offset: i64 = "commitOffset",
    }

    /// `SEARCH_OFFSET_BY_TIMESTAMP` (29).
    pub struct SearchOffsetRequestHeader {
        /// Topic.
        pub topic: String = "topic",
        /// Queue.
        pub queue_id: i32 = "queueId",
        /// Milliseconds since 1970.
        pub timestamp: i64 = "timestamp",
        /// `LOWER` (also when absent or unknown) or `UPPER`.
        pub boundary_type: Option<String> = "boundaryType",
    }

    /// `GET_MAX_OFFSET` (30).
    pub struct GetMaxOffsetRequestHeader {
        /// Topic.
        pub topic: String = "topic",
        /// Queue.
        pub queue_id: i32 = "queueId",
        /// Only what consumers can see.
        pub committed: Option<bool> = "committed",
    }

    /// `GET_MIN_OFFSET` (31) and `GET_EARLIEST_MSG_STORETIME` (32).
    pub struct QueueRequestHeader {
        /// Topic.
        pub topic: String = "topic",
        /// Queue.
        pub queue_id: i32 = "queueId",
    }

    /// `INVOKE_BROKER_TO_RESET_OFFSET` (222).
    pub struct ResetOffsetRequestHeader {
        /// Topic.
        pub topic: String = "topic",
        /// Consumer group.
        pub group: String = "group",
        /// Queue; negative or absent: all of them.
        pub queue_id: Option<i32> = "queueId",
        /// Offset to reset one queue to; −1 or absent: by time.
        pub offset: Option<i64> = "offset",
        /// Messages stored since, in milliseconds since 1970, are consumed again; negative: only new ones.
        pub timestamp: i64 = "timestamp",
        /// Forward, too. Looked at only where consumers reset their offsets themselves.
        pub is_force: bool = "isForce",
    }

    /// `RESET_CONSUMER_CLIENT_OFFSET` (220), broker to client; the body says where to go on.
    pub struct PushedResetOffsetRequestHeader {
        /// Topic.
        pub topic: String = "topic",
        /// Consumer group.
        pub group: String = "group",
        /// The time asked for.
        pub timestamp: i64 = "timestamp",
        /// Always false.
        pub is_force: bool = "isForce",
        /// Always −1.
        pub queue_id: i32 = "queueId",
    }

    /// `INVOKE_BROKER_TO_GET_CONSUMER_STATUS` (223), and `GET_CONSUMER_STATUS_FROM_CLIENT` (221) to the clients.
    pub struct GetConsumerStatusRequestHeader {
        /// Topic.
        pub topic: String = "topic",
        /// Consumer group.
        pub group: String = "group",
        /// Only the consumer with this client id.
        pub client_addr: Option<String> = "clientAddr",
    }

    /// Answer of codes 14 and 29 to 31.
    pub struct OffsetResponseHeader {
        /// The offset asked for.
        pub offset: i64 = "offset",
    }

    /// Answer of code 32.
    pub struct GetEarliestMsgStoretimeResponseHeader {
        /// Milliseconds since 1970, −1 when there is no message.
        pub timestamp: i64 = "timestamp",
    }
}
