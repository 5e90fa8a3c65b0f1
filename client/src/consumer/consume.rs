//! Giving messages to the listener, and seeing to those it fails on: a message leaves this process only
//! when it is done, or when a broker has taken it back.

use std::sync::Arc;
use std::time::Duration;

use common::message::properties::{
    DELAY, MAX_RECONSUME_TIMES, ORIGIN_MESSAGE_ID, RECONSUME_TIME, RETRY_TOPIC, UNIQUE_KEY,
};
use common::wire::response_code;
use tokio::sync::OwnedSemaphorePermit;

use super::assigned::Assigned;
use super::broker;
use super::listener::{ConsumeStatus, Messages};
use super::push::Shared;
use crate::error::ClientError;
use crate::message::Message;
use crate::names::{AUTO_CREATE_TOPIC, retry_topic};
use crate::producer::{COMPRESS_FROM, Outgoing, SendResult, Sender};
use crate::route_cache::Template;
use crate::{MessageExt, MessageQueue};

/// Pause before a failed message that no broker took back is delivered here again.
const LOCAL_REDELIVERY: Duration = Duration::from_secs(5);
/// Deliveries after the first that brokers allow by default.
const DEFAULT_MAX_RECONSUME_TIMES: i32 = 16;
/// Delay level of the first redelivery.
const FIRST_DELAY_LEVEL: i32 = 3;
/// Overdue messages looked at per queue and round.
const OVERDUE_PER_QUEUE: usize = 16;
/// Group under which consumers send.
const INNER_PRODUCER_GROUP: &str = "CLIENT_INNER_PRODUCER";
/// Properties that describe the old copy of a message, not the one sent to the retry topic.
const NOT_RESENT: [&str; 6] = [
    DELAY,
    MAX_RECONSUME_TIMES,
    ORIGIN_MESSAGE_ID,
    RECONSUME_TIME,
    RETRY_TOPIC,
    UNIQUE_KEY,
];

impl Shared {
    /// Has messages of `assigned` consumed, as soon as listeners are free. Returns at once: what may pile up
    /// is limited by the flow thresholds.
    pub(super) fn dispatch(self: &Arc<Self>, assigned: &Arc<Assigned>, messages: Messages) {
        let (consumer, assigned) = (Arc::clone(self), Arc::clone(assigned));
        tokio::spawn(async move {
            let size = consumer.settings.consume_batch_size;
            for batch in messages.chunks(size) {
                let permits = Arc::clone(&consumer.permits);
                let permit = tokio::select! {
                    permit = permits.acquire_owned() => permit,
                    () = assigned.dropped() => return,
                    () = consumer.stopping() => return,
                };
                // The semaphore closes with the consumer.
                let Ok(permit) = permit else { return };
                let (consumer, assigned) = (Arc::clone(&consumer), Arc::clone(&assigned));
                let batch = batch.to_vec();
                tokio::spawn(async move { consumer.consume(&assigned, batch, permit).await });
            }
        });
    }

    async fn consume(
        self: &Arc<Self>,
        assigned: &Arc<Assigned>,
        mut batch: Messages,
        permit: OwnedSemaphorePermit,
    ) {
        {
            let now = self.instance.clock.monotonic();
            let mut held = assigned.held.lock();
            // What a timeout took away meanwhile was sent back already.
            batch.retain(|message| held.start(message.queue_offset, now));
        }
        if batch.is_empty() || assigned.is_dropped() || self.is_stopping() {
            return;
        }
        let status = self.listener.call(batch.clone()).await.unwrap_or_else(|| {
            tracing::error!(queue = ?assigned.queue, "the listener panicked, its messages are delivered again");
            ConsumeStatus::ReconsumeLater
        });
        // Kept until everything is settled: a shutdown that has all permits knows that nothing is under way.
        self.settle(assigned, &batch, status).await;
        drop(permit);
    }

    async fn settle(
        self: &Arc<Self>,
        assigned: &Arc<Assigned>,
        batch: &[Arc<MessageExt>],
        status: ConsumeStatus,
    ) {
        if assigned.is_dropped() {
            tracing::debug!(queue = ?assigned.queue, "queue was given up, its next owner gets the messages again");
            return;
        }
        let (done, failed) = batch.split_at(status.done(batch.len()));
        let mut finished: Vec<i64> = done.iter().map(|message| message.queue_offset).collect();
        let mut kept = Vec::new();
        for message in failed {
            if !self.is_clustering() {
                tracing::warn!(
                    message.msg_id,
                    "broadcast message failed; it is not delivered again"
                );
            } else if !assigned.held.lock().holds(message.queue_offset) {
                continue;
            } else if !self.send_back(message, status.delay_level()).await {
                kept.push(Arc::clone(message));
                continue;
            }
            finished.push(message.queue_offset);
        }
        self.finish(assigned, finished);
        if !kept.is_empty() {
            self.redeliver_here(assigned, kept);
        }
    }

    fn finish(&self, assigned: &Assigned, offsets: Vec<i64>) {
        let commit = assigned.held.lock().finish(offsets);
        if let Some(commit) = commit
            && !assigned.is_dropped()
        {
            self.offsets.advance(&assigned.queue, commit);
        }
        assigned.room.notify_one();
    }

    /// Delivers messages that nobody took back once more, after a pause. They stay unfinished all the time, so
    /// if this process ends, the group gets them from the queue again.
    fn redeliver_here(self: &Arc<Self>, assigned: &Arc<Assigned>, messages: Messages) {
        let (consumer, assigned) = (Arc::clone(self), Arc::clone(assigned));
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(LOCAL_REDELIVERY) => {}
                () = assigned.dropped() => return,
                () = consumer.stopping() => return,
            }
            let again = messages.iter().map(|message| {
                let reconsume_times = message.reconsume_times.saturating_add(1);
                Arc::new(MessageExt {
                    reconsume_times,
                    ..MessageExt::clone(message)
                })
            });
            consumer.dispatch(&assigned, again.collect());
        });
    }

    /// Gives a failed message back to the brokers. False when none took it.
    async fn send_back(&self, message: &MessageExt, delay_level: i32) -> bool {
        let (instance, group) = (&self.instance, &self.settings.group);
        let most = self
            .settings
            .max_reconsume_times
            .unwrap_or(DEFAULT_MAX_RECONSUME_TIMES);
        let error = match broker::send_back(instance, group, message, delay_level, most).await {
            Ok(()) => return true,
            Err(error) => error,
        };
        if error.is_response(response_code::REQUEST_CODE_NOT_SUPPORTED) {
            // A broker without redelivery has no delays either: its retry topic would bring it at once.
            tracing::warn!(message.msg_id, %error, "the broker redelivers nothing, trying again here");
            return false;
        }
        tracing::warn!(message.msg_id, %error, "could not send back, sending to the retry topic");
        match self.resend(message, delay_level, most).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(message.msg_id, %error, "could not send to the retry topic, trying again here");
                false
            }
        }
    }

    /// Sends a copy of a message to the group's retry topic, on any broker.
    async fn resend(
        &self,
        message: &MessageExt,
        delay_level: i32,
        most: i32,
    ) -> Result<SendResult, ClientError> {
        let copy = retry_copy(&self.settings.group, message, delay_level, most);
        let born = self.instance.clock.now().0;
        let outgoing = Outgoing::message(copy, || self.instance.unique_id(), born, COMPRESS_FROM);
        let template = Template {
            topic: AUTO_CREATE_TOPIC.to_owned(),
            queues: 1,
        };
        let route = self
            .instance
            .routes
            .get_to_publish(&outgoing.topic, &template)
            .await?;
        let at = rand::random_range(0..route.publish.len().max(1));
        let queue: &MessageQueue = route.publish.get(at).ok_or_else(|| ClientError::NoRoute {
            topic: outgoing.topic.clone(),
        })?;
        let address = self.instance.master_to_send(&queue.broker_name)?;
        let sender = Sender {
            group: INNER_PRODUCER_GROUP,
            template_topic: AUTO_CREATE_TOPIC,
            template_queues: 1,
        };
        let command = outgoing.request(&sender, queue);
        let timeout = self.instance.config.request_timeout;
        let answer = self
            .instance
            .call(&address, command, outgoing.body.clone(), timeout)
            .await?;
        SendResult::read(&address, queue, &outgoing.msg_id, answer.command)
    }

    /// Sends messages back whose listeners have had them for longer than the consume timeout.
    pub(super) async fn send_back_overdue(&self) {
        let limit = self.settings.consume_timeout;
        for assigned in self.assigned() {
            for _ in 0..OVERDUE_PER_QUEUE {
                let now = self.instance.clock.monotonic();
                let Some(message) = assigned.held.lock().overdue(now, limit) else {
                    break;
                };
                tracing::warn!(
                    message.msg_id,
                    ?limit,
                    "listener holds a message for too long, sending it back"
                );
                if !self.is_clustering() || !self.send_back(&message, FIRST_DELAY_LEVEL).await {
                    break;
                }
                self.finish(&assigned, vec![message.queue_offset]);
            }
        }
    }
}

/// The message that goes to the retry topic in place of `message`.
fn retry_copy(group: &str, message: &MessageExt, delay_level: i32, most: i32) -> Message {
    let mut copy = Message::new(retry_topic(group), message.body.clone()).flag(message.flag);
    for (name, value) in message.properties() {
        if !NOT_RESENT.contains(&name) {
            copy.set_system(name, value);
        }
    }
    let origin = message
        .property(ORIGIN_MESSAGE_ID)
        .unwrap_or(&message.msg_id);
    copy.set_system(ORIGIN_MESSAGE_ID, origin);
    copy.set_system(RETRY_TOPIC, message.topic.as_str());
    // A message given up on is past its last delivery.
    let times = if delay_level < 0 {
        most
    } else {
        message.reconsume_times
    };
    copy.set_system(RECONSUME_TIME, times.saturating_add(1).to_string());
    copy.set_system(MAX_RECONSUME_TIMES, most.to_string());
    let level = if delay_level > 0 {
        delay_level
    } else {
        FIRST_DELAY_LEVEL.saturating_add(message.reconsume_times)
    };
    copy.set_system(DELAY, level.to_string());
    copy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_messages::message_at;

    fn failed() -> MessageExt {
        let mut message = MessageExt::clone(&message_at(5, b"body"));
        message.msg_id = "ID".into();
        message.properties =
            "TAGS\u{1}A\u{2}mine\u{1}x\u{2}UNIQ_KEY\u{1}ID\u{2}DELAY\u{1}9\u{2}".into();
        message
    }

    #[test]
    fn the_copy_keeps_what_is_the_applications_and_says_where_it_came_from() {
        let copy = retry_copy("g", &failed(), 0, 16);
        assert_eq!(
            (copy.topic(), copy.body().as_ref()),
            ("%RETRY%g", b"body".as_slice())
        );
        for (name, value) in [
            ("TAGS", "A"),
            ("mine", "x"),
            (RETRY_TOPIC, "T"),
            (ORIGIN_MESSAGE_ID, "ID"),
            (RECONSUME_TIME, "1"),
            (MAX_RECONSUME_TIMES, "16"),
            (DELAY, "3"),
        ] {
            assert_eq!(copy.get(name), Some(value), "{name}");
        }
        assert_eq!(copy.get(UNIQUE_KEY), None);
    }

    #[test]
    fn later_failures_wait_longer_and_keep_the_first_id() {
        let mut message = failed();
        message.reconsume_times = 4;
        message
            .properties
            .push_str("ORIGIN_MESSAGE_ID\u{1}FIRST\u{2}");
        let copy = retry_copy("g", &message, 0, 16);
        assert_eq!(
            (copy.get(DELAY), copy.get(RECONSUME_TIME)),
            (Some("7"), Some("5"))
        );
        assert_eq!(copy.get(ORIGIN_MESSAGE_ID), Some("FIRST"));
        assert_eq!(retry_copy("g", &message, 2, 16).get(DELAY), Some("2"));
    }

    #[test]
    fn giving_up_is_more_failures_than_allowed() {
        assert_eq!(
            retry_copy("g", &failed(), -1, 16).get(RECONSUME_TIME),
            Some("17")
        );
    }
}
