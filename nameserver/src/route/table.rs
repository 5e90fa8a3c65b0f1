//! The table's state, and how brokers enter and leave it.

use std::collections::{BTreeMap, BTreeSet};

use common::clock::Millis;
use common::wire::body::{BrokerData, DataVersion, QueueData, TopicConfig, TopicQueueMappingInfo};
use common::wire::header::{RegisterBrokerRequestHeader, RegisterBrokerResponseHeader};
use hashbrown::HashMap;

use super::broker::{
    BrokerAddress, ConnectionId, DEFAULT_TIMEOUT_MS, LiveBroker, Lost, MinBrokerIdChange,
    Registered, Registration, SingleTopicFirst, Unregistration,
};
use crate::config::NameserverConfig;

/// Permission bit of topics: producers may write.
pub(super) const PERM_WRITE: i32 = 2;
/// Permission of a topic that may be read and written.
pub(super) const PERM_READ_WRITE: i32 = 6;
/// Id of a master.
pub(super) const MASTER_ID: i64 = 0;

/// All the routes of a name server.
#[derive(Debug, Default)]
pub struct RouteTable {
    /// Topic → broker name → queues. No topic without queues.
    pub topics: HashMap<String, BTreeMap<String, QueueData>>,
    /// Broker groups by name. No group without an address.
    pub brokers: BTreeMap<String, BrokerData>,
    /// Cluster → broker names. No cluster without a name.
    pub clusters: BTreeMap<String, BTreeSet<String>>,
    /// Living brokers.
    pub live: HashMap<BrokerAddress, LiveBroker>,
    pub(super) filter_servers: HashMap<BrokerAddress, Vec<String>>,
    /// Topic → broker name → static mapping. Only topics with queues.
    pub(super) mappings: HashMap<String, BTreeMap<String, TopicQueueMappingInfo>>,
}

impl RouteTable {
    /// Takes a broker and its topics in.
    ///
    /// # Errors
    /// [`SingleTopicFirst`]; nothing changes.
    pub fn register(
        &mut self,
        registration: Registration,
        connection: ConnectionId,
        now: Millis,
        settings: &NameserverConfig,
    ) -> Result<Registered, SingleTopicFirst> {
        let header = &registration.header;
        let address = BrokerAddress::new(&header.cluster_name, &header.broker_addr);
        let id = header.broker_id;
        let group = self.brokers.get(&header.broker_name);
        let holder = group.and_then(|group| group.broker_addrs.get(&id));
        let first = holder.is_none();
        let previous_min = group.and_then(|group| group.broker_addrs.keys().next().copied());
        if holder.is_some_and(|holder| self.is_fenced(&registration, holder)) {
            self.live.remove(&address);
            return Ok(Registered::default());
        }
        if first && registration.topics.topic_config_table.len() == 1 {
            return Err(SingleTopicFirst);
        }

        self.enter_group(header);
        let min = self.min_broker_id(&header.broker_name);
        let is_prime_slave =
            header.enable_acting_master.is_some() && id != MASTER_ID && min == Some(id);
        if id == MASTER_ID || is_prime_slave {
            let changed = self.is_data_version_changed(&address, &registration.topics.data_version);
            let read_only = is_prime_slave && header.enable_acting_master == Some(true);
            self.take_topics(&registration, first || changed, read_only, settings);
        }

        let group = self.brokers.get(&header.broker_name);
        let group = group.filter(|_| previous_min.is_some_and(|previous| id < previous));
        let ha_server_addr = Some(header.ha_server_addr.clone());
        let change = group.and_then(|group| MinBrokerIdChange::of(group, None, ha_server_addr));
        let answer = self.master_of(header).unwrap_or_default();
        match registration.filter_servers {
            Some(servers) if servers.is_empty() => {
                self.filter_servers.remove(&address);
            }
            Some(servers) => {
                self.filter_servers.insert(address.clone(), servers);
            }
            None => {}
        }
        let live = LiveBroker {
            last_update: now,
            timeout_ms: header
                .heartbeat_timeout_millis
                .unwrap_or(DEFAULT_TIMEOUT_MS),
            data_version: registration.topics.data_version,
            connection,
            ha_server_addr: registration.header.ha_server_addr,
        };
        self.live.insert(address, live);
        Ok(Registered {
            first,
            answer,
            min_broker_id_change: change,
        })
    }

    /// Whether another address holds the id and belongs to a later epoch.
    fn is_fenced(&self, registration: &Registration, holder: &str) -> bool {
        let epoch = registration.topics.data_version.state_version;
        let holding = BrokerAddress::new(&registration.header.cluster_name, holder);
        holder != registration.header.broker_addr
            && self
                .data_version(&holding)
                .is_some_and(|version| version.state_version > epoch)
    }

    fn enter_group(&mut self, header: &RegisterBrokerRequestHeader) {
        let name = &header.broker_name;
        let names = self.clusters.entry(header.cluster_name.clone());
        names.or_default().insert(name.clone());
        let group = self.brokers.entry(name.clone());
        let group = group.or_insert_with(|| BrokerData {
            broker_name: name.clone(),
            cluster: header.cluster_name.clone(),
            ..BrokerData::default()
        });
        group.enable_acting_master = header.enable_acting_master.unwrap_or(false);
        group.zone_name.clone_from(&header.zone_name);
        // A slave that has become the master comes back with the same address and another id.
        let id = header.broker_id;
        let addrs = &mut group.broker_addrs;
        addrs.retain(|other, addr| *other == id || *addr != header.broker_addr);
        addrs.insert(id, header.broker_addr.clone());
    }

    fn min_broker_id(&self, broker_name: &str) -> Option<i64> {
        let group = self.brokers.get(broker_name)?;
        group.broker_addrs.keys().next().copied()
    }

    /// Takes the topics of the one who speaks for its group. `update` is false when the table is the one known: then only
    /// what is missing is added.
    fn take_topics(
        &mut self,
        registration: &Registration,
        update: bool,
        read_only: bool,
        settings: &NameserverConfig,
    ) {
        let name = &registration.header.broker_name;
        let topics = &registration.topics;
        if settings.delete_topic_with_broker_registration
            && topics.topic_queue_mapping_info_map.is_empty()
        {
            self.remove_queues(|topic, broker| {
                broker == name && !topics.topic_config_table.contains_key(topic)
            });
        }
        for (topic, config) in &topics.topic_config_table {
            let queues = self.topics.entry_ref(topic.as_str()).or_default();
            if update || !queues.contains_key(name) {
                queues.insert(name.clone(), queue_data(name, config, read_only));
            }
        }
        if update {
            for (topic, mapping) in &topics.topic_queue_mapping_info_map {
                let by_broker = self.mappings.entry_ref(topic.as_str()).or_default();
                by_broker.insert(mapping.bname.clone(), mapping.clone());
            }
        }
    }

    /// What a slave is told of its living master.
    fn master_of(
        &self,
        slave: &RegisterBrokerRequestHeader,
    ) -> Option<RegisterBrokerResponseHeader> {
        let group = self.brokers.get(&slave.broker_name)?;
        let addr = group.broker_addrs.get(&MASTER_ID)?;
        let master = BrokerAddress::new(&slave.cluster_name, addr);
        let live = self
            .live
            .get(&master)
            .filter(|_| slave.broker_id != MASTER_ID)?;
        Some(RegisterBrokerResponseHeader {
            ha_server_addr: Some(live.ha_server_addr.clone()),
            master_addr: Some(master.addr),
        })
    }

    /// Takes a broker out, and with the last one of its group the group's topics.
    /// `Some` when the group lives on with another smallest id.
    pub fn unregister(&mut self, leaving: &Unregistration) -> Option<MinBrokerIdChange> {
        self.live.remove(&leaving.broker);
        self.filter_servers.remove(&leaving.broker);
        let name = leaving.broker_name.as_str();
        let group = self.brokers.get_mut(name)?;
        let previous_min = group.broker_addrs.keys().next().copied();
        let members = group.broker_addrs.len();
        group
            .broker_addrs
            .retain(|_, addr| *addr != leaving.broker.addr);
        if group.broker_addrs.len() == members {
            return None;
        }
        if group.broker_addrs.is_empty() {
            self.brokers.remove(name);
            self.clusters.retain(|_, names| {
                names.remove(name);
                !names.is_empty()
            });
            self.remove_queues(|_, broker| broker == name);
            return None;
        }
        if group.enable_acting_master && !group.broker_addrs.contains_key(&MASTER_ID) {
            for queues in self
                .topics
                .values_mut()
                .filter_map(|queues| queues.get_mut(name))
            {
                queues.perm &= !PERM_WRITE;
            }
        }
        if group.broker_addrs.keys().next().copied() == previous_min {
            return None;
        }
        MinBrokerIdChange::of(group, Some(leaving.broker.addr.clone()), None)
    }

    /// Removes the queues `doomed` names by topic and broker, and what is empty then.
    pub(super) fn remove_queues(&mut self, mut doomed: impl FnMut(&str, &str) -> bool) {
        let mappings = &mut self.mappings;
        self.topics.retain(|topic, queues| {
            queues.retain(|broker, _| !doomed(topic, broker));
            if queues.is_empty() {
                mappings.remove(topic);
            }
            !queues.is_empty()
        });
    }

    /// Takes out the brokers that registered over a connection that is gone. Those that registered again over another one
    /// stay.
    pub fn disconnect(&mut self, connection: ConnectionId) -> Vec<Lost> {
        self.lose(|live| live.connection == connection)
    }

    /// Takes out the brokers whose last sign of life is longer ago than they asked for.
    pub fn expire(&mut self, now: Millis) -> Vec<Lost> {
        self.lose(|live| live.last_update.0.saturating_add(live.timeout_ms) < now.0)
    }

    fn lose(&mut self, is_lost: impl Fn(&LiveBroker) -> bool) -> Vec<Lost> {
        let lost = self.live.iter().filter(|(_, live)| is_lost(live));
        let lost: Vec<_> = lost
            .map(|(broker, live)| (self.leaving(broker), live.connection))
            .collect();
        lost.into_iter()
            .map(|(leaving, connection)| Lost {
                min_broker_id_change: self.unregister(&leaving),
                broker: leaving.broker,
                connection,
            })
            .collect()
    }

    /// How `broker` leaves when it does not say so itself. An address that another one has displaced is in no group, but
    /// its traces have to go as well.
    fn leaving(&self, broker: &BrokerAddress) -> Unregistration {
        let names = self.clusters.get(&broker.cluster);
        let is_member = |group: &&BrokerData| {
            group.broker_addrs.values().any(|addr| *addr == broker.addr)
                && names.is_some_and(|names| names.contains(&group.broker_name))
        };
        let group = self.brokers.values().find(is_member);
        Unregistration {
            broker: broker.clone(),
            broker_name: group
                .map(|group| group.broker_name.clone())
                .unwrap_or_default(),
        }
    }

    /// A sign of life, if the broker is known.
    pub fn heartbeat(&mut self, broker: &BrokerAddress, now: Millis) {
        if let Some(live) = self.live.get_mut(broker) {
            live.last_update = now;
        }
    }

    /// Version of the topic table `broker` registered last.
    pub fn data_version(&self, broker: &BrokerAddress) -> Option<DataVersion> {
        self.live.get(broker).map(|live| live.data_version)
    }

    /// Whether `broker` is unknown or registered with another version.
    pub fn is_data_version_changed(&self, broker: &BrokerAddress, version: &DataVersion) -> bool {
        self.data_version(broker).as_ref() != Some(version)
    }

    /// Takes the write permission of all topics of a broker group away, or gives it back; returns their number.
    pub fn set_write_permission(&mut self, broker_name: &str, writable: bool) -> usize {
        let queues = self
            .topics
            .values_mut()
            .filter_map(|queues| queues.get_mut(broker_name));
        queues
            .map(|queues| {
                queues.perm = if writable {
                    PERM_READ_WRITE
                } else {
                    queues.perm & !PERM_WRITE
                };
            })
            .count()
    }

    /// Removes a topic from the groups of one cluster, or from all.
    pub fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let Self {
            topics,
            clusters,
            mappings,
            ..
        } = self;
        let Some(queues) = topics.get_mut(topic) else {
            return;
        };
        match cluster {
            Some(cluster) => {
                let names = clusters.get(cluster);
                queues.retain(|broker, _| !names.is_some_and(|names| names.contains(broker)));
            }
            None => queues.clear(),
        }
        if queues.is_empty() {
            topics.remove(topic);
            mappings.remove(topic);
        }
    }

    /// Adds or replaces the queues of one topic. `false`, and nothing changes, when one of the brokers is unknown.
    pub fn register_topic(&mut self, topic: &str, queues: Vec<QueueData>) -> bool {
        let known = queues
            .iter()
            .all(|queues| self.brokers.contains_key(&queues.broker_name));
        if known && !queues.is_empty() {
            let by_broker = self.topics.entry_ref(topic).or_default();
            let named = queues.into_iter();
            by_broker.extend(named.map(|queues| (queues.broker_name.clone(), queues)));
        }
        known
    }
}

fn queue_data(broker_name: &str, config: &TopicConfig, read_only: bool) -> QueueData {
    QueueData {
        broker_name: broker_name.to_owned(),
        perm: if read_only {
            config.perm & !PERM_WRITE
        } else {
            config.perm
        },
        read_queue_nums: config.read_queue_nums,
        topic_sys_flag: config.topic_sys_flag,
        write_queue_nums: config.write_queue_nums,
    }
}

#[cfg(test)]
mod tests;
