//! Who is connected: members of producer and consumer groups, and what the consumers subscribe to.

mod broadcast_offsets;
mod consumer_table;
mod consumers;
mod members;
mod producer_table;
mod producers;

pub use broadcast_offsets::{BroadcastOffsets, BroadcastPull, broadcast_group};
pub use consumer_table::ConsumerTable;
use consumer_table::Notification;
pub use consumers::{Beat, GroupConnections, PullView, Subscription};
pub use members::{ClientInfo, Member};
pub use producer_table::ProducerTable;

use crate::config::BrokerConfig;
use common::clock::Clock;
use common::transport::Connection;
use std::sync::Arc;
use std::time::Duration;

/// All connected clients; clones share the tables.
#[derive(Clone)]
pub struct Clients {
    /// Producer groups.
    pub producers: ProducerTable,
    /// Consumer groups.
    pub consumers: ConsumerTable,
    /// A member that sends no heartbeat for this long is removed.
    expiry: Duration,
}

impl Clients {
    /// Nobody is connected.
    pub fn new(config: &BrokerConfig, clock: &Arc<dyn Clock>) -> Self {
        let notification = match config.notify_consumer_ids_changed_enable {
            false => Notification::Off,
            true if config.real_time_notify_consumer_change => Notification::AtOnce,
            true => Notification::Collected,
        };
        Self {
            producers: ProducerTable::new(Arc::clone(clock)),
            consumers: ConsumerTable::new(notification, Arc::clone(clock)),
            expiry: Duration::from_millis(config.channel_expired_timeout),
        }
    }

    /// Removes a connection that is gone from every group and notifies the consumers that stay.
    pub fn closed(&self, connection: &Connection) {
        self.producers.closed(connection);
        self.consumers.closed(connection);
    }

    /// Removes silent members. A connection that is no member of any group then is closed; one that serves other
    /// groups still is left alone, since not every client says good-bye when it stops one of its consumers.
    pub fn expire(&self) {
        let mut silent = self.producers.expire(self.expiry);
        silent.extend(self.consumers.expire(self.expiry));
        for (id, connection) in silent {
            tracing::info!(peer = %connection.peer(), "a client sent no heartbeat for too long");
            if !self.producers.table().has_connection(id)
                && !self.consumers.table().has_connection(id)
            {
                connection.close();
            }
        }
    }
}

#[cfg(test)]
pub mod testing;
