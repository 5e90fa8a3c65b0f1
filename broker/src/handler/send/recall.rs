//! Recalling a message that waits for its time: a message that cancels it goes into the same slot.

use super::detour::Destination;
use super::reply::{Answer, Pending};
use super::{SendHandler, SendSession, names_of, remember};
use crate::timer::TimerRules;
use crate::topic::MessageType;
use common::message::recall_handle::RecallHandle;
use common::message::record::RecordParts;
use common::names;
use common::transport::{Connection, Replies};
use common::wire::header::RecallMessageRequestHeader;
use common::wire::{Command, Reply, response_code};

/// Tag of messages that cancel others for a recall.
const TAG: &str = "_RECALL_TAG_";

impl SendHandler {
    /// Takes a `RECALL_MESSAGE` of a turn: its record joins the batch, or it is refused at once.
    pub fn recall(
        &self,
        session: &mut SendSession,
        connection: &Connection,
        command: &Command,
        header: &RecallMessageRequestHeader,
        replies: &mut Replies<'_>,
    ) {
        session.take(command.reply_to(), replies, |session| {
            let marked = self.cancel(session, connection, command, header);
            marked.map(|()| None).map_err(|mut refusal| {
                refusal.fields.push("MSG_REGION", self.template.region());
                refusal
            })
        });
    }

    fn cancel(
        &self,
        session: &mut SendSession,
        connection: &Connection,
        command: &Command,
        header: &RecallMessageRequestHeader,
    ) -> Result<(), Reply> {
        let topic = &*header.topic;
        let settings = self.settings();
        let refuse = |code, why: &str| Err(Reply::error(code, format!("recall failed, {why}")));
        if !settings.config.recall_message_enable {
            return refuse(response_code::NO_PERMISSION, "operation is forbidden");
        }
        let unavailable = "broker service not available";
        if !(settings.is_writable() || settings.config.allow_recall_when_broker_not_writeable) {
            return refuse(response_code::SERVICE_NOT_AVAILABLE, unavailable);
        }
        if self.state.topics.get(topic).is_none() {
            let text = format!("the topic[{topic}] not exist");
            return refuse(response_code::TOPIC_NOT_EXIST, &text);
        }
        let illegal = response_code::ILLEGAL_OPERATION;
        let handle = header
            .recall_handle
            .as_deref()
            .and_then(RecallHandle::parse);
        let Some(handle) = handle else {
            return Err(Reply::error(illegal, "recall handle is invalid"));
        };
        if handle.topic != topic {
            return refuse(illegal, "topic not match");
        }
        if handle.broker_name != settings.config.broker_name {
            return refuse(illegal, unavailable);
        }
        let now = self.state.clock.now().0;
        let rules = self.timers.rules();
        let left = handle.due.saturating_sub(now);
        if left <= 0 || left >= rules.max_delay_ms {
            return refuse(illegal, "timestamp invalid");
        }
        let group = header.producer_group.as_deref().unwrap_or_default();
        let text = marker(rules, &handle, group, now);
        self.push_marker(session, connection, command, topic, (&handle, text))
    }

    fn push_marker(
        &self,
        session: &mut SendSession,
        connection: &Connection,
        command: &Command,
        topic: &str,
        (handle, mut text): (&RecallHandle, String),
    ) -> Result<(), Reply> {
        let rules = self.timers.rules();
        let deliver = handle.due.to_string();
        let slot = rules.slot([None, None, Some(&deliver)], true, self.state.clock.now().0)?;
        let slot = slot.unwrap_or(0);
        let cancels = names_of::get(&text, names_of::TIMER_DEL_UNIQKEY).unwrap_or_default();
        // What is not announced before it is due may have been delivered.
        if self.timers.announce(slot, cancels) >= handle.due {
            let text = "recall failed, timestamp invalid";
            return Err(Reply::error(response_code::ILLEGAL_OPERATION, text));
        }
        names_of::write(&mut text, names_of::TIMER_OUT_MS, &slot.to_string());
        let to = Destination {
            topic,
            queue_id: 0,
            sys_flag: 0,
            unique_key: &handle.unique_key,
        };
        let routes = &mut session.known_topics;
        let detour = self.redirect(routes, (names::TIMER_TOPIC, 0), to, &mut text)?;
        let first = session.batch.len();
        let queue = (detour.queue.topic(), detour.queue.id());
        let now = self.state.clock.now().0;
        let parts = RecordParts {
            born_host: connection.peer(),
            ..RecordParts::of_broker(self.store_host, now, queue, b"0", &text)
        };
        let pushed = session.batch.push(&detour.queue, &parts);
        pushed.map_err(|error| self.refuse_record(&error))?;
        let key = remember(&mut session.unique_keys, &handle.unique_key);
        let answer = (command.reply_to(), Answer::Recalled);
        let records = first..session.batch.len();
        session.pending.push(Pending {
            unique_key: Some(key),
            ..Pending::new(answer, (MessageType::Delay, Some(detour.topic)), 0, records)
        });
        Ok(())
    }
}

/// Properties of the message that cancels, but for where it goes.
fn marker(rules: &TimerRules, handle: &RecallHandle, group: &str, now: i64) -> String {
    let key = &handle.unique_key;
    let cancels = if rules.topic_in_key {
        format!("{}+{key}", handle.topic)
    } else {
        key.clone()
    };
    let mut text = String::new();
    for (name, value) in [
        (names_of::TIMER_DEL_UNIQKEY, &*cancels),
        (names_of::UNIQUE_KEY, key),
        (names_of::TAGS, TAG),
        (names_of::PRODUCER_GROUP, group),
        (names_of::TIMER_DELIVER_MS, &handle.due.to_string()),
        (names_of::BORN_TIMESTAMP, &now.to_string()),
    ] {
        names_of::write(&mut text, name, value);
    }
    text
}
