//! One name server, and what it has been told.

use super::{RegistrationSettings, body};
use crate::topic::TopicTable;
use bytes::Bytes;
use common::transport::{Connection, RemotingClient, Response, TransportError};
use common::wire::body::{KvTable, TopicConfigSerializeWrapper};
use common::wire::header::QueryDataVersionResponseHeader;
use common::wire::{Command, response_code};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

/// Time until a name server that did not answer, or lost the connection, is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Time a name server has to confirm that the broker is gone.
const UNREGISTER_TIMEOUT: Duration = Duration::from_secs(1);
/// Topics of one request even where no portions are asked for: with names of full length they stay below the frame limit.
const MOST_TOPICS_PER_REQUEST: usize = 30_000;

/// One name server, and what it has been told.
pub(super) struct NameServer {
    pub(super) address: SocketAddr,
    pub(super) settings: watch::Receiver<RegistrationSettings>,
    pub(super) topics: TopicTable,
    pub(super) client: RemotingClient,
    pub(super) told: Option<Told>,
    /// The last attempt failed and somebody has read so in the log.
    pub(super) failing: bool,
}

/// What a name server knows.
pub(super) struct Told {
    /// The connection it was told over; when it ends, the name server forgets.
    connection: Arc<Connection>,
    /// Counter of the version of the topics.
    counter: i64,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("it answers {code}: {remark}")]
    Refused { code: i32, remark: String },
}

impl NameServer {
    /// Keeps the name server informed until `stopped`, then unregisters. `tried` hears of the first attempt's end.
    pub(super) async fn run(
        mut self,
        tried: oneshot::Sender<()>,
        mut lost: watch::Receiver<u64>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let mut changes = self.topics.changes();
        let mut settings = self.settings.clone();
        let mut tried = Some(tried);
        let mut full_at = Instant::now();
        loop {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => break,
                next = self.inform(full_at <= Instant::now()) => {
                    if let Some(pause) = next {
                        full_at = Instant::now() + pause;
                    }
                }
            }
            if let Some(tried) = tried.take() {
                // Nobody waits any more when the start took too long.
                let _ = tried.send(());
            }
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => break,
                () = tokio::time::sleep_until(full_at) => {}
                // Without a connection there is nobody to tell a change; the registration that is due has it.
                Ok(()) = changes.changed(), if self.told.is_some() => {}
                Ok(()) = settings.changed() => full_at = Instant::now(),
                Ok(()) = lost.changed() => {
                    if self.forget_if_lost() {
                        full_at = Instant::now() + RETRY_PAUSE;
                    }
                }
            }
        }
        self.unregister().await;
    }

    fn forget_if_lost(&mut self) -> bool {
        let lost = self
            .told
            .as_ref()
            .is_some_and(|told| told.connection.is_closed());
        if lost {
            tracing::warn!("connection to name server {} lost", self.address);
            self.told = None;
        }
        lost
    }

    /// Tells everything if that is due, otherwise what has changed. Returns when everything is due next, if that is another
    /// time than before.
    async fn inform(&mut self, full: bool) -> Option<Duration> {
        if !full {
            let told = self.told.as_ref()?;
            match self.register_changes(told).await {
                Ok(Some(counter)) => {
                    self.told = self.told.take().map(|told| Told { counter, ..told });
                    return None;
                }
                // A version it is not told of now would make it take everything anew half a minute later, and undo what an
                // administrator has changed there meanwhile.
                Ok(None) => {}
                // It does not know this broker, or not the way it should: once more from the beginning.
                Err(error) => tracing::info!(
                    "name server {} is told everything again: {error}",
                    self.address
                ),
            }
        }
        match self.register_all().await {
            Ok(told) => {
                if self.failing || self.told.is_none() {
                    tracing::info!("registered with name server {}", self.address);
                }
                self.failing = false;
                self.told = Some(told);
                Some(self.settings.borrow().period)
            }
            Err(error) => {
                if !self.failing {
                    tracing::warn!(
                        "cannot register with name server {}: {error}; trying on",
                        self.address
                    );
                }
                self.failing = true;
                self.told = None;
                Some(RETRY_PAUSE)
            }
        }
    }

    async fn register_all(&self) -> Result<Told, Failure> {
        let connection = self.client.connection(&self.address.to_string()).await?;
        let all = self.topics.wrapper();
        let mut counter = all.data_version.counter;
        let (force, portion) = {
            let settings = self.settings.borrow();
            (settings.force, settings.portion)
        };
        let size = portion.unwrap_or(usize::MAX).min(MOST_TOPICS_PER_REQUEST);
        if !force && self.knows(&connection, &all).await {
            // Nothing to tell.
        } else if all.topic_config_table.len() <= size {
            self.register(&connection, all).await?;
        } else {
            for mut portion in body::portions(all, size) {
                // A name server takes known topics only from a version that it has not seen.
                portion.data_version = self.topics.step_version();
                counter = portion.data_version.counter;
                self.register(&connection, portion).await?;
            }
        }
        Ok(Told {
            connection,
            counter,
        })
    }

    /// `None` when the version is another one, but no topic is: some were deleted.
    async fn register_changes(&self, told: &Told) -> Result<Option<i64>, Failure> {
        let changed = self.topics.changed_since(told.counter);
        let counter = changed.data_version.counter;
        if !changed.topic_config_table.is_empty() {
            self.register(&told.connection, changed).await?;
        } else if counter != told.counter {
            return Ok(None);
        }
        Ok(Some(counter))
    }

    async fn register(
        &self,
        connection: &Connection,
        topics: TopicConfigSerializeWrapper,
    ) -> Result<(), Failure> {
        let (command, body) = body::register(&self.settings.borrow(), topics);
        let answer = self.call(connection, command, body).await?;
        if !answer.body.is_empty() {
            self.mark_order_topics(&answer.body).await;
        }
        Ok(())
    }

    async fn mark_order_topics(&self, body: &[u8]) {
        let listed = match KvTable::decode(body) {
            Ok(listed) => listed,
            Err(error) => {
                return tracing::warn!("order topics of name server {}: {error}", self.address);
            }
        };
        let topics = self.topics.clone();
        let marking = tokio::task::spawn_blocking(move || topics.mark_order_topics(&listed));
        let marked = marking.await.map_err(|panicked| panicked.to_string());
        if let Err(error) = marked.and_then(|marked| marked.map_err(|error| error.to_string())) {
            tracing::warn!("order topics of name server {}: {error}", self.address);
        }
    }

    /// Whether the name server has this version already. One that does not answer the question is told everything.
    async fn knows(&self, connection: &Connection, all: &TopicConfigSerializeWrapper) -> bool {
        let (command, body) = body::query_data_version(&self.settings.borrow(), all);
        let Ok(answer) = self.call(connection, command, body).await else {
            return false;
        };
        answer
            .command
            .header::<QueryDataVersionResponseHeader>()
            .is_ok_and(|header| !header.changed)
    }

    async fn call(
        &self,
        connection: &Connection,
        command: Command,
        body: Bytes,
    ) -> Result<Response, Failure> {
        let timeout = self.settings.borrow().timeout;
        let answer = connection.call(command, body, timeout).await?;
        if answer.command.code == response_code::SUCCESS {
            return Ok(answer);
        }
        let remark = answer.command.remark.unwrap_or_default();
        Err(Failure::Refused {
            code: answer.command.code,
            remark,
        })
    }

    async fn unregister(self) {
        let Some(told) = &self.told else { return };
        let command = body::unregister(&self.settings.borrow());
        if let Err(error) = told
            .connection
            .call(command, Bytes::new(), UNREGISTER_TIMEOUT)
            .await
        {
            tracing::warn!(
                "cannot unregister from name server {}: {error}",
                self.address
            );
        }
    }
}
