//! Routes and clusters.

use std::collections::{BTreeMap, BTreeSet};

use super::{TopicQueueMappingInfo, bodies};

bodies! {
    /// Where the queues of a topic are.
    pub struct TopicRouteData {
        /// The broker groups named by `queue_datas`.
        pub broker_datas: Vec<BrokerData>,
        /// Filter servers by broker address.
        pub filter_server_table: BTreeMap<String, Vec<String>>,
        /// Order configuration, `broker:queues;…`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub order_topic_conf: Option<String>,
        /// Queues per broker group.
        pub queue_datas: Vec<QueueData>,
        /// Static mappings by broker name.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub topic_queue_mapping_by_broker: Option<BTreeMap<String, TopicQueueMappingInfo>>,
    }

    /// The queues of a topic on one broker group.
    pub struct QueueData {
        /// Broker name.
        pub broker_name: String,
        /// Permission bits: 4 read, 2 write, 1 inherit.
        pub perm: i32,
        /// Queues consumers read.
        pub read_queue_nums: i32,
        /// Bit 0: unit topic, bit 1: subscribed by a unit.
        pub topic_sys_flag: i32,
        /// Queues producers write.
        pub write_queue_nums: i32,
    }

    /// A broker group: a master and its slaves.
    pub struct BrokerData {
        /// Address by broker id; id 0 is the master.
        pub broker_addrs: BTreeMap<i64, String>,
        /// Broker name.
        pub broker_name: String,
        /// Cluster name.
        pub cluster: String,
        /// Whether the smallest living id acts for a dead master.
        pub enable_acting_master: bool,
        /// Zone, when the broker named one.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub zone_name: Option<String>,
    }

    /// Answer of `GET_BROKER_CLUSTER_INFO`.
    pub struct ClusterInfo {
        /// Groups by broker name.
        pub broker_addr_table: BTreeMap<String, BrokerData>,
        /// Broker names by cluster.
        pub cluster_addr_table: BTreeMap<String, BTreeSet<String>>,
    }
}

impl BrokerData {
    /// The master's address, or that of the smallest id.
    pub fn select_broker_addr(&self) -> Option<&str> {
        self.broker_addrs
            .get(&0)
            .or_else(|| self.broker_addrs.values().next())
            .map(String::as_str)
    }
}
