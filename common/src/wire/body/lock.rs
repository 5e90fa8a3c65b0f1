//! Locks of queues for consumers in order.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{MessageQueue, codec};

/// Body of `LOCK_BATCH_MQ`, and of `UNLOCK_BATCH_MQ`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LockBatchRequestBody {
    /// Client id.
    pub client_id: String,
    /// Consumer group.
    pub consumer_group: String,
    /// Queues to lock.
    pub mq_set: BTreeSet<MessageQueue>,
    /// Whether the other members of a broker group are left out.
    pub only_this_broker: bool,
}

/// Body of `UNLOCK_BATCH_MQ`.
pub type UnlockBatchRequestBody = LockBatchRequestBody;

/// Answer of `LOCK_BATCH_MQ`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LockBatchResponseBody {
    /// All asked-for queues the client holds now.
    #[serde(rename = "lockOKMQSet")]
    pub lock_ok_mq_set: BTreeSet<MessageQueue>,
}

codec!(LockBatchRequestBody, LockBatchResponseBody);
