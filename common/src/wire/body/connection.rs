//! Who is connected: answers for the admin tools.

use std::collections::BTreeMap;

use super::{ConsumeFromWhere, ConsumeType, MessageModel, SubscriptionData, bodies};

bodies! {
    /// One connection of a client.
    pub struct Connection {
        /// `ip:port` of the client.
        pub client_addr: String,
        /// Client id.
        pub client_id: String,
        /// Name of the client's language.
        pub language: String,
        /// The client's version number.
        pub version: i32,
    }

    /// Answer of `GET_CONSUMER_CONNECTION_LIST`.
    pub struct ConsumerConnection {
        /// The members' connections.
        pub connection_set: Vec<Connection>,
        /// Where the group starts without offsets.
        pub consume_from_where: ConsumeFromWhere,
        /// Pull, push or pop.
        pub consume_type: ConsumeType,
        /// Clustering or broadcasting.
        pub message_model: MessageModel,
        /// Subscriptions by topic.
        pub subscription_table: BTreeMap<String, SubscriptionData>,
    }

    /// Answer of `GET_PRODUCER_CONNECTION_LIST`.
    pub struct ProducerConnection {
        /// The members' connections.
        pub connection_set: Vec<Connection>,
    }
}
