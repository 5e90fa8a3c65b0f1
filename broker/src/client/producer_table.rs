//! The producer groups behind their one lock, with a clock.

use super::members::ClientInfo;
use super::producers::Producers;
use common::clock::Clock;
use common::transport::Connection;
use parking_lot::{RwLock, RwLockReadGuard};
use std::sync::Arc;
use std::time::Duration;

/// Handle of the producer groups; clones share the table.
#[derive(Clone)]
pub struct ProducerTable {
    table: Arc<RwLock<Producers<Arc<Connection>>>>,
    clock: Arc<dyn Clock>,
}

impl ProducerTable {
    /// Nobody is connected.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            table: Arc::default(),
            clock,
        }
    }

    /// Takes what a heartbeat says of one group.
    pub fn register(&self, group: &str, connection: &Arc<Connection>, client: &ClientInfo) {
        let now = self.clock.monotonic();
        self.table
            .write()
            .register(group, connection.id(), connection, client, now);
    }

    /// Removes a connection from a group.
    pub fn unregister(&self, group: &str, connection: &Connection) {
        self.table.write().unregister(group, connection.id());
    }

    /// Removes a connection that is gone from every group.
    pub fn closed(&self, connection: &Connection) {
        self.table.write().closed(connection.id());
    }

    /// Removes silent members; gives their connections.
    pub(super) fn expire(&self, expiry: Duration) -> Vec<(u64, Arc<Connection>)> {
        let now = self.clock.monotonic();
        self.table.write().expire(now, expiry)
    }

    /// The table, to be read at once: whoever changes it waits.
    pub fn table(&self) -> RwLockReadGuard<'_, Producers<Arc<Connection>>> {
        self.table.read()
    }
}
