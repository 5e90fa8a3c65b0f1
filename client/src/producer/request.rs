//! Request and reply: a message that waits for another, and what brokers ask of producers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::message::properties::{self, ARRIVE_TIME, CORRELATION_ID, REPLY_TO_CLIENT, TTL};
use common::message::{MAX_DECOMPRESSED_BYTES, decompress, sys_flag};
use common::wire::header::ReplyMessageRequestHeader;
use common::wire::{Reply, request_code, response_code};
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::transaction::Checker;
use super::{Producer, SendResult, choose};
use crate::error::ClientError;
use crate::instance::{Instance, PeerRequest};
use crate::{Message, MessageExt, MessageQueue};

/// Requests that wait for their reply, by correlation id.
#[derive(Default)]
pub(super) struct Waiting(Mutex<HashMap<String, oneshot::Sender<MessageExt>>>);

/// Forgets a request that nobody waits for any more.
struct Forget<'a>(&'a Waiting, &'a str);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.0.lock().remove(self.1);
    }
}

impl Producer {
    /// Sends a message and waits for the reply of a consumer ([`Producer::reply`]); `timeout` covers both.
    ///
    /// ```no_run
    /// # async fn example(producer: client::Producer) -> Result<(), client::ClientError> {
    /// # use client::Message;
    /// # use std::time::Duration;
    /// let reply = producer.request(Message::new("prices", "coffee"), Duration::from_secs(3)).await?;
    /// println!("{}", String::from_utf8_lossy(&reply.body));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ClientError::RequestTimeout`] when no reply came; otherwise as [`Producer::send`].
    pub async fn request(
        &self,
        message: Message,
        timeout: Duration,
    ) -> Result<MessageExt, ClientError> {
        let any: Option<fn(&[MessageQueue]) -> usize> = None;
        self.request_at(message, any, timeout).await
    }

    /// As [`Producer::request`], to the queue `select` chooses ([`Producer::send_selected`]), in a single attempt.
    ///
    /// ```no_run
    /// # async fn example(producer: client::Producer) -> Result<(), client::ClientError> {
    /// # use client::{Message, by_hash};
    /// # use std::time::Duration;
    /// let question = Message::new("prices", "coffee");
    /// let reply = producer.request_selected(question, by_hash("shop-7"), Duration::from_secs(3)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ClientError::NoSuchQueue`] for an index beyond the queues; otherwise as [`Producer::request`].
    pub async fn request_selected(
        &self,
        message: Message,
        select: impl FnOnce(&[MessageQueue]) -> usize,
        timeout: Duration,
    ) -> Result<MessageExt, ClientError> {
        self.request_at(message, Some(select), timeout).await
    }

    async fn request_at(
        &self,
        mut message: Message,
        select: Option<impl FnOnce(&[MessageQueue]) -> usize>,
        timeout: Duration,
    ) -> Result<MessageExt, ClientError> {
        let inner = &self.inner;
        let until = Instant::now() + timeout;
        let id = inner.instance.unique_id();
        message.set_system(CORRELATION_ID, id.as_str());
        message.set_system(REPLY_TO_CLIENT, inner.instance.client_id.as_str());
        message.set_system(TTL, timeout.as_millis().to_string());
        let outgoing = inner.prepare(message)?;
        // The broker finds the way back by the client id.
        let route = inner.route(&outgoing.topic).await?;
        let select = select.map(|select| choose::selected(&route.publish, select));
        let queue = select.transpose()?;
        inner.instance.be_known().await;
        let (sender, reply) = oneshot::channel();
        inner.waiting.0.lock().insert(id.clone(), sender);
        let _forget = Forget(&inner.waiting, &id);
        let left = until.saturating_duration_since(Instant::now());
        match queue {
            Some(queue) => inner.attempt(&outgoing, queue, left).await?,
            None => inner.send_round(&outgoing, left).await?,
        };
        match tokio::time::timeout_at(until, reply).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err(ClientError::Stopped),
            Err(_) => Err(ClientError::RequestTimeout {
                topic: outgoing.topic,
                timeout,
            }),
        }
    }

    /// Answers a message that was sent with [`Producer::request`]. A listener that replies needs a producer of its own.
    ///
    /// # Errors
    /// [`ClientError::IllegalMessage`] when nobody waits for a reply to `request`;
    /// [`ClientError::Refused`] with code 1 when the requester is gone; otherwise as [`Producer::send`].
    pub async fn reply(
        &self,
        request: &MessageExt,
        body: impl Into<Bytes>,
    ) -> Result<SendResult, ClientError> {
        let message = Message::reply_to(request, body)?;
        let inner = &self.inner;
        let route = inner.route(message.topic()).await?;
        // The requester is connected to the broker it sent to, and not necessarily to others.
        let same = |queue: &&MessageQueue| queue.broker_name == request.queue.broker_name;
        let home = route.publish.iter().find(same);
        let outgoing = inner.prepare(message)?;
        inner.send_round_or_to(&outgoing, home).await
    }
}

/// What brokers' requests to a producer need; not the producer itself, which ends when nobody holds it.
pub(super) struct Desk {
    pub(super) instance: Arc<Instance>,
    pub(super) waiting: Arc<Waiting>,
    pub(super) checker: Option<Arc<Checker>>,
    pub(super) at_work: Arc<Semaphore>,
}

impl Desk {
    /// Answers brokers until the producer stops.
    pub(super) async fn serve(self, mut inbox: mpsc::Receiver<PeerRequest>) {
        while let Some(request) = inbox.recv().await {
            match (request.command.code, &self.checker) {
                (request_code::CHECK_TRANSACTION_STATE, Some(checker)) => {
                    checker.ask(&self.instance, &self.at_work, request);
                }
                (request_code::PUSH_REPLY_MESSAGE_TO_CLIENT, _) => {
                    let answer = self.replied(&request).unwrap_or_else(|reason| {
                        tracing::warn!(reason, "a reply that cannot be read");
                        Reply::error(response_code::SYSTEM_ERROR, reason)
                    });
                    request.answer(answer);
                }
                (code, _) => request.answer(Reply::not_supported(code)),
            }
        }
    }

    fn replied(&self, request: &PeerRequest) -> Result<Reply, String> {
        let header: ReplyMessageRequestHeader =
            (request.command.header()).map_err(|e| e.to_string())?;
        let (message, id) = self.read(header, &request.body)?;
        let waiting = self.waiting.0.lock().remove(&id);
        if waiting.is_none_or(|waiting| waiting.send(message).is_err()) {
            tracing::warn!(id, "a reply nobody waits for");
        }
        Ok(Reply::ok())
    }

    fn read(
        &self,
        header: ReplyMessageRequestHeader,
        body: &Bytes,
    ) -> Result<(MessageExt, String), String> {
        let host = |text: &str| {
            text.trim_start_matches('/')
                .parse()
                .map_err(|_| format!("`{text}` is no address"))
        };
        let body = decompress(body, header.sys_flag, MAX_DECOMPRESSED_BYTES)
            .map_err(|error| error.to_string())?;
        let arrived = self.instance.clock.now().to_string();
        let properties = properties::with(
            &header.properties.unwrap_or_default(),
            ARRIVE_TIME,
            &arrived,
        );
        let id = properties::get(&properties, CORRELATION_ID).ok_or("no CORRELATION_ID")?;
        let id = id.to_owned();
        let unique = properties::get(&properties, properties::UNIQUE_KEY).unwrap_or_default();
        let message = MessageExt {
            msg_id: unique.to_owned(),
            queue: MessageQueue::new(header.topic.as_str(), "", header.queue_id),
            topic: header.topic,
            body: Bytes::from(body),
            flag: header.flag,
            offset_msg_id: String::new(),
            queue_offset: -1,
            physical_offset: -1,
            sys_flag: header.sys_flag & !sys_flag::COMPRESSED,
            born_timestamp: header.born_timestamp,
            born_host: host(&header.born_host)?,
            store_timestamp: header.store_timestamp,
            store_host: host(&header.store_host)?,
            reconsume_times: header.reconsume_times.unwrap_or(0),
            prepared_transaction_offset: 0,
            properties,
        };
        Ok((message, id))
    }
}
