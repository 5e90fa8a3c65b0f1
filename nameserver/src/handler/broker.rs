//! Brokers: they register, show life and leave.

use std::sync::Arc;

use common::transport::Connection;
use common::wire::Reply;
use common::wire::body::{DataVersion, GetBrokerMemberGroupResponseBody};
use common::wire::header::{
    AddWritePermOfBrokerResponseHeader, BrokerHeartbeatRequestHeader, BrokerNameRequestHeader,
    BrokerRequestHeader, GetBrokerMemberGroupRequestHeader, QueryDataVersionResponseHeader,
    RegisterBrokerRequestHeader, WipeWritePermOfBrokerResponseHeader,
};

use super::{Handler, system_error};
use crate::kv::ORDER_TOPIC_CONFIG;
use crate::route::{BrokerAddress, Registration, Unregistration, read_body};

impl Handler {
    /// `REGISTER_BROKER`
    pub fn register_broker(
        &self,
        connection: &Arc<Connection>,
        version: i32,
        header: RegisterBrokerRequestHeader,
        body: &[u8],
    ) -> Reply {
        let compressed = header.compressed.unwrap_or(false);
        let (topics, filter_servers) =
            match read_body(body, version, compressed, header.expected_crc()) {
                Ok(content) => content,
                Err(error) => {
                    tracing::warn!(broker = header.broker_addr, %error, "registration refused");
                    return system_error(error);
                }
            };
        let (broker, name) = (header.broker_addr.clone(), header.broker_name.clone());
        let id = header.broker_id;
        let registration = Registration {
            header,
            topics,
            filter_servers,
        };
        let registered = match self.routes.register(registration, connection) {
            Ok(registered) => registered,
            Err(error) => return system_error(error),
        };
        if registered.first {
            tracing::info!(broker, name, id, "registered");
        }
        let reply = Reply::ok().with_header(&registered.answer);
        if !self.settings.get().return_order_topic_config_to_broker {
            return reply;
        }
        match self.kv.namespace(ORDER_TOPIC_CONFIG) {
            Some(orders) => reply.with_body(orders.encode()),
            None => reply,
        }
    }

    /// `UNREGISTER_BROKER`
    pub fn unregister_broker(&self, header: BrokerRequestHeader) -> Reply {
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
    pub fn query_data_version(&self, header: BrokerRequestHeader, body: &[u8]) -> Reply {
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
    pub fn wipe_write_perm(&self, header: &BrokerNameRequestHeader) -> Reply {
        let wipe_topic_count = self.set_write_permission(&header.broker_name, false);
        Reply::ok().with_header(&WipeWritePermOfBrokerResponseHeader { wipe_topic_count })
    }

    /// `ADD_WRITE_PERM_OF_BROKER`
    pub fn add_write_perm(&self, header: &BrokerNameRequestHeader) -> Reply {
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
