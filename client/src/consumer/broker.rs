//! What a consumer asks of brokers, one function per request.

use bytes::Bytes;
use common::wire::body::ConsumerListByGroupResponseBody;
use common::wire::header::{
    ConsumerSendMsgBackRequestHeader, GetConsumerListByGroupRequestHeader,
    GetMaxOffsetRequestHeader, OffsetResponseHeader, QueryConsumerOffsetRequestHeader,
    SearchOffsetRequestHeader, UpdateConsumerOffsetRequestHeader,
};
use common::wire::{Command, request_code, response_code};

use crate::error::ClientError;
use crate::instance::{Instance, unreadable_body};
use crate::{MessageExt, MessageQueue};

/// The client ids of a group's members, as the broker at `address` knows them.
pub(crate) async fn consumer_ids(
    instance: &Instance,
    address: &str,
    group: &str,
) -> Result<Vec<String>, ClientError> {
    let header = GetConsumerListByGroupRequestHeader {
        consumer_group: group.to_owned(),
    };
    let command = Command::request(request_code::GET_CONSUMER_LIST_BY_GROUP).with(&header);
    let answer = instance.ask(address, command, Bytes::new()).await?;
    let body = ConsumerListByGroupResponseBody::decode(&answer.body)
        .map_err(|error| unreadable_body(address, &error))?;
    Ok(body.consumer_id_list)
}

/// The offset the broker keeps for a group; `None` when there is none.
pub(crate) async fn query_offset(
    instance: &Instance,
    group: &str,
    queue: &MessageQueue,
) -> Result<Option<i64>, ClientError> {
    let address = instance.master(&queue.broker_name)?;
    let header = QueryConsumerOffsetRequestHeader {
        consumer_group: group.to_owned(),
        topic: queue.topic.clone(),
        queue_id: queue.queue_id,
        set_zero_if_not_found: None,
    };
    let command = Command::request(request_code::QUERY_CONSUMER_OFFSET).with(&header);
    match instance
        .ask_header::<OffsetResponseHeader>(&address, command)
        .await
    {
        Ok(found) => Ok(Some(found.offset)),
        Err(error) if error.is_response(response_code::QUERY_NOT_FOUND) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The offset the next message of a queue will get.
pub(crate) async fn max_offset(
    instance: &Instance,
    queue: &MessageQueue,
) -> Result<i64, ClientError> {
    let address = instance.master(&queue.broker_name)?;
    let header = GetMaxOffsetRequestHeader {
        topic: queue.topic.clone(),
        queue_id: queue.queue_id,
        committed: None,
    };
    let command = Command::request(request_code::GET_MAX_OFFSET).with(&header);
    Ok(instance
        .ask_header::<OffsetResponseHeader>(&address, command)
        .await?
        .offset)
}

/// The first offset of a queue stored at `timestamp` (ms) or later.
pub(crate) async fn search_offset(
    instance: &Instance,
    queue: &MessageQueue,
    timestamp: i64,
) -> Result<i64, ClientError> {
    let address = instance.master(&queue.broker_name)?;
    let header = SearchOffsetRequestHeader {
        topic: queue.topic.clone(),
        queue_id: queue.queue_id,
        timestamp,
        boundary_type: None,
    };
    let command = Command::request(request_code::SEARCH_OFFSET_BY_TIMESTAMP).with(&header);
    Ok(instance
        .ask_header::<OffsetResponseHeader>(&address, command)
        .await?
        .offset)
}

/// Whether a report of offsets is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// Sent and forgotten: the next one follows in seconds.
    Oneway,
    /// Answered: afterwards another member may ask for it.
    Confirmed,
}

/// Reports how far a group is on a queue.
pub(crate) async fn update_offset(
    instance: &Instance,
    group: &str,
    queue: &MessageQueue,
    offset: i64,
    report: Report,
) -> Result<(), ClientError> {
    let address = instance.master(&queue.broker_name)?;
    let header = UpdateConsumerOffsetRequestHeader {
        consumer_group: group.to_owned(),
        topic: queue.topic.clone(),
        queue_id: queue.queue_id,
        commit_offset: offset,
    };
    let command = Command::request(request_code::UPDATE_CONSUMER_OFFSET).with(&header);
    match report {
        Report::Oneway => instance.send_oneway(&address, command, Bytes::new()).await,
        Report::Confirmed => instance
            .ask(&address, command, Bytes::new())
            .await
            .map(|_| ()),
    }
}

/// Has the broker deliver a message to the group again, after the delay of `delay_level` (0: it decides; below
/// zero: not again, to the dead letter queue).
pub(crate) async fn send_back(
    instance: &Instance,
    group: &str,
    message: &MessageExt,
    delay_level: i32,
    max_reconsume_times: i32,
) -> Result<(), ClientError> {
    let address = instance.master_to_send(&message.queue.broker_name)?;
    let header = ConsumerSendMsgBackRequestHeader {
        group: group.to_owned(),
        offset: message.physical_offset,
        delay_level,
        origin_msg_id: Some(message.msg_id.clone()),
        origin_topic: Some(message.topic.clone()),
        unit_mode: Some(false),
        max_reconsume_times: Some(max_reconsume_times),
    };
    let command = Command::request(request_code::CONSUMER_SEND_MSG_BACK).with(&header);
    instance
        .ask(&address, command, Bytes::new())
        .await
        .map(|_| ())
}
