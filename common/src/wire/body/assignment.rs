//! Assignment of queues by the broker.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{MessageModel, MessageQueue, codec, wire_enum};

wire_enum! {
    /// How a consumer asks for messages.
    pub enum MessageRequestMode {
        /// Queue by queue, with offsets.
        #[default]
        Pull = "PULL",
        /// Shared queues, with acks.
        Pop = "POP",
    }
}

/// Body of `QUERY_ASSIGNMENT`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueryAssignmentRequestBody {
    /// Client id.
    pub client_id: String,
    /// Consumer group.
    pub consumer_group: String,
    /// Clustering or broadcasting.
    pub message_model: MessageModel,
    /// Name of the strategy, `AVG` for instance.
    pub strategy_name: String,
    /// Topic.
    pub topic: String,
}

/// One assigned queue.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MessageQueueAssignment {
    /// Extra values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachments: Option<BTreeMap<String, String>>,
    /// The queue.
    pub message_queue: MessageQueue,
    /// Pull or pop.
    pub mode: MessageRequestMode,
}

/// Answer of `QUERY_ASSIGNMENT`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueryAssignmentResponseBody {
    /// The client's queues; absent means "keep what you have".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_queue_assignments: Option<Vec<MessageQueueAssignment>>,
}

/// Body of `SET_MESSAGE_REQUEST_MODE`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SetMessageRequestModeRequestBody {
    /// Consumer group.
    pub consumer_group: String,
    /// Pull or pop.
    pub mode: MessageRequestMode,
    /// Queues each pop consumer shares.
    pub pop_share_queue_num: i32,
    /// Topic.
    pub topic: String,
}

/// Answer of `GET_ALL_MESSAGE_REQUEST_MODE`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MessageRequestModeSerializeWrapper {
    /// Modes by topic and group.
    pub message_request_mode_map:
        BTreeMap<String, BTreeMap<String, SetMessageRequestModeRequestBody>>,
}

codec!(
    QueryAssignmentRequestBody,
    QueryAssignmentResponseBody,
    SetMessageRequestModeRequestBody,
    MessageRequestModeSerializeWrapper,
);
