//! Topics: their configuration, static mappings and lists.

use std::collections::BTreeMap;

use super::{DataVersion, bodies, wire_enum};

wire_enum! {
    /// Whether a topic's messages have one tag or several.
    pub enum TopicFilterType {
        /// One tag per message.
        #[default]
        SingleTag = "SINGLE_TAG",
        /// Several tags per message.
        MultiTag = "MULTI_TAG",
    }
}

bodies! {
    /// Configuration of a topic on one broker.
    pub struct TopicConfig {
        /// Attributes, for instance `message.type`.
        pub attributes: BTreeMap<String, String>,
        /// Whether the topic is globally ordered.
        pub order: bool,
        /// Permission bits: 4 read, 2 write, 1 inherit, 8 priority.
        pub perm: i32 = 6,
        /// Queues consumers read.
        pub read_queue_nums: i32 = 16,
        /// One tag or several.
        pub topic_filter_type: TopicFilterType,
        /// The topic's name.
        pub topic_name: String,
        /// Bit 0: unit topic, bit 1: subscribed by a unit.
        pub topic_sys_flag: i32,
        /// Queues producers write.
        pub write_queue_nums: i32 = 16,
    }
}

impl TopicConfig {
    /// A topic with `queues` queues to read and to write and the permission `perm`.
    pub fn new(name: impl Into<String>, queues: i32, perm: i32) -> Self {
        Self {
            topic_name: name.into(),
            read_queue_nums: queues,
            write_queue_nums: queues,
            perm,
            ..Self::default()
        }
    }
}

bodies! {
    /// All topics of a broker with their version: answer of `GET_ALL_TOPIC_CONFIG` and part of a registration.
    pub struct TopicConfigSerializeWrapper {
        /// Version of the topic table.
        pub data_version: DataVersion,
        /// Version of the static mappings.
        pub mapping_data_version: DataVersion,
        /// Topics by name.
        pub topic_config_table: BTreeMap<String, TopicConfig>,
        /// Static mappings in full, by topic; nobody here looks into them.
        pub topic_queue_mapping_detail_map: BTreeMap<String, serde_json::Value>,
        /// Static mappings in short, by topic.
        pub topic_queue_mapping_info_map: BTreeMap<String, TopicQueueMappingInfo>,
    }

    /// What a route tells about a static topic on one broker.
    pub struct TopicQueueMappingInfo {
        /// Broker name.
        pub bname: String,
        /// Logical queue id to physical queue id.
        pub curr_id_map: BTreeMap<i32, i32>,
        /// Whether it has to be registered again.
        pub dirty: bool,
        /// Epoch of the mapping.
        pub epoch: i64,
        /// Scope, `__global__` by default.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub scope: Option<String>,
        /// Topic.
        pub topic: String,
        /// Logical queues.
        pub total_queues: i32,
    }

    /// Body of `UPDATE_AND_CREATE_TOPIC_LIST`.
    pub struct CreateTopicListRequestBody {
        /// Topics to create or update, in order.
        pub topic_config_list: Vec<TopicConfig>,
    }

    /// A list of topics.
    pub struct TopicList {
        /// A broker that can tell more, where the request asks for that.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub broker_addr: Option<String>,
        /// Names.
        pub topic_list: Vec<String>,
    }
}

impl TopicList {
    /// The list of `names`, without a broker.
    pub fn of(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            broker_addr: None,
            topic_list: names.into_iter().map(Into::into).collect(),
        }
    }
}
