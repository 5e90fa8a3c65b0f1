//! What the clones of a producer share, and how a message gets to a broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use common::wire::body::ProducerData;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::accumulate::Accumulator;
use super::builder::Settings;
use super::outgoing::{Outgoing, Sender};
use super::request::{Desk, Waiting};
use super::transaction::Checker;
use super::{SendResult, SendStatus, choose, retry};
use crate::config::ClientConfig;
use crate::error::ClientError;
use crate::instance::Instance;
use crate::message::Message;
use crate::route::TopicRoute;
use crate::{MessageQueue, validate};

pub(super) struct Inner {
    pub(super) instance: Arc<Instance>,
    pub(super) settings: Settings,
    pub(super) accumulator: Option<Accumulator>,
    pub(super) waiting: Arc<Waiting>,
    /// A permit for each piece of work that goes on by itself: who has them all knows that there is none.
    pub(super) at_work: Arc<Semaphore>,
    /// Counts sends, for the round robin.
    pub(super) round: AtomicU32,
    stopping: AtomicBool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.instance.stop();
    }
}

/// Refuses a queue of another topic.
pub(super) fn same_topic(topic: &str, queue: &MessageQueue) -> Result<(), ClientError> {
    if topic == queue.topic {
        return Ok(());
    }
    let of_queue = &queue.topic;
    let reason = format!("the message's topic `{topic}` is not that of the queue, `{of_queue}`");
    Err(ClientError::illegal(reason))
}

impl Inner {
    pub(super) async fn start(
        config: ClientConfig,
        mut settings: Settings,
        checker: Option<Checker>,
    ) -> Result<Arc<Self>, ClientError> {
        settings.max_async_in_flight = settings.max_async_in_flight.max(1);
        let (instance, inbox) = Instance::start(config, None).await?;
        instance.set_heartbeat(|data| {
            data.producer_data_set = vec![ProducerData {
                group_name: settings.group.clone(),
            }];
        });
        let permits = usize::try_from(settings.max_async_in_flight).unwrap_or(usize::MAX);
        let inner = Arc::new(Self {
            instance: Arc::clone(&instance),
            accumulator: settings.auto_batch.map(Accumulator::new),
            waiting: Arc::default(),
            at_work: Arc::new(Semaphore::new(permits)),
            // Producers that start together shall not all begin with the same queue.
            round: AtomicU32::new(rand::random()),
            stopping: AtomicBool::new(false),
            settings,
        });
        let transactional = checker.is_some();
        let desk = Desk {
            instance: Arc::clone(&instance),
            waiting: Arc::clone(&inner.waiting),
            checker: checker.map(Arc::new),
            at_work: Arc::clone(&inner.at_work),
        };
        instance.spawn(desk.serve(inbox));
        // Brokers ask those they know. The template's brokers are those any topic may come to be on.
        let template = transactional.then_some(&inner.settings.template.topic);
        for topic in inner.settings.topics.iter().chain(template) {
            instance.routes.find(topic).await?;
        }
        instance.be_known().await;
        Ok(inner)
    }

    /// Ends in order: what goes on by itself is waited for, as long as the settings say.
    pub(super) async fn shutdown(&self) {
        if self.stopping.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(accumulator) = &self.accumulator {
            accumulator.flush();
        }
        let all = self.at_work.acquire_many(self.settings.max_async_in_flight);
        let limit = self.settings.shutdown_timeout;
        let all = tokio::time::timeout(limit, all).await;
        if all.is_err() {
            tracing::warn!(?limit, "work of the producer goes on, it is given up");
        }
        // Closed before the permits come back: nothing new shall begin.
        self.at_work.close();
        drop(all);
        let group = Some(self.settings.group.as_str());
        self.instance.unregister(group, None).await;
        self.instance.stop();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Why work that goes on by itself cannot be started.
    pub(super) fn too_many(&self) -> ClientError {
        if self.is_stopping() {
            return ClientError::Stopped;
        }
        let limit = usize::try_from(self.settings.max_async_in_flight).unwrap_or(usize::MAX);
        ClientError::TooManyInFlight { limit }
    }

    /// Refuses what nobody may send, and everything once the producer is stopped.
    pub(super) fn check(&self, message: &Message) -> Result<(), ClientError> {
        if self.instance.is_stopped() {
            return Err(ClientError::Stopped);
        }
        validate::message(message, self.settings.max_message_size)
    }

    pub(super) fn prepare(&self, message: Message) -> Result<Outgoing, ClientError> {
        self.check(&message)?;
        let born = self.instance.clock.now().0;
        let id = || self.instance.unique_id();
        let compress = self.settings.compress;
        Ok(Outgoing::message(message, id, born, compress))
    }

    pub(super) fn prepare_batch(&self, messages: Vec<Message>) -> Result<Outgoing, ClientError> {
        messages
            .iter()
            .try_for_each(|message| self.check(message))?;
        let born = self.instance.clock.now().0;
        let id = || self.instance.unique_id();
        Outgoing::batch(messages, id, born, self.settings.max_message_size)
    }

    /// Sends to the queue, if one was chosen, in a single attempt; else to the queues in turn.
    pub(super) async fn send_round_or_to(
        &self,
        outgoing: &Outgoing,
        queue: Option<&MessageQueue>,
    ) -> Result<SendResult, ClientError> {
        let timeout = self.settings.send_timeout;
        let Some(queue) = queue else {
            return self.send_round(outgoing, timeout).await;
        };
        self.route(&outgoing.topic).await?;
        self.attempt(outgoing, queue, timeout).await
    }

    /// Queues to send to; the template's if nobody knows the topic.
    pub(super) async fn route(&self, topic: &str) -> Result<Arc<TopicRoute>, ClientError> {
        let template = Some(&self.settings.template);
        let route = self
            .instance
            .routes
            .get_or_template(topic, template)
            .await?;
        if route.publish.is_empty() {
            return Err(ClientError::no_route(topic));
        }
        Ok(route)
    }

    pub(super) fn next<'a>(
        &self,
        route: &'a TopicRoute,
        avoid: Option<&str>,
        topic: &str,
    ) -> Result<&'a MessageQueue, ClientError> {
        let mut counter = self.round.fetch_add(1, Ordering::Relaxed);
        let next = choose::next_queue(&route.publish, &mut counter, avoid);
        next.ok_or_else(|| ClientError::no_route(topic))
    }

    pub(super) fn sender(&self) -> Sender<'_> {
        Sender {
            group: &self.settings.group,
            template: &self.settings.template,
        }
    }

    /// Attempts on the queues in turn until one works, a failure is final, or time or attempts are used up.
    pub(super) async fn send_round(
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
                    self.instance.routes.stale.notify_one();
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

    pub(super) async fn attempt(
        &self,
        outgoing: &Outgoing,
        queue: &MessageQueue,
        timeout: Duration,
    ) -> Result<SendResult, ClientError> {
        let (instance, sender) = (&self.instance, &self.sender());
        outgoing.attempt(instance, sender, queue, timeout).await
    }
}
