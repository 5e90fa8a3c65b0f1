//! What goes into the table and what comes out of it: brokers as they enter, live and leave.

use common::clock::Millis;
use common::wire::body::{BrokerData, DataVersion, TopicConfigSerializeWrapper};
use common::wire::header::{
    NotifyMinBrokerIdChangeRequestHeader, RegisterBrokerRequestHeader, RegisterBrokerResponseHeader,
};

/// How long a broker lives without a sign of life if it does not say.
pub(super) const DEFAULT_TIMEOUT_MS: i64 = 120_000;

/// The connection a broker registered over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u64);

/// A living broker is known by its cluster and address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerAddress {
    /// Cluster name.
    pub cluster: String,
    /// `ip:port` clients connect to.
    pub addr: String,
}

impl BrokerAddress {
    /// The broker at `addr` in `cluster`.
    pub fn new(cluster: impl Into<String>, addr: impl Into<String>) -> Self {
        Self {
            cluster: cluster.into(),
            addr: addr.into(),
        }
    }
}

/// What is known of a living broker.
#[derive(Debug, Clone)]
pub struct LiveBroker {
    /// Its last sign of life.
    pub last_update: Millis,
    /// Milliseconds without one after which it is dropped.
    pub timeout_ms: i64,
    /// Version of its topic table.
    pub data_version: DataVersion,
    /// The connection it registered over last.
    pub connection: ConnectionId,
    /// `ip:port` slaves replicate from.
    pub ha_server_addr: String,
}

/// A broker that makes itself known: the content of `REGISTER_BROKER`.
#[derive(Debug, Clone, Default)]
pub struct Registration {
    /// Who it is, and how it wants to be treated.
    pub header: RegisterBrokerRequestHeader,
    /// Topics, all of them or those that changed.
    pub topics: TopicConfigSerializeWrapper,
    /// Filter servers; `None` leaves those known.
    pub filter_servers: Option<Vec<String>>,
}

/// A broker that leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unregistration {
    /// Cluster and address.
    pub broker: BrokerAddress,
    /// Broker name.
    pub broker_name: String,
}

/// What a registration led to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Registered {
    /// The broker's id was not known in its group before.
    pub first: bool,
    /// What it is told: of a slave the living master.
    pub answer: RegisterBrokerResponseHeader,
    /// The group has another smallest id now.
    pub min_broker_id_change: Option<MinBrokerIdChange>,
}

/// A broker group has another smallest id: who is to be told what.
#[derive(Debug, Clone, PartialEq)]
pub struct MinBrokerIdChange {
    /// What: the smallest id with its address, the address that left if one did, the address for replication of the one
    /// that came if one did.
    pub what: NotifyMinBrokerIdChangeRequestHeader,
    /// Addresses of the members to tell.
    pub notify: Vec<String>,
}

/// A broker that has left without saying so.
#[derive(Debug, Clone, PartialEq)]
pub struct Lost {
    /// Who.
    pub broker: BrokerAddress,
    /// The connection it registered over.
    pub connection: ConnectionId,
    /// Its group has another smallest id now.
    pub min_broker_id_change: Option<MinBrokerIdChange>,
}

/// A single topic of a broker that has not told all of its topics yet would look like all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("register broker failed")]
pub struct SingleTopicFirst;

impl MinBrokerIdChange {
    /// The change `group` has gone through, if anybody is left.
    pub(super) fn of(
        group: &BrokerData,
        offline: Option<String>,
        ha: Option<String>,
    ) -> Option<Self> {
        let (min_broker_id, min_broker_addr) = group.broker_addrs.iter().next()?;
        let alone = group.broker_addrs.len() == 1;
        // The newcomer that has become the smallest id knows.
        let told = |id: &i64| offline.is_some() || alone || id != min_broker_id;
        let members = group.broker_addrs.iter().filter(|(id, _)| told(id));
        Some(Self {
            notify: members.map(|(_, addr)| addr.clone()).collect(),
            what: NotifyMinBrokerIdChangeRequestHeader {
                min_broker_id: Some(*min_broker_id),
                broker_name: None,
                min_broker_addr: Some(min_broker_addr.clone()),
                offline_broker_addr: offline,
                ha_broker_addr: ha,
            },
        })
    }
}
