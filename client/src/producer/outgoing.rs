//! A message or batch made ready for the wire, once, before the first attempt.

use bytes::Bytes;
use common::message::batch::{self, BatchMessage};
use common::message::properties::{MAX_RECONSUME_TIMES, RECONSUME_TIME, UNIQUE_KEY};
use common::message::{compress, sys_flag};
use common::wire::header::SendMessageRequestHeader;
use common::wire::{Command, request_code};

use crate::MessageQueue;
use crate::error::ClientError;
use crate::message::Message;
use crate::names::RETRY_TOPIC_PREFIX;

/// Size in bytes from which bodies are compressed.
pub(crate) const COMPRESS_FROM: usize = 4096;
/// zlib level of compressed bodies, that of RocketMQ's own clients.
const COMPRESSION_LEVEL: u32 = 5;
/// Compression type of the sys flag: zlib.
const COMPRESSION_ZLIB: i32 = 0x300;

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
    pub(crate) batch: bool,
    pub(crate) reconsume_times: i32,
    pub(crate) max_reconsume_times: Option<i32>,
}

/// What the producer adds to every request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender<'a> {
    pub(crate) group: &'a str,
    pub(crate) template_topic: &'a str,
    pub(crate) template_queues: i32,
}

impl Outgoing {
    /// One message. Compresses the body from `compress_from` bytes on; the caller's message stays as it is.
    pub(crate) fn message(
        mut message: Message,
        unique_id: impl FnOnce() -> String,
        born_timestamp: i64,
        compress_from: usize,
    ) -> Self {
        let msg_id = message
            .get(UNIQUE_KEY)
            .map_or_else(unique_id, str::to_owned);
        message.set_system(UNIQUE_KEY, msg_id.as_str());
        let retry = message.topic().starts_with(RETRY_TOPIC_PREFIX);
        let number = |message: &mut Message, name: &str| {
            message
                .take_system(name)
                .and_then(|value| value.parse::<i32>().ok())
        };
        // Resends to a retry topic carry these in the header, not in the stored message.
        let (reconsume_times, max_reconsume_times) = if retry {
            (
                number(&mut message, RECONSUME_TIME),
                number(&mut message, MAX_RECONSUME_TIMES),
            )
        } else {
            (None, None)
        };
        let (body, sys_flag) = if message.body().len() >= compress_from {
            let small = compress(message.body(), COMPRESSION_LEVEL);
            (Bytes::from(small), sys_flag::COMPRESSED | COMPRESSION_ZLIB)
        } else {
            (message.body().clone(), 0)
        };
        Self {
            topic: message.topic().to_owned(),
            msg_id,
            body,
            properties: message.encode_properties(),
            flag: message.flag_value(),
            sys_flag,
            born_timestamp,
            batch: false,
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
            let id = unique_id();
            message.set_system(UNIQUE_KEY, id.clone());
            ids.push(id);
            append_to_batch(&message, &mut body)?;
        }
        if body.len() > max_message_size {
            return Err(ClientError::IllegalMessage {
                reason: format!(
                    "the batch has {} bytes, {max_message_size} are allowed",
                    body.len()
                ),
            });
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
            batch: true,
            reconsume_times: 0,
            max_reconsume_times: None,
        })
    }

    /// The request for one attempt.
    pub(crate) fn request(&self, sender: &Sender<'_>, queue: &MessageQueue) -> Command {
        let code = if self.batch {
            request_code::SEND_BATCH_MESSAGE
        } else {
            request_code::SEND_MESSAGE_V2
        };
        let mut command = Command::request(code);
        SendMessageRequestHeader {
            producer_group: sender.group,
            topic: &self.topic,
            default_topic: sender.template_topic,
            default_topic_queue_nums: sender.template_queues,
            queue_id: queue.queue_id,
            sys_flag: self.sys_flag,
            born_timestamp: self.born_timestamp,
            flag: self.flag,
            properties: &self.properties,
            reconsume_times: self.reconsume_times,
            unit_mode: false,
            max_reconsume_times: self.max_reconsume_times,
            batch: self.batch,
            broker_name: Some(&queue.broker_name),
        }
        .write_short(&mut command.fields);
        command
    }
}

/// The rules of batches; answers the first message.
fn check_batch(messages: &[Message]) -> Result<&Message, ClientError> {
    let illegal = |reason: &str| ClientError::IllegalMessage {
        reason: reason.to_owned(),
    };
    let first = messages
        .first()
        .ok_or_else(|| illegal("the batch is empty"))?;
    if first.topic().starts_with(RETRY_TOPIC_PREFIX) {
        return Err(illegal("a retry topic takes no batches"));
    }
    for message in messages {
        if message.topic() != first.topic() {
            return Err(illegal("the messages of a batch must have one topic"));
        }
        if message.waits() != first.waits() {
            return Err(illegal(
                "the messages of a batch must agree on waiting for the store",
            ));
        }
        if message.is_delayed() {
            return Err(illegal("a message of a batch must not be delayed"));
        }
    }
    Ok(first)
}

fn append_to_batch(message: &Message, out: &mut Vec<u8>) -> Result<(), ClientError> {
    let properties = message.encode_properties();
    let part = BatchMessage {
        flag: message.flag_value(),
        body: message.body(),
        properties: &properties,
    };
    batch::encode(&part, out).map_err(|error| ClientError::IllegalMessage {
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests;
