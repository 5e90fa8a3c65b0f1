//! Offsets: where groups are, and where queues begin and end.

use crate::error::kv_reply;
use crate::kv::Written;
use crate::offset::Commit;
use crate::state::State;
use crate::topic::MAX_QUEUES;
use common::transport::Connection;
use common::wire::header::{
    GetEarliestMsgStoretimeResponseHeader, GetMaxOffsetRequestHeader, OffsetResponseHeader,
    QueryConsumerOffsetRequestHeader, QueueRequestHeader, SearchOffsetRequestHeader,
};
use common::wire::{FieldError, Fields, Reply, ReplyTo, response_code};
use std::sync::Arc;
use store::Boundary;

/// `QUERY_CONSUMER_OFFSET`. What a group or topic that does not exist has committed counts as nothing.
pub fn query(state: &State, header: &QueryConsumerOffsetRequestHeader) -> Reply {
    let (group, topic) = (&header.consumer_group, &header.topic);
    let exist = state.groups.contains(group) && state.topics.contains(topic);
    let stored = if exist {
        state.offsets.committed(group, topic, header.queue_id)
    } else {
        None
    };
    if let Some(offset) = stored {
        return offset_reply(offset);
    }
    if header.set_zero_if_not_found == Some(false) {
        let text = "Not found, do not set to zero, maybe this group boot first";
        return Reply::error(response_code::QUERY_NOT_FOUND, text);
    }
    if is_young(state, topic, header.queue_id) {
        return offset_reply(0);
    }
    let text = "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first";
    Reply::error(response_code::QUERY_NOT_FOUND, text)
}

/// `GET_ALL_DELAY_OFFSET`.
pub fn delays(state: &State) -> Reply {
    Reply::ok().with_body(state.delays.wrapper().encode())
}

/// A queue that still has its first message, and that in memory: a new group loses nothing by starting there, whatever
/// it asked for.
fn is_young(state: &State, topic: &str, queue_id: i32) -> bool {
    let Ok(queue_id) = u32::try_from(queue_id) else {
        return false;
    };
    state.reader.min_offset(topic, queue_id) == 0 && state.reader.is_in_memory(topic, queue_id, 0)
}

/// `UPDATE_CONSUMER_OFFSET`, mostly oneway. Who wants an answer gets it once the offset is on the disk, which is later.
pub fn update(
    state: &State,
    connection: &Arc<Connection>,
    to: ReplyTo,
    fields: &Fields,
) -> Option<Reply> {
    match commit(state, connection, to, fields) {
        Ok(Commit::Stored) => None,
        Ok(Commit::ResetPending) => {
            Some(Reply::ok().with_remark("Offset has been previously reset"))
        }
        Err(refusal) => {
            tracing::debug!(
                "commit from {} refused: {:?}",
                connection.peer(),
                refusal.remark
            );
            Some(refusal)
        }
    }
}

fn commit(
    state: &State,
    connection: &Arc<Connection>,
    to: ReplyTo,
    fields: &Fields,
) -> Result<Commit, Reply> {
    let group: String = fields.required("consumerGroup")?;
    let topic: String = fields.required("topic")?;
    if !state.groups.contains(&group) {
        let text = format!("Group {group} not exist!");
        return Err(Reply::error(
            response_code::SUBSCRIPTION_GROUP_NOT_EXIST,
            text,
        ));
    }
    if !state.topics.contains(&topic) {
        return Err(Reply::error(
            response_code::TOPIC_NOT_EXIST,
            format!("Topic {topic} not exist!"),
        ));
    }
    let queue_id = fields
        .required("queueId")
        .map_err(|error| refuse("QueueId", &topic, &error))?;
    if !(0..MAX_QUEUES).contains(&queue_id) {
        let last = MAX_QUEUES - 1;
        let text = format!("QueueId is {queue_id}, expected 0 to {last}, topic is {topic}");
        return Err(Reply::error(response_code::INVALID_PARAMETER, text));
    }
    let offset = fields
        .required("commitOffset")
        .map_err(|error| refuse("Offset", &topic, &error))?;
    if to.oneway {
        return Ok(state.offsets.commit(&group, &topic, queue_id, offset));
    }
    let connection = Arc::clone(connection);
    let answer = move |written: Written| {
        let reply = match written {
            Ok(()) => Reply::ok(),
            Err(error) => kv_reply("the offset is not on the disk", &error),
        };
        connection.reply(to, reply);
    };
    let (group, topic) = (group.as_str(), topic.as_str());
    Ok(state
        .offsets
        .commit_then(group, topic, queue_id, offset, answer))
}

/// `SEARCH_OFFSET_BY_TIMESTAMP`.
pub fn search(state: &State, header: &SearchOffsetRequestHeader) -> Reply {
    let upper = header
        .boundary_type
        .as_deref()
        .is_some_and(|text| text.eq_ignore_ascii_case("UPPER"));
    let boundary = if upper {
        Boundary::Upper
    } else {
        Boundary::Lower
    };
    // Queues that do not exist have no messages.
    let offset = u32::try_from(header.queue_id).map_or(0, |queue_id| {
        let reader = &state.reader;
        reader.offset_by_time(&header.topic, queue_id, header.timestamp, boundary)
    });
    offset_reply(i64::try_from(offset).unwrap_or(i64::MAX))
}

/// `GET_MAX_OFFSET`.
pub fn max(state: &State, header: &GetMaxOffsetRequestHeader) -> Reply {
    offset_reply(state.range(&header.topic, header.queue_id).1)
}

/// `GET_MIN_OFFSET`.
pub fn min(state: &State, header: &QueueRequestHeader) -> Reply {
    offset_reply(state.range(&header.topic, header.queue_id).0)
}

/// `GET_EARLIEST_MSG_STORETIME`.
pub fn earliest_store_time(state: &State, header: &QueueRequestHeader) -> Reply {
    let queue_id = u32::try_from(header.queue_id).ok();
    let time =
        queue_id.and_then(|queue_id| state.reader.earliest_store_time(&header.topic, queue_id));
    Reply::ok().with_header(&GetEarliestMsgStoretimeResponseHeader {
        timestamp: time.unwrap_or(-1),
    })
}

/// Absent ones have the reference's text, wrong ones say what is wrong.
fn refuse(what: &str, topic: &str, error: &FieldError) -> Reply {
    let text = match error {
        FieldError::Missing { .. } => format!("{what} is null, topic is {topic}"),
        FieldError::Invalid { .. } => error.to_string(),
    };
    Reply::error(response_code::INVALID_PARAMETER, text)
}

fn offset_reply(offset: i64) -> Reply {
    Reply::ok().with_header(&OffsetResponseHeader { offset })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::testing::{Loopback, Served};
    use crate::testing::Stored;
    use common::wire::Command;

    struct World(Stored);

    impl Served for World {
        fn answer(
            &self,
            connection: &Arc<Connection>,
            command: &Command,
            _: &[u8],
        ) -> Option<Reply> {
            update(&self.0, connection, command.reply_to(), &command.fields)
        }

        fn closed(&self, _: &Connection) {}
    }

    #[tokio::test]
    async fn offsets_of_queues_that_no_topic_can_have_are_not_kept() {
        let stored = Stored::new();
        stored.create("t", 1);
        stored.groups.find_or_create("g").unwrap();
        let world = Arc::new(World(stored));
        let loopback = Loopback::serve(Arc::clone(&world));
        let client = loopback.client();
        for (queue_id, code) in [
            (0, response_code::SUCCESS),
            (65_535, response_code::SUCCESS),
            (65_536, response_code::INVALID_PARAMETER),
            (-1, response_code::INVALID_PARAMETER),
        ] {
            let mut command = Command::request(15);
            let fields = &mut command.fields;
            fields.set("consumerGroup", "g");
            fields.set("topic", "t");
            fields.set("queueId", queue_id);
            fields.set("commitOffset", 0);
            assert_eq!(client.call(command, "").await.0.code, code, "{queue_id}");
        }
        assert_eq!(world.0.offsets.queues("g", "t").len(), 2);
    }
}
