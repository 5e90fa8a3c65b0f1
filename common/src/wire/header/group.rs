//! Subscription group administration.

use crate::wire::wire_header;

wire_header! {
    /// `DELETE_SUBSCRIPTIONGROUP` (207).
    pub struct DeleteSubscriptionGroupRequestHeader {
        /// Group.
        pub group_name: String = "groupName",
        /// Forget its offsets too.
        pub clean_offset: Option<bool> = "cleanOffset",
    }

    /// `GET_ALL_SUBSCRIPTIONGROUP_CONFIG` (201).
    pub struct GetAllSubscriptionGroupRequestHeader {
        /// First row of the page.
        pub group_seq: Option<i32> = "groupSeq",
        /// Rows of the page at most.
        pub max_group_num: Option<i32> = "maxGroupNum",
        /// Version the requester pages through, as JSON.
        pub data_version: Option<String> = "dataVersion",
    }

    /// Answer of code 201.
    pub struct GetAllSubscriptionGroupResponseHeader {
        /// Groups in all.
        pub total_group_num: Option<i32> = "totalGroupNum",
    }

    /// `GET_SUBSCRIPTIONGROUP_CONFIG` (352) and `QUERY_TOPICS_BY_CONSUMER` (343).
    pub struct GroupRequestHeader {
        /// Group.
        pub group: String = "group",
    }

    /// `GET_CONSUME_STATS` (208).
    pub struct GetConsumeStatsRequestHeader {
        /// Consumer group.
        pub consumer_group: String = "consumerGroup",
        /// Only this topic.
        pub topic: Option<String> = "topic",
        /// Only these topics, separated by `;`.
        pub topic_list: Option<String> = "topicList",
    }

    /// `GET_BROKER_CONSUME_STATS` (317).
    pub struct GetBrokerConsumeStatsRequestHeader {
        /// Only topics whose messages are ordered.
        pub is_order: bool = "isOrder",
    }

    /// `QUERY_SUBSCRIPTION_BY_CONSUMER` (345).
    pub struct QuerySubscriptionByConsumerRequestHeader {
        /// Group.
        pub group: String = "group",
        /// Topic.
        pub topic: String = "topic",
    }
}
