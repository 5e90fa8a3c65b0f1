//! Request and reply, and recalling what was sent.

use crate::wire::wire_header;

wire_header! {
    /// `PUSH_REPLY_MESSAGE_TO_CLIENT` (326), broker to client; the body is the reply's.
    pub struct ReplyMessageRequestHeader {
        /// Group of who replied.
        pub producer_group: String = "producerGroup",
        /// The cluster's reply topic.
        pub topic: String = "topic",
        /// Topic whose settings serve as the template.
        pub default_topic: String = "defaultTopic",
        /// Queues who replied asked for.
        pub default_topic_queue_nums: i32 = "defaultTopicQueueNums",
        /// Queue as asked for.
        pub queue_id: i32 = "queueId",
        /// Message `sysFlag` bits.
        pub sys_flag: i32 = "sysFlag",
        /// Milliseconds since 1970 at who replied.
        pub born_timestamp: i64 = "bornTimestamp",
        /// User flag.
        pub flag: i32 = "flag",
        /// Encoded properties.
        pub properties: Option<String> = "properties",
        /// How often a consumer has failed on the message.
        pub reconsume_times: Option<i32> = "reconsumeTimes",
        /// Unit mode.
        pub unit_mode: Option<bool> = "unitMode",
        /// Address of who replied, `ip:port`.
        pub born_host: String = "bornHost",
        /// Address of the broker, `ip:port`.
        pub store_host: String = "storeHost",
        /// When the broker took the reply, in milliseconds since 1970.
        pub store_timestamp: i64 = "storeTimestamp",
    }

    /// `RECALL_MESSAGE` (370).
    pub struct RecallMessageRequestHeader {
        /// Group of the producer.
        pub producer_group: Option<String> = "producerGroup",
        /// Topic of the message.
        pub topic: String = "topic",
        /// The handle its send was answered with.
        pub recall_handle: Option<String> = "recallHandle",
        /// Name of the broker the producer means.
        pub broker_name: Option<String> = "bname",
    }

    /// Answer to `RECALL_MESSAGE`.
    pub struct RecallMessageResponseHeader {
        /// Unique key of the message.
        pub msg_id: String = "msgId",
    }

    /// `LIST_TIMERS` (9101).
    pub struct ListTimersRequestHeader {
        /// Only messages of this topic.
        pub topic: Option<String> = "topic",
        /// Where the page begins: what the page before said.
        pub from: Option<String> = "from",
        /// Most messages of the page.
        pub limit: Option<i32> = "limit",
    }
}
