//! Real connections for tests of handlers, without a broker around them.

use bytes::Bytes;
use common::transport::{
    ClientConfig, Connection, IoThreads, Listener, PeerRequests, RemotingClient, Replies, Requests,
    Server, Service,
};
use common::wire::{Command, Reply};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a test waits for what must happen at once: far longer than a loaded machine takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// Requests of the server a test may leave unread.
const PUSHED: usize = 64;

/// What is under test, as a service sees it.
pub trait Served: Send + Sync + 'static {
    /// Answers a request, or does so later.
    fn answer(&self, connection: &Arc<Connection>, command: &Command, body: &[u8])
    -> Option<Reply>;
    /// A connection is gone.
    fn closed(&self, connection: &Connection);
}

struct Serving<S>(Arc<S>);

impl<S: Served> Service for Serving<S> {
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
            if let Some(reply) = self.0.answer(connection, command, body) {
                replies.push(command.reply_to(), reply);
            }
        }
    }
    fn closed(&self, (): (), connection: &Arc<Connection>) {
        self.0.closed(connection);
    }
}

/// A listener on loopback.
pub struct Loopback {
    server: Server,
    _threads: IoThreads,
}

impl Loopback {
    /// Serves on a free port; called inside a runtime.
    pub fn serve(service: Arc<impl Served>) -> Self {
        let threads = IoThreads::start("loopback", 2).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Listener::bind(address).unwrap();
        let server = listener.serve(&threads, Arc::new(Serving(service)), PATIENCE * 2);
        Self {
            server,
            _threads: threads,
        }
    }

    /// A client with a connection of its own.
    pub fn client(&self) -> Client {
        let (sender, pushed) = mpsc::channel(PUSHED);
        Client {
            address: self.server.local_addr().to_string(),
            remoting: RemotingClient::new(ClientConfig::default(), Arc::new(Pushed(sender))),
            pushed,
        }
    }
}

struct Pushed(mpsc::Sender<Command>);

impl PeerRequests for Pushed {
    fn request(&self, _: &Arc<Connection>, command: &Command, _: Bytes) -> Option<Reply> {
        self.0.try_send(command.clone()).unwrap();
        None
    }
}

/// One connection to a [`Loopback`].
pub struct Client {
    address: String,
    remoting: RemotingClient,
    pushed: mpsc::Receiver<Command>,
}

impl Client {
    /// Sends a request and waits for its answer.
    pub async fn call(&self, command: Command, body: impl Into<Bytes>) -> (Command, Bytes) {
        let answer = self
            .remoting
            .call(&self.address, command, body.into(), PATIENCE)
            .await
            .unwrap();
        (answer.command, answer.body)
    }

    /// The next request that the server sends.
    pub async fn pushed(&mut self) -> Command {
        tokio::time::timeout(PATIENCE, self.pushed.recv())
            .await
            .unwrap()
            .unwrap()
    }

    /// True when everything the server has sent so far was read.
    pub fn is_silent(&mut self) -> bool {
        self.pushed.try_recv().is_err()
    }

    /// The client's address.
    pub async fn local(&self) -> SocketAddr {
        self.remoting
            .connection(&self.address)
            .await
            .unwrap()
            .local()
    }
}
