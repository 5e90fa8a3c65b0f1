//! Giving messages to the listener, and seeing to those it fails on: a message leaves this process only
//! when it is done, or when a broker has taken it back.

use std::sync::Arc;
use std::time::Duration;

use common::message::properties::{
    DELAY, MAX_RECONSUME_TIMES, ORIGIN_MESSAGE_ID, RECONSUME_TIME, RETRY_TOPIC, UNIQUE_KEY,
};
use common::names::retry_topic;
use common::wire::response_code;
use tokio::sync::OwnedSemaphorePermit;

use super::assigned::Assigned;
use super::listener::{ConsumeStatus, Listener, Messages};
use super::push::Shared;
use crate::MessageExt;
use crate::caught::{Callback, caught};
use crate::error::ClientError;
use crate::message::Message;
use crate::producer::{Compress, Outgoing, SendResult, Sender};
use crate::route_cache::Template;

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
        let Listener::Concurrent(listener) = &self.listener else {
            return assigned.arrived.notify_one();
        };
        let listener = Arc::clone(listener);
        let (consumer, assigned) = (Arc::clone(self), Arc::clone(assigned));
        tokio::spawn(async move {
            let size = consumer.settings.consume_batch_size;
            for batch in messages.chunks(size) {
                let Some(permit) = consumer.permit(&assigned).await else {
                    return;
                };
                let (consumer, assigned) = (Arc::clone(&consumer), Arc::clone(&assigned));
                let (listener, batch) = (Arc::clone(&listener), batch.to_vec());
                tokio::spawn(async move {
                    consumer.consume(&*listener, &assigned, batch, permit).await;
                });
            }
        });
    }

    /// The right to call the listener; `None` once the queue is given up or the consumer stops.
    pub(super) async fn permit(&self, assigned: &Assigned) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            permit = Arc::clone(&self.permits).acquire_owned() => permit.ok(),
            () = assigned.dropped() => None,
            () = self.stopping() => None,
        }
    }

    async fn consume(
        self: &Arc<Self>,
        listener: &Callback<Messages, ConsumeStatus>,
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
        let status = caught(|| listener(batch.clone())).await.unwrap_or_else(|| {
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

    pub(super) fn finish(&self, assigned: &Assigned, offsets: Vec<i64>) {
        let commit = assigned.held.lock().finish(offsets);
        // A queue that is consumed in order is not given up before its listener has come to an end.
        if let Some(commit) = commit
            && (self.is_orderly() || !assigned.is_dropped())
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
    pub(super) async fn send_back(&self, message: &MessageExt, delay_level: i32) -> bool {
        let most = self.settings.max_reconsume_times;
        let (group, most) = (
            &self.settings.group,
            most.unwrap_or(DEFAULT_MAX_RECONSUME_TIMES),
        );
        let sent = (self.instance).send_back(group, message, delay_level, most);
        let Err(error) = sent.await else {
            return true;
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
        let timeout = self.instance.config.request_timeout;
        let copy = retry_copy(&self.settings.group, message, delay_level, most);
        let born = self.instance.clock.now().0;
        let outgoing = Outgoing::message(
            copy,
            || self.instance.unique_id(),
            born,
            Compress::default(),
        );
        let template = &Template {
            queues: 1,
            ..Template::default()
        };
        let routes = &self.instance.routes;
        let route = (routes.get_or_template(&outgoing.topic, Some(template))).await?;
        let at = rand::random_range(0..route.publish.len().max(1));
        let queue = route.publish.get(at);
        let queue = queue.ok_or_else(|| ClientError::no_route(&outgoing.topic))?;
        let group = INNER_PRODUCER_GROUP;
        let sender = &Sender { group, template };
        let attempt = outgoing.attempt(&self.instance, sender, queue, timeout);
        attempt.await
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
