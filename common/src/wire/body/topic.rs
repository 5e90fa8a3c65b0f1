//! Topics: their configuration, static mappings and lists.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{DataVersion, codec, wire_enum};

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

/// Configuration of a topic on one broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicConfig {
    /// Attributes, for instance `message.type`.
    pub attributes: BTreeMap<String, String>,
    /// Whether the topic is globally ordered.
    pub order: bool,
    /// Permission bits: 4 read, 2 write, 1 inherit, 8 priority.
    pub perm: i32,
    /// Queues consumers read.
    pub read_queue_nums: i32,
    /// One tag or several.
    pub topic_filter_type: TopicFilterType,
    /// The topic's name.
    pub topic_name: String,
    /// Bit 0: unit topic, bit 1: subscribed by a unit.
    pub topic_sys_flag: i32,
    /// Queues producers write.
    pub write_queue_nums: i32,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            attributes: BTreeMap::new(),
            order: false,
            perm: 6,
            read_queue_nums: 16,
            topic_filter_type: TopicFilterType::SingleTag,
            topic_name: String::new(),
            topic_sys_flag: 0,
            write_queue_nums: 16,
        }
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

/// All topics of a broker with their version: answer of `GET_ALL_TOPIC_CONFIG` and part of a registration.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicConfigSerializeWrapper {
    /// Version of the topic table.
    pub data_version: DataVersion,
    /// Version of the static mappings.
    pub mapping_data_version: DataVersion,
    /// Topics by name.
    pub topic_config_table: BTreeMap<String, TopicConfig>,
    /// Static mappings in full, by topic.
    pub topic_queue_mapping_detail_map: BTreeMap<String, TopicQueueMappingDetail>,
    /// Static mappings in short, by topic.
    pub topic_queue_mapping_info_map: BTreeMap<String, TopicQueueMappingInfo>,
}

/// What a route tells about a static topic on one broker.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
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

/// One piece of a logical queue of a static topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LogicQueueMappingItem {
    /// Broker name.
    pub bname: String,
    /// End offset, −1 when open.
    pub end_offset: i64,
    /// Generation.
    #[serde(rename = "gen")]
    pub generation: i32,
    /// Logical offset of the piece's start.
    pub logic_offset: i64,
    /// Physical queue id.
    pub queue_id: i32,
    /// Physical offset of the piece's start.
    pub start_offset: i64,
    /// Store time of the end, −1 when open.
    pub time_of_end: i64,
    /// Store time of the start, −1 when unknown.
    pub time_of_start: i64,
}

impl Default for LogicQueueMappingItem {
    fn default() -> Self {
        Self {
            bname: String::new(),
            end_offset: -1,
            generation: 0,
            logic_offset: 0,
            queue_id: 0,
            start_offset: 0,
            time_of_end: -1,
            time_of_start: -1,
        }
    }
}

/// A static topic on one broker in full.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicQueueMappingDetail {
    /// Broker name.
    pub bname: String,
    /// Logical queue id to physical queue id.
    pub curr_id_map: BTreeMap<i32, i32>,
    /// Whether it has to be registered again.
    pub dirty: bool,
    /// Epoch of the mapping.
    pub epoch: i64,
    /// Pieces by logical queue id.
    pub hosted_queues: BTreeMap<i32, Vec<LogicQueueMappingItem>>,
    /// Scope, `__global__` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Topic.
    pub topic: String,
    /// Logical queues.
    pub total_queues: i32,
}

/// Body of `UPDATE_AND_CREATE_TOPIC_LIST`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CreateTopicListRequestBody {
    /// Topics to create or update, in order.
    pub topic_config_list: Vec<TopicConfig>,
}

/// A list of topics.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TopicList {
    /// A broker that can tell more, where the request asks for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_addr: Option<String>,
    /// Names.
    pub topic_list: Vec<String>,
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

codec!(
    TopicConfig,
    TopicConfigSerializeWrapper,
    TopicQueueMappingInfo,
    TopicQueueMappingDetail,
    CreateTopicListRequestBody,
    TopicList,
);
