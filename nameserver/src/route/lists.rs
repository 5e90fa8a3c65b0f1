//! Lists of topics and brokers.

use std::collections::BTreeSet;

use super::broker::{BrokerAddress, LiveBroker};
use super::table::RouteTable;

/// Flag of a topic that belongs to a unit.
const FLAG_UNIT: i32 = 1;
/// Flag of a topic that a unit subscribes to.
const FLAG_UNIT_SUB: i32 = 2;

impl RouteTable {
    /// Every topic, sorted.
    pub fn topics(&self) -> Vec<&str> {
        self.topics_where(|_| true)
    }

    /// The topics of a cluster's brokers, sorted.
    pub fn topics_of_cluster(&self, cluster: &str) -> Vec<&str> {
        let Some(names) = self.clusters.get(cluster) else {
            return Vec::new();
        };
        let mut topics: Vec<&str> = self
            .topics
            .iter()
            .filter(|(_, queues)| queues.keys().any(|name| names.contains(name)))
            .map(|(topic, _)| topic.as_str())
            .collect();
        topics.sort_unstable();
        topics
    }

    /// Topics of units.
    pub fn unit_topics(&self) -> Vec<&str> {
        self.topics_where(|flag| flag & FLAG_UNIT != 0)
    }

    /// Topics units subscribe to.
    pub fn unit_sub_topics(&self) -> Vec<&str> {
        self.topics_where(|flag| flag & FLAG_UNIT_SUB != 0)
    }

    /// Topics units subscribe to that belong to none.
    pub fn unit_sub_ununit_topics(&self) -> Vec<&str> {
        self.topics_where(|flag| flag & FLAG_UNIT_SUB != 0 && flag & FLAG_UNIT == 0)
    }

    fn topics_where(&self, wanted: impl Fn(i32) -> bool) -> Vec<&str> {
        let flag = |(topic, queues): (
            _,
            &std::collections::BTreeMap<_, common::wire::body::QueueData>,
        )| {
            queues
                .values()
                .next()
                .map(|queues| (topic, queues.topic_sys_flag))
        };
        let mut topics: Vec<&str> = self
            .topics
            .iter()
            .filter_map(flag)
            .filter(|(_, flag)| wanted(*flag))
            .map(|(topic, _): (&String, i32)| topic.as_str())
            .collect();
        topics.sort_unstable();
        topics
    }

    /// The names of clusters and broker groups: topics with these names exist for the system's own use.
    pub fn system_topics(&self) -> BTreeSet<&str> {
        let names = self.clusters.iter();
        names
            .flat_map(|(cluster, names)| names.iter().chain([cluster]))
            .map(String::as_str)
            .collect()
    }

    /// Any living broker, a master if there is one.
    pub fn any_broker_addr(&self) -> Option<&str> {
        self.brokers
            .values()
            .find_map(|group| group.select_broker_addr())
    }

    /// Every living broker.
    pub fn live_brokers(&self) -> impl Iterator<Item = (&BrokerAddress, &LiveBroker)> {
        self.live.iter()
    }

    /// Name and id of the group member with that address.
    pub fn member(&self, addr: &str) -> Option<(&str, i64)> {
        self.brokers.values().find_map(|group| {
            let (id, _) = group
                .broker_addrs
                .iter()
                .find(|(_, other)| *other == addr)?;
            Some((group.broker_name.as_str(), *id))
        })
    }

    /// Number of topics.
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// Number of clusters.
    pub fn cluster_count(&self) -> usize {
        self.clusters.len()
    }

    /// Number of broker groups.
    pub fn broker_count(&self) -> usize {
        self.brokers.len()
    }
}
