//! Tells every name server what this broker has: everything at the start and every half minute, what changed at once.
//!
//! Each name server has a task of its own, so that one that hangs keeps no other from hearing of a new topic. A name
//! server forgets a broker when their connection ends, therefore a new connection always begins with everything.

mod body;
mod server;

use crate::topic::TopicTable;
use bytes::Bytes;
use common::transport::{ClientConfig, Connection, PeerRequests, RemotingClient};
use common::wire::{Command, Reply};
use server::NameServer;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

/// How long a start waits for name servers that do not answer.
const FIRST_ROUND: Duration = Duration::from_secs(1);
/// How long a stop waits for name servers to take the broker's name out of their routes.
const LAST_ROUND: Duration = Duration::from_secs(2);
/// Limits of `registerNameServerPeriod`: name servers forget a silent broker after two minutes.
const PERIODS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(1));
/// Time until a name that did not resolve is looked up again.
const UNRESOLVED_PAUSE: Duration = Duration::from_secs(2);

/// Who registers, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationSettings {
    /// Cluster the broker belongs to.
    pub cluster_name: String,
    /// Name of the broker group.
    pub broker_name: String,
    /// Place in the group.
    pub broker_id: i64,
    /// `ip:port` clients connect to.
    pub broker_addr: String,
    /// `ip:port` slaves replicate from.
    pub ha_server_addr: String,
    /// Name servers, each `host:port`; a name stands for every address it resolves to.
    pub name_servers: Vec<String>,
    /// Time between two full registrations.
    pub period: Duration,
    /// Time a name server has to answer.
    pub timeout: Duration,
    /// Every full registration is sent; or else only to name servers that do not know the current version.
    pub force: bool,
    /// Topics per request of a full registration, when it is sent in portions.
    pub portion: Option<usize>,
    /// `brokerPermission`: what topics allow is cut down to it.
    pub permission: i32,
}

impl RegistrationSettings {
    /// The settings of the broker that clients reach at `broker_addr` and slaves at `ha_server_addr`.
    pub fn new(
        config: &crate::config::BrokerConfig,
        broker_addr: String,
        ha_server_addr: String,
    ) -> Self {
        let portion = usize::try_from(config.split_registration_size).unwrap_or(usize::MAX);
        Self {
            cluster_name: config.broker_cluster_name.clone(),
            broker_name: config.broker_name.clone(),
            broker_id: i64::try_from(config.broker_id).unwrap_or(i64::MAX),
            broker_addr,
            ha_server_addr,
            name_servers: config.name_servers(),
            period: Duration::from_millis(config.register_name_server_period)
                .clamp(PERIODS.0, PERIODS.1),
            timeout: Duration::from_millis(config.register_broker_timeout_mills),
            force: config.force_register,
            portion: config.enable_split_registration.then_some(portion),
            permission: i32::try_from(config.broker_permission).unwrap_or(i32::MAX),
        }
    }
}

/// The broker's registrations, kept up until [`Self::shutdown`].
pub struct Registration {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Registration {
    /// Registers with every name server, and again whenever it is due or the settings have changed. Returns when all have
    /// been tried once, or after a second.
    pub async fn start(
        settings: watch::Receiver<RegistrationSettings>,
        topics: TopicTable,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (tried, all_tried) = oneshot::channel();
        let lost = watch::Sender::new(0);
        let client = RemotingClient::new(
            ClientConfig::default(),
            Arc::new(Peers { lost: lost.clone() }),
        );
        let fleet = Fleet {
            settings,
            topics,
            client,
            lost,
            stopped,
            tasks: JoinSet::new(),
            by_address: HashMap::new(),
        };
        let task = tokio::spawn(fleet.run(tried));
        // Whoever does not answer in time is tried again without the start waiting for it.
        let _ = tokio::time::timeout(FIRST_ROUND, all_tried).await;
        Self { stop, task }
    }

    /// Takes the broker out of every name server's routes and closes the connections.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(LAST_ROUND, &mut self.task)
            .await
            .is_err()
        {
            tracing::warn!("not every name server has confirmed that this broker is gone");
            self.task.abort();
        }
    }
}

/// What name servers ask a broker.
struct Peers {
    /// Changes whenever a connection has ended.
    lost: watch::Sender<u64>,
}

impl PeerRequests for Peers {
    fn request(&self, _: &Arc<Connection>, command: &Command, _: Bytes) -> Option<Reply> {
        Some(Reply::not_supported(command.code))
    }

    fn disconnected(&self, _: &str) {
        self.lost.send_modify(|count| *count += 1);
    }
}

/// The tasks of all name servers.
struct Fleet {
    settings: watch::Receiver<RegistrationSettings>,
    topics: TopicTable,
    client: RemotingClient,
    lost: watch::Sender<u64>,
    stopped: watch::Receiver<bool>,
    tasks: JoinSet<()>,
    by_address: HashMap<SocketAddr, AbortHandle>,
}

impl Fleet {
    async fn run(mut self, tried: oneshot::Sender<()>) {
        let mut stopped = self.stopped.clone();
        let mut tried = Some(tried);
        loop {
            let settings = self.settings.borrow_and_update().clone();
            let (addresses, complete) = resolve(&settings.name_servers).await;
            let first_rounds = self.follow(&addresses, complete);
            if let Some(tried) = tried.take() {
                tokio::spawn(async move {
                    for round in first_rounds {
                        // A task that ended without a round has nothing to wait for either.
                        let _ = round.await;
                    }
                    let _ = tried.send(());
                });
            }
            let pause = if complete {
                settings.period
            } else {
                UNRESOLVED_PAUSE
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Ok(()) = self.settings.changed() => {}
                _ = stopped.wait_for(|stopped| *stopped) => break,
            }
        }
        while self.tasks.join_next().await.is_some() {}
        self.client.close();
    }

    /// Starts tasks for new addresses, ends those of addresses that are gone. Addresses are not gone while some name does
    /// not resolve: they may be its.
    fn follow(
        &mut self,
        addresses: &BTreeSet<SocketAddr>,
        complete: bool,
    ) -> Vec<oneshot::Receiver<()>> {
        if complete {
            self.by_address.retain(|address, task| {
                let stays = addresses.contains(address);
                if !stays {
                    tracing::info!("name server {address} is no longer one");
                    task.abort();
                }
                stays
            });
        }
        let mut first_rounds = Vec::new();
        for address in addresses {
            if self.by_address.contains_key(address) {
                continue;
            }
            let (tried, round) = oneshot::channel();
            let server = NameServer {
                address: *address,
                settings: self.settings.clone(),
                topics: self.topics.clone(),
                client: self.client.clone(),
                told: None,
                failing: false,
            };
            let running = server.run(tried, self.lost.subscribe(), self.stopped.clone());
            let task = self.tasks.spawn(running);
            self.by_address.insert(*address, task);
            first_rounds.push(round);
        }
        first_rounds
    }
}

/// All addresses, and whether every name has resolved.
async fn resolve(names: &[String]) -> (BTreeSet<SocketAddr>, bool) {
    let mut all = BTreeSet::new();
    let mut complete = true;
    for name in names {
        match tokio::net::lookup_host(name).await {
            Ok(addresses) => all.extend(one_family(addresses.collect())),
            Err(error) => {
                tracing::warn!("name server {name} does not resolve: {error}");
                complete = false;
            }
        }
    }
    (all, complete)
}

/// A name with addresses of both families usually means the same servers twice; registering over both connections
/// would let the end of one take the broker out of the routes.
fn one_family(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let any_v4 = addresses.iter().any(SocketAddr::is_ipv4);
    addresses
        .into_iter()
        .filter(|address| address.is_ipv4() || !any_v4)
        .collect()
}

#[cfg(test)]
mod tests;
