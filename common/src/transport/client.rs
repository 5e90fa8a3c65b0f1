//! The calling side: one pooled connection per address, opened when needed.

use super::connection::{Connection, run};
use super::error::TransportError;
use super::in_flight::Response;
use super::turn::{Replies, Requests, Service};
use crate::wire::{Command, Reply};
use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// Settings of a client.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Time a connect may take.
    pub connect_timeout: Duration,
    /// A connection without traffic for so long is closed.
    pub idle_timeout: Duration,
}

impl Default for ClientConfig {
    /// The reference's client: 3 s to connect, 120 s idle.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            idle_timeout: Duration::from_mins(2),
        }
    }
}

/// Takes the requests that servers send over connections of a client.
pub trait PeerRequests: Send + Sync + 'static {
    /// A request came; `None` leaves it unanswered. Must not block.
    fn request(
        &self,
        connection: &Arc<Connection>,
        command: &Command,
        body: Bytes,
    ) -> Option<Reply>;

    /// The connection to `address` is gone.
    fn disconnected(&self, address: &str) {
        let _ = address;
    }
}

/// Calls servers. Clones share the connections; dropping the last one closes them.
#[derive(Clone)]
pub struct RemotingClient {
    shared: Arc<Shared>,
}

struct Shared {
    config: ClientConfig,
    peer_requests: Arc<dyn PeerRequests>,
    slots: Mutex<HashMap<String, Arc<Slot>>>,
}

/// The lock is held while connecting, so that callers of one address share one attempt.
type Slot = tokio::sync::Mutex<Option<Arc<Connection>>>;

impl Drop for Shared {
    fn drop(&mut self) {
        close_all(self.slots.get_mut());
    }
}

fn close_all(slots: &mut HashMap<String, Arc<Slot>>) {
    for (_, slot) in slots.drain() {
        if let Ok(mut connection) = slot.try_lock()
            && let Some(connection) = connection.take()
        {
            connection.close();
        }
    }
}

impl RemotingClient {
    /// A client without connections. Calls need a tokio runtime.
    pub fn new(config: ClientConfig, peer_requests: Arc<dyn PeerRequests>) -> Self {
        Self {
            shared: Arc::new(Shared {
                config,
                peer_requests,
                slots: Mutex::default(),
            }),
        }
    }

    /// Sends a request to `address` (`host:port`) and waits for the answer; `timeout` covers connecting too.
    ///
    /// # Errors
    /// See [`TransportError`].
    pub async fn call(
        &self,
        address: &str,
        command: Command,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Response, TransportError> {
        let code = command.code;
        let whole = async {
            let connection = self.connection(address).await?;
            connection.call(command, body, timeout).await
        };
        match tokio::time::timeout(timeout, whole).await {
            Ok(outcome) => outcome,
            Err(_) => Err(TransportError::Timeout {
                address: address.to_owned(),
                code,
                timeout,
            }),
        }
    }

    /// Sends a request that wants no answer; returns once it is queued on an open connection.
    ///
    /// # Errors
    /// [`TransportError::Connect`].
    pub async fn send_oneway(
        &self,
        address: &str,
        command: Command,
        body: Bytes,
    ) -> Result<(), TransportError> {
        self.connection(address).await?.send_oneway(command, body);
        Ok(())
    }

    /// The open connection to `address`, or a new one.
    ///
    /// # Errors
    /// [`TransportError::Connect`].
    pub async fn connection(&self, address: &str) -> Result<Arc<Connection>, TransportError> {
        let slot = Arc::clone(self.shared.slots.lock().entry_ref(address).or_default());
        let mut open = slot.lock().await;
        if let Some(connection) = open.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        let connection = self
            .connect(address)
            .await
            .map_err(|source| TransportError::Connect {
                address: address.to_owned(),
                source,
            })?;
        *open = Some(Arc::clone(&connection));
        Ok(connection)
    }

    async fn connect(&self, address: &str) -> io::Result<Arc<Connection>> {
        let limit = self.shared.config.connect_timeout;
        let stream = tokio::time::timeout(limit, TcpStream::connect(address)).await;
        let stream = stream.map_err(|_| {
            io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {limit:?}"))
        })??;
        stream.set_nodelay(true)?;
        let connection = Connection::new(&stream)?;
        let service = Arc::new(Incoming {
            address: address.to_owned(),
            peer_requests: Arc::clone(&self.shared.peer_requests),
        });
        tokio::spawn(run(
            stream,
            Arc::clone(&connection),
            service,
            self.shared.config.idle_timeout,
        ));
        Ok(connection)
    }

    /// Closes the connection to `address`, if there is one.
    pub async fn close_connection(&self, address: &str) {
        let slot = self.shared.slots.lock().get(address).cloned();
        if let Some(slot) = slot
            && let Some(connection) = slot.lock().await.take()
        {
            connection.close();
        }
    }

    /// Closes every connection once what is queued has been written.
    pub fn close(&self) {
        close_all(&mut self.shared.slots.lock());
    }
}

/// The service behind a client's connection: it only sees what the server asks.
struct Incoming {
    address: String,
    peer_requests: Arc<dyn PeerRequests>,
}

impl Service for Incoming {
    type Session = ();

    fn connected(&self, _: &Arc<Connection>) {}

    fn turn(
        &self,
        (): &mut (),
        connection: &Arc<Connection>,
        requests: &mut Requests<'_>,
        replies: &mut Replies<'_>,
    ) {
        while let Some((command, body)) = requests.next() {
            let reply =
                self.peer_requests
                    .request(connection, command, Bytes::copy_from_slice(body));
            if let Some(reply) = reply {
                replies.push(command.reply_to(), reply);
            }
        }
    }

    fn closed(&self, (): (), _: &Arc<Connection>) {
        self.peer_requests.disconnected(&self.address);
    }
}
