//! Composition: builds the parts in the order they depend on each other, and ends them in the other one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::clock::{Clock, SystemClock};
use common::config::{Live, Loaded};
use common::server::{Failure, Families, HttpServer, Readiness, register, router};
use common::transport::{ClientConfig, IoThreads, Listener, RemotingClient, Server};
use prometheus::Registry;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::config::NameserverConfig;
use crate::disk_thread::DiskThread;
use crate::dispatch::Dispatch;
use crate::handler::Handler;
use crate::http;
use crate::kv::KvConfig;
use crate::metrics::{RequestCounts, figures};
use crate::routes::{NoRequests, Routes};

/// Threads connections are spread over, at most. Routes are small work.
const IO_THREADS: usize = 4;
/// How long connections may take to write their last bytes when the server ends.
const LAST_BYTES: Duration = Duration::from_secs(3);

/// A running name server.
pub struct Nameserver {
    /// Connections live on these until the last handle is gone.
    threads: IoThreads,
    server: Arc<Server>,
    http: HttpServer,
    disk: Arc<DiskThread>,
    scan: JoinHandle<()>,
}

impl Nameserver {
    /// Starts everything; when this returns, both listeners accept.
    ///
    /// # Errors
    /// The key-value file is damaged, or a port cannot be had.
    pub async fn start(loaded: Loaded<NameserverConfig>) -> Result<Self, Failure> {
        let settings = Arc::new(Live::new(loaded));
        let config = settings.get();
        let kv = Arc::new(KvConfig::open(&config.kv_config_path).map_err(Failure::store)?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let client = RemotingClient::new(ClientConfig::default(), Arc::new(NoRequests));
        let routes = Arc::new(Routes::new(
            Arc::clone(&settings),
            clock,
            client,
            Handle::current(),
        ));
        let disk = Arc::new(DiskThread::start()?);
        let registry = Registry::new();
        let handler = Handler {
            routes: Arc::clone(&routes),
            kv,
            settings: Arc::clone(&settings),
        };

        let dispatch = Dispatch {
            handler: handler.clone(),
            disk: Arc::clone(&disk),
            counts: RequestCounts::new(&registry).map_err(Failure::runtime)?,
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = IoThreads::start("namesrv-io", cores.min(IO_THREADS))?;
        let address = SocketAddr::new(config.bind_address, config.listen_port);
        let idle = Duration::from_secs(config.server_channel_max_idle_time_seconds.into());
        let listener = Listener::bind(address)?;
        let server = Arc::new(listener.serve(&threads, Arc::new(dispatch), idle));

        let open = Arc::clone(&server);
        let table = Arc::clone(&routes);
        let take =
            move |families: &mut Families| figures(families, &table, open.connection_count());
        register(&registry, take).map_err(Failure::runtime)?;
        let pages = http::api(handler.clone());
        let address = SocketAddr::new(config.bind_address, config.http_listen_port);
        let http = HttpServer::bind(
            address,
            router(registry, move || readiness(&handler), pages),
        );
        let http = http.await?;
        let scan = tokio::spawn(scan_silent_brokers(routes, settings));
        Ok(Self {
            threads,
            server,
            http,
            disk,
            scan,
        })
    }

    /// Where the remoting protocol is spoken.
    pub fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Where the pages are.
    pub fn http_address(&self) -> SocketAddr {
        self.http.local_addr()
    }

    /// Takes no more connections, finishes what is in flight and closes.
    pub async fn shutdown(self) {
        self.scan.abort();
        self.server.stop_accepting();
        let disk = self.disk;
        let finished = tokio::task::spawn_blocking(move || disk.finish()).await;
        if let Err(error) = finished {
            tracing::error!(%error, "changes that waited for the disk are lost");
        }
        self.server.shutdown(LAST_BYTES).await;
        self.http.shutdown().await;
        drop(self.threads);
    }
}

fn readiness(handler: &Handler) -> Readiness {
    if handler.is_ready() {
        return Readiness::Ready;
    }
    Readiness::NotReady("waiting for brokers to register (needWaitForService)".into())
}

/// Drops brokers that have fallen silent, for ever.
async fn scan_silent_brokers(routes: Arc<Routes>, settings: Arc<Live<NameserverConfig>>) {
    loop {
        let interval = settings.get().scan_not_active_broker_interval;
        tokio::time::sleep(Duration::from_millis(interval)).await;
        routes.expire();
    }
}

#[cfg(test)]
mod tests;
