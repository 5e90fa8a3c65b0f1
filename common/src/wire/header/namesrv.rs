//! Name server requests, and what name servers send to brokers.

use crate::wire::wire_header;

wire_header! {
    /// `PUT_KV_CONFIG` (100).
    pub struct PutKvConfigRequestHeader {
        /// Namespace.
        pub namespace: Option<String> = "namespace",
        /// Key.
        pub key: Option<String> = "key",
        /// Value.
        pub value: Option<String> = "value",
    }

    /// `GET_KV_CONFIG` (101).
    pub struct GetKvConfigRequestHeader {
        /// Namespace.
        pub namespace: String = "namespace",
        /// Key.
        pub key: String = "key",
    }

    /// Answer of code 101.
    pub struct GetKvConfigResponseHeader {
        /// Value.
        pub value: Option<String> = "value",
    }

    /// `DELETE_KV_CONFIG` (102).
    pub struct DeleteKvConfigRequestHeader {
        /// Namespace.
        pub namespace: Option<String> = "namespace",
        /// Key.
        pub key: Option<String> = "key",
    }

    /// `REGISTER_BROKER` (103).
    pub struct RegisterBrokerRequestHeader {
        /// Broker name.
        pub broker_name: String = "brokerName",
        /// `ip:port` clients connect to.
        pub broker_addr: String = "brokerAddr",
        /// Cluster name.
        pub cluster_name: String = "clusterName",
        /// `ip:port` slaves replicate from.
        pub ha_server_addr: String = "haServerAddr",
        /// 0 for the master.
        pub broker_id: i64 = "brokerId",
        /// Milliseconds without a sign of life after which the broker is dropped; 120,000 by default.
        pub heartbeat_timeout_millis: Option<i64> = "heartbeatTimeoutMillis",
        /// Whether the smallest living id acts for a dead master. Brokers before 5.0 do not send it.
        pub enable_acting_master: Option<bool> = "enableActingMaster",
        /// Whether the body is compressed.
        pub compressed: Option<bool> = "compressed",
        /// CRC-32 of the body without its highest bit, as text: see [`Self::expected_crc`].
        pub body_crc32: Option<String> = "bodyCrc32",
        /// Zone of the broker.
        pub zone_name: Option<String> = "__ZONE_NAME",
    }

    /// Answer of code 103.
    pub struct RegisterBrokerResponseHeader {
        /// `ip:port` the master replicates from.
        pub ha_server_addr: Option<String> = "haServerAddr",
        /// The master's address.
        pub master_addr: Option<String> = "masterAddr",
    }

    /// `UNREGISTER_BROKER` (104) and `QUERY_DATA_VERSION` (322).
    pub struct BrokerRequestHeader {
        /// Broker name.
        pub broker_name: String = "brokerName",
        /// `ip:port` it registers with.
        pub broker_addr: String = "brokerAddr",
        /// Cluster name.
        pub cluster_name: String = "clusterName",
        /// 0 for the master.
        pub broker_id: i64 = "brokerId",
    }

    /// `GET_ROUTEINFO_BY_TOPIC` (105).
    pub struct GetRouteInfoRequestHeader {
        /// Topic.
        pub topic: String = "topic",
        /// Whether integer keys have to be quoted.
        pub accept_standard_json_only: Option<bool> = "acceptStandardJsonOnly",
        /// Whether the route is cut down to the zone of the client.
        pub zone_mode: Option<bool> = "__ZONE_MODE",
        /// Zone of the client.
        pub zone_name: Option<String> = "__ZONE_NAME",
    }

    /// `WIPE_WRITE_PERM_OF_BROKER` (205) and `ADD_WRITE_PERM_OF_BROKER` (327).
    pub struct BrokerNameRequestHeader {
        /// Broker name.
        pub broker_name: String = "brokerName",
    }

    /// Answer of code 205.
    pub struct WipeWritePermOfBrokerResponseHeader {
        /// Topics of the broker.
        pub wipe_topic_count: i32 = "wipeTopicCount",
    }

    /// Answer of code 327.
    pub struct AddWritePermOfBrokerResponseHeader {
        /// Topics of the broker.
        pub add_topic_count: i32 = "addTopicCount",
    }

    /// `DELETE_TOPIC_IN_NAMESRV` (216).
    pub struct DeleteTopicFromNamesrvRequestHeader {
        /// Topic.
        pub topic: String = "topic",
        /// The only cluster to delete it in; all of them when absent.
        pub cluster_name: Option<String> = "clusterName",
    }

    /// `GET_KVLIST_BY_NAMESPACE` (219).
    pub struct GetKvListByNamespaceRequestHeader {
        /// Namespace.
        pub namespace: String = "namespace",
    }

    /// `GET_TOPICS_BY_CLUSTER` (224).
    pub struct GetTopicsByClusterRequestHeader {
        /// Cluster name.
        pub cluster: String = "cluster",
    }

    /// Answer of code 322.
    pub struct QueryDataVersionResponseHeader {
        /// Whether the name server has another version of the topic table, or none.
        pub changed: bool = "changed",
    }

    /// `GET_BROKER_MEMBER_GROUP` (901).
    pub struct GetBrokerMemberGroupRequestHeader {
        /// Cluster name.
        pub cluster_name: String = "clusterName",
        /// Broker name.
        pub broker_name: String = "brokerName",
    }

    /// `BROKER_HEARTBEAT` (904). What a controller wants to know besides is not read.
    pub struct BrokerHeartbeatRequestHeader {
        /// Cluster name.
        pub cluster_name: String = "clusterName",
        /// `ip:port` it registers with.
        pub broker_addr: String = "brokerAddr",
        /// Broker name.
        pub broker_name: String = "brokerName",
    }

    /// `NOTIFY_MIN_BROKER_ID_CHANGE` (905), name server to broker.
    pub struct NotifyMinBrokerIdChangeRequestHeader {
        /// The smallest living id.
        pub min_broker_id: Option<i64> = "minBrokerId",
        /// Broker name.
        pub broker_name: Option<String> = "brokerName",
        /// Address of the smallest living id.
        pub min_broker_addr: Option<String> = "minBrokerAddr",
        /// Address of the broker that left.
        pub offline_broker_addr: Option<String> = "offlineBrokerAddr",
        /// `ip:port` of the smallest id for replication.
        pub ha_broker_addr: Option<String> = "haBrokerAddr",
    }
}

impl RegisterBrokerRequestHeader {
    /// The checksum the body has to have; `None` when it is not to be checked. As in the reference, a number
    /// that does not fit 32 signed bits counts as none.
    pub fn expected_crc(&self) -> Option<i32> {
        self.body_crc32
            .as_deref()
            .and_then(|text| text.parse().ok())
            .filter(|crc| *crc != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Fields, WireHeader};

    #[test]
    fn a_checksum_beyond_32_bits_is_not_checked() {
        let expected = |text: Option<&str>| {
            let header = RegisterBrokerRequestHeader {
                body_crc32: text.map(str::to_owned),
                ..Default::default()
            };
            header.expected_crc()
        };
        assert_eq!(expected(None), None);
        assert_eq!(expected(Some("0")), None);
        assert_eq!(expected(Some("4294967295")), None);
        assert_eq!(expected(Some("abc")), None);
        assert_eq!(expected(Some("-5")), Some(-5));
        assert_eq!(expected(Some("2147483647")), Some(i32::MAX));
    }

    #[test]
    fn a_registration_needs_its_identity() {
        let mut fields = Fields::new();
        for (key, value) in [
            ("brokerName", "b"),
            ("brokerAddr", "a:1"),
            ("clusterName", "c"),
        ] {
            fields.push(key, value);
        }
        assert!(RegisterBrokerRequestHeader::parse(&fields).is_err());
        fields.push("haServerAddr", "a:2");
        fields.push("brokerId", "0");
        let header = RegisterBrokerRequestHeader::parse(&fields).unwrap();
        assert_eq!((header.broker_id, header.enable_acting_master), (0, None));
    }
}
