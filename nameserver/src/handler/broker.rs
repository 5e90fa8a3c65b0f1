//! Brokers: they register, show life and leave.

use std::sync::Arc;

use common::config::Live;
use common::transport::Connection;
use common::wire::Reply;
use common::wire::body::{DataVersion, GetBrokerMemberGroupResponseBody};
use common::wire::header::{
    AddWritePermOfBrokerRequestHeader, AddWritePermOfBrokerResponseHeader,
    BrokerHeartbeatRequestHeader, GetBrokerMemberGroupRequestHeader, QueryDataVersionRequestHeader,
    QueryDataVersionResponseHeader, RegisterBrokerRequestHeader, RegisterBrokerResponseHeader,
    UnregisterBrokerRequestHeader, WipeWritePermOfBrokerRequestHeader,
    WipeWritePermOfBrokerResponseHeader,
};

use super::{Peer, system_error};
use crate::config::NameserverConfig;
use crate::kv::{KvConfig, ORDER_TOPIC_CONFIG};
use crate::route::{BrokerAddress, Registration, Unregistration, read_body};
use crate::routes::Routes;

/// Serves the requests of brokers and those about them.
#[derive(Clone)]
pub struct BrokerHandler {
    routes: Arc<Routes>,
    kv: Arc<KvConfig>,
    settings: Arc<Live<NameserverConfig>>,
}

impl BrokerHandler {
    /// A handler of `routes`.
    pub fn new(
        routes: Arc<Routes>,
        kv: Arc<KvConfig>,
        settings: Arc<Live<NameserverConfig>>,
    ) -> Self {
        Self {
            routes,
            kv,
            settings,
        }
    }

    /// `REGISTER_BROKER`
    pub fn register(
        &self,
        connection: &Arc<Connection>,
        peer: Peer,
        header: RegisterBrokerRequestHeader,
        body: &[u8],
    ) -> Reply {
        let compressed = header.compressed.unwrap_or(false);
        let (topics, filter_servers) =
            match read_body(body, peer.version, compressed, header.expected_crc()) {
                Ok(content) => content,
                Err(error) => {
                    tracing::warn!(broker = header.broker_addr, %error, "registration refused");
                    return system_error(error);
                }
            };
        let (broker, name) = (header.broker_addr.clone(), header.broker_name.clone());
        let registration = Registration {
            cluster: header.cluster_name,
            addr: header.broker_addr,
            broker_name: header.broker_name,
            broker_id: header.broker_id,
            ha_server_addr: header.ha_server_addr,
            zone: header.zone_name,
            timeout_ms: header.heartbeat_timeout_millis,
            enable_acting_master: header.enable_acting_master,
            topics,
            filter_servers,
        };
        let registered = match self.routes.register(registration, connection) {
            Ok(registered) => registered,
            Err(error) => return system_error(error),
        };
        if registered.first {
            tracing::info!(broker, name, id = header.broker_id, "registered");
        }
        let mut answer = RegisterBrokerResponseHeader::default();
        if let Some(master) = registered.master {
            answer.master_addr = Some(master.addr);
            answer.ha_server_addr = Some(master.ha_server_addr);
        }
        let reply = Reply::ok().with_header(&answer);
        if !self.settings.get().return_order_topic_config_to_broker {
            return reply;
        }
        match self.kv.namespace(ORDER_TOPIC_CONFIG) {
            Some(orders) => reply.with_body(orders.encode()),
            None => reply,
        }
    }

    /// `UNREGISTER_BROKER`
    pub fn unregister(&self, header: UnregisterBrokerRequestHeader) -> Reply {
        let broker = BrokerAddress::new(header.cluster_name, header.broker_addr);
        tracing::info!(broker = %broker.addr, name = header.broker_name, "unregistered");
        self.routes.unregister(&Unregistration {
            broker,
            broker_name: header.broker_name,
        });
        Reply::ok()
    }

    /// `BROKER_HEARTBEAT`
    pub fn heartbeat(&self, header: BrokerHeartbeatRequestHeader) -> Reply {
        let broker = BrokerAddress::new(header.cluster_name, header.broker_addr);
        let now = self.routes.now();
        self.routes.change(|table| table.heartbeat(&broker, now));
        Reply::ok()
    }

    /// `QUERY_DATA_VERSION`
    pub fn query_data_version(&self, header: QueryDataVersionRequestHeader, body: &[u8]) -> Reply {
        let version = match DataVersion::decode(body) {
            Ok(version) => version,
            Err(error) => return system_error(error),
        };
        let broker = BrokerAddress::new(header.cluster_name, header.broker_addr);
        let now = self.routes.now();
        let (changed, known) = self.routes.change(|table| {
            table.heartbeat(&broker, now);
            (
                table.is_data_version_changed(&broker, &version),
                table.data_version(&broker),
            )
        });
        let reply = Reply::ok().with_header(&QueryDataVersionResponseHeader { changed });
        match known {
            Some(known) => reply.with_body(known.encode()),
            None => reply,
        }
    }

    /// `GET_BROKER_CLUSTER_INFO`
    pub fn cluster_info(&self) -> Reply {
        let info = self.routes.read().cluster_info();
        Reply::ok().with_body(info.encode())
    }

    /// `GET_BROKER_MEMBER_GROUP`
    pub fn member_group(&self, header: &GetBrokerMemberGroupRequestHeader) -> Reply {
        let group = self
            .routes
            .read()
            .member_group(&header.cluster_name, &header.broker_name);
        let body = GetBrokerMemberGroupResponseBody {
            broker_member_group: group,
        };
        Reply::ok().with_body(body.encode())
    }

    /// `WIPE_WRITE_PERM_OF_BROKER`
    pub fn wipe_write_perm(&self, header: &WipeWritePermOfBrokerRequestHeader) -> Reply {
        let wipe_topic_count = self.set_write_permission(&header.broker_name, false);
        Reply::ok().with_header(&WipeWritePermOfBrokerResponseHeader { wipe_topic_count })
    }

    /// `ADD_WRITE_PERM_OF_BROKER`
    pub fn add_write_perm(&self, header: &AddWritePermOfBrokerRequestHeader) -> Reply {
        let add_topic_count = self.set_write_permission(&header.broker_name, true);
        Reply::ok().with_header(&AddWritePermOfBrokerResponseHeader { add_topic_count })
    }

    fn set_write_permission(&self, broker_name: &str, writable: bool) -> i32 {
        let topics = self
            .routes
            .change(|table| table.set_write_permission(broker_name, writable));
        tracing::info!(
            broker_name,
            writable,
            topics,
            "write permission changed by request"
        );
        i32::try_from(topics).unwrap_or(i32::MAX)
    }
}
