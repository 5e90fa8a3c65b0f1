//! Bodies between brokers and name servers.

use std::collections::BTreeMap;

use super::{TopicConfigSerializeWrapper, bodies};

bodies! {
    /// Body of `REGISTER_BROKER`.
    pub struct RegisterBrokerBody {
        /// Addresses of the broker's filter servers.
        pub filter_server_list: Vec<String>,
        /// The topic table: all of it, or the topics that changed.
        pub topic_config_serialize_wrapper: TopicConfigSerializeWrapper,
    }

    /// The living members of a broker group.
    pub struct BrokerMemberGroup {
        /// Address by broker id.
        pub broker_addrs: BTreeMap<i64, String>,
        /// Broker name.
        pub broker_name: String,
        /// Cluster name.
        pub cluster: String,
    }

    /// Answer of `GET_BROKER_MEMBER_GROUP`.
    pub struct GetBrokerMemberGroupResponseBody {
        /// The group.
        pub broker_member_group: BrokerMemberGroup,
    }
}
