//! Which sends are taken, for which topic and queue; checks come in the order of the reference.

use super::SendHandler;
use super::properties::Sent;
use crate::error::illegal_message as illegal;
use crate::topic::{Topic, perm};
use common::message::sys_flag;
use common::names;
use common::transport::Connection;
use common::wire::header::SendMessageRequestHeader;
use common::wire::{Reply, response_code, with_faq};
use std::sync::Arc;

/// Longest name of a topic that is no retry topic, in bytes: the one-byte length of V1 records.
const MAX_TOPIC_BYTES: usize = 127;
/// From this version on, clients say themselves how often a message may be retried.
const MAX_RECONSUME_TIMES_SINCE: i32 = 121;

impl SendHandler {
    /// The topic of a send, created if the broker may.
    pub(super) fn topic(
        &self,
        header: &SendMessageRequestHeader<'_>,
        connection: &Connection,
    ) -> Result<Arc<Topic>, Reply> {
        let settings = &self.settings;
        let topic = header.topic;
        if settings.accept_from > 0 && self.clock.now().0 < settings.accept_from {
            let text = format!(
                "broker unable to service until {} (startAcceptSendRequestTimeStamp)",
                settings.accept_from
            );
            return Err(Reply::error(response_code::SYSTEM_ERROR, text));
        }
        if let Some(known) = self.topics.get(topic)
            && known.order
            && !settings.writable
        {
            let text = format!(
                "the broker[{}] sending message is forbidden",
                settings.broker_ip
            );
            return Err(Reply::error(response_code::NO_PERMISSION, text));
        }
        names::validate_topic(topic)
            .map_err(|e| Reply::error(response_code::INVALID_PARAMETER, e.to_string()))?;
        if names::is_not_allowed_to_send(topic) {
            let text = format!("Sending message to topic[{topic}] is forbidden.");
            return Err(Reply::error(response_code::NO_PERMISSION, text));
        }
        if let Some(known) = self.topics.get(topic) {
            return Ok(known);
        }
        let created = self.topics.create_on_send(
            topic,
            header.default_topic,
            header.default_topic_queue_nums,
            header.unit_mode,
            connection.peer(),
        );
        match created {
            Ok(Some(created)) => Ok(created),
            Ok(None) => {
                let text = with_faq(&format!("topic[{topic}] not exist, apply first please!"));
                Err(Reply::error(response_code::TOPIC_NOT_EXIST, text))
            }
            Err(error) => Err(Reply::error(response_code::SYSTEM_ERROR, error.to_string())),
        }
    }

    /// The queue the producer means, or one of those it may write to.
    pub(super) fn queue_id(
        header: &SendMessageRequestHeader<'_>,
        topic: &Topic,
        connection: &Connection,
    ) -> Result<u32, Reply> {
        let queues = topic.read_queue_nums.max(topic.write_queue_nums);
        if header.queue_id >= queues {
            let text = format!(
                "request queueId[{}] is illegal, {} Producer: {}",
                header.queue_id,
                describe(topic),
                connection.peer()
            );
            return Err(Reply::error(response_code::INVALID_PARAMETER, text));
        }
        match u32::try_from(header.queue_id) {
            Ok(queue_id) => Ok(queue_id),
            Err(_) => Ok(rand::random_range(
                0..u32::try_from(topic.write_queue_nums).unwrap_or(0).max(1),
            )),
        }
    }

    /// For a message that goes back to its retry topic too often, or whose group consumes in order: where it goes instead.
    pub(super) fn dead_letter_topic(
        &self,
        header: &SendMessageRequestHeader<'_>,
        client_version: i32,
    ) -> Result<Option<Arc<Topic>>, Reply> {
        let Some(group) = names::group_of_retry_topic(header.topic) else {
            return Ok(None);
        };
        if header.batch {
            let text = format!(
                "batch request does not support retry group {}",
                header.topic
            );
            return Err(Reply::error(response_code::MESSAGE_ILLEGAL, text));
        }
        let Some(config) = self.groups.find_or_create(group) else {
            let text = with_faq(&format!("subscription group not exist, {group}"));
            return Err(Reply::error(
                response_code::SUBSCRIPTION_GROUP_NOT_EXIST,
                text,
            ));
        };
        let asked = header
            .max_reconsume_times
            .filter(|_| client_version >= MAX_RECONSUME_TIMES_SINCE);
        let limit = asked.unwrap_or(config.retry_max_times);
        if header.reconsume_times <= limit && !self.locks.has_live(group) {
            return Ok(None);
        }
        let dead = self.topics.ensure_dead_letter_topic(group);
        dead.map(Some)
            .map_err(|error| Reply::error(response_code::SYSTEM_ERROR, error.to_string()))
    }

    pub(super) fn check_single(
        &self,
        header: &SendMessageRequestHeader<'_>,
        topic: &Topic,
        sent: &Sent<'_>,
        body: &[u8],
    ) -> Result<(), Reply> {
        let settings = &self.settings;
        if topic.is_compacted() && sent.keys.is_none_or(|keys| keys.trim().is_empty()) {
            return Err(Reply::error(
                response_code::MESSAGE_ILLEGAL,
                "Required message key is missing",
            ));
        }
        if sent.transactional && !(header.reconsume_times > 0 && sent.delay_level > 0) {
            if settings.reject_transactions {
                let text = format!(
                    "the broker[{}] sending transaction message is forbidden",
                    settings.broker_ip
                );
                return Err(Reply::error(response_code::NO_PERMISSION, text));
            }
            return Err(unsupported("transactional messages (TRAN_MSG)"));
        }
        if sent.delay_level > 0 {
            return Err(unsupported("delay levels (DELAY)"));
        }
        if sent.timed {
            return Err(unsupported("timed messages (TIMER_*)"));
        }
        let inner_batch = header.sys_flag & (sys_flag::INNER_BATCH | sys_flag::NEED_UNWRAP) != 0;
        let limit = settings.max_message_size;
        let named_too_long =
            header.topic.len() > MAX_TOPIC_BYTES && !names::is_retry_topic(header.topic);
        if body.is_empty() || body.len() > limit || inner_batch || named_too_long {
            return Err(illegal(limit));
        }
        Ok(())
    }

    pub(super) fn check_batch(
        &self,
        header: &SendMessageRequestHeader<'_>,
        topic: &Topic,
        sent: &Sent<'_>,
        body: &[u8],
    ) -> Result<(), Reply> {
        let limit = self.settings.max_message_size;
        let unfit =
            sent.delay_level > 0 || sent.timed || header.sys_flag & sys_flag::TRANSACTION_TYPE != 0;
        if header.topic.len() > MAX_TOPIC_BYTES || unfit {
            return Err(illegal(limit));
        }
        if topic.is_batch_queue() && sent.unique_key.is_some() {
            return Err(unsupported(
                "inner batches (topics with queue.type=BatchCQ)",
            ));
        }
        if body.len() > limit {
            let text = format!(
                "message body size exceeded, msg body size: {}, maxMessageSize: {limit}",
                body.len()
            );
            return Err(Reply::error(response_code::SYSTEM_ERROR, text));
        }
        Ok(())
    }
}

/// The topic as the reference words it.
fn describe(topic: &Topic) -> String {
    let perm: String = [(perm::READ, 'R'), (perm::WRITE, 'W'), (perm::INHERIT, 'X')]
        .into_iter()
        .map(|(bit, letter)| if topic.perm & bit != 0 { letter } else { '-' })
        .collect();
    format!(
        "TopicConfig [topicName={}, readQueueNums={}, writeQueueNums={}, perm={perm}, topicFilterType={}, topicSysFlag={}, \
         order={}, attributes={:?}]",
        topic.topic_name,
        topic.read_queue_nums,
        topic.write_queue_nums,
        if topic.has_multi_tags() {
            "MULTI_TAG"
        } else {
            "SINGLE_TAG"
        },
        topic.topic_sys_flag,
        topic.order,
        topic.attributes,
    )
}

fn unsupported(what: &str) -> Reply {
    Reply::error(
        response_code::MESSAGE_ILLEGAL,
        format!("{what} are not supported by this broker; the message was not stored"),
    )
}
