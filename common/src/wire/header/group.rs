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

    /// `GET_SUBSCRIPTIONGROUP_CONFIG` (352).
    pub struct GetSubscriptionGroupConfigRequestHeader {
        /// Group.
        pub group: String = "group",
    }

    /// `QUERY_TOPICS_BY_CONSUMER` (343).
    pub struct QueryTopicsByConsumerRequestHeader {
        /// Group.
        pub group: String = "group",
    }
}
