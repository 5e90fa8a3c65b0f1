//! What a producer can be told before it starts.

use std::future::Future;
use std::time::Duration;

use super::accumulate::AutoBatch;
use super::inner::Inner;
use super::outgoing::Compress;
use super::transaction::Checker;
use super::{Producer, TransactionProducer, TransactionState};
use crate::MessageExt;
use crate::caught::Boxed;
use crate::config::ClientConfig;
use crate::error::ClientError;
use crate::route_cache::Template;
use crate::settings::settings;
use crate::validate;

/// Prepares a [`Producer`].
#[derive(Debug, Clone)]
pub struct ProducerBuilder {
    config: ClientConfig,
    settings: Settings,
}

settings! {
    /// What a producer does when nothing else is said: the values of RocketMQ's own clients.
    pub(crate) struct Settings, set by ProducerBuilder {
        /// Time for a send, all attempts together. Default 3 s.
        send_timeout: Duration = Duration::from_secs(3),
        /// Further attempts after the first one failed, on another broker if there is one. Default 2.
        retry_times: usize = 2,
        /// Whether a message that was stored less safely than asked for is sent to another broker as well, which
        /// makes it a duplicate. Default false.
        retry_another_broker_when_not_store_ok: bool = false,
        /// Which bodies are compressed, and how. Batches never are. Default: zlib, level 5, from 4096 bytes on.
        compress: Compress = Compress::default(),
        /// Largest body, and largest batch, in bytes. Default 4 MiB, which is also the broker's default.
        max_message_size: usize = 4 << 20,
        /// How many [`Producer::send_async`] and transactions may be under way. Of the former more fail at once, of the
        /// latter more wait. At least 1; default 10,000.
        max_async_in_flight: u32 = 10_000,
        /// Checks of transactions that run at the same time. At least 1; default 16.
        max_concurrent_checks: usize = 16,
        /// How long a shutdown waits for work that goes on by itself. Default 10 s.
        shutdown_timeout: Duration = Duration::from_secs(10),
    } and otherwise {
        auto_batch: Option<AutoBatch> = None,
        topics: Vec<String> = Vec::new(),
        template: Template = Template::default(),
    }
}

impl ProducerBuilder {
    pub(super) fn new(group: String, config: ClientConfig) -> Self {
        let settings = Settings::new(group);
        Self { config, settings }
    }

    /// Gathers messages sent one by one into batches. Default off.
    #[must_use]
    pub fn auto_batch(mut self, auto_batch: AutoBatch) -> Self {
        self.settings.auto_batch = Some(auto_batch);
        self
    }

    /// Topics whose brokers shall know this producer from the start, not from its first send on: they ask it how
    /// transactions of its group ended, and can reply to it.
    #[must_use]
    pub fn topics<T: Into<String>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        let topics = topics.into_iter().map(Into::into);
        self.settings.topics.extend(topics);
        self
    }

    /// Queues per broker of topics that this producer's sends create. Default 4.
    #[must_use]
    pub fn default_topic_queue_nums(mut self, queues: i32) -> Self {
        self.settings.template.queues = queues;
        self
    }

    /// Topic whose settings topics created by sending take over. Default `TBW102`.
    #[must_use]
    pub fn create_topic_key(mut self, topic: impl Into<String>) -> Self {
        self.settings.template.topic = topic.into();
        self
    }

    /// Starts the producer. Unless it has [topics](ProducerBuilder::topics), name servers and brokers are asked on the first
    /// send only.
    ///
    /// # Errors
    /// [`ClientError::InvalidConfig`] and [`ClientError::NoNameServer`]; with topics, what kept the name servers from
    /// answering.
    pub async fn start(self) -> Result<Producer, ClientError> {
        self.start_with(None).await
    }

    /// Starts a producer of transactional messages. `check` answers brokers that ask how the transaction of a message ended,
    /// which any producer of the group may have sent. Its panic counts as [`TransactionState::Unknown`].
    ///
    /// # Errors
    /// As [`ProducerBuilder::start`]; what kept the name servers from answering.
    pub async fn start_transactional<F, Fut>(
        self,
        check: F,
    ) -> Result<TransactionProducer, ClientError>
    where
        F: Fn(MessageExt) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = TransactionState> + Send + 'static,
    {
        let check = Box::new(move |half| -> Boxed<_> { Box::pin(check(half)) });
        let checker = Checker::new(&self.settings, check);
        let producer = self.start_with(Some(checker)).await?;
        Ok(TransactionProducer { producer })
    }

    async fn start_with(self, checker: Option<Checker>) -> Result<Producer, ClientError> {
        let Self { config, settings } = self;
        validate::group("producer group", &settings.group)?;
        if settings.template.queues < 1 {
            let reason = "must be at least 1";
            return Err(ClientError::invalid("default topic queue nums", reason));
        }
        let delays = Duration::from_millis(1)..=Duration::from_secs(30);
        if (settings.auto_batch).is_some_and(|auto| !delays.contains(&auto.delay)) {
            let reason = "must be 1 ms to 30 s";
            return Err(ClientError::invalid("delay of automatic batches", reason));
        }
        let inner = Inner::start(config, settings, checker).await?;
        Ok(Producer { inner })
    }
}
