//! Locks of queues for consumers in order.

use std::collections::BTreeSet;

use super::{MessageQueue, bodies};

bodies! {
    /// Body of `LOCK_BATCH_MQ`, and of `UNLOCK_BATCH_MQ`.
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

    /// Answer of `LOCK_BATCH_MQ`.
    pub struct LockBatchResponseBody {
        /// All asked-for queues the client holds now.
        #[serde(rename = "lockOKMQSet")]
        pub lock_ok_mq_set: BTreeSet<MessageQueue>,
    }
}

/// Body of `UNLOCK_BATCH_MQ`.
pub type UnlockBatchRequestBody = LockBatchRequestBody;
