//! What a producer can be told before it starts.

use std::time::Duration;

use tokio::sync::Semaphore;

use super::Producer;
use super::outgoing::COMPRESS_FROM;
use crate::config::ClientConfig;
use crate::error::ClientError;
use crate::names::AUTO_CREATE_TOPIC;
use crate::route_cache::Template;
use crate::validate;

/// What a producer does when nothing else is said: the values of RocketMQ's own clients.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) group: String,
    pub(super) send_timeout: Duration,
    pub(super) retry_times: usize,
    pub(super) retry_another_broker_when_not_store_ok: bool,
    pub(super) compress_from: usize,
    pub(super) max_message_size: usize,
    pub(super) max_async_in_flight: usize,
    pub(super) template: Template,
}

/// Prepares a [`Producer`].
#[derive(Debug, Clone)]
pub struct ProducerBuilder {
    config: ClientConfig,
    settings: Settings,
}

impl ProducerBuilder {
    pub(super) fn new(group: String, config: ClientConfig) -> Self {
        let template = Template {
            topic: AUTO_CREATE_TOPIC.to_owned(),
            queues: 4,
        };
        let settings = Settings {
            group,
            send_timeout: Duration::from_secs(3),
            retry_times: 2,
            retry_another_broker_when_not_store_ok: false,
            compress_from: COMPRESS_FROM,
            max_message_size: 4 << 20,
            max_async_in_flight: 10_000,
            template,
        };
        Self { config, settings }
    }

    /// Time for a send, all attempts together. Default 3 s.
    #[must_use]
    pub fn send_timeout(mut self, timeout: Duration) -> Self {
        self.settings.send_timeout = timeout;
        self
    }

    /// Further attempts after the first one failed, on another broker if there is one. Default 2.
    #[must_use]
    pub fn retry_times(mut self, times: usize) -> Self {
        self.settings.retry_times = times;
        self
    }

    /// Whether a message that was stored less safely than asked for is sent to another broker as well, which
    /// makes it a duplicate. Default false.
    #[must_use]
    pub fn retry_another_broker_when_not_store_ok(mut self, retry: bool) -> Self {
        self.settings.retry_another_broker_when_not_store_ok = retry;
        self
    }

    /// Bodies of this many bytes or more are compressed (zlib). Default 4096.
    #[must_use]
    pub fn compress_from(mut self, bytes: usize) -> Self {
        self.settings.compress_from = bytes;
        self
    }

    /// Largest body, and largest batch, in bytes. Default 4 MiB, which is also the broker's default.
    #[must_use]
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.settings.max_message_size = bytes;
        self
    }

    /// How many [`Producer::send_async`] may be under way; more fail at once. Default 10,000.
    #[must_use]
    pub fn max_async_in_flight(mut self, sends: usize) -> Self {
        self.settings.max_async_in_flight = sends.min(Semaphore::MAX_PERMITS);
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

    /// Starts the producer. Name servers and brokers are asked on the first send only.
    ///
    /// # Errors
    /// [`ClientError::InvalidConfig`] and [`ClientError::NoNameServer`].
    pub async fn start(self) -> Result<Producer, ClientError> {
        let Self { config, settings } = self;
        validate::group("producer group", &settings.group)?;
        if settings.template.queues < 1 {
            return Err(ClientError::InvalidConfig {
                what: "default topic queue nums",
                reason: "must be at least 1".to_owned(),
            });
        }
        Producer::start(config, settings).await
    }
}
