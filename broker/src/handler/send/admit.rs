//! Which sends are taken, for which topic and queue; checks come in the order of the reference.

use super::properties::{self, Sent};
use super::{First, SendHandler};
use crate::error::illegal_message as illegal;
use crate::topic::{MessageType, Topic, perm};
use common::message::{batch, sys_flag};
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
    /// The topic of a send, created `first` if the broker may.
    pub(super) fn topic(
        &self,
        header: &SendMessageRequestHeader<'_>,
        connection: &Connection,
        first: &mut First,
    ) -> Result<Arc<Topic>, Reply> {
        let topic = header.topic;
        let from = self.settings().config.start_accept_send_request_time_stamp;
        if from > 0 && self.state.clock.now().0 < from {
            let text =
                format!("broker unable to service until {from} (startAcceptSendRequestTimeStamp)");
            return Err(Reply::error(response_code::SYSTEM_ERROR, text));
        }
        if self
            .state
            .topics
            .get(topic)
            .is_some_and(|known| known.order)
        {
            self.check_writable()?;
        }
        names::validate_topic(topic)
            .map_err(|e| Reply::error(response_code::INVALID_PARAMETER, e.to_string()))?;
        if names::is_not_allowed_to_send(topic) {
            let text = format!("Sending message to topic[{topic}] is forbidden.");
            return Err(Reply::error(response_code::NO_PERMISSION, text));
        }
        if let Some(known) = self.state.topics.get(topic) {
            return Ok(known);
        }
        let create = {
            let (topics, peer) = (self.state.topics.clone(), connection.peer());
            let (topic, model) = (topic.to_owned(), header.default_topic.to_owned());
            let (queues, unit_mode) = (header.default_topic_queue_nums, header.unit_mode);
            move || topics.create_on_send(&topic, &model, queues, unit_mode, peer)
        };
        let creating = create.clone();
        first.leave(move || drop(creating()))?;
        match create() {
            Ok(Some(created)) => Ok(created),
            Ok(None) => {
                let text = with_faq(&format!("topic[{topic}] not exist, apply first please!"));
                Err(Reply::error(response_code::TOPIC_NOT_EXIST, text))
            }
            Err(error) => Err(Reply::error(response_code::SYSTEM_ERROR, error.to_string())),
        }
    }

    /// Refuses on a broker without write permission.
    pub(super) fn check_writable(&self) -> Result<(), Reply> {
        let settings = self.settings();
        if settings.is_writable() {
            return Ok(());
        }
        let text = format!(
            "the broker[{}] sending message is forbidden",
            settings.config.broker_ip1
        );
        Err(Reply::error(response_code::NO_PERMISSION, text))
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
        first: &mut First,
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
        let Some(config) = self.state.groups.find_or_create(group) else {
            let text = with_faq(&format!("subscription group not exist, {group}"));
            return Err(Reply::error(
                response_code::SUBSCRIPTION_GROUP_NOT_EXIST,
                text,
            ));
        };
        let limit = retry_limit(
            header.max_reconsume_times,
            config.retry_max_times,
            client_version,
        );
        if header.reconsume_times <= limit && !self.state.locks.has_live(group) {
            return Ok(None);
        }
        let dead = self.dead_letters(group, first)?;
        self.state.metrics.died(group, header.topic);
        Ok(Some(dead))
    }

    /// The topic of a group's dead letters, created `first`.
    pub(super) fn dead_letters(&self, group: &str, first: &mut First) -> Result<Arc<Topic>, Reply> {
        let topics = self.state.topics.clone();
        if !topics.contains(&names::dlq_topic(group)) {
            let (topics, group) = (topics.clone(), group.to_owned());
            first.leave(move || drop(topics.ensure_dead_letter_topic(&group)))?;
        }
        let dead = topics.ensure_dead_letter_topic(group);
        dead.map_err(|error| Reply::error(response_code::SYSTEM_ERROR, error.to_string()))
    }

    /// What is sent, if the topic takes it.
    pub(super) fn check(
        &self,
        header: &SendMessageRequestHeader<'_>,
        topic: &Topic,
        sent: &Sent<'_>,
        body: &[u8],
    ) -> Result<MessageType, Reply> {
        if header.batch {
            self.check_batch(header, topic, sent, body)?;
        } else {
            self.check_single(header, topic, sent, body)?;
        }
        self.check_light_queues(sent)?;
        self.kind(header, topic, sent, body)
    }

    fn check_single(
        &self,
        header: &SendMessageRequestHeader<'_>,
        topic: &Topic,
        sent: &Sent<'_>,
        body: &[u8],
    ) -> Result<(), Reply> {
        let settings = self.settings();
        if topic.is_compacted() && sent.keys.is_none_or(|keys| keys.trim().is_empty()) {
            return Err(Reply::error(
                response_code::MESSAGE_ILLEGAL,
                "Required message key is missing",
            ));
        }
        if sent.is_half(header.reconsume_times) && settings.config.reject_transaction_message {
            let text = format!(
                "the broker[{}] sending transaction message is forbidden",
                settings.config.broker_ip1
            );
            return Err(Reply::error(response_code::NO_PERMISSION, text));
        }
        let inner_batch = header.sys_flag & (sys_flag::INNER_BATCH | sys_flag::NEED_UNWRAP) != 0;
        let limit = settings.max_message_size;
        let named_too_long =
            header.topic.len() > MAX_TOPIC_BYTES && !names::is_retry_topic(header.topic);
        let inner_batch = inner_batch || sent.inner;
        if body.is_empty() || body.len() > limit || inner_batch || named_too_long {
            return Err(illegal(limit));
        }
        Ok(())
    }

    fn check_batch(
        &self,
        header: &SendMessageRequestHeader<'_>,
        topic: &Topic,
        sent: &Sent<'_>,
        body: &[u8],
    ) -> Result<(), Reply> {
        let limit = self.settings().max_message_size;
        let later = sent.delay_level().is_none_or(|level| level > 0) || sent.timer.asks();
        let is_whole = topic.is_batch_queue() && sent.unique_key.is_some();
        let says_whole = sent.inner || header.sys_flag & sys_flag::INNER_BATCH != 0;
        let unfit =
            later || header.sys_flag & sys_flag::TRANSACTION_TYPE != 0 || says_whole && !is_whole;
        if header.topic.len() > MAX_TOPIC_BYTES || unfit {
            return Err(illegal(limit));
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

    /// Refuses a message that would make one light queue too many.
    fn check_light_queues(&self, sent: &Sent<'_>) -> Result<(), Reply> {
        let settings = self.settings();
        let config = &settings.config;
        // Light queues are what they were at the start; how many there may be changes at once.
        let limited = config.enable_lmq_quota && self.state.config.has_light_queues();
        let Some(named) = sent.dispatch.filter(|_| limited) else {
            return Ok(());
        };
        let most = usize::try_from(config.max_lmq_consume_queue_num).unwrap_or(usize::MAX);
        match self.state.writer.light_queues(named) {
            (true, there) if there >= most => Err(Reply::error(
                response_code::LMQ_QUOTA_EXCEEDED,
                "[LMQ_CONSUME_QUEUE_NUM_EXCEEDED]lmq consume queue num exceeded.",
            )),
            _ => Ok(()),
        }
    }

    /// What is sent, if the topic is for that. A batch counts as what its first message is.
    fn kind(
        &self,
        header: &SendMessageRequestHeader<'_>,
        topic: &Topic,
        sent: &Sent<'_>,
        body: &[u8],
    ) -> Result<MessageType, Reply> {
        let check_kinds = self.settings().config.enable_topic_message_type_check;
        let check = |kind| match topic.takes() {
            Some(taken) if check_kinds && taken != kind => {
                let name = |kind: MessageType| kind.as_str().to_uppercase();
                let text = format!(
                    "topic[{}] takes messages of type {} only, this one is {}; the message was not stored",
                    topic.topic_name,
                    name(taken),
                    name(kind)
                );
                Err(Reply::error(response_code::MESSAGE_ILLEGAL, text))
            }
            _ => Ok(kind),
        };
        if !header.batch {
            return check(sent.kind());
        }
        let mut unused = String::new();
        let mut first = None;
        // What is no message is refused when the batch is taken apart.
        for message in batch::split(body).map_while(Result::ok) {
            unused.clear();
            let kind = check(properties::read(message.properties, &mut unused).kind())?;
            first.get_or_insert(kind);
            if !check_kinds {
                break;
            }
        }
        Ok(first.unwrap_or(MessageType::Normal))
    }
}

/// How often a message is delivered again at most: as often as the client `asked`, if it is one that does, or as its group says.
pub(super) fn retry_limit(asked: Option<i32>, of_group: i32, client_version: i32) -> i32 {
    asked
        .filter(|_| client_version >= MAX_RECONSUME_TIMES_SINCE)
        .unwrap_or(of_group)
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
