//! Consumer groups.

use std::collections::{BTreeMap, BTreeSet};

use super::{DataVersion, bodies, wire_enum};

wire_enum! {
    /// How the delay before a redelivery grows.
    pub enum GroupRetryPolicyType {
        /// Exponentially.
        Exponential = "EXPONENTIAL",
        /// By a list of steps.
        #[default]
        Customized = "CUSTOMIZED",
    }
}

bodies! {
    /// Delays that grow by a factor.
    pub struct ExponentialRetryPolicy {
        /// First delay in milliseconds.
        pub initial: i64 = 5000,
        /// Longest delay in milliseconds.
        pub max: i64 = 7_200_000,
        /// Factor.
        pub multiplier: i64 = 2,
    }

    /// Delays taken from a list.
    pub struct CustomizedRetryPolicy {
        /// Delays in milliseconds.
        pub next: Vec<i64>,
    }

    /// How long redeliveries of a group wait.
    pub struct GroupRetryPolicy {
        /// Parameters of the customized policy.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub customized_retry_policy: Option<CustomizedRetryPolicy>,
        /// Parameters of the exponential policy.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub exponential_retry_policy: Option<ExponentialRetryPolicy>,
        /// Which of the two holds.
        #[serde(rename = "type")]
        pub kind: GroupRetryPolicyType,
    }

    /// Body of `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST`.
    pub struct SubscriptionGroupList {
        /// Groups to create or update, in order.
        pub group_config_list: Vec<SubscriptionGroupConfig>,
    }

    /// Answer of `GET_ALL_SUBSCRIPTIONGROUP_CONFIG`.
    pub struct SubscriptionGroupWrapper {
        /// Version of the table.
        pub data_version: DataVersion,
        /// Forbidden bits by group and topic; 4 forbids reading.
        pub forbidden_table: BTreeMap<String, BTreeMap<String, i32>>,
        /// Groups by name.
        pub subscription_group_table: BTreeMap<String, SubscriptionGroupConfig>,
    }

    /// A subscription stored with a group.
    #[derive(Eq, PartialOrd, Ord)]
    pub struct SimpleSubscriptionData {
        /// Expression.
        pub expression: String,
        /// `TAG` or `SQL92`.
        pub expression_type: String,
        /// Topic.
        pub topic: String,
        /// Version.
        pub version: i64,
    }

    /// Configuration of a consumer group.
    pub struct SubscriptionGroupConfig {
        /// Attributes.
        pub attributes: BTreeMap<String, String>,
        /// Broker id the group reads from, 0 for the master.
        pub broker_id: i64,
        /// Whether broadcasting consumers may consume.
        pub consume_broadcast_enable: bool = true,
        /// Whether the group may consume at all.
        pub consume_enable: bool = true,
        /// Whether a new group starts at the smallest offset.
        pub consume_from_min_enable: bool = true,
        /// Whether the group consumes in order.
        pub consume_message_orderly: bool,
        /// Minutes a message may take.
        pub consume_timeout_minute: i32 = 15,
        /// Group name.
        pub group_name: String,
        /// Delays of redeliveries.
        pub group_retry_policy: GroupRetryPolicy,
        /// Bits as those of topics.
        pub group_sys_flag: i32,
        /// Whether members are told when the membership changes.
        pub notify_consumer_ids_changed_enable: bool = true,
        /// Redeliveries before the dead letter queue.
        pub retry_max_times: i32 = 16,
        /// Queues of the retry topic.
        pub retry_queue_nums: i32 = 1,
        /// Subscriptions the group is bound to.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub subscription_data_set: Option<BTreeSet<SimpleSubscriptionData>>,
        /// Broker id suggested to a consumer that reads old messages.
        pub which_broker_when_consume_slowly: i64 = 1,
    }
}

impl SubscriptionGroupConfig {
    /// The group `name` with default values.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            group_name: name.into(),
            ..Self::default()
        }
    }
}
