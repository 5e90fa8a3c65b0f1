//! Pulling one queue: ask, wait at the broker for messages, hand them on, ask again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use common::names::is_retry_topic;
use common::transport::Response;
use common::wire::header::{
    PULL_COMMIT_OFFSET, PULL_SUSPEND, PullMessageRequestHeader, PullMessageResponseHeader,
};
use common::wire::{Command, request_code, response_code};

use super::assigned::Assigned;
use super::push::Shared;
use super::subscription::wants;
use crate::error::ClientError;
use crate::instance::{header, refused, unreadable_body};
use crate::route::MASTER_ID;
use crate::{MessageExt, MessageQueue};

/// How long a broker may hold a pull that finds nothing.
const SUSPEND: Duration = Duration::from_secs(15);
/// How long a pull may take, holding included; brokers may answer a held one some seconds late.
const PULL_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after a pull that failed.
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// Pause after the broker said that it limits the flow.
const AFTER_FLOW_CONTROL: Duration = Duration::from_millis(20);
/// A pull that waits for room looks again after this time at the latest.
const WAIT_FOR_ROOM: Duration = Duration::from_millis(50);

/// What a pull came to.
#[derive(Debug, PartialEq, Eq)]
struct Pulled {
    messages: Vec<MessageExt>,
    /// Where the next pull starts.
    next: i64,
    /// The offset asked for is not in the queue, or was reset: start over at `next`.
    moved: bool,
    /// Replica the next pull should go to.
    pull_from: i64,
}

/// Pulls until the queue is given up or the consumer stops.
pub(crate) async fn run(consumer: Arc<Shared>, assigned: Arc<Assigned>, first: i64) {
    let moved_to = tokio::select! {
        () = assigned.dropped() => return,
        () = consumer.stopping() => return,
        to = pull_on(&consumer, &assigned, first) => to,
    };
    tracing::warn!(queue = ?assigned.queue, to = moved_to, "offset moved by the broker, starting over");
    consumer.start_over(&assigned, moved_to).await;
}

/// Pulls until the broker says that reading has to begin anew, and where.
async fn pull_on(consumer: &Arc<Shared>, assigned: &Arc<Assigned>, first: i64) -> i64 {
    let mut next = first;
    loop {
        consumer.resumed().await;
        wait_for_room(consumer, assigned).await;
        match pull(consumer, assigned, next).await {
            Ok(pulled) if pulled.moved => return pulled.next,
            Ok(pulled) => {
                next = pulled.next;
                if pulled.messages.is_empty() {
                    skip(consumer, assigned, next);
                    continue;
                }
                let messages: Vec<_> = pulled.messages.into_iter().map(Arc::new).collect();
                assigned.held.lock().put(&messages);
                consumer.dispatch(assigned, messages);
                if !consumer.settings.pull_interval.is_zero() {
                    tokio::time::sleep(consumer.settings.pull_interval).await;
                }
            }
            Err(error) => {
                tracing::warn!(queue = ?assigned.queue, %error, "pull failed");
                tokio::time::sleep(consumer.after_pull_error(&error)).await;
            }
        }
    }
}

impl Shared {
    /// Does what the failure of a pull calls for; answers how long to wait before the next.
    fn after_pull_error(&self, error: &ClientError) -> Duration {
        match error.response_code() {
            Some(response_code::FLOW_CONTROL) => return AFTER_FLOW_CONTROL,
            // The broker was restarted, or does not know the newest subscription: tell it again.
            Some(
                response_code::SUBSCRIPTION_NOT_EXIST | response_code::SUBSCRIPTION_NOT_LATEST,
            ) => self.instance.beat_now.notify_one(),
            _ => self.instance.routes.stale.notify_one(),
        }
        AFTER_ERROR
    }
}

async fn wait_for_room(consumer: &Shared, assigned: &Assigned) {
    let thresholds = &consumer.settings.flow_thresholds;
    let mut told = false;
    loop {
        // Registered before looking, so that what is finished in between is not missed.
        let room = assigned.room.notified();
        let Some(pause) = assigned.held.lock().pause(thresholds) else {
            return;
        };
        if !told {
            tracing::debug!(queue = ?assigned.queue, ?pause, "too much unfinished, pulling pauses");
            told = true;
        }
        let _ = tokio::time::timeout(WAIT_FOR_ROOM, room).await;
    }
}

/// Nothing between the offset so far and `next` concerns this consumer: if it holds nothing, all is done.
fn skip(consumer: &Shared, assigned: &Assigned, next: i64) {
    if assigned.held.lock().is_empty() {
        consumer.offsets.advance(&assigned.queue, next);
    }
}

async fn pull(consumer: &Shared, assigned: &Assigned, offset: i64) -> Result<Pulled, ClientError> {
    let queue = &assigned.queue;
    let subscription = consumer.subscriptions.read().get(&queue.topic).cloned();
    let pull_from = assigned.pull_from.load(Ordering::Relaxed);
    let Some(subscription) = subscription else {
        // Unsubscribed a moment ago: the rebalance that follows gives the queue up.
        tokio::time::sleep(AFTER_ERROR).await;
        return Ok(Pulled {
            messages: Vec::new(),
            next: offset,
            moved: false,
            pull_from,
        });
    };
    let replica = (consumer.instance.routes).replica(&queue.broker_name, pull_from);
    let (broker_id, address) = replica.ok_or_else(|| ClientError::no_broker(&queue.broker_name))?;
    let done = consumer.offsets.get(queue).filter(|done| *done > 0);
    // Only masters keep offsets.
    let commit = done.filter(|_| broker_id == MASTER_ID && consumer.is_clustering());
    let request = PullMessageRequestHeader {
        consumer_group: consumer.settings.group.clone(),
        topic: queue.topic.clone(),
        queue_id: queue.queue_id,
        queue_offset: offset,
        max_msg_nums: consumer.settings.pull_batch_size,
        sys_flag: PULL_SUSPEND | commit.map_or(0, |_| PULL_COMMIT_OFFSET),
        commit_offset: Some(commit.unwrap_or(0)),
        suspend_timeout_millis: i64::try_from(SUSPEND.as_millis()).ok(),
        subscription: None,
        sub_version: Some(subscription.sub_version),
        expression_type: Some("TAG".to_owned()),
        ..PullMessageRequestHeader::default()
    };
    let command = Command::request(request_code::PULL_MESSAGE).with(&request);
    let answer = (consumer.instance).call(&address, command, Bytes::new(), PULL_TIMEOUT);
    let mut pulled = read(&address, queue, answer.await?)?;
    // A batch that was stored whole comes whole, also if its first messages are consumed already.
    pulled
        .messages
        .retain(|message| message.queue_offset >= offset && wants(&subscription, message.tag()));
    assigned
        .pull_from
        .store(pulled.pull_from, Ordering::Relaxed);
    Ok(pulled)
}

/// Reads the answer to a pull.
fn read(address: &str, queue: &MessageQueue, answer: Response) -> Result<Pulled, ClientError> {
    let Response { command, body } = answer;
    let code = command.code;
    if !matches!(
        code,
        response_code::SUCCESS
            | response_code::PULL_NOT_FOUND
            | response_code::PULL_RETRY_IMMEDIATELY
            | response_code::PULL_OFFSET_MOVED
    ) {
        return Err(refused(address, command));
    }
    let position: PullMessageResponseHeader = header(address, &command)?;
    let mut messages = Vec::new();
    if code == response_code::SUCCESS {
        messages =
            MessageExt::read_all(&body, &queue.broker_name).map_err(unreadable_body(address))?;
    }
    if is_retry_topic(&queue.topic) {
        messages.iter_mut().for_each(MessageExt::restore_topic);
    }
    Ok(Pulled {
        messages,
        next: position.next_begin_offset,
        moved: code == response_code::PULL_OFFSET_MOVED,
        pull_from: position.suggest_which_broker_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: i32) -> Response {
        let mut command = Command {
            code,
            ..Command::default()
        };
        for (name, value) in [
            ("suggestWhichBrokerId", "1"),
            ("nextBeginOffset", "7"),
            ("minOffset", "0"),
            ("maxOffset", "9"),
        ] {
            command.fields.push(name, value);
        }
        Response {
            command,
            body: Bytes::new(),
        }
    }

    fn read(answer: Response) -> Result<Pulled, ClientError> {
        super::read("b:1", &MessageQueue::new("T", "broker-a", 0), answer)
    }

    #[test]
    fn each_code_has_its_meaning() {
        for (code, moved) in [(0, false), (19, false), (20, false), (21, true)] {
            let pulled = Pulled {
                messages: Vec::new(),
                next: 7,
                moved,
                pull_from: 1,
            };
            assert_eq!(read(answer(code)).unwrap(), pulled, "{code}");
        }
        assert!(read(answer(24)).unwrap_err().is_response(24));
    }

    #[test]
    fn an_answer_without_a_position_is_an_error() {
        let bare = Response {
            command: Command::default(),
            body: Bytes::new(),
        };
        assert!(matches!(read(bare), Err(ClientError::AnswerHeader { .. })));
    }
}
