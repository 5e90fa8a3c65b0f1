//! Topic administration.

use crate::wire::wire_header;

wire_header! {
    /// `UPDATE_AND_CREATE_TOPIC` (17).
    pub struct CreateTopicRequestHeader {
        /// Topic.
        pub topic: String = "topic",
        /// Not looked at.
        pub default_topic: Option<String> = "defaultTopic",
        /// Queues to read from.
        pub read_queue_nums: i32 = "readQueueNums",
        /// Queues to write to.
        pub write_queue_nums: i32 = "writeQueueNums",
        /// Permission bits: 4 read, 2 write, 1 inherit.
        pub perm: i32 = "perm",
        /// `SINGLE_TAG` or `MULTI_TAG`.
        pub topic_filter_type: Option<String> = "topicFilterType",
        /// Unit flags.
        pub topic_sys_flag: Option<i32> = "topicSysFlag",
        /// Ordered topic.
        pub order: Option<bool> = "order",
        /// `+key=value,-key`.
        pub attributes: Option<String> = "attributes",
        /// Sent by tools, not looked at.
        pub force: Option<bool> = "force",
    }

    /// `DELETE_TOPIC_IN_BROKER` (215).
    pub struct DeleteTopicRequestHeader {
        /// Topic; an absent one is as wrong as a blank one.
        pub topic: Option<String> = "topic",
    }

    /// `GET_TOPIC_CONFIG` (351).
    pub struct GetTopicConfigRequestHeader {
        /// Topic.
        pub topic: String = "topic",
        /// Wants static topic details too.
        pub lo: Option<bool> = "lo",
    }

    /// `GET_ALL_TOPIC_CONFIG` (21).
    pub struct GetAllTopicConfigRequestHeader {
        /// First row of the page.
        pub topic_seq: Option<i32> = "topicSeq",
        /// Rows of the page at most.
        pub max_topic_num: Option<i32> = "maxTopicNum",
        /// Version the requester pages through, as JSON.
        pub data_version: Option<String> = "dataVersion",
    }

    /// Answer of code 21.
    pub struct GetAllTopicConfigResponseHeader {
        /// Topics in all.
        pub total_topic_num: Option<i32> = "totalTopicNum",
    }

    /// `GET_TOPIC_STATS_INFO` (202), `REGISTER_TOPIC_IN_NAMESRV` (217) and `QUERY_TOPIC_CONSUME_BY_WHO` (300).
    pub struct TopicRequestHeader {
        /// Topic.
        pub topic: String = "topic",
    }
}
