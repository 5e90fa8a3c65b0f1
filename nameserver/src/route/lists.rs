//! Lists of topics and brokers.

use std::collections::{BTreeMap, BTreeSet};

use common::wire::body::QueueData;

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
        let names = self.clusters.get(cluster);
        let is_in = |name: &String| names.is_some_and(|names| names.contains(name));
        self.topics_where(|queues| queues.keys().any(&is_in))
    }

    /// Topics of units.
    pub fn unit_topics(&self) -> Vec<&str> {
        self.topics_where(|queues| flags(queues) & FLAG_UNIT != 0)
    }

    /// Topics units subscribe to.
    pub fn unit_sub_topics(&self) -> Vec<&str> {
        self.topics_where(|queues| flags(queues) & FLAG_UNIT_SUB != 0)
    }

    /// Topics units subscribe to that belong to none.
    pub fn unit_sub_ununit_topics(&self) -> Vec<&str> {
        self.topics_where(|queues| flags(queues) & (FLAG_UNIT | FLAG_UNIT_SUB) == FLAG_UNIT_SUB)
    }

    fn topics_where(&self, wanted: impl Fn(&BTreeMap<String, QueueData>) -> bool) -> Vec<&str> {
        let topics = self.topics.iter().filter(|(_, queues)| wanted(queues));
        let mut topics: Vec<&str> = topics.map(|(topic, _)| topic.as_str()).collect();
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
}

/// The flags of a topic with these queues.
fn flags(queues: &BTreeMap<String, QueueData>) -> i32 {
    let first = queues.values().next();
    first.map_or(0, |queues| queues.topic_sys_flag)
}
