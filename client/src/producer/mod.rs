//! Sending messages.

mod accumulate;
mod builder;
mod choose;
mod inner;
mod outgoing;
mod pending;
mod request;
mod result;
mod retry;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use common::message::properties::SHARDING_KEY;
use common::message::{RecallHandle, java_hash};
use common::wire::header::{RecallMessageRequestHeader, RecallMessageResponseHeader};
use common::wire::{Command, request_code};

use crate::MessageQueue;
use crate::config::ClientConfig;
use crate::error::ClientError;
use crate::message::Message;
use crate::validate;
use inner::Inner;

pub use accumulate::AutoBatch;
pub use builder::ProducerBuilder;
pub use outgoing::Compress;
pub(crate) use outgoing::{Outgoing, Sender};
pub use pending::PendingSend;
pub use result::{SendResult, SendStatus};
pub use transaction::{TransactionProducer, TransactionResult, TransactionState};

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

impl Producer {
    /// A producer of `group` that finds its brokers through these name servers: `"host:port;host:port"` or a
    /// [`ClientConfig`].
    pub fn builder(group: impl Into<String>, config: impl Into<ClientConfig>) -> ProducerBuilder {
        ProducerBuilder::new(group.into(), config.into())
    }

    /// Sends a message and waits until a broker has stored it.
    ///
    /// # Errors
    /// [`ClientError::IllegalMessage`] and [`ClientError::NoRoute`] before anything is sent;
    /// [`ClientError::Refused`] when the broker's answer is final; [`ClientError::SendFailed`] when all
    /// attempts failed and [`ClientError::SendTimeout`] when the time ran out, in both of which an attempt
    /// may have been stored all the same.
    pub async fn send(&self, message: Message) -> Result<SendResult, ClientError> {
        self.inner.send_gathered(message, None).await
    }

    /// As [`Producer::send`], within `timeout` for all attempts together, and by itself in any case.
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
        inner::same_topic(message.topic(), queue)?;
        self.inner.send_gathered(message, Some(queue)).await
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
        self.inner.check(&message)?;
        let route = self.inner.route(message.topic()).await?;
        let queue = choose::selected(&route.publish, select)?;
        self.inner.send_gathered(message, Some(queue)).await
    }

    /// Sends to the queue of the message's [sharding key](Message::sharding_key), the one [`by_hash`] chooses: who
    /// awaits one send before the next of the same key has them consumed in this order. A single attempt, for
    /// another queue would be another order.
    ///
    /// ```no_run
    /// # async fn example(producer: client::Producer) -> Result<(), client::ClientError> {
    /// # use client::Message;
    /// producer.send_orderly(Message::new("orders", "created").sharding_key("order-7")).await?;
    /// producer.send_orderly(Message::new("orders", "paid").sharding_key("order-7")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ClientError::IllegalMessage`] for a message without sharding key; otherwise as [`Producer::send_to`].
    pub async fn send_orderly(&self, message: Message) -> Result<SendResult, ClientError> {
        let Some(key) = message.get(SHARDING_KEY).map(str::to_owned) else {
            let reason = "the message has no sharding key to choose a queue by";
            return Err(ClientError::illegal(reason));
        };
        self.send_selected(message, by_hash(&key)).await
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
        let permit = Arc::clone(&inner.at_work).try_acquire_owned();
        let permit = permit.map_err(|_| inner.too_many());
        PendingSend(tokio::spawn(async move {
            let _permit = permit?;
            inner.send_gathered(message, None).await
        }))
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
        let instance = &self.inner.instance;
        instance.send_oneway(&address, command, outgoing.body).await
    }

    /// Sends messages of one topic in one request to one queue; all of them are stored, or none.
    ///
    /// # Errors
    /// [`ClientError::IllegalMessage`] when they differ in topic or in waiting for the store, when one is
    /// delayed, or when they are too large together; otherwise as [`Producer::send`].
    pub async fn send_batch(&self, messages: Vec<Message>) -> Result<SendResult, ClientError> {
        let outgoing = self.inner.prepare_batch(messages)?;
        self.inner.send_round_or_to(&outgoing, None).await
    }

    /// As [`Producer::send_batch`], to one queue in a single attempt.
    ///
    /// # Errors
    /// As [`Producer::send_batch`].
    pub async fn send_batch_to(
        &self,
        messages: Vec<Message>,
        queue: &MessageQueue,
    ) -> Result<SendResult, ClientError> {
        let outgoing = self.inner.prepare_batch(messages)?;
        inner::same_topic(&outgoing.topic, queue)?;
        self.inner.send_round_or_to(&outgoing, Some(queue)).await
    }

    /// Calls a message back that was to be delivered later ([`Message::delay`], [`Message::deliver_at_ms`]), by the
    /// handle its send was answered with ([`SendResult::recall_handle`]). Answers the message's id.
    ///
    /// # Errors
    /// [`ClientError::IllegalMessage`] for what is no handle; [`ClientError::Refused`] with code 604 when it is too
    /// late, with 16 where brokers do not allow it.
    pub async fn recall(&self, topic: &str, handle: &str) -> Result<String, ClientError> {
        let parsed = RecallHandle::parse(handle)
            .ok_or_else(|| ClientError::illegal(format!("`{handle}` is no recall handle")))?;
        let inner = &self.inner;
        inner.route(topic).await?;
        let address = inner.instance.master_to_send(&parsed.broker_name)?;
        let header = RecallMessageRequestHeader {
            producer_group: Some(inner.settings.group.clone()),
            topic: topic.to_owned(),
            recall_handle: Some(handle.to_owned()),
            broker_name: Some(parsed.broker_name),
        };
        let command = Command::request(request_code::RECALL_MESSAGE).with(&header);
        let answer: RecallMessageResponseHeader =
            inner.instance.ask_header(&address, command).await?;
        Ok(answer.msg_id)
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

    /// Waits for asynchronous sends, gathered batches and transactions under way, takes leave of the brokers and closes the
    /// connections. Other sends under way on clones fail.
    pub async fn shutdown(self) {
        self.inner.shutdown().await;
    }
}

/// A selector for [`Producer::send_selected`]: the queue the hash of `key` falls on, in Java's clients
/// `SelectMessageQueueByHash` with a text.
///
/// ```
/// # use client::{MessageQueue, by_hash};
/// let queues: Vec<_> = (0..8).map(|id| MessageQueue::new("orders", "broker-a", id)).collect();
/// assert_eq!(by_hash("order-7")(&queues), by_hash("order-7")(&queues));
/// ```
pub fn by_hash(key: &str) -> impl FnOnce(&[MessageQueue]) -> usize + use<> {
    let hash = java_hash(key);
    move |queues| {
        let count = i32::try_from(queues.len()).unwrap_or(i32::MAX).max(1);
        usize::try_from((hash % count).unsigned_abs()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_choose_as_in_java() {
        let queues: Vec<_> = (0..8)
            .map(|id| MessageQueue::new("T", "broker-a", id))
            .collect();
        // hashCode() is -1207111303, Integer.MIN_VALUE and 97.
        assert_eq!(by_hash("order-8")(&queues), 7);
        assert_eq!(by_hash("polygenelubricants")(&queues), 0);
        assert_eq!(by_hash("a")(&queues), 1);
        assert_eq!(by_hash("a")(&[]), 0);
    }
}
