//! The route table as the running server shares it: one lock, time, the connections of brokers, and the word to a group
//! that its smallest broker id is another one.

use std::sync::Arc;

use bytes::Bytes;
use common::clock::{Clock, Millis};
use common::config::Live;
use common::transport::{Connection, PeerRequests, RemotingClient};
use common::wire::{Command, Reply, request_code};
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::runtime::Handle;

use crate::config::NameserverConfig;
use crate::route::{
    BrokerAddress, ConnectionId, Lost, MinBrokerIdChange, Registered, Registration, RouteTable,
    SingleTopicFirst, Unregistration,
};

/// The table with what it needs around it. Its lock is held for moments only.
pub struct Routes {
    table: RwLock<RouteTable>,
    /// Connections over which a broker has registered: they are closed when it falls silent.
    brokers: Mutex<HashMap<ConnectionId, Arc<Connection>>>,
    settings: Arc<Live<NameserverConfig>>,
    clock: Arc<dyn Clock>,
    client: RemotingClient,
    runtime: Handle,
}

impl Routes {
    /// An empty table. Words to brokers go out through `client` on `runtime`.
    pub fn new(
        settings: Arc<Live<NameserverConfig>>,
        clock: Arc<dyn Clock>,
        client: RemotingClient,
        runtime: Handle,
    ) -> Self {
        let (table, brokers) = (RwLock::default(), Mutex::default());
        Self {
            table,
            brokers,
            settings,
            clock,
            client,
            runtime,
        }
    }

    /// The table, to look things up.
    pub fn read(&self) -> RwLockReadGuard<'_, RouteTable> {
        self.table.read()
    }

    /// Time since the server's start: nobody is dropped because a clock was set.
    pub fn now(&self) -> Millis {
        Millis::default().plus(self.clock.monotonic())
    }

    /// Changes the table in a way nobody has to be told about.
    pub fn change<T>(&self, change: impl FnOnce(&mut RouteTable) -> T) -> T {
        change(&mut self.table.write())
    }

    /// Takes a broker in.
    ///
    /// # Errors
    /// See [`RouteTable::register`].
    pub fn register(
        &self,
        registration: Registration,
        connection: &Arc<Connection>,
    ) -> Result<Registered, SingleTopicFirst> {
        let id = ConnectionId(connection.id());
        let (now, settings) = (self.now(), self.settings.get());
        let registered = self
            .table
            .write()
            .register(registration, id, now, &settings);
        let mut registered = registered?;
        let mut brokers = self.brokers.lock();
        brokers.entry(id).or_insert_with(|| Arc::clone(connection));
        drop(brokers);
        self.tell(registered.min_broker_id_change.take());
        Ok(registered)
    }

    /// Takes a broker out.
    pub fn unregister(&self, leaving: &Unregistration) {
        let change = self.table.write().unregister(leaving);
        self.tell(change);
    }

    /// Takes out the brokers of a connection that is gone.
    pub fn connection_closed(&self, connection: &Connection) {
        let id = ConnectionId(connection.id());
        if self.brokers.lock().remove(&id).is_none() {
            return;
        }
        let lost = self.table.write().disconnect(id);
        for Lost {
            broker,
            min_broker_id_change,
            ..
        } in lost
        {
            let BrokerAddress { cluster, addr } = broker;
            tracing::info!(broker = addr, cluster, "connection closed");
            self.tell(min_broker_id_change);
        }
    }

    /// Takes out the brokers that have been silent for too long and closes their connections.
    pub fn expire(&self) {
        let now = self.now();
        let expired = self.table.write().expire(now);
        for late in expired {
            let BrokerAddress { cluster, addr } = late.broker;
            tracing::warn!(broker = addr, cluster, "no sign of life for too long");
            self.tell(late.min_broker_id_change);
            let connection = self.brokers.lock().get(&late.connection).cloned();
            if let Some(connection) = connection {
                connection.close();
            }
        }
    }

    fn tell(&self, change: Option<MinBrokerIdChange>) {
        let Some(change) = change else { return };
        if !self.settings.get().notify_min_broker_id_changed {
            return;
        }
        for address in change.notify {
            let command =
                Command::request(request_code::NOTIFY_MIN_BROKER_ID_CHANGE).with(&change.what);
            let client = self.client.clone();
            self.runtime.spawn(async move {
                if let Err(error) = client.send_oneway(&address, command, Bytes::new()).await {
                    tracing::warn!(%error, "a broker could not be told of the smallest broker id");
                }
            });
        }
    }
}

/// Brokers send no requests over connections the name server opened.
pub struct NoRequests;

impl PeerRequests for NoRequests {
    fn request(&self, _: &Arc<Connection>, command: &Command, _: Bytes) -> Option<Reply> {
        Some(Reply::not_supported(command.code))
    }
}
