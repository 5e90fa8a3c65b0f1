//! Heartbeats, members of groups, and who is connected.

use super::malformed;
use crate::client::{Beat, ClientInfo, GroupConnections, Member};
use crate::filter::is_tag_type;
use crate::state::State;
use common::transport::Connection;
use common::wire::body::{
    CheckClientRequestBody, Connection as ConnectionBody, ConsumeType, ConsumerConnection,
    ConsumerData, ConsumerListByGroupResponseBody, HeartbeatData, ProducerConnection,
};
use common::wire::header::{
    ConsumerGroupRequestHeader, GetProducerConnectionListRequestHeader, HeartbeatResponseHeader,
    UnregisterClientRequestHeader,
};
use common::wire::{Command, Reply, response_code};
use std::sync::Arc;

/// `HEART_BEAT`: registers the client in its groups. Groups that may not exist are skipped without a word.
pub fn heartbeat(
    state: &State,
    connection: &Arc<Connection>,
    command: &Command,
    body: &[u8],
) -> Reply {
    let data = match HeartbeatData::decode(body) {
        Ok(data) => data,
        Err(error) => return malformed("HeartbeatData", &error),
    };
    if data.client_id.is_empty()
        && !(data.consumer_data_set.is_empty() && data.producer_data_set.is_empty())
    {
        return Reply::error(response_code::SYSTEM_ERROR, "the heartbeat has no clientID");
    }
    let client = ClientInfo {
        client_id: data.client_id,
        language: command.language,
        version: command.version,
    };
    let (without_sub, fingerprint) = (data.without_sub, data.heartbeat_fingerprint);
    let mut beat = Beat {
        connection: connection.id(),
        handle: connection,
        client: &client,
        // Only heartbeats of the second kind have a short form.
        without_sub: without_sub && fingerprint != 0,
        fingerprint,
        notified: true,
    };
    let mut sub_change = fingerprint == 0;
    for consumer in data.consumer_data_set {
        sub_change |= register_consumer(state, &mut beat, consumer);
    }
    for producer in data.producer_data_set {
        if !producer.group_name.is_empty() {
            state
                .clients
                .producers
                .register(&producer.group_name, connection, &client);
        }
    }
    Reply::ok().with_header(&HeartbeatResponseHeader {
        is_support_heart_beat_v2: Some(true),
        is_sub_change: Some(sub_change),
    })
}

/// True when the client shall send its subscriptions.
fn register_consumer(
    state: &State,
    beat: &mut Beat<'_, Arc<Connection>>,
    data: ConsumerData,
) -> bool {
    let reject = state.settings.now().reject_pull_consumer_enable;
    if reject && data.consume_type == ConsumeType::ConsumeActively {
        return false;
    }
    let Some(group) = state.groups.find_or_create(&data.group_name) else {
        return false;
    };
    let is_order = |topic: &str| state.topics.get(topic).is_some_and(|topic| topic.order);
    let order = data
        .subscription_data_set
        .iter()
        .any(|sub| is_order(&sub.topic));
    let (name, queues) = (&data.group_name, group.retry_queue_nums);
    if let Err(error) = state
        .topics
        .ensure_retry_topic(name, queues, order, data.unit_mode)
    {
        // The consumer can do without until its first redelivery.
        tracing::warn!("retry topic of group {name}: {error}");
    }
    beat.notified = group.notify_consumer_ids_changed_enable;
    state.clients.consumers.register(beat, data)
}

/// `UNREGISTER_CLIENT`: the connection leaves its groups; the client id does not count.
pub fn unregister(
    state: &State,
    connection: &Connection,
    header: &UnregisterClientRequestHeader,
) -> Reply {
    if let Some(group) = &header.producer_group {
        state.clients.producers.unregister(group, connection);
    }
    if let Some(group) = &header.consumer_group {
        state.clients.consumers.unregister(group, connection);
    }
    Reply::ok()
}

/// `CHECK_CLIENT_CONFIG`: whether the broker can filter as the consumer asks.
pub fn check_config(body: &[u8]) -> Reply {
    if body.is_empty() {
        return Reply::ok();
    }
    match CheckClientRequestBody::decode(body) {
        Ok(request) if is_tag_type(&request.subscription_data.expression_type) => Reply::ok(),
        Ok(request) => unsupported_filter(&request.subscription_data.expression_type),
        Err(error) => malformed("CheckClientRequestBody", &error),
    }
}

/// `GET_CONSUMER_LIST_BY_GROUP`: one client id per member.
pub fn consumer_list(state: &State, header: &ConsumerGroupRequestHeader) -> Reply {
    let group = &header.consumer_group;
    match state.clients.consumers.table().client_ids(group) {
        Some(consumer_id_list) => {
            Reply::ok().with_body(ConsumerListByGroupResponseBody { consumer_id_list }.encode())
        }
        None => Reply::error(
            response_code::SYSTEM_ERROR,
            format!("no consumer for this group, {group}"),
        ),
    }
}

/// `GET_CONSUMER_CONNECTION_LIST`: members and subscriptions of a consumer group.
pub fn consumer_connections(state: &State, header: &ConsumerGroupRequestHeader) -> Reply {
    let group = &header.consumer_group;
    match state.clients.consumers.table().connections(group) {
        Some(connections) => Reply::ok().with_body(consumer_connection(&connections).encode()),
        None => Reply::error(
            response_code::CONSUMER_NOT_ONLINE,
            format!("the consumer group[{group}] not online"),
        ),
    }
}

/// `GET_PRODUCER_CONNECTION_LIST`: members of a producer group.
pub fn producer_connections(
    state: &State,
    header: &GetProducerConnectionListRequestHeader,
) -> Reply {
    let group = &header.producer_group;
    let members = state.clients.producers.table().members(group);
    if members.is_empty() {
        let remark = format!("the producer group[{group}] not exist");
        return Reply::error(response_code::SYSTEM_ERROR, remark);
    }
    let connection_set = members.iter().map(connection).collect();
    Reply::ok().with_body(ProducerConnection { connection_set }.encode())
}

/// The refusal of a filter that is not evaluated here.
pub(super) fn unsupported_filter(expression_type: &str) -> Reply {
    let remark =
        format!("The broker does not support consumer to filter message by {expression_type}");
    Reply::error(response_code::SYSTEM_ERROR, remark)
}

fn consumer_connection(group: &GroupConnections<Arc<Connection>>) -> ConsumerConnection {
    let subscriptions = group
        .subscriptions
        .iter()
        .map(|subscription| &subscription.data);
    ConsumerConnection {
        connection_set: group.members.iter().map(connection).collect(),
        consume_from_where: group.consume_from_where,
        consume_type: group.consume_type,
        message_model: group.message_model,
        subscription_table: subscriptions
            .map(|data| (data.topic.clone(), data.clone()))
            .collect(),
    }
}

fn connection(member: &Member<Arc<Connection>>) -> ConnectionBody {
    ConnectionBody {
        client_addr: member.handle.peer().to_string(),
        client_id: member.client.client_id.clone(),
        language: member.client.language.name().to_owned(),
        version: member.client.version,
    }
}

#[cfg(test)]
mod tests;
