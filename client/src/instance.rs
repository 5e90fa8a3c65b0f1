//! What every producer, consumer and admin client runs on: its connections, its routes, its heartbeats.

use std::sync::Arc;
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

/// Requests from brokers that wait for the consumer's task. More are answered busy, or dropped when nobody
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

/// Takes what brokers ask; runs on the transport's threads, so it only hands on.
#[derive(Debug)]
struct Inbox {
    requests: mpsc::Sender<PeerRequest>,
    beat_now: Arc<Notify>,
}

impl PeerRequests for Inbox {
    fn request(
        &self,
        connection: &Arc<Connection>,
        command: &Command,
        body: Bytes,
    ) -> Option<Reply> {
        if !served(command.code) {
            return Some(Reply::not_supported(command.code));
        }
        let request = PeerRequest {
            connection: Arc::clone(connection),
            command: command.clone(),
            body,
        };
        match self.requests.try_send(request) {
            Ok(()) => None,
            Err(_) => Some(Reply::error(
                response_code::SYSTEM_BUSY,
                "the client is busy",
            )),
        }
    }

    /// A broker forgets a consumer whose connection ends, and the others share its queues: it has to hear of
    /// this client again at once, not with the next heartbeat in turn.
    fn disconnected(&self, _: &str) {
        self.beat_now.notify_one();
    }
}

/// Codes a consumer's task answers.
fn served(code: i32) -> bool {
    matches!(
        code,
        request_code::NOTIFY_CONSUMER_IDS_CHANGED
            | request_code::GET_CONSUMER_RUNNING_INFO
            | request_code::RESET_CONSUMER_CLIENT_OFFSET
            | request_code::CONSUME_MESSAGE_DIRECTLY
            | request_code::GET_CONSUMER_STATUS_FROM_CLIENT
    )
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
    beat_now: Arc<Notify>,
    tasks: Mutex<Vec<AbortHandle>>,
    stopped: watch::Sender<bool>,
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
        let beat_now = Arc::new(Notify::new());
        let (requests, inbox) = mpsc::channel(PEER_REQUESTS_WAITING);
        let transport = TransportConfig {
            connect_timeout: config.connect_timeout,
            ..TransportConfig::default()
        };
        let remoting = RemotingClient::new(
            transport,
            Arc::new(Inbox {
                requests,
                beat_now: Arc::clone(&beat_now),
            }),
        );
        let first = usize::from(rand::random::<u16>());
        let name_servers = NameServers::new(config.name_servers.clone(), first);
        let routes = RouteCache::new(remoting.clone(), name_servers, config.request_timeout);
        let heartbeat = HeartbeatData {
            client_id: client_id.clone(),
            ..HeartbeatData::default()
        };
        let (stopped, _) = watch::channel(false);
        let instance = Arc::new(Self {
            config,
            client_id,
            clock,
            routes,
            remoting,
            ids: UniqueIds::new(ip, std::process::id(), rand::random()),
            heartbeat: RwLock::new(heartbeat),
            beat_now,
            tasks: Mutex::default(),
            stopped,
        });
        instance.spawn({
            let instance = Arc::clone(&instance);
            async move { instance.refresh_routes().await }
        });
        instance.spawn({
            let instance = Arc::clone(&instance);
            // Subscribed before anything can change.
            let routes = instance.routes.changes();
            async move { instance.beat(routes).await }
        });
        Ok((instance, inbox))
    }

    /// Runs `task` until it ends or the client stops.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let handle = tokio::spawn(task).abort_handle();
        let mut tasks = self.tasks.lock();
        tasks.retain(|task| !task.is_finished());
        tasks.push(handle);
        if *self.stopped.borrow() {
            tasks.iter().for_each(AbortHandle::abort);
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    /// Ends the periodic work and closes the connections. Requests under way fail.
    pub(crate) fn stop(&self) {
        self.stopped.send_replace(true);
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
        let response = self
            .call(address, command, body, self.config.request_timeout)
            .await?;
        if response.command.code != response_code::SUCCESS {
            return Err(refused(address, response.command));
        }
        Ok(response)
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
        self.routes
            .master(broker_name)
            .ok_or_else(|| ClientError::NoBroker {
                broker_name: broker_name.to_owned(),
            })
    }

    /// Changes what heartbeats say.
    pub(crate) fn set_heartbeat(&self, change: impl FnOnce(&mut HeartbeatData)) {
        change(&mut self.heartbeat.write());
    }

    /// Has a heartbeat sent soon.
    pub(crate) fn beat_soon(&self) {
        self.beat_now.notify_one();
    }

    /// Tells every broker in use who we are: masters, and all replicas if there is a consumer, for it may
    /// pull from any.
    pub(crate) async fn heartbeat(&self) {
        let data = self.heartbeat.read().clone();
        if data.producer_data_set.is_empty() && data.consumer_data_set.is_empty() {
            return;
        }
        let masters_only = data.consumer_data_set.is_empty();
        let body = Bytes::from(data.encode());
        let mut beats = JoinSet::new();
        for (id, address) in self.routes.all_brokers() {
            if masters_only && id != MASTER_ID {
                continue;
            }
            let (remoting, body) = (self.remoting.clone(), body.clone());
            let timeout = self.config.request_timeout;
            beats.spawn(async move {
                let command = Command::request(request_code::HEART_BEAT);
                match remoting.call(&address, command, body, timeout).await {
                    Ok(answer) if answer.command.code == response_code::SUCCESS => {}
                    Ok(answer) => {
                        let error = refused(&address, answer.command);
                        tracing::warn!(%error, "heartbeat refused");
                    }
                    Err(error) => {
                        tracing::warn!(%error, "heartbeat failed");
                        if matches!(error, TransportError::Timeout { .. }) {
                            // A peer that vanished without a word would hold the connection for minutes.
                            remoting.close_connection(&address).await;
                        }
                    }
                }
            });
        }
        while beats.join_next().await.is_some() {}
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
        let mut goodbyes = JoinSet::new();
        for (_, address) in self.routes.all_brokers() {
            let command = Command::request(request_code::UNREGISTER_CLIENT).with(&header);
            let (remoting, timeout) = (self.remoting.clone(), self.config.request_timeout);
            goodbyes.spawn(async move {
                if let Err(error) = remoting
                    .call(&address, command, Bytes::new(), timeout)
                    .await
                {
                    tracing::debug!(%error, "could not unregister");
                }
            });
        }
        while goodbyes.join_next().await.is_some() {}
    }

    async fn refresh_routes(&self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.config.poll_name_server_interval) => {}
                () = self.routes.stale() => {}
            }
            self.routes.refresh_all().await;
            tokio::time::sleep(ROUTE_REFRESH_SPACING.min(self.config.poll_name_server_interval))
                .await;
        }
    }

    async fn beat(&self, mut routes: watch::Receiver<u64>) {
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

/// The error for an answer whose body is not what it has to be.
pub(crate) fn unreadable_body(address: &str, error: &dyn std::error::Error) -> ClientError {
    use std::fmt::Write as _;
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String cannot fail.
        let _ = write!(reason, ": {error}");
        cause = error.source();
    }
    ClientError::AnswerBody {
        address: address.to_owned(),
        reason,
    }
}
