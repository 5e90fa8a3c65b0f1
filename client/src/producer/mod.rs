//! Sending messages.

mod builder;
mod choose;
mod outgoing;
mod pending;
mod result;
mod retry;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::wire::body::ProducerData;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use builder::Settings;

use crate::MessageQueue;
use crate::config::ClientConfig;
use crate::error::ClientError;
use crate::instance::Instance;
use crate::message::Message;
use crate::route::TopicRoute;
use crate::validate;

pub use builder::ProducerBuilder;
pub(crate) use outgoing::{COMPRESS_FROM, Outgoing, Sender};
pub use pending::PendingSend;
pub use result::{SendResult, SendStatus};

/// Sends messages. Clones share everything; use one per group for the life of the process.
///
/// ```no_run
/// # async fn example() -> Result<(), client::ClientError> {
/// use client::{Message, Producer};
///
/// let producer = Producer::builder("order-service", "127.0.0.1:9876").start().await?;
/// let result = producer.send(Message::new("orders", "hello").tag("created")).await?;
/// println!("{:?}: {} at {}", result.status, result.msg_id, result.queue_offset);
/// producer.shutdown().await;
/// # Ok(())
/// # }
/// ```
///
/// Messages go round all queues of their topic. A send that fails in a way another broker may not repeat is
/// tried again there, so a message whose first attempt did arrive, unknown to the producer, may be stored
/// twice: consumers have to cope with duplicates, [`SendResult::msg_id`] is equal in both.
///
/// When the last clone is dropped without [`Producer::shutdown`], connections close and brokers notice the
/// end by that.
#[derive(Clone)]
pub struct Producer {
    inner: Arc<Inner>,
}

struct Inner {
    instance: Arc<Instance>,
    settings: Settings,
    /// Counts sends, for the round robin.
    round: AtomicU32,
    in_flight: Arc<Semaphore>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.instance.stop();
    }
}

impl Producer {
    /// A producer of `group` that finds its brokers through these name servers: `"host:port;host:port"` or a
    /// [`ClientConfig`].
    pub fn builder(group: impl Into<String>, config: impl Into<ClientConfig>) -> ProducerBuilder {
        ProducerBuilder::new(group.into(), config.into())
    }

    async fn start(config: ClientConfig, settings: Settings) -> Result<Self, ClientError> {
        let (instance, _inbox) = Instance::start(config, None).await?;
        instance.set_heartbeat(|data| {
            data.producer_data_set = vec![ProducerData {
                group_name: settings.group.clone(),
            }];
        });
        let in_flight = Arc::new(Semaphore::new(settings.max_async_in_flight));
        // Producers that start together shall not all begin with the same queue.
        let round = AtomicU32::new(rand::random());
        let inner = Inner {
            instance,
            settings,
            round,
            in_flight,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Sends a message and waits until a broker has stored it.
    ///
    /// # Errors
    /// [`ClientError::IllegalMessage`] and [`ClientError::NoRoute`] before anything is sent;
    /// [`ClientError::Refused`] when the broker's answer is final; [`ClientError::SendFailed`] when all
    /// attempts failed and [`ClientError::SendTimeout`] when the time ran out, in both of which an attempt
    /// may have been stored all the same.
    pub async fn send(&self, message: Message) -> Result<SendResult, ClientError> {
        self.send_with_timeout(message, self.inner.settings.send_timeout)
            .await
    }

    /// As [`Producer::send`], within `timeout` for all attempts together.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn send_with_timeout(
        &self,
        message: Message,
        timeout: Duration,
    ) -> Result<SendResult, ClientError> {
        let outgoing = self.inner.prepare(message)?;
        self.inner.send_round(&outgoing, timeout).await
    }

    /// Sends to one queue, in a single attempt.
    ///
    /// # Errors
    /// As [`Producer::send`], but without [`ClientError::SendFailed`].
    pub async fn send_to(
        &self,
        message: Message,
        queue: &MessageQueue,
    ) -> Result<SendResult, ClientError> {
        if message.topic() != queue.topic {
            return Err(ClientError::IllegalMessage {
                reason: format!(
                    "the message's topic `{}` is not that of the queue, `{}`",
                    message.topic(),
                    queue.topic
                ),
            });
        }
        let outgoing = self.inner.prepare(message)?;
        let timeout = self.inner.settings.send_timeout;
        self.inner.route(&outgoing.topic).await?;
        self.inner.attempt(&outgoing, queue, timeout).await
    }

    /// Sends to the queue `select` chooses: it gets the topic's queues, the same at every call until the
    /// route changes, and answers an index. A single attempt.
    ///
    /// ```no_run
    /// # async fn example(producer: client::Producer) -> Result<(), client::ClientError> {
    /// # use client::Message;
    /// let customer = 4711_usize;
    /// let message = Message::new("orders", "paid");
    /// producer.send_selected(message, |queues| customer % queues.len()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ClientError::NoSuchQueue`] for an index beyond the queues; otherwise as [`Producer::send_to`].
    pub async fn send_selected(
        &self,
        message: Message,
        select: impl FnOnce(&[MessageQueue]) -> usize,
    ) -> Result<SendResult, ClientError> {
        let outgoing = self.inner.prepare(message)?;
        let timeout = self.inner.settings.send_timeout;
        let route = self.inner.route(&outgoing.topic).await?;
        let chosen = select(&route.publish);
        let queues = route.publish.len();
        let queue = route
            .publish
            .get(chosen)
            .ok_or(ClientError::NoSuchQueue { chosen, queues })?;
        self.inner.attempt(&outgoing, queue, timeout).await
    }

    /// Starts a send and returns. The send goes on whether or not the returned future is awaited.
    ///
    /// ```no_run
    /// # async fn example(producer: client::Producer) -> Result<(), client::ClientError> {
    /// # use client::Message;
    /// let sends: Vec<_> =
    ///     (0..100).map(|n| producer.send_async(Message::new("orders", format!("{n}")))).collect();
    /// for send in sends {
    ///     send.await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Must be called within a tokio runtime. Fails with [`ClientError::TooManyInFlight`] when too many are
    /// under way already; otherwise as [`Producer::send`].
    pub fn send_async(&self, message: Message) -> PendingSend {
        let inner = Arc::clone(&self.inner);
        let Ok(permit) = Arc::clone(&inner.in_flight).try_acquire_owned() else {
            let limit = inner.settings.max_async_in_flight;
            return PendingSend::failed(ClientError::TooManyInFlight { limit });
        };
        PendingSend::spawn(async move {
            let _permit = permit;
            let outgoing = inner.prepare(message)?;
            inner
                .send_round(&outgoing, inner.settings.send_timeout)
                .await
        })
    }

    /// As [`Producer::send_async`], for callers who would rather be called back.
    pub fn send_with_callback(
        &self,
        message: Message,
        callback: impl FnOnce(Result<SendResult, ClientError>) + Send + 'static,
    ) {
        let pending = self.send_async(message);
        tokio::spawn(async move { callback(pending.await) });
    }

    /// Sends without waiting for an answer: nobody learns whether the message was stored.
    ///
    /// # Errors
    /// [`ClientError::IllegalMessage`], [`ClientError::NoRoute`], and [`ClientError::Transport`] when there
    /// is no connection.
    pub async fn send_oneway(&self, message: Message) -> Result<(), ClientError> {
        let outgoing = self.inner.prepare(message)?;
        let route = self.inner.route(&outgoing.topic).await?;
        let queue = self.inner.next(&route, None, &outgoing.topic)?;
        let address = self.inner.instance.master_to_send(&queue.broker_name)?;
        let command = outgoing.request(&self.inner.sender(), queue);
        self.inner
            .instance
            .send_oneway(&address, command, outgoing.body.clone())
            .await
    }

    /// Sends messages of one topic in one request to one queue; all of them are stored, or none.
    ///
    /// # Errors
    /// [`ClientError::IllegalMessage`] when they differ in topic or in waiting for the store, when one is
    /// delayed, or when they are too large together; otherwise as [`Producer::send`].
    pub async fn send_batch(&self, messages: Vec<Message>) -> Result<SendResult, ClientError> {
        let settings = &self.inner.settings;
        for message in &messages {
            validate::message(message, settings.max_message_size)?;
        }
        let born = self.inner.instance.clock.now().0;
        let id = || self.inner.instance.unique_id();
        let outgoing = Outgoing::batch(messages, id, born, settings.max_message_size)?;
        self.inner
            .send_round(&outgoing, settings.send_timeout)
            .await
    }

    /// The queues sends to `topic` can go to now.
    ///
    /// # Errors
    /// [`ClientError::NoRoute`] or what kept the name servers from answering.
    pub async fn publish_queues(&self, topic: &str) -> Result<Vec<MessageQueue>, ClientError> {
        validate::topic(topic)?;
        Ok(self.inner.route(topic).await?.publish.clone())
    }

    /// The name under which brokers know this client.
    pub fn client_id(&self) -> &str {
        &self.inner.instance.client_id
    }

    /// Takes leave of the brokers and closes the connections. Sends under way on other clones fail.
    pub async fn shutdown(self) {
        if !self.inner.instance.is_stopped() {
            self.inner
                .instance
                .unregister(Some(&self.inner.settings.group), None)
                .await;
            self.inner.instance.stop();
        }
    }
}

impl Inner {
    fn prepare(&self, message: Message) -> Result<Outgoing, ClientError> {
        if self.instance.is_stopped() {
            return Err(ClientError::Stopped);
        }
        validate::message(&message, self.settings.max_message_size)?;
        let born = self.instance.clock.now().0;
        let id = || self.instance.unique_id();
        Ok(Outgoing::message(
            message,
            id,
            born,
            self.settings.compress_from,
        ))
    }

    /// Queues to send to; the template's if nobody knows the topic.
    async fn route(&self, topic: &str) -> Result<Arc<TopicRoute>, ClientError> {
        let route = self
            .instance
            .routes
            .get_to_publish(topic, &self.settings.template)
            .await?;
        if route.publish.is_empty() {
            return Err(ClientError::NoRoute {
                topic: topic.to_owned(),
            });
        }
        Ok(route)
    }

    fn next<'a>(
        &self,
        route: &'a TopicRoute,
        avoid: Option<&str>,
        topic: &str,
    ) -> Result<&'a MessageQueue, ClientError> {
        let mut counter = self.round.fetch_add(1, Ordering::Relaxed);
        choose::next_queue(&route.publish, &mut counter, avoid).ok_or_else(|| {
            ClientError::NoRoute {
                topic: topic.to_owned(),
            }
        })
    }

    fn sender(&self) -> Sender<'_> {
        Sender {
            group: &self.settings.group,
            template_topic: &self.settings.template.topic,
            template_queues: self.settings.template.queues,
        }
    }

    /// Attempts on the queues in turn until one works, a failure is final, or time or attempts are used up.
    async fn send_round(
        &self,
        outgoing: &Outgoing,
        timeout: Duration,
    ) -> Result<SendResult, ClientError> {
        let started = Instant::now();
        let timed_out = |last: Option<ClientError>| ClientError::SendTimeout {
            topic: outgoing.topic.clone(),
            timeout,
            last: last.map(Box::new),
        };
        let attempts = self.settings.retry_times.saturating_add(1);
        let mut failed: Option<(ClientError, String)> = None;
        let mut stored = None;
        for attempt in 1..=attempts {
            let left = timeout.saturating_sub(started.elapsed());
            let routed = tokio::time::timeout(left, self.route(&outgoing.topic)).await;
            let Ok(route) = routed else {
                return Err(timed_out(failed.map(|(error, _)| error)));
            };
            let route = route?;
            let avoid = failed.as_ref().map(|(_, broker)| broker.as_str());
            let queue = self.next(&route, avoid, &outgoing.topic)?;
            let left = timeout.saturating_sub(started.elapsed());
            match self.attempt(outgoing, queue, left).await {
                Ok(result) if self.is_good_enough(&result) => return Ok(result),
                Ok(result) => {
                    tracing::warn!(status = ?result.status, result.msg_id, "stored less safely than asked for");
                    stored = Some(result);
                }
                Err(error) if retry::is_worth_another_attempt(&error) => {
                    tracing::warn!(topic = outgoing.topic, attempt, broker = queue.broker_name, %error, "send attempt failed");
                    self.instance.routes.report_stale();
                    failed = Some((error, queue.broker_name.clone()));
                }
                Err(error) => return Err(error),
            }
            if started.elapsed() >= timeout {
                return stored.ok_or_else(|| timed_out(failed.map(|(error, _)| error)));
            }
        }
        if let Some(stored) = stored {
            return Ok(stored);
        }
        let last = failed.map_or(ClientError::Stopped, |(error, _)| error);
        Err(ClientError::SendFailed {
            topic: outgoing.topic.clone(),
            attempts,
            elapsed: started.elapsed(),
            last: Box::new(last),
        })
    }

    fn is_good_enough(&self, result: &SendResult) -> bool {
        result.status == SendStatus::SendOk || !self.settings.retry_another_broker_when_not_store_ok
    }

    async fn attempt(
        &self,
        outgoing: &Outgoing,
        queue: &MessageQueue,
        timeout: Duration,
    ) -> Result<SendResult, ClientError> {
        let address = self.instance.master_to_send(&queue.broker_name)?;
        let command = outgoing.request(&self.sender(), queue);
        let answer = self
            .instance
            .call(&address, command, outgoing.body.clone(), timeout)
            .await?;
        SendResult::read(&address, queue, &outgoing.msg_id, answer.command)
    }
}
