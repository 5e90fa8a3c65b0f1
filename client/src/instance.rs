//! What every producer, consumer and admin client runs on: its connections, its routes, its heartbeats.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::clock::{Clock, SystemClock};
use common::message::message_id::UniqueIds;
use common::transport::{
    ClientConfig as TransportConfig, Connection, PeerRequests, RemotingClient, Response,
    TransportError,
};
use common::wire::body::HeartbeatData;
use common::wire::header::UnregisterClientRequestHeader;
use common::wire::{Command, Reply, WireHeader, request_code, response_code};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::config::{ClientConfig, unique_instance_name, vip_address};
use crate::error::ClientError;
use crate::name_servers::NameServers;
use crate::route::MASTER_ID;
use crate::route_cache::RouteCache;

/// Requests from brokers that wait for the task that serves them. More are answered busy, or dropped when nobody
/// waits for an answer: what they announce is also looked at periodically.
const PEER_REQUESTS_WAITING: usize = 64;
/// Routes are refreshed on demand at most this often, however many requests fail at once.
const ROUTE_REFRESH_SPACING: Duration = Duration::from_secs(1);

/// A request a broker sent over one of our connections.
#[derive(Debug)]
pub(crate) struct PeerRequest {
    pub(crate) connection: Arc<Connection>,
    pub(crate) command: Command,
    pub(crate) body: Bytes,
}

impl PeerRequest {
    pub(crate) fn answer(&self, reply: Reply) {
        self.connection.reply(self.command.reply_to(), reply);
    }
}

/// Takes what brokers ask; runs on the transport's threads, so it only hands on.
#[derive(Debug)]
struct Inbox {
    requests: mpsc::Sender<PeerRequest>,
    beat_now: Arc<Notify>,
    disconnected: Arc<Notify>,
}

impl PeerRequests for Inbox {
    fn request(
        &self,
        connection: &Arc<Connection>,
        command: &Command,
        body: Bytes,
    ) -> Option<Reply> {
        let request = PeerRequest {
            connection: Arc::clone(connection),
            command: command.clone(),
            body,
        };
        match self.requests.try_send(request) {
            Ok(()) => None,
            Err(mpsc::error::TrySendError::Closed(_)) => Some(Reply::not_supported(command.code)),
            Err(mpsc::error::TrySendError::Full(_)) => Some(Reply::error(
                response_code::SYSTEM_BUSY,
                "the client is busy",
            )),
        }
    }

    /// A broker forgets a consumer whose connection ends, and the others share its queues: it has to hear of
    /// this client again at once, not with the next heartbeat in turn.
    fn disconnected(&self, _: &str) {
        self.beat_now.notify_one();
        self.disconnected.notify_one();
    }
}

/// The running base of one client.
pub(crate) struct Instance {
    pub(crate) config: ClientConfig,
    pub(crate) client_id: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) routes: RouteCache,
    remoting: RemotingClient,
    ids: UniqueIds,
    heartbeat: RwLock<HeartbeatData>,
    /// Told when a heartbeat is to be sent soon.
    pub(crate) beat_now: Arc<Notify>,
    /// Told when a connection ends: the broker behind it may have started anew.
    pub(crate) disconnected: Arc<Notify>,
    /// Count of the changes of routes whose brokers have all heard of this client.
    announced: AtomicU64,
    tasks: Mutex<Vec<AbortHandle>>,
    stopped: AtomicBool,
}

impl Instance {
    /// Prepares connections and starts the periodic work. Needs a tokio runtime. The receiver gets what
    /// brokers ask of the client.
    ///
    /// `fixed_name`: the instance name when the configuration has none and a made-up one will not do.
    pub(crate) async fn start(
        config: ClientConfig,
        fixed_name: Option<&str>,
    ) -> Result<(Arc<Self>, mpsc::Receiver<PeerRequest>), ClientError> {
        config.validate()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let name = match (&config.instance_name, fixed_name) {
            (Some(name), _) => name.clone(),
            (None, Some(name)) => name.to_owned(),
            (None, None) => unique_instance_name(clock.now().0),
        };
        // Looking up a name may block.
        let asking = config.clone();
        let ip = tokio::task::spawn_blocking(move || asking.own_ip()).await;
        let ip = ip.map_err(|_| ClientError::Stopped)?;
        let client_id = format!("{ip}@{name}");
        let (beat_now, disconnected) = (Arc::new(Notify::new()), Arc::<Notify>::default());
        let (requests, inbox) = mpsc::channel(PEER_REQUESTS_WAITING);
        let transport = TransportConfig {
            connect_timeout: config.connect_timeout,
            ..TransportConfig::default()
        };
        let told = Inbox {
            requests,
            beat_now: Arc::clone(&beat_now),
            disconnected: Arc::clone(&disconnected),
        };
        let remoting = RemotingClient::new(transport, Arc::new(told));
        let name_servers = NameServers::new(remoting.clone(), &config);
        let heartbeat = HeartbeatData {
            client_id: client_id.clone(),
            ..HeartbeatData::default()
        };
        let instance = Arc::new(Self {
            config,
            client_id,
            clock,
            routes: RouteCache::new(name_servers),
            remoting,
            ids: UniqueIds::new(ip, std::process::id(), rand::random()),
            heartbeat: RwLock::new(heartbeat),
            beat_now,
            disconnected,
            announced: AtomicU64::new(0),
            tasks: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        instance.spawn(Arc::clone(&instance).refresh_routes());
        // Subscribed before anything can change.
        let changes = instance.routes.changes();
        instance.spawn(Arc::clone(&instance).beat(changes));
        Ok((instance, inbox))
    }

    /// Runs `task` until it ends or the client stops.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let handle = tokio::spawn(task).abort_handle();
        let mut tasks = self.tasks.lock();
        tasks.retain(|task| !task.is_finished());
        tasks.push(handle);
        if self.is_stopped() {
            tasks.iter().for_each(AbortHandle::abort);
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Ends the periodic work and closes the connections. Requests under way fail.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.tasks.lock().drain(..).for_each(|task| task.abort());
        self.remoting.close();
    }

    /// An id for a message, unlike any other.
    pub(crate) fn unique_id(&self) -> String {
        self.ids.next(self.clock.now())
    }

    /// Asks a peer; any answer is a success.
    pub(crate) async fn call(
        &self,
        address: &str,
        command: Command,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Response, ClientError> {
        Ok(self.remoting.call(address, command, body, timeout).await?)
    }

    /// Asks a peer within the ordinary time; only code 0 is a success.
    pub(crate) async fn ask(
        &self,
        address: &str,
        command: Command,
        body: Bytes,
    ) -> Result<Response, ClientError> {
        let time = self.config.request_timeout;
        succeeded(address, self.call(address, command, body, time).await?)
    }

    /// As [`Instance::ask`], for the typed header of the answer.
    pub(crate) async fn ask_header<H: WireHeader>(
        &self,
        address: &str,
        command: Command,
    ) -> Result<H, ClientError> {
        let response = self.ask(address, command, Bytes::new()).await?;
        header(address, &response.command)
    }

    /// Sends without waiting for an answer.
    pub(crate) async fn send_oneway(
        &self,
        address: &str,
        command: Command,
        body: Bytes,
    ) -> Result<(), ClientError> {
        Ok(self.remoting.send_oneway(address, command, body).await?)
    }

    /// The master of a broker, on the port sends go to.
    pub(crate) fn master_to_send(&self, broker_name: &str) -> Result<String, ClientError> {
        let master = self.master(broker_name)?;
        if !self.config.vip_channel {
            return Ok(master);
        }
        Ok(vip_address(&master).unwrap_or(master))
    }

    /// The master of a broker.
    pub(crate) fn master(&self, broker_name: &str) -> Result<String, ClientError> {
        let master = self.routes.master(broker_name);
        master.ok_or_else(|| ClientError::no_broker(broker_name))
    }

    /// Changes what heartbeats say.
    pub(crate) fn set_heartbeat(&self, change: impl FnOnce(&mut HeartbeatData)) {
        change(&mut self.heartbeat.write());
    }

    /// Returns once the brokers of all routes in use have heard of this client.
    pub(crate) async fn be_known(&self) {
        if self.announced.load(Ordering::Acquire) != *self.routes.changes().borrow() {
            self.heartbeat().await;
        }
    }

    /// Tells every broker in use who we are: masters, and all replicas if there is a consumer, for it may
    /// pull from any.
    pub(crate) async fn heartbeat(&self) {
        let data = self.heartbeat.read().clone();
        if data.producer_data_set.is_empty() && data.consumer_data_set.is_empty() {
            return;
        }
        let masters_only = data.consumer_data_set.is_empty();
        let changes = *self.routes.changes().borrow();
        let command = Command::request(request_code::HEART_BEAT);
        self.tell_all(masters_only, &command, &Bytes::from(data.encode()))
            .await;
        self.announced.store(changes, Ordering::Release);
    }

    /// Tells every broker in use that this client leaves its groups.
    pub(crate) async fn unregister(
        &self,
        producer_group: Option<&str>,
        consumer_group: Option<&str>,
    ) {
        let header = UnregisterClientRequestHeader {
            client_id: Some(self.client_id.clone()),
            producer_group: producer_group.map(str::to_owned),
            consumer_group: consumer_group.map(str::to_owned),
        };
        let command = Command::request(request_code::UNREGISTER_CLIENT).with(&header);
        self.tell_all(false, &command, &Bytes::new()).await;
    }

    /// Sends the same to all brokers at once, and waits for their answers.
    async fn tell_all(&self, masters_only: bool, command: &Command, body: &Bytes) {
        let mut told = JoinSet::new();
        for (id, address) in self.routes.all_brokers() {
            if masters_only && id != MASTER_ID {
                continue;
            }
            let (remoting, timeout) = (self.remoting.clone(), self.config.request_timeout);
            let (command, body) = (command.clone(), body.clone());
            told.spawn(async move {
                let code = command.code;
                match remoting.call(&address, command, body, timeout).await {
                    Ok(answer) => {
                        if let Err(error) = succeeded(&address, answer) {
                            tracing::warn!(code, %error, "a broker refuses what this client says of itself");
                        }
                    }
                    Err(error) => {
                        tracing::warn!(code, %error, "a broker was not told");
                        if matches!(error, TransportError::Timeout { .. }) {
                            // A peer that vanished without a word would hold the connection for minutes.
                            remoting.close_connection(&address).await;
                        }
                    }
                }
            });
        }
        while told.join_next().await.is_some() {}
    }

    async fn refresh_routes(self: Arc<Self>) {
        let spacing = ROUTE_REFRESH_SPACING.min(self.config.poll_name_server_interval);
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.config.poll_name_server_interval) => {}
                () = self.routes.stale.notified() => {}
            }
            self.routes.refresh_all().await;
            tokio::time::sleep(spacing).await;
        }
    }

    async fn beat(self: Arc<Self>, mut routes: watch::Receiver<u64>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.config.heartbeat_interval) => {}
                () = self.beat_now.notified() => {}
                changed = routes.changed() => if changed.is_err() { return },
            }
            self.heartbeat().await;
        }
    }
}

/// Only code 0 is a success.
pub(crate) fn succeeded(address: &str, answer: Response) -> Result<Response, ClientError> {
    match answer.command.code {
        response_code::SUCCESS => Ok(answer),
        _ => Err(refused(address, answer.command)),
    }
}

/// The error for an answer other than success.
pub(crate) fn refused(address: &str, answer: Command) -> ClientError {
    ClientError::Refused {
        address: address.to_owned(),
        code: answer.code,
        remark: answer.remark,
    }
}

/// The typed header of an answer.
pub(crate) fn header<H: WireHeader>(address: &str, answer: &Command) -> Result<H, ClientError> {
    answer.header().map_err(|source| ClientError::AnswerHeader {
        address: address.to_owned(),
        source,
    })
}

/// Makes the error for an answer whose body is not what it has to be.
pub(crate) fn unreadable_body<E: Error>(address: &str) -> impl Fn(E) -> ClientError {
    let address = address.to_owned();
    move |error| {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            reason = format!("{reason}: {error}");
            cause = error.source();
        }
        let address = address.clone();
        ClientError::AnswerBody { address, reason }
    }
}
