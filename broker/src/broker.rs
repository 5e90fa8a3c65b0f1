//! What is connected to what: builds every part in the order of its needs and takes it down in the other order.

mod deliveries;

use crate::config::BrokerConfig;
use crate::dispatch::{BrokerService, Handlers, Port};
use crate::handler::pull::{HeldPulls, PullHandler};
use crate::handler::send::SendHandler;
use crate::handler::settings::SettingsHandler;
use crate::http::pages;
use crate::kv::Kv;
use crate::metrics::BrokerFigures;
use crate::pull_hold::PullHoldService;
use crate::registration::{Registration, RegistrationSettings};
use crate::state::{State, every};
use crate::thread::Bell;
use crate::topic::BatchTopics;
use common::clock::{Clock, SystemClock};
use common::config::{Live, Loaded};
use common::names;
use common::server::{Failure, HttpServer, Shutdown, starting};
use common::transport::{IoThreads, Listener, Server};
use common::wire::body::DataVersion;
use deliveries::Deliveries;
use parking_lot::Mutex;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use store::{Arrivals, DiskFiles, Queue, StoreConfig, StoreReader, StoreTasks, StoreWriter};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Time connections have to take their last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// Time between two commits for broadcast groups as a whole.
const BROADCAST_COMMIT: Duration = Duration::from_secs(5);

/// A running broker.
pub struct Broker {
    address: SocketAddr,
    servers: [Server; 2],
    http: HttpServer,
    registration: Registration,
    state: State,
    held: HeldPulls,
    tasks: JoinSet<()>,
    deliveries: Deliveries,
    store: StoreTasks,
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
        let settings = Arc::new(Live::new(loaded));
        let config = settings.get();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let held: HeldPulls = Arc::new(PullHoldService::new(Arc::clone(&clock)));
        let (batch_topics, store_config) = store_config(&config);
        let bell = Arc::new(Bell::default());
        let progress = Arc::clone(&store_config.progress);
        let http = HttpServer::bind(
            SocketAddr::new(config.bind_address, config.http_listen_port),
            starting(move || progress.text()),
        )
        .await?;
        let opened = tokio::select! {
            opened = open_store(store_config, &clock, (&held, &bell)) => opened?,
            // Recovery may be interrupted anywhere: the next one begins again.
            () = shutdown.requested() => return Ok(None),
        };
        let (writer, reader, store) = opened;
        // After the store, whose lock this database is under, too.
        let mut kv = Kv::open(&config.store_path_root_dir.join("kv")).map_err(Failure::store)?;
        let store_handles = (writer, reader.clone());
        let state = State::open(settings, &mut kv, store_handles, clock)?;
        batch_topics.follow(&state.topics);
        let rebuilt = state.deduplication.rebuild(&state.topics, &reader);
        rebuilt.map_err(Failure::store)?;
        if !store.was_left_in_order() {
            let end = |topic: &str, queue_id| state.range(topic, queue_id).1;
            state.offsets.clamp(end);
        }
        let (main, vip) = listen(&config)?;
        let address = SocketAddr::new(broker_ip(&config)?, main.local_addr().port());
        let deliveries = Deliveries::start(&state, address, &kv, bell)?;

        let (registrant, register_as) = watch::channel(registered(&config, address));
        let handlers = Arc::new(handlers(&state, registrant, address, &deliveries, &held));
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

        let mut tasks = state.tasks();
        tasks.spawn(Arc::clone(&held).run());
        let pull = Arc::clone(&handlers.pull);
        let commit = move || pull.commit_broadcast_offsets();
        tasks.spawn(every(BROADCAST_COMMIT, commit));
        tasks.spawn(deliveries.ledger.clone().run());
        tasks.spawn(deliveries.checks.clone().run());
        tasks.spawn(deliveries.timers.clone().keep_handed_over());
        let figures = BrokerFigures {
            state: state.clone(),
            timers: deliveries.timers.clone(),
            transactions: deliveries.checks.transactions().clone(),
        };
        let http = http.show(pages(figures).map_err(Failure::runtime)?)?;
        let registration = Registration::start(register_as, state.topics.clone()).await;
        Ok(Some(Self {
            address,
            servers,
            http,
            registration,
            state,
            held,
            tasks,
            deliveries,
            store,
        }))
    }

    /// The line that says that everything is up, as the reference words it.
    pub fn ready_line(&self) -> String {
        format!(
            "The broker[{}, {}] boot success. serializeType=JSON and name server is {}, http {}",
            self.state.config.broker_name,
            self.address,
            self.state.config.namesrv_addr,
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
        let (state, deliveries, store) = (self.state, self.deliveries, self.store);
        let written = tokio::task::spawn_blocking(move || {
            deliveries.stop();
            let persisted = state.persist();
            // What is not in there is in the files now, or the failure above says why it is not.
            if let Err(error) = state.kv.shutdown() {
                tracing::error!(%error, "kv is not up to date");
            }
            store.shutdown().map_err(Failure::runtime)?;
            persisted
        });
        written.await.map_err(Failure::runtime)?
    }
}

/// Who is told about arrivals.
struct Arrived(HeldPulls, Arc<Bell>);

impl Arrivals for Arrived {
    fn arrived(&self, queue: &Arc<Queue>, max_offset: u64, tags_code: i64, store_timestamp: i64) {
        if queue.topic() == names::TIMER_TOPIC {
            self.1.ring();
        }
        self.0
            .arrived(queue, max_offset, tags_code, store_timestamp);
    }
}

/// The settings of the store, which asks for topics that are not open yet.
fn store_config(config: &BrokerConfig) -> (BatchTopics, StoreConfig) {
    let topics = config.store_path_root_dir.join("config/topics.json");
    let (topics, batch_topics) = BatchTopics::new(&topics);
    let config = StoreConfig {
        batch_topics,
        ..config.store()
    };
    (topics, config)
}

/// Recovery reads much and may take long; meanwhile this thread has pages to serve.
async fn open_store(
    config: StoreConfig,
    clock: &Arc<dyn Clock>,
    (held, bell): (&HeldPulls, &Arc<Bell>),
) -> Result<(StoreWriter, StoreReader, StoreTasks), Failure> {
    let arrivals: Arc<dyn Arrivals> = Arc::new(Arrived(Arc::clone(held), Arc::clone(bell)));
    let clock = Arc::clone(clock);
    let opening = move || store::open(config, Arc::new(DiskFiles), clock, arrivals);
    let opened = tokio::task::spawn_blocking(opening).await;
    opened.map_err(Failure::runtime)?.map_err(Failure::store)
}

/// What name servers are told.
fn registered(config: &BrokerConfig, address: SocketAddr) -> RegistrationSettings {
    let ha_address = format!("{}:{}", config.broker_ip2, config.ha_listen_port);
    RegistrationSettings::new(config, address.to_string(), ha_address)
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
    state: &State,
    registration: watch::Sender<RegistrationSettings>,
    address: SocketAddr,
    Deliveries { checks, timers, .. }: &Deliveries,
    held: &HeldPulls,
) -> Handlers {
    let later = (checks.transactions().clone(), timers.clone());
    let send = Arc::new(SendHandler::new(state.clone(), later, address));
    Handlers {
        settings: Arc::new(SettingsHandler {
            state: state.clone(),
            version: Mutex::new(DataVersion::new(state.clock.now().0)),
            send: Arc::clone(&send),
            timers: timers.clone(),
            registration,
        }),
        send,
        pull: PullHandler::new(state.clone(), Arc::clone(held)),
        checks: checks.clone(),
        timers: timers.clone(),
        state: state.clone(),
        address,
        held: Arc::clone(held),
    }
}
