//! What is connected to what: builds every part in the order of its needs and takes it down in the other order.

use crate::client::Clients;
use crate::config::BrokerConfig;
use crate::dispatch::{BrokerService, Handlers, Port};
use crate::handler::clean::CleanHandler;
use crate::handler::client::ClientHandler;
use crate::handler::group::GroupHandler;
use crate::handler::lock::LockHandler;
use crate::handler::offset::OffsetHandler;
use crate::handler::pull::{HeldPulls, PullHandler, PullTables};
use crate::handler::query::QueryHandler;
use crate::handler::send::{SendHandler, SendTables};
use crate::handler::topic::TopicHandler;
use crate::handler::view::ViewHandler;
use crate::http::{Pages, PagesParts};
use crate::kv::{Exported as _, Kv, KvAtStart, export_on_change};
use crate::lock::LockTable;
use crate::metrics::Metrics;
use crate::offset::ConsumerOffsets;
use crate::pull_hold::PullHoldService;
use crate::registration::{Registration, RegistrationSettings};
use crate::subscription::SubscriptionGroupTable;
use crate::topic::{TopicRules, TopicTable};
use common::clock::{Clock, SystemClock};
use common::config::Loaded;
use common::server::{Failure, HttpServer, Shutdown, starting};
use common::transport::{IoThreads, Listener, Server};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use store::{Arrivals, DiskFiles, StoreConfig, StoreReader, StoreTasks, StoreWriter};
use tokio::task::JoinSet;

/// Time connections have to take their last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// Time in which changes of topics or groups are gathered before their file is written for other brokers.
const TABLES_EXPORT: Duration = Duration::from_millis(500);

/// A running broker.
pub struct Broker {
    config: Arc<BrokerConfig>,
    address: SocketAddr,
    servers: [Server; 2],
    http: HttpServer,
    registration: Registration,
    tables: Tables,
    held: HeldPulls,
    tasks: JoinSet<()>,
    kv: Kv,
    store: StoreTasks,
}

/// The state tables.
#[derive(Clone)]
struct Tables {
    topics: TopicTable,
    groups: SubscriptionGroupTable,
    offsets: ConsumerOffsets,
    clients: Clients,
    locks: LockTable,
    metrics: Metrics,
}

impl Tables {
    fn open(
        config: &BrokerConfig,
        kv: &mut KvAtStart,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        let directory = config.store_path_root_dir.join("config");
        let (steps, auto_group) = (
            config.consumer_offset_update_version_step,
            config.auto_create_subscription_group,
        );
        let clock = || Arc::clone(clock);
        let topics = TopicTable::open(
            kv,
            &directory.join("topics.json"),
            TopicRules::new(config),
            clock(),
        )
        .map_err(Failure::store)?;
        Ok(Self {
            metrics: Metrics::new(topics.clone(), clock()),
            topics,
            groups: SubscriptionGroupTable::open(
                kv,
                &directory.join("subscriptionGroup.json"),
                auto_group,
                clock(),
            )
            .map_err(Failure::store)?,
            offsets: ConsumerOffsets::open(
                kv,
                &directory.join("consumerOffset.json"),
                steps,
                clock(),
            )
            .map_err(Failure::store)?,
            clients: Clients::new(config, &clock()),
            locks: LockTable::new(clock()),
        })
    }

    fn persist(&self) -> Result<(), Failure> {
        self.topics.persist().map_err(Failure::runtime)?;
        self.groups.persist().map_err(Failure::runtime)?;
        self.offsets.persist().map_err(Failure::runtime)
    }
}

impl Broker {
    /// Recovers the store, opens the listeners and registers with the name servers. Pages are served from the first
    /// moment on; they say how far recovery is. `None` when the process was asked to end while it recovered.
    ///
    /// # Errors
    /// [`Failure::Store`] when the store does not open, [`Failure::Runtime`] when an address cannot be listened on.
    pub async fn start(
        loaded: Loaded<BrokerConfig>,
        shutdown: &Shutdown,
    ) -> Result<Option<Self>, Failure> {
        let config = Arc::new(loaded.config);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let held: HeldPulls = Arc::new(PullHoldService::new(Arc::clone(&clock)));
        let store_config = config.store();
        let progress = Arc::clone(&store_config.progress);
        let http = HttpServer::bind(
            SocketAddr::new(config.bind_address, config.http_listen_port),
            starting(move || progress.text()),
        )
        .await?;
        let opened = tokio::select! {
            opened = open_store(store_config, &clock, &held) => opened?,
            // Recovery may be interrupted anywhere: the next one begins again.
            () = shutdown.requested() => return Ok(None),
        };
        let (writer, reader, store) = opened;
        // After the store, whose lock this database is under, too.
        let mut kv = Kv::open(&config.store_path_root_dir.join("kv")).map_err(Failure::store)?;
        let tables = Tables::open(&config, &mut kv, &clock)?;
        let kv = kv.kv().clone();
        if !store.was_left_in_order() {
            tables
                .offsets
                .clamp(|topic, queue_id| end(&reader, topic, queue_id));
        }
        let (main, vip) = listen(&config)?;
        let address = SocketAddr::new(broker_ip(&config)?, main.local_addr().port());

        let handlers = Arc::new(handlers(
            &config,
            address,
            &clock,
            &tables,
            &held,
            (&writer, &reader),
        ));
        let threads = IoThreads::start("remoting", io_thread_count(&config))?;
        let idle = Duration::from_secs(config.server_channel_max_idle_time_seconds.into());
        let serve = |listener: Listener, port| {
            listener.serve(
                &threads,
                Arc::new(BrokerService::new(Arc::clone(&handlers), port)),
                idle,
            )
        };
        let servers = [serve(main, Port::Main), serve(vip, Port::Vip)];

        let mut tasks = JoinSet::new();
        tasks.spawn(tables.clients.clone().run());
        tasks.spawn(Arc::clone(&held).run());
        tasks.spawn(tables.metrics.clone().run());
        tasks.spawn(Arc::clone(&handlers.pull).run());
        tasks.spawn(tables.locks.clone().run());
        let interval = Duration::from_millis(config.flush_consumer_offset_interval);
        tasks.spawn(export_on_change(tables.offsets.clone(), interval));
        tasks.spawn(export_on_change(tables.topics.clone(), TABLES_EXPORT));
        tasks.spawn(export_on_change(tables.groups.clone(), TABLES_EXPORT));
        let pages = PagesParts {
            config: Arc::clone(&config),
            topics: tables.topics.clone(),
            groups: tables.groups.clone(),
            offsets: tables.offsets.clone(),
            clients: tables.clients.clone(),
            metrics: tables.metrics.clone(),
            reader,
            kv: kv.clone(),
            clock,
        };
        let pages = Pages::new(pages).router().map_err(Failure::runtime)?;
        let http = http.show(pages)?;
        let ha_address = format!("{}:{}", config.broker_ip2, config.ha_listen_port);
        let settings = RegistrationSettings::new(&config, address.to_string(), ha_address);
        let registration = Registration::start(settings, tables.topics.clone()).await;
        Ok(Some(Self {
            config,
            address,
            servers,
            http,
            registration,
            tables,
            held,
            tasks,
            kv,
            store,
        }))
    }

    /// The line that says that everything is up, as the reference words it.
    pub fn ready_line(&self) -> String {
        format!(
            "The broker[{}, {}] boot success. serializeType=JSON and name server is {}, http {}",
            self.config.broker_name,
            self.address,
            self.config.namesrv_addr,
            self.http.local_addr(),
        )
    }

    /// Leaves the routes, finishes what is in flight, writes everything down and ends.
    ///
    /// # Errors
    /// Something could not be written; the next start recovers as after a crash.
    pub async fn shutdown(self) -> Result<(), Failure> {
        self.registration.shutdown().await;
        for server in &self.servers {
            server.stop_accepting();
        }
        self.held.resume_all();
        for server in &self.servers {
            server.shutdown(LAST_ANSWERS).await;
        }
        self.http.shutdown().await;
        drop(self.tasks);
        let (tables, kv, store) = (self.tables, self.kv, self.store);
        let written = tokio::task::spawn_blocking(move || {
            let persisted = tables.persist();
            // What is not in there is in the files now, or the failure above says why it is not.
            if let Err(error) = kv.shutdown() {
                tracing::error!(%error, "kv is not up to date");
            }
            store.shutdown().map_err(Failure::runtime)?;
            persisted
        });
        written.await.map_err(Failure::runtime)?
    }
}

/// Recovery reads much and may take long; meanwhile this thread has pages to serve.
async fn open_store(
    config: StoreConfig,
    clock: &Arc<dyn Clock>,
    held: &HeldPulls,
) -> Result<(StoreWriter, StoreReader, StoreTasks), Failure> {
    let arrivals: Arc<dyn Arrivals> = Arc::clone(held) as _;
    let clock = Arc::clone(clock);
    let opening = move || store::open(config, Arc::new(DiskFiles), clock, arrivals);
    let opened = tokio::task::spawn_blocking(opening).await;
    opened.map_err(Failure::runtime)?.map_err(Failure::store)
}

/// Where a queue ends, as offsets on the wire have it. Queues that do not exist end at 0.
fn end(reader: &StoreReader, topic: &str, queue_id: i32) -> i64 {
    let end = u32::try_from(queue_id).map_or(0, |queue_id| reader.max_offset(topic, queue_id));
    i64::try_from(end).unwrap_or(i64::MAX)
}

/// The main port and, two below, the VIP port; any free ones if `listenPort` is 0.
fn listen(config: &BrokerConfig) -> Result<(Listener, Listener), Failure> {
    let bind = |port| Listener::bind(SocketAddr::new(config.bind_address, port));
    Ok((bind(config.listen_port)?, bind(config.vip_port())?))
}

/// The address clients are told, and messages are stored with.
fn broker_ip(config: &BrokerConfig) -> Result<IpAddr, Failure> {
    config.broker_ip1.parse().map_err(|_| {
        let text = format!(
            "brokerIP1={}: expected an IPv4 or IPv6 address",
            config.broker_ip1
        );
        Failure::Usage(text)
    })
}

fn io_thread_count(config: &BrokerConfig) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    match usize::try_from(config.server_selector_threads) {
        Ok(0) | Err(_) => processors,
        Ok(threads) => threads,
    }
}

fn handlers(
    config: &Arc<BrokerConfig>,
    address: SocketAddr,
    clock: &Arc<dyn Clock>,
    tables: &Tables,
    held: &HeldPulls,
    (writer, reader): (&StoreWriter, &StoreReader),
) -> Handlers {
    let Tables {
        topics,
        groups,
        offsets,
        clients,
        locks,
        metrics,
    } = tables.clone();
    let (writer, reader, clock) = (|| writer.clone(), || reader.clone(), || Arc::clone(clock));
    let send = SendTables {
        topics: topics.clone(),
        groups: groups.clone(),
        locks: locks.clone(),
    };
    let pull = PullTables {
        topics: topics.clone(),
        groups: groups.clone(),
        offsets: offsets.clone(),
        consumers: clients.consumers.clone(),
        metrics: metrics.clone(),
    };
    let reject_pull = config.reject_pull_consumer_enable;
    Handlers {
        send: SendHandler::new(config, address, send, writer(), clock()),
        pull: PullHandler::new(
            config,
            pull,
            (writer(), reader()),
            Arc::clone(held),
            clock(),
        ),
        offset: OffsetHandler::new(offsets.clone(), topics.clone(), groups.clone(), reader()),
        client: ClientHandler::new(clients.clone(), topics.clone(), groups.clone(), reject_pull),
        lock: LockHandler::new(locks),
        topic: TopicHandler::new(topics, offsets.clone(), writer(), reader()),
        group: GroupHandler::new(groups, offsets),
        clean: CleanHandler::new(writer()),
        query: QueryHandler::new(config, reader()),
        view: ViewHandler::new(Arc::clone(config), metrics, reader(), clock()),
        clients,
        held: Arc::clone(held),
    }
}
