//! Clients: heartbeats, group members, connections.

use crate::wire::wire_header;

wire_header! {
    /// Answer to `HEART_BEAT` (34).
    pub struct HeartbeatResponseHeader {
        /// Heartbeats of version 2 are understood.
        pub is_support_heart_beat_v2: Option<bool> = "IS_SUPPORT_HEART_BEAT_V2",
        /// The client has to send its subscriptions.
        pub is_sub_change: Option<bool> = "IS_SUB_CHANGE",
    }

    /// `UNREGISTER_CLIENT` (35).
    pub struct UnregisterClientRequestHeader {
        /// Client id.
        pub client_id: Option<String> = "clientID",
        /// Producer group to leave.
        pub producer_group: Option<String> = "producerGroup",
        /// Consumer group to leave.
        pub consumer_group: Option<String> = "consumerGroup",
    }

    /// `GET_CONSUMER_LIST_BY_GROUP` (38), `GET_CONSUMER_CONNECTION_LIST` (203), and to clients `NOTIFY_CONSUMER_IDS_CHANGED` (40).
    pub struct ConsumerGroupRequestHeader {
        /// Consumer group.
        pub consumer_group: String = "consumerGroup",
    }

    /// `GET_PRODUCER_CONNECTION_LIST` (204).
    pub struct GetProducerConnectionListRequestHeader {
        /// Producer group.
        pub producer_group: String = "producerGroup",
    }
}
