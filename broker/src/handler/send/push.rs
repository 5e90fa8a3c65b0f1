//! Replies: a client asked another one with a message, and its answer comes back through the broker that both are
//! connected to. It is pushed to the producer that asked, and stored beside that.

use super::{First, SendHandler, names_of, properties};
use crate::topic::{MessageType, Topic};
use bytes::Bytes;
use common::message::message_id::offset_id;
use common::message::record::RecordParts;
use common::transport::Connection;
use common::wire::header::{ReplyMessageRequestHeader, SendMessageRequestHeader};
use common::wire::{Command, Reply, request_code, response_code};
use std::sync::Arc;
use std::time::Duration;
use store::{Appended, FlushMode, StoreError, StoreWriter};

/// How long who asked has to take the reply.
const PUSH_TIMEOUT: Duration = Duration::from_secs(10);
/// Replies that wait for who asked to take them, in KiB of their bodies, each counted as one KiB more; further ones are
/// refused.
pub(super) const WAITING_KIB: usize = 64 * 1024;

/// A reply on its way to who asked.
struct Push {
    requester: Arc<Connection>,
    client_id: String,
    command: Command,
    body: Bytes,
}

impl SendHandler {
    /// `SEND_REPLY_MESSAGE`, `SEND_REPLY_MESSAGE_V2`: answered once who asked has taken the reply, or has not. `None` when
    /// it is answered later.
    pub fn push_reply(
        &self,
        connection: &Arc<Connection>,
        command: &Command,
        header: &SendMessageRequestHeader<'_>,
        body: &[u8],
    ) -> Option<Reply> {
        let outcome = self.take_reply(connection, command, header, body);
        outcome.err().map(|refusal| self.template.refuse(refusal))
    }

    fn take_reply(
        &self,
        connection: &Arc<Connection>,
        command: &Command,
        header: &SendMessageRequestHeader<'_>,
        body: &[u8],
    ) -> Result<(), Reply> {
        // The topic of replies is there.
        let mut there = First {
            waited: true,
            ..First::default()
        };
        let topic = self.topic(header, connection, &mut there)?;
        let queue_id = Self::queue_id(header, &topic, connection)?;
        let kib = u32::try_from(body.len() / 1024 + 1).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.pushes).try_acquire_many_owned(kib);
        let room = room.map_err(|_| {
            let text = format!("{WAITING_KIB} KiB of replies wait for clients to take them");
            Reply::error(response_code::SYSTEM_BUSY, text)
        })?;
        let mut text = String::new();
        properties::read(header.properties, &mut text);
        names_of::write(&mut text, names_of::MSG_REGION, self.template.region());
        names_of::write(&mut text, names_of::TRACE_SWITCH, self.template.trace_on());
        let push = self.push(connection, header, &text, body);
        let mut stored = None;
        if self.settings().config.store_reply_message_enable {
            let outcome = self.store_reply(connection, header, (&topic, queue_id), &text, body);
            // As in the reference: who asked has the reply, and that is what it was for.
            let failed = |error| tracing::warn!("a reply is not stored: {error}");
            stored = outcome.map_err(failed).ok().flatten();
        }
        let (to, connection) = (command.reply_to(), Arc::clone(connection));
        let (template, store) = (Arc::clone(&self.template), self.state.writer.clone());
        let (store_host, timeout) = (self.store_host, self.settings().flush_timeout());
        tokio::spawn(async move {
            let pushed = match push {
                Ok(push) => push.run().await,
                Err(remark) => Err(remark),
            };
            drop(room);
            let stored = match stored {
                Some(stored) if is_kept(&store, &stored, timeout).await => Some(stored),
                _ => None,
            };
            let mut reply = match &pushed {
                Ok(()) => Reply::ok(),
                Err(remark) => Reply::error(response_code::SYSTEM_ERROR, remark),
            };
            // What is not stored has an id all the same: clients cannot do without one.
            if stored.is_some() || pushed.is_ok() {
                let id = stored.map(|stored| offset_id(store_host, stored.physical_offset));
                reply.fields.push("msgId", id.as_deref().unwrap_or("0"));
                reply.fields.set("queueId", queue_id);
                let offset = stored.map_or(0, |stored| stored.queue_offset.0);
                reply.fields.set("queueOffset", offset);
            }
            connection.reply(to, template.refuse(reply));
        });
        Ok(())
    }

    /// The push to who asked; or why there can be none.
    fn push(
        &self,
        connection: &Connection,
        header: &SendMessageRequestHeader<'_>,
        text: &str,
        body: &[u8],
    ) -> Result<Push, String> {
        let name = names_of::REPLY_TO_CLIENT;
        let Some(client_id) = names_of::get(text, name) else {
            return Err(format!("reply message properties[{name}] is null"));
        };
        let Some(requester) = self.state.clients.producers.table().find(client_id) else {
            return Err(format!(
                "push reply message fail, channel of <{client_id}> not found."
            ));
        };
        let now = self.state.clock.now().0;
        let properties = names_of::with(text, names_of::PUSH_REPLY_TIME, &now.to_string());
        let header = ReplyMessageRequestHeader {
            producer_group: header.producer_group.to_owned(),
            topic: header.topic.to_owned(),
            default_topic: header.default_topic.to_owned(),
            default_topic_queue_nums: header.default_topic_queue_nums,
            queue_id: header.queue_id,
            sys_flag: header.sys_flag,
            born_timestamp: header.born_timestamp,
            flag: header.flag,
            properties: Some(properties),
            reconsume_times: Some(header.reconsume_times),
            unit_mode: Some(header.unit_mode),
            born_host: connection.peer().to_string(),
            store_host: self.store_host.to_string(),
            store_timestamp: now,
        };
        Ok(Push {
            requester,
            client_id: client_id.to_owned(),
            command: Command::request(request_code::PUSH_REPLY_MESSAGE_TO_CLIENT).with(&header),
            body: Bytes::copy_from_slice(body),
        })
    }

    /// `None` for a body that no message may have.
    fn store_reply(
        &self,
        connection: &Connection,
        header: &SendMessageRequestHeader<'_>,
        (topic, queue_id): (&Topic, u32),
        properties: &str,
        body: &[u8],
    ) -> Result<Option<Appended>, StoreError> {
        if body.is_empty() || body.len() > self.settings().max_message_size {
            return Ok(None);
        }
        let parts = RecordParts {
            properties,
            ..self.parts(header, (topic, queue_id), connection, body)
        };
        let (mut batch, mut appended) = (self.state.writer.batch(), Vec::new());
        batch.push(
            &self.state.writer.queue(&topic.topic_name, queue_id),
            &parts,
        )?;
        self.state.writer.append_batch(&mut batch, &mut appended)?;
        let bytes = appended.iter().map(|record| u64::from(record.bytes)).sum();
        let count = appended.len() as u64;
        topic.counters().stored(MessageType::Normal, count, bytes);
        Ok(appended.pop())
    }
}

impl Push {
    /// Waits for who asked; the error is the remark.
    async fn run(self) -> Result<(), String> {
        let answer = self
            .requester
            .call(self.command, self.body, PUSH_TIMEOUT)
            .await;
        match answer {
            Ok(answer) if answer.command.code == response_code::SUCCESS => Ok(()),
            _ => Err(format!("push reply message to {}fail.", self.client_id)),
        }
    }
}

/// Whether the reply is as durable as the broker promises; one that takes too long counts as stored.
async fn is_kept(store: &StoreWriter, stored: &Appended, timeout: Duration) -> bool {
    if store.flush_mode() == FlushMode::Async {
        return true;
    }
    let (mut flushed, end) = (store.flushed(), stored.end());
    store.ask_for_flush();
    let passed = tokio::time::timeout(timeout, flushed.wait_for(|offset| *offset >= end)).await;
    !matches!(passed, Ok(Err(_)))
}
