//! Messages that a consumer could not consume: they come back later, through their group's retry topic and the delay level of
//! the attempt, or go to the group's dead letters.

use super::admit::retry_limit;
use super::detour::Destination;
use super::reply::{Answer, Pending};
use super::{SendHandler, SendSession, remember, sys_flag};
use crate::topic::{MessageType, Topic, perm};
use common::ids::PhysicalOffset;
use common::message::message_id::offset_id;
use common::message::properties as names_of;
use common::message::record::{RecordParts, RecordView};
use common::transport::{Connection, Replies};
use common::wire::header::ConsumerSendMsgBackRequestHeader;
use common::wire::{Command, Reply, ReplyTo, response_code, with_faq};
use std::sync::Arc;

/// Level of the first attempt to deliver again.
const FIRST_LEVEL: i32 = 3;

impl SendHandler {
    /// `CONSUMER_SEND_MSG_BACK`: the message joins the turn's batch, or is refused at once; or later if it may have to come from
    /// the disk. It is answered when it is as durable as a message that is sent: the consumer will not ask for it again.
    pub fn send_back(
        self: &Arc<Self>,
        session: &mut SendSession,
        connection: &Arc<Connection>,
        command: &Command,
        header: ConsumerSendMsgBackRequestHeader,
        replies: &mut Replies<'_>,
    ) {
        let (to, version) = (command.reply_to(), command.version);
        let position = header.offset;
        let request = move |this: &Self, session: &mut SendSession| {
            this.take_back(session, (to, version), &header)
        };
        self.take_record(session, (connection, to), position, replies, request);
    }

    /// Answers at once when the group wants nothing back.
    fn take_back(
        &self,
        session: &mut SendSession,
        (to, version): (ReplyTo, i32),
        header: &ConsumerSendMsgBackRequestHeader,
    ) -> Result<Option<Reply>, Reply> {
        let group = &*header.group;
        let Some(config) = self.state.groups.find_or_create(group) else {
            let text = with_faq(&format!("subscription group not exist, {group} "));
            return Err(Reply::error(
                response_code::SUBSCRIPTION_GROUP_NOT_EXIST,
                text,
            ));
        };
        self.check_writable()?;
        let Ok(queues @ 1..) = u32::try_from(config.retry_queue_nums) else {
            return Ok(Some(Reply::ok()));
        };
        let unit = header.unit_mode == Some(true);
        let topic = match self.state.topics.get(&common::names::retry_topic(group)) {
            Some(known) => known,
            None => self
                .state
                .topics
                .ensure_retry_topic(group, config.retry_queue_nums, false, unit)
                .map_err(|error| Reply::error(response_code::SYSTEM_ERROR, error.to_string()))?,
        };
        if topic.perm & perm::WRITE == 0 {
            let text = format!(
                "the topic[{}] sending message is forbidden",
                topic.topic_name
            );
            return Err(Reply::error(response_code::NO_PERMISSION, text));
        }
        let offset = u64::try_from(header.offset).ok();
        let bytes = offset.and_then(|offset| self.state.reader.record_at(PhysicalOffset(offset)));
        let record = bytes
            .as_deref()
            .and_then(|bytes| RecordView::parse(bytes).ok())
            .ok_or_else(|| {
                let text = format!("look message by offset failed, {}", header.offset);
                Reply::error(response_code::SYSTEM_ERROR, text)
            })?;
        if record.sys_flag & (sys_flag::INNER_BATCH | sys_flag::NEED_UNWRAP) != 0 {
            // Every message of a whole batch would bring all of them again. Clients send the one itself then.
            let text = "MESSAGE_ILLEGAL: a whole batch cannot be sent back";
            return Err(Reply::error(response_code::SYSTEM_ERROR, text));
        }
        let limit = retry_limit(header.max_reconsume_times, config.retry_max_times, version);
        let is_dead = record.reconsume_times >= limit || header.delay_level < 0;
        let (topic, queue_id) = if is_dead {
            (self.dead_letters(group, &mut session.first)?, 0)
        } else {
            (topic, rand::random_range(0..queues))
        };
        let level = match header.delay_level {
            _ if is_dead => 0,
            0 => FIRST_LEVEL.saturating_add(record.reconsume_times),
            asked => asked,
        };
        self.store_back(session, to, &record, (&topic, queue_id), level)?;
        if is_dead {
            let properties = record.properties_text();
            let origin = names_of::get(&properties, names_of::RETRY_TOPIC);
            self.state
                .metrics
                .died(group, origin.unwrap_or(&record.topic_text()));
        }
        Ok(None)
    }

    /// Puts a copy for another queue into the batch: once more consumed, and from the level that is given.
    fn store_back(
        &self,
        session: &mut SendSession,
        to: ReplyTo,
        record: &RecordView<'_>,
        (topic, queue_id): (&Arc<Topic>, u32),
        level: i32,
    ) -> Result<(), Reply> {
        let text = record.properties_text();
        let [origin, first_topic] =
            names_of::get_each(&text, [names_of::ORIGIN_MESSAGE_ID, names_of::RETRY_TOPIC]);
        let position = PhysicalOffset(u64::try_from(record.physical_offset).unwrap_or(0));
        let origin = origin.map_or_else(|| offset_id(record.store_host, position), str::to_owned);
        let first_topic =
            first_topic.map_or_else(|| record.topic_text().into_owned(), str::to_owned);
        let level_text = level.to_string();
        let mut text = text.into_owned();
        for (name, value) in [
            (names_of::RETRY_TOPIC, &*first_topic),
            (names_of::ORIGIN_MESSAGE_ID, &*origin),
            (names_of::WAIT, "false"),
            (names_of::DELAY, &*level_text),
        ] {
            text = names_of::with(&text, name, value);
        }
        let key = names_of::get(&text, names_of::UNIQUE_KEY).unwrap_or_default();
        let key = remember(&mut session.unique_keys, key);
        let destination = Destination {
            topic: &topic.topic_name,
            queue_id,
            sys_flag: record.sys_flag,
            unique_key: &session.unique_keys[key],
        };
        let routes = &mut session.known_topics;
        let detour = self.level_detour(routes, level, destination, &mut text)?;
        let (topic, queue, kind) = if let Some(detour) = detour {
            (detour.topic, detour.queue, detour.kind)
        } else {
            let queue = self.state.writer.queue(&topic.topic_name, queue_id);
            (Arc::clone(topic), queue, MessageType::Normal)
        };
        let parts = RecordParts {
            reconsume_times: record.reconsume_times.saturating_add(1),
            ..record.moved_to((queue.topic(), queue.id()), &text, self.store_host)
        };
        let first = session.batch.len();
        let pushed = session.batch.push(&queue, &parts);
        pushed.map_err(|error| self.refuse_record(&error))?;
        let records = first..session.batch.len();
        let answer = (to, Answer::Plain);
        let pending = Pending::new(answer, (kind, Some(topic)), queue.id(), records);
        session.pending.push(pending);
        Ok(())
    }
}
