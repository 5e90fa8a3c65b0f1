//! A message or batch made ready for the wire, once, before the first attempt.

use std::time::Duration;

use bytes::Bytes;
use common::message::batch::{self, BatchMessage};
use common::message::properties::{
    MAX_RECONSUME_TIMES, MESSAGE_TYPE, RECONSUME_TIME, TRANSACTION_PREPARED, UNIQUE_KEY,
};
use common::message::{CompressionType, sys_flag};
use common::names::is_retry_topic;
use common::wire::header::SendMessageRequestHeader;
use common::wire::{Command, request_code};

use super::SendResult;
use crate::MessageQueue;
use crate::error::ClientError;
use crate::instance::Instance;
use crate::message::{Message, REPLY};
use crate::route_cache::Template;

/// Which bodies a producer compresses, and how. The default is that of RocketMQ's own clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compress {
    /// Size in bytes from which bodies are compressed. Default 4096.
    pub from: usize,
    /// With what. Consumers of all kinds read zlib, which is the default; some of the older clients nothing else.
    pub with: CompressionType,
    /// How hard it tries, see [`CompressionType`]. Default 5.
    pub level: u32,
}

impl Default for Compress {
    fn default() -> Self {
        Self {
            from: 4096,
            with: CompressionType::default(),
            level: 5,
        }
    }
}

/// Everything of a send but where it goes.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) topic: String,
    /// What the caller gets as the message's id.
    pub(crate) msg_id: String,
    pub(crate) body: Bytes,
    pub(crate) properties: String,
    pub(crate) flag: i32,
    pub(crate) sys_flag: i32,
    pub(crate) born_timestamp: i64,
    /// Request code of the send.
    pub(crate) code: i32,
    pub(crate) reconsume_times: i32,
    pub(crate) max_reconsume_times: Option<i32>,
}

/// What the producer adds to every request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender<'a> {
    pub(crate) group: &'a str,
    pub(crate) template: &'a Template,
}

impl Outgoing {
    /// One message. A body that cannot be compressed goes as it is.
    pub(crate) fn message(
        mut message: Message,
        unique_id: impl FnOnce() -> String,
        born_timestamp: i64,
        compress: Compress,
    ) -> Self {
        let msg_id = message
            .get(UNIQUE_KEY)
            .map_or_else(unique_id, str::to_owned);
        message.set_system(UNIQUE_KEY, msg_id.as_str());
        let is_retry = is_retry_topic(message.topic());
        // Resends to a retry topic carry these in the header, not in the stored message.
        let mut for_header = |name: &str| {
            let value = is_retry.then(|| message.take_system(name)).flatten();
            value.and_then(|value| value.parse().ok())
        };
        let reconsume_times = for_header(RECONSUME_TIME);
        let max_reconsume_times = for_header(MAX_RECONSUME_TIMES);
        let (mut body, mut sys_flag) = (message.body().clone(), 0);
        if body.len() >= compress.from {
            match compress.with.compress(&body, compress.level) {
                Ok(small) => (body, sys_flag) = (Bytes::from(small), compress.with.sys_flag()),
                Err(error) => tracing::warn!(msg_id, %error, "cannot compress the body"),
            }
        }
        if message.get(TRANSACTION_PREPARED) == Some("true") {
            sys_flag |= sys_flag::TRANSACTION_PREPARED;
        }
        Self {
            topic: message.topic().to_owned(),
            msg_id,
            body,
            properties: message.encode_properties(),
            flag: message.flag_value(),
            sys_flag,
            born_timestamp,
            code: match message.get(MESSAGE_TYPE) {
                Some(REPLY) => request_code::SEND_REPLY_MESSAGE_V2,
                _ => request_code::SEND_MESSAGE_V2,
            },
            reconsume_times: reconsume_times.unwrap_or(0),
            max_reconsume_times,
        }
    }

    /// Messages of one topic in one request; never compressed.
    pub(crate) fn batch(
        messages: Vec<Message>,
        mut unique_id: impl FnMut() -> String,
        born_timestamp: i64,
        max_message_size: usize,
    ) -> Result<Self, ClientError> {
        let first = check_batch(&messages)?;
        let (topic, waits) = (first.topic().to_owned(), first.waits());
        let mut body = Vec::new();
        let mut ids = Vec::with_capacity(messages.len());
        for mut message in messages {
            let id = message
                .get(UNIQUE_KEY)
                .map_or_else(&mut unique_id, str::to_owned);
            message.set_system(UNIQUE_KEY, id.as_str());
            ids.push(id);
            append_to_batch(&message, &mut body)?;
        }
        if body.len() > max_message_size {
            let bytes = body.len();
            let reason = format!("the batch has {bytes} bytes, {max_message_size} are allowed");
            return Err(ClientError::illegal(reason));
        }
        let mut outer = Message::new(topic.as_str(), Bytes::new()).wait_store_ok(waits);
        outer.set_system(UNIQUE_KEY, unique_id());
        Ok(Self {
            topic,
            msg_id: ids.join(","),
            body: Bytes::from(body),
            properties: outer.encode_properties(),
            flag: 0,
            sys_flag: 0,
            born_timestamp,
            code: request_code::SEND_BATCH_MESSAGE,
            reconsume_times: 0,
            max_reconsume_times: None,
        })
    }

    /// One attempt to have the message stored in `queue`.
    pub(crate) async fn attempt(
        &self,
        instance: &Instance,
        sender: &Sender<'_>,
        queue: &MessageQueue,
        timeout: Duration,
    ) -> Result<SendResult, ClientError> {
        let address = instance.master_to_send(&queue.broker_name)?;
        let command = self.request(sender, queue);
        let sent = instance.call(&address, command, self.body.clone(), timeout);
        SendResult::read(&address, queue, &self.msg_id, sent.await?.command)
    }

    /// The request for one attempt.
    pub(crate) fn request(&self, sender: &Sender<'_>, queue: &MessageQueue) -> Command {
        let mut command = Command::request(self.code);
        SendMessageRequestHeader {
            producer_group: sender.group,
            topic: &self.topic,
            default_topic: &sender.template.topic,
            default_topic_queue_nums: sender.template.queues,
            queue_id: queue.queue_id,
            sys_flag: self.sys_flag,
            born_timestamp: self.born_timestamp,
            flag: self.flag,
            properties: &self.properties,
            reconsume_times: self.reconsume_times,
            unit_mode: false,
            max_reconsume_times: self.max_reconsume_times,
            batch: self.code == request_code::SEND_BATCH_MESSAGE,
            broker_name: Some(&queue.broker_name),
        }
        .write_short(&mut command.fields);
        command
    }
}

/// The rules of batches; answers the first message.
fn check_batch(messages: &[Message]) -> Result<&Message, ClientError> {
    let [first, ..] = messages else {
        return Err(ClientError::illegal("the batch is empty"));
    };
    let any = |wrong: &dyn Fn(&Message) -> bool| messages.iter().any(wrong);
    let reason = if is_retry_topic(first.topic()) {
        "a retry topic takes no batches"
    } else if any(&|message| message.topic() != first.topic()) {
        "the messages of a batch must have one topic"
    } else if any(&|message| message.waits() != first.waits()) {
        "the messages of a batch must agree on waiting for the store"
    } else if any(&Message::is_delayed) {
        "a message of a batch must not be delayed"
    } else {
        return Ok(first);
    };
    Err(ClientError::illegal(reason))
}

fn append_to_batch(message: &Message, out: &mut Vec<u8>) -> Result<(), ClientError> {
    let properties = message.encode_properties();
    let part = BatchMessage {
        flag: message.flag_value(),
        body: message.body(),
        properties: &properties,
    };
    batch::encode(&part, out).map_err(|error| ClientError::illegal(error.to_string()))
}

#[cfg(test)]
mod tests;
