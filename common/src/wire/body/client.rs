//! What clients tell brokers about themselves.

use std::collections::{BTreeMap, BTreeSet};

use super::{bodies, wire_enum};

wire_enum! {
    /// How a consumer gets its messages.
    pub enum ConsumeType {
        /// Pull consumer.
        ConsumeActively = "CONSUME_ACTIVELY",
        /// Push consumer.
        #[default]
        ConsumePassively = "CONSUME_PASSIVELY",
        /// Pop consumer.
        ConsumePop = "CONSUME_POP",
    }
}

wire_enum! {
    /// Whether the members of a group share the messages.
    pub enum MessageModel {
        /// Every member gets every message.
        Broadcasting = "BROADCASTING",
        /// The members share the queues.
        #[default]
        Clustering = "CLUSTERING",
        /// Lite topics chosen by each member.
        LiteSelective = "LITE_SELECTIVE",
    }
}

wire_enum! {
    /// Where a group without offsets starts.
    pub enum ConsumeFromWhere {
        /// At the end.
        #[default]
        ConsumeFromLastOffset = "CONSUME_FROM_LAST_OFFSET",
        /// Deprecated: at the end, at the first boot at the start.
        ConsumeFromLastOffsetAndFromMinWhenBootFirst = "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
        /// Deprecated: at the start.
        ConsumeFromMinOffset = "CONSUME_FROM_MIN_OFFSET",
        /// Deprecated: at the end.
        ConsumeFromMaxOffset = "CONSUME_FROM_MAX_OFFSET",
        /// At the start.
        ConsumeFromFirstOffset = "CONSUME_FROM_FIRST_OFFSET",
        /// At a point in time the client knows.
        ConsumeFromTimestamp = "CONSUME_FROM_TIMESTAMP",
    }
}

bodies! {
    /// Body of `HEART_BEAT`.
    pub struct HeartbeatData {
        /// Client id, `ip@instance[@unit]`.
        #[serde(rename = "clientID")]
        pub client_id: String,
        /// Consumer groups of the client.
        pub consumer_data_set: Vec<ConsumerData>,
        /// Fingerprint of the full heartbeat; 0 for a heartbeat of the first kind.
        pub heartbeat_fingerprint: i32,
        /// Producer groups of the client.
        pub producer_data_set: Vec<ProducerData>,
        /// Whether the subscriptions are left out.
        pub without_sub: bool,
    }

    /// A producer group of a heartbeat.
    pub struct ProducerData {
        /// Group name.
        pub group_name: String,
    }

    /// A consumer group of a heartbeat.
    pub struct ConsumerData {
        /// Where to start without an offset.
        pub consume_from_where: ConsumeFromWhere,
        /// Pull, push or pop.
        pub consume_type: ConsumeType,
        /// Group name.
        pub group_name: String,
        /// Clustering or broadcasting.
        pub message_model: MessageModel,
        /// Subscriptions.
        pub subscription_data_set: Vec<SubscriptionData>,
        /// Whether the client runs in a unit.
        pub unit_mode: bool,
    }

    /// Body of `CHECK_CLIENT_CONFIG`.
    pub struct CheckClientRequestBody {
        /// Client id.
        pub client_id: String,
        /// Consumer group.
        pub group: String,
        /// Namespace.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub namespace: Option<String>,
        /// The subscription to check.
        pub subscription_data: SubscriptionData,
    }

    /// Answer of `GET_CONSUMER_LIST_BY_GROUP`.
    pub struct ConsumerListByGroupResponseBody {
        /// Client ids.
        pub consumer_id_list: Vec<String>,
    }

    /// Answer of `QUERY_SUBSCRIPTION_BY_CONSUMER`.
    pub struct QuerySubscriptionResponseBody {
        /// Consumer group.
        pub group: String,
        /// Its subscription, if it is online and has one.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub subscription_data: Option<SubscriptionData>,
        /// Topic.
        pub topic: String,
    }

    /// Answer of `GET_ALL_PRODUCER_INFO`.
    pub struct ProducerTableInfo {
        /// Producers by group.
        pub data: BTreeMap<String, Vec<ProducerInfo>>,
    }

    /// What a consumer wants of one topic.
    #[derive(Eq)]
    pub struct SubscriptionData {
        /// Whether a filter class decides; no longer in use.
        pub class_filter_mode: bool,
        /// Java hash codes of the tags.
        pub code_set: BTreeSet<i32>,
        /// `TAG` or `SQL92`.
        pub expression_type: String = "TAG".to_owned(),
        /// The expression: `*`, `a || b`, or SQL.
        pub sub_string: String,
        /// Version: milliseconds since 1970 at the client.
        pub sub_version: i64,
        /// The tags.
        pub tags_set: BTreeSet<String>,
        /// Topic.
        pub topic: String,
    }

    /// A producer of `GET_ALL_PRODUCER_INFO`.
    pub struct ProducerInfo {
        /// Client id.
        pub client_id: String,
        /// Name of its language.
        pub language: String,
        /// Its last heartbeat, in milliseconds since 1970.
        pub last_update_timestamp: i64,
        /// `ip:port` of its connection.
        #[serde(rename = "remoteIP")]
        pub remote_ip: String,
        /// Its version number.
        pub version: i32,
    }
}
