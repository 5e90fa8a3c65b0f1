//! Moving groups to other offsets, and asking consumers where they are.

use crate::client::Member;
use crate::error::kv_reply;
use crate::state::State;
use bytes::Bytes;
use common::transport::Connection;
use common::wire::body::{GetConsumerStatusBody, MessageQueue, ResetOffsetBody};
use common::wire::header::{
    GetConsumerStatusRequestHeader, PushedResetOffsetRequestHeader, ResetOffsetRequestHeader,
};
use common::wire::{Command, LanguageCode, Reply, ReplyTo, request_code, response_code};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::Boundary;

/// How long a consumer has to say where it is.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// `INVOKE_BROKER_TO_RESET_OFFSET`; waits for the disk.
pub fn reset(state: &State, header: &ResetOffsetRequestHeader) -> Reply {
    let done = if state.settings.now().use_server_side_reset_offset {
        reset_here(state, header)
    } else {
        reset_in_clients(state, header)
    };
    done.unwrap_or_else(|refusal| refusal)
}

/// Sets the offsets and has the next pull of each queue told so; consumers need not be online.
fn reset_here(state: &State, header: &ResetOffsetRequestHeader) -> Result<Reply, Reply> {
    let (group, topic) = (&header.group, &header.topic);
    let known = state.topics.get(topic).ok_or_else(|| no_topic(topic))?;
    if !state.groups.contains(group) {
        let text = format!("Group {group} does not exist");
        return Err(Reply::error(
            response_code::SUBSCRIPTION_GROUP_NOT_EXIST,
            text,
        ));
    }
    let at_time = |queue_id| (queue_id, by_time(state, topic, queue_id, header.timestamp));
    let table: BTreeMap<i32, i64> = match (header.queue_id, header.offset) {
        (Some(queue_id @ 0..), None | Some(-1)) => BTreeMap::from([at_time(queue_id)]),
        (Some(queue_id @ 0..), Some(offset)) => {
            let (min, max) = state.range(topic, queue_id);
            if offset < min || offset > max + 1 {
                let text =
                    format!("Target offset {offset} not in consume queue range [{min}-{max}]");
                return Err(Reply::error(response_code::SYSTEM_ERROR, text));
            }
            BTreeMap::from([(queue_id, offset)])
        }
        _ => (0..known.read_queue_nums).map(at_time).collect(),
    };
    tracing::info!(group, topic, ?table, "offsets are reset by request");
    state.offsets.reset(group, topic, &table);
    match state.offsets.settle() {
        Ok(()) => Ok(Reply::ok().with_body(body(state, topic, &table).encode())),
        Err(error) => Err(kv_reply("the offsets are not on the disk", &error)),
    }
}

/// Tells every consumer of the group where to go on.
fn reset_in_clients(state: &State, header: &ResetOffsetRequestHeader) -> Result<Reply, Reply> {
    let (group, topic) = (&header.group, &header.topic);
    let known = state.topics.get(topic).ok_or_else(|| no_topic(topic))?;
    let mut table = BTreeMap::new();
    for queue_id in 0..known.write_queue_nums {
        let Some(at) = state.offsets.committed(group, topic, queue_id) else {
            let text = format!("THe consumer group <{group}> not exist");
            return Err(Reply::error(response_code::SYSTEM_ERROR, text));
        };
        let wanted = by_time(state, topic, queue_id, header.timestamp);
        table.insert(
            queue_id,
            if header.is_force {
                wanted
            } else {
                wanted.min(at)
            },
        );
    }
    let members = members(state, group);
    if members.is_empty() {
        let at = header.timestamp;
        let text = format!(
            "Consumer not online, so can not reset offset, Group: {group} Topic: {topic} Timestamp: {at}"
        );
        return Err(Reply::error(response_code::CONSUMER_NOT_ONLINE, text));
    }
    let body = body(state, topic, &table);
    let pushed = PushedResetOffsetRequestHeader {
        topic: topic.clone(),
        group: group.clone(),
        timestamp: header.timestamp,
        is_force: false,
        queue_id: -1,
    };
    let command = Command::request(request_code::RESET_CONSUMER_CLIENT_OFFSET).with(&pushed);
    for member in members {
        let body = match member.client.language {
            LanguageCode::CPP => body.encode_list(),
            _ => body.encode(),
        };
        member.handle.send_oneway(command.clone(), body.into());
    }
    Ok(Reply::ok()
        .with_body(body.encode())
        .with_remark("not set any response code"))
}

/// `INVOKE_BROKER_TO_GET_CONSUMER_STATUS`: asks the group's consumers, or the one with that client id, where they are.
/// `None` when they are asked.
pub fn consumer_status(
    state: &State,
    connection: &Arc<Connection>,
    to: ReplyTo,
    header: &GetConsumerStatusRequestHeader,
) -> Option<Reply> {
    let mut members = members(state, &header.group);
    if members.is_empty() {
        let text = format!(
            "No Any Consumer online in the consumer group: [{}]",
            header.group
        );
        return Some(Reply::error(response_code::SYSTEM_ERROR, text));
    }
    if let Some(id) = header.client_addr.as_deref().filter(|id| !id.is_empty()) {
        members.retain(|member| member.client.client_id == id);
    }
    let command = Command::request(request_code::GET_CONSUMER_STATUS_FROM_CLIENT).with(header);
    let connection = Arc::clone(connection);
    tokio::spawn(async move {
        let mut asked = tokio::task::JoinSet::new();
        for Member { handle, client, .. } in members {
            let command = command.clone();
            asked.spawn(async move { (client.client_id, status(&handle, command).await) });
        }
        let mut gathered = GetConsumerStatusBody::default();
        for (client_id, status) in asked.join_all().await {
            if let Some(status) = status {
                gathered.consumer_table.insert(client_id, status);
            }
        }
        connection.reply(to, Reply::ok().with_body(gathered.encode()));
    });
    None
}

fn members(state: &State, group: &str) -> Vec<Member<Arc<Connection>>> {
    let connections = state.clients.consumers.table().connections(group);
    connections.map_or_else(Vec::new, |group| group.members)
}

fn body(state: &State, topic: &str, table: &BTreeMap<i32, i64>) -> ResetOffsetBody {
    let settings = state.settings.get();
    let queue = |queue_id| MessageQueue::new(topic, &settings.broker_name, queue_id);
    let offsets = table.iter().map(|(id, offset)| (queue(*id), *offset));
    ResetOffsetBody {
        offset_table: offsets.collect(),
    }
}

/// The first message of a queue that was stored at `timestamp` or later; its end for a negative time.
fn by_time(state: &State, topic: &str, queue_id: i32, timestamp: i64) -> i64 {
    let Ok(id) = u32::try_from(queue_id) else {
        return 0;
    };
    if timestamp < 0 {
        return state.range(topic, queue_id).1;
    }
    let offset = state
        .reader
        .offset_by_time(topic, id, timestamp, Boundary::Lower);
    i64::try_from(offset).unwrap_or(i64::MAX)
}

/// Where one consumer is, if it says so.
async fn status(connection: &Connection, command: Command) -> Option<BTreeMap<MessageQueue, i64>> {
    let answer = connection.call(command, Bytes::new(), STATUS_TIMEOUT).await;
    let answer = answer
        .map_err(|error| error.to_string())
        .and_then(|answer| {
            GetConsumerStatusBody::decode(&answer.body).map_err(|error| error.to_string())
        });
    match answer {
        Ok(status) => Some(status.message_queue_table),
        Err(error) => {
            let peer = connection.peer();
            tracing::warn!(%peer, error, "a consumer does not say where it is");
            None
        }
    }
}

fn no_topic(topic: &str) -> Reply {
    let text = format!("Topic {topic} does not exist");
    Reply::error(response_code::TOPIC_NOT_EXIST, text)
}
