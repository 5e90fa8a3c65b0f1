//! A route: the join of a topic's queues with the broker groups that have them.

use std::collections::BTreeMap;

use common::names::SYNC_BROKER_MEMBER_TOPIC_PREFIX;
use common::wire::body::{BrokerData, BrokerMemberGroup, ClusterInfo, TopicRouteData};

use super::broker::BrokerAddress;
use super::table::{MASTER_ID, PERM_WRITE, RouteTable};
use crate::config::NameserverConfig;

impl RouteTable {
    /// Where `topic` is, cut down to a zone where one is given; `None` when no living broker has it.
    pub fn route(
        &self,
        topic: &str,
        settings: &NameserverConfig,
        zone: Option<&str>,
    ) -> Option<TopicRouteData> {
        let queues = self.topics.get(topic)?;
        let mut groups: Vec<BrokerData> = queues
            .keys()
            .filter_map(|name| self.brokers.get(name))
            .cloned()
            .collect();
        if groups.is_empty() {
            return None;
        }
        let mut route = TopicRouteData {
            filter_server_table: self.filter_servers_of(&groups),
            queue_datas: queues.values().cloned().collect(),
            topic_queue_mapping_by_broker: self.mappings.get(topic).cloned(),
            ..TopicRouteData::default()
        };
        // Over these topics brokers talk to each other: an acting master is never presented for them.
        if settings.support_acting_master && !topic.starts_with(SYNC_BROKER_MEMBER_TOPIC_PREFIX) {
            for group in &mut groups {
                let queues = queues.get(&group.broker_name);
                if queues.is_some_and(|queues| queues.perm & PERM_WRITE == 0) {
                    present_acting_master(group);
                }
            }
        }
        route.broker_datas = groups;
        if let Some(zone) = zone {
            keep_zone(&mut route, zone);
        }
        Some(route)
    }

    fn filter_servers_of(&self, groups: &[BrokerData]) -> BTreeMap<String, Vec<String>> {
        if self.filter_servers.is_empty() {
            return BTreeMap::new();
        }
        let members = groups.iter().flat_map(|group| {
            group
                .broker_addrs
                .values()
                .map(|addr| BrokerAddress::new(&group.cluster, addr))
        });
        members
            .filter_map(|broker| Some((self.filter_servers.get(&broker)?.clone(), broker.addr)))
            .map(|(servers, addr)| (addr, servers))
            .collect()
    }

    /// Every cluster and every group.
    pub fn cluster_info(&self) -> ClusterInfo {
        ClusterInfo {
            broker_addr_table: self.brokers.clone(),
            cluster_addr_table: self.clusters.clone(),
        }
    }

    /// The living members of a group; an unknown one has none.
    pub fn member_group(&self, cluster: &str, broker_name: &str) -> BrokerMemberGroup {
        let group = self.brokers.get(broker_name);
        BrokerMemberGroup {
            broker_addrs: group
                .map(|group| group.broker_addrs.clone())
                .unwrap_or_default(),
            broker_name: broker_name.to_owned(),
            cluster: cluster.to_owned(),
        }
    }
}

/// Shows the smallest id of a group without master as the master, so that clients that only know masters can read.
fn present_acting_master(group: &mut BrokerData) {
    if group.enable_acting_master
        && !group.broker_addrs.contains_key(&MASTER_ID)
        && let Some((_, addr)) = group.broker_addrs.pop_first()
    {
        group.broker_addrs.insert(MASTER_ID, addr);
    }
}

/// Drops the groups of other zones, except those without a master: their messages can be read nowhere else.
fn keep_zone(route: &mut TopicRouteData, zone: &str) {
    let stays = |group: &BrokerData| {
        !group.broker_addrs.contains_key(&MASTER_ID)
            || matches!(&group.zone_name, Some(name) if name.eq_ignore_ascii_case(zone))
    };
    let (kept, dropped): (Vec<_>, Vec<_>) = std::mem::take(&mut route.broker_datas)
        .into_iter()
        .partition(stays);
    route.broker_datas = kept;
    for group in dropped {
        route
            .queue_datas
            .retain(|queues| queues.broker_name != group.broker_name);
        for addr in group.broker_addrs.values() {
            route.filter_server_table.remove(addr);
        }
    }
}
