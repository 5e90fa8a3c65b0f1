//! The listening side.

use super::connection::{Connection, run};
use super::io_threads::IoThreads;
use super::turn::Service;
use hashbrown::HashMap;
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Connections the system may keep waiting for `accept`.
const BACKLOG: i32 = 1024;
/// Pause after a failed `accept` (no file descriptor left, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listener with its connections.
pub struct Server {
    local: SocketAddr,
    connections: Arc<Connections>,
    stop: watch::Sender<bool>,
    /// Connections outlive the accept loop; their threads have to as well.
    _threads: IoThreads,
}

#[derive(Default)]
struct Connections {
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    count: watch::Sender<usize>,
}

impl Connections {
    fn add(&self, connection: &Arc<Connection>) {
        let mut open = self.open.lock();
        open.insert(connection.id(), Arc::clone(connection));
        self.count.send_replace(open.len());
    }

    fn remove(&self, connection: &Connection) {
        let mut open = self.open.lock();
        open.remove(&connection.id());
        self.count.send_replace(open.len());
    }
}

/// A bound address that nobody serves yet; whoever connects waits.
pub struct Listener {
    listener: TcpListener,
    local: SocketAddr,
}

impl Listener {
    /// Binds `address`; port 0 takes any free one. To be called on a runtime.
    ///
    /// # Errors
    /// When the address cannot be bound; the text names it.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
        };
        let listener = listen(address).map_err(named)?;
        let local = listener.local_addr()?;
        Ok(Self { listener, local })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Starts to accept; connections run on `threads`, and one that is silent for `idle_timeout` is closed.
    pub fn serve<S: Service>(
        self,
        threads: &IoThreads,
        service: Arc<S>,
        idle_timeout: Duration,
    ) -> Server {
        let connections = Arc::new(Connections::default());
        let (stop, stopped) = watch::channel(false);
        let accept = Accept {
            listener: self.listener,
            idle_timeout,
            threads: threads.clone(),
            connections: Arc::clone(&connections),
        };
        tokio::spawn(accept.run(service, stopped));
        Server {
            local: self.local,
            connections,
            stop,
            _threads: threads.clone(),
        }
    }
}

impl Server {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Open connections right now.
    pub fn connection_count(&self) -> usize {
        *self.connections.count.borrow()
    }

    /// Stops accepting; open connections go on.
    pub fn stop_accepting(&self) {
        self.stop.send_replace(true);
    }

    /// Stops accepting, lets every connection write what is queued, and waits until they are gone, at most `patience`.
    pub async fn shutdown(&self, patience: Duration) {
        self.stop_accepting();
        let open: Vec<_> = self.connections.open.lock().values().cloned().collect();
        for connection in open {
            connection.close();
        }
        let mut count = self.connections.count.subscribe();
        let gone = tokio::time::timeout(patience, count.wait_for(|open| *open == 0)).await;
        if gone.is_err() {
            tracing::warn!(
                open = self.connection_count(),
                "connections did not take their last bytes in time"
            );
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The accept loop.
struct Accept {
    listener: TcpListener,
    idle_timeout: Duration,
    threads: IoThreads,
    connections: Arc<Connections>,
}

impl Accept {
    async fn run<S: Service>(self, service: Arc<S>, mut stopped: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stopped.wait_for(|stop| *stop) => return,
            };
            match accepted.and_then(|(stream, _)| stream.into_std()) {
                Ok(stream) => {
                    let connections = Arc::clone(&self.connections);
                    let job = serve(stream, Arc::clone(&service), connections, self.idle_timeout);
                    self.threads.spawn(job).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn serve<S: Service>(
    stream: std::net::TcpStream,
    service: Arc<S>,
    connections: Arc<Connections>,
    idle_timeout: Duration,
) {
    let prepared = TcpStream::from_std(stream).and_then(|stream| {
        stream.set_nodelay(true)?;
        Connection::new(&stream).map(|connection| (stream, connection))
    });
    match prepared {
        Ok((stream, connection)) => {
            connections.add(&connection);
            run(stream, Arc::clone(&connection), service, idle_timeout).await;
            connections.remove(&connection);
        }
        Err(error) => tracing::debug!(%error, "a connection was gone before it could be served"),
    }
}
