//! What goes into the table and what comes out of it: brokers as they enter, live and leave.

use common::clock::Millis;
use common::wire::body::{BrokerData, DataVersion, TopicConfigSerializeWrapper};

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
    /// Cluster name.
    pub cluster: String,
    /// `ip:port` clients connect to.
    pub addr: String,
    /// Broker name.
    pub broker_name: String,
    /// 0 for the master.
    pub broker_id: i64,
    /// `ip:port` slaves replicate from.
    pub ha_server_addr: String,
    /// Zone.
    pub zone: Option<String>,
    /// Milliseconds without a sign of life after which it is to be dropped.
    pub timeout_ms: Option<i64>,
    /// Whether the smallest id acts for a dead master; `None` from brokers before 5.0.
    pub enable_acting_master: Option<bool>,
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

/// The settings the table's rules depend on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// A registration deletes the broker's topics it does not contain.
    pub delete_topic_with_broker_registration: bool,
    /// Routes present the smallest id of a group without master as the master.
    pub support_acting_master: bool,
}

/// A master as its slaves need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    /// Its address.
    pub addr: String,
    /// `ip:port` it replicates from.
    pub ha_server_addr: String,
}

/// What a registration led to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registered {
    /// The broker's id was not known in its group before.
    pub first: bool,
    /// The living master of a slave.
    pub master: Option<Master>,
    /// The group has another smallest id now.
    pub min_broker_id_change: Option<MinBrokerIdChange>,
}

/// A broker group has another smallest id: who is to be told what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinBrokerIdChange {
    /// The smallest id.
    pub min_broker_id: i64,
    /// Its address.
    pub min_broker_addr: String,
    /// The address that left, if one did.
    pub offline_broker_addr: Option<String>,
    /// `ip:port` for replication of the one that came, if one did.
    pub ha_broker_addr: Option<String>,
    /// Addresses of the members to tell.
    pub notify: Vec<String>,
}

/// A broker that has left without saying so.
#[derive(Debug, Clone, PartialEq, Eq)]
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
            min_broker_id: *min_broker_id,
            min_broker_addr: min_broker_addr.clone(),
            notify: members.map(|(_, addr)| addr.clone()).collect(),
            offline_broker_addr: offline,
            ha_broker_addr: ha,
        })
    }
}
