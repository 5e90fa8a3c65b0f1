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

    /// `GET_MIN_OFFSET` (31).
    pub struct GetMinOffsetRequestHeader {
        /// Topic.
        pub topic: String = "topic",
        /// Queue.
        pub queue_id: i32 = "queueId",
    }

    /// `GET_EARLIEST_MSG_STORETIME` (32).
    pub struct GetEarliestMsgStoretimeRequestHeader {
        /// Topic.
        pub topic: String = "topic",
        /// Queue.
        pub queue_id: i32 = "queueId",
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
