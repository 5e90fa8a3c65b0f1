//! Looking messages up: by key and by position in the log.

use super::cold::fetch;
use crate::state::State;
use common::ids::PhysicalOffset;
use common::transport::Connection;
use common::wire::header::{QueryMessageRequestHeader, ViewMessageRequestHeader};
use common::wire::{Command, Reply, response_code};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use store::{Key, KeyQuery};
use tokio::sync::Semaphore;

/// Look-ups at a time, each on a thread of its own, for it may wait for the disk. Further ones wait for their turn.
const RUNNING_LOOK_UPS: usize = 16;
/// Look-ups that may run or wait; further ones are refused.
const MAX_LOOK_UPS: usize = 1000;

/// `indexType` of a query for tags; all others ask for keys.
const TAGS_TYPE: &str = "T";

/// Serves `QUERY_MESSAGE` and `VIEW_MESSAGE_BY_ID`.
pub struct QueryHandler {
    pub(super) state: State,
    look_ups: AtomicUsize,
    turns: Semaphore,
}

impl QueryHandler {
    /// A handler with nothing to look up yet.
    pub fn new(state: State) -> Arc<Self> {
        Arc::new(Self {
            state,
            look_ups: AtomicUsize::new(0),
            turns: Semaphore::new(RUNNING_LOOK_UPS),
        })
    }

    /// `QUERY_MESSAGE`: messages that carry a key. To be done as a look-up.
    pub fn by_key(&self, header: &QueryMessageRequestHeader) -> Reply {
        let settings = self.state.settings.now();
        let asked = match header.unique_key_query {
            Some(true) => settings.default_query_max_num,
            _ => u32::try_from(header.max_num).unwrap_or(0),
        };
        let key = match header.index_type.as_deref() {
            Some(TAGS_TYPE) => Key::Tags(&header.key),
            _ => Key::Key(&header.key),
        };
        let found = self.state.reader.query(&KeyQuery {
            topic: &header.topic,
            key,
            max_messages: usize::try_from(asked.min(settings.max_msgs_num_batch))
                .unwrap_or(usize::MAX),
            begin: header.begin_timestamp,
            end: header.end_timestamp,
        });
        let (mut reply, updated) = if found.records.is_empty() {
            let text = "can not find message, maybe time range not correct";
            (Reply::error(response_code::QUERY_NOT_FOUND, text), (0, 0))
        } else {
            let updated = (found.updated_timestamp, found.updated_offset);
            let mut reply = Reply::ok();
            reply.body = found.records;
            (reply, updated)
        };
        let (timestamp, offset) = updated;
        reply.fields.set("indexLastUpdateTimestamp", timestamp);
        reply.fields.set("indexLastUpdatePhyoffset", offset);
        reply
    }

    /// `VIEW_MESSAGE_BY_ID`: the record at a position of the log. To be done as a look-up.
    pub fn by_offset(&self, header: &ViewMessageRequestHeader) -> Reply {
        let record = PhysicalOffset::from_wire(header.offset)
            .and_then(|offset| self.state.reader.record_at(offset));
        let Some(record) = record else {
            let text = format!("can not find message by the offset, {}", header.offset);
            return Reply::error(response_code::SYSTEM_ERROR, text);
        };
        Reply::ok().with_body(record)
    }

    /// Does `work` on a thread that may wait for the disk; `None` when it is answered later.
    pub fn look_up(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        command: &Command,
        work: impl FnOnce(&Self) -> Reply + Send + 'static,
    ) -> Option<Reply> {
        if self.look_ups.fetch_add(1, Ordering::Relaxed) >= MAX_LOOK_UPS {
            self.look_ups.fetch_sub(1, Ordering::Relaxed);
            let text = format!("{MAX_LOOK_UPS} look-ups are waiting already; try again later");
            return Some(Reply::error(response_code::SYSTEM_BUSY, text));
        }
        let (handler, to) = (Arc::clone(self), command.reply_to());
        let connection = Arc::clone(connection);
        tokio::spawn(async move {
            let turn = handler.turns.acquire().await;
            let worker = Arc::clone(&handler);
            let done = tokio::task::spawn_blocking(move || {
                let reply = work(&worker);
                fetch(&reply.body);
                reply
            });
            if let Ok(reply) = done.await {
                connection.reply(to, reply);
            }
            drop(turn);
            handler.look_ups.fetch_sub(1, Ordering::Relaxed);
        });
        None
    }
}
