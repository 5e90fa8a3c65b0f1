//! What brokers ask of a consumer.

use std::sync::Arc;

use common::wire::body::{
    CmResult, ConsumeMessageDirectlyResult, ConsumerRunningInfo, GetConsumerStatusBody,
    ProcessQueueInfo, ResetOffsetBody,
};
use common::wire::{Reply, request_code, response_code};
use tokio::sync::mpsc;

use super::listener::{Listener, OrderlyStatus};
use super::push::Shared;
use crate::MessageExt;
use crate::caught::caught;
use crate::instance::PeerRequest;

/// Answers brokers until the consumer stops.
pub(crate) async fn serve(consumer: Arc<Shared>, mut inbox: mpsc::Receiver<PeerRequest>) {
    while let Some(request) = inbox.recv().await {
        let group = ["consumerGroup", "group"]
            .iter()
            .find_map(|key| request.command.fields.get(key));
        if group.is_some_and(|group| group != consumer.settings.group) {
            let remark = "this client has no consumer of that group";
            request.answer(Reply::error(response_code::SYSTEM_ERROR, remark));
            continue;
        }
        match request.command.code {
            request_code::NOTIFY_CONSUMER_IDS_CHANGED => consumer.rebalance_now.notify_one(),
            request_code::RESET_CONSUMER_CLIENT_OFFSET => reset_offsets(&consumer, &request).await,
            request_code::GET_CONSUMER_STATUS_FROM_CLIENT => {
                request.answer(offsets(&consumer, &request));
            }
            request_code::GET_CONSUMER_RUNNING_INFO => request.answer(running_info(&consumer)),
            request_code::CONSUME_MESSAGE_DIRECTLY => {
                // The listener may take its time; other requests shall not wait for it.
                let consumer = Arc::clone(&consumer);
                tokio::spawn(async move {
                    let reply = consume_directly(&consumer, &request).await;
                    request.answer(reply);
                });
            }
            code => request.answer(Reply::not_supported(code)),
        }
    }
}

/// A reset by an operator: what is held is forgotten, reading goes on at the new offsets.
async fn reset_offsets(consumer: &Arc<Shared>, request: &PeerRequest) {
    let body = match ResetOffsetBody::decode(&request.body) {
        Ok(body) => body,
        Err(error) => {
            tracing::warn!(%error, "a broker asked for a reset this client cannot read");
            return;
        }
    };
    for assigned in consumer.assigned() {
        if let Some(offset) = body.offset_table.get(&assigned.queue) {
            tracing::info!(queue = ?assigned.queue, offset, "offset reset by a broker");
            consumer.start_over(&assigned, *offset).await;
        }
    }
}

fn offsets(consumer: &Shared, request: &PeerRequest) -> Reply {
    let topic = request.command.fields.get("topic").unwrap_or_default();
    let mut body = GetConsumerStatusBody {
        message_queue_table: consumer.offsets.all(),
        ..GetConsumerStatusBody::default()
    };
    body.message_queue_table
        .retain(|queue, _| queue.topic == topic);
    Reply::ok().with_body(body.encode())
}

fn running_info(consumer: &Shared) -> Reply {
    let saturated = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
    let mut info = ConsumerRunningInfo::default();
    for assigned in consumer.assigned() {
        let held = assigned.held.lock();
        let queue = ProcessQueueInfo {
            cached_msg_count: saturated(held.len()),
            cached_msg_min_offset: held.first_offset().unwrap_or(0),
            cached_msg_max_offset: held.last_offset().unwrap_or(0),
            cached_msg_size_in_mib: saturated(held.bytes() >> 20),
            commit_offset: consumer.offsets.get(&assigned.queue).unwrap_or(-1),
            droped: assigned.is_dropped(),
            ..ProcessQueueInfo::default()
        };
        info.mq_table.insert(assigned.queue.clone(), queue);
    }
    info.subscription_set = consumer.subscriptions.read().values().cloned().collect();
    let settings = &consumer.settings;
    let model = format!("{:?}", settings.message_model).to_uppercase();
    let threads = settings.consume_threads.to_string();
    let properties = [
        ("consumerGroup", settings.group.as_str()),
        ("messageModel", &model),
        ("PROP_CONSUME_TYPE", "CONSUME_PASSIVELY"),
        ("PROP_CONSUMEORDERLY", &consumer.is_orderly().to_string()),
        ("PROP_THREADPOOL_CORE_SIZE", &threads),
        ("PROP_CLIENT_VERSION", common::wire::CURRENT_VERSION_DESC),
    ];
    info.properties = properties
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    Reply::ok().with_body(info.encode())
}

async fn consume_directly(consumer: &Shared, request: &PeerRequest) -> Reply {
    let broker_name = request.command.fields.get("brokerName").unwrap_or_default();
    let mut message = match MessageExt::read_all(&request.body, broker_name) {
        Ok(mut messages) if messages.len() == 1 => messages.remove(0),
        Ok(messages) => {
            let remark = format!("{} messages instead of one", messages.len());
            return Reply::error(response_code::SYSTEM_ERROR, remark);
        }
        Err(error) => return Reply::error(response_code::SYSTEM_ERROR, error.to_string()),
    };
    message.restore_topic();
    let started = consumer.instance.clock.monotonic();
    let messages = vec![Arc::new(message)];
    let done = match &consumer.listener {
        Listener::Concurrent(listener) => {
            let status = caught(|| listener(messages)).await;
            status.map(|status| status.done(1) == 1)
        }
        Listener::Orderly(listener) => {
            let done =
                |status| matches!(status, OrderlyStatus::Success | OrderlyStatus::Uncommitted);
            caught(|| listener(messages)).await.map(done)
        }
    };
    let spent = consumer.instance.clock.monotonic().saturating_sub(started);
    let result = ConsumeMessageDirectlyResult {
        auto_commit: true,
        consume_result: match done {
            Some(true) => CmResult::Success,
            Some(false) => CmResult::Later,
            None => CmResult::ThrowException,
        },
        order: consumer.is_orderly(),
        remark: done.is_none().then(|| "the listener panicked".to_owned()),
        spent_time_mills: i64::try_from(spent.as_millis()).unwrap_or(i64::MAX),
    };
    Reply::ok().with_body(result.encode())
}
