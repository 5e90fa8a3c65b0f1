//! Topics: creating, changing, deleting and showing them.

use super::page::cut;
use crate::error::{ChangeError, kv_reply};
use crate::state::State;
use common::names;
use common::wire::body::{
    CreateTopicListRequestBody, MessageQueue, TopicConfig, TopicFilterType, TopicList, TopicOffset,
    TopicStatsTable,
};
use common::wire::header::{
    CreateTopicRequestHeader, DeleteTopicRequestHeader, GetAllTopicConfigRequestHeader,
    GetAllTopicConfigResponseHeader, GetTopicConfigRequestHeader, TopicRequestHeader,
};
use common::wire::{Reply, response_code};
use std::collections::BTreeSet;

/// The reference leaves this in successful answers to some requests, and tools show it.
const UNSET_REMARK: &str = "not set any response code";

/// `UPDATE_AND_CREATE_TOPIC`.
pub fn create(state: &State, header: &CreateTopicRequestHeader) -> Reply {
    answer(config_of(header).and_then(|config| state.topics.update(config)))
}

/// `UPDATE_AND_CREATE_TOPIC_LIST`: all of them, or none.
pub fn create_list(state: &State, body: &[u8]) -> Reply {
    match CreateTopicListRequestBody::decode(body) {
        Ok(list) => answer(state.topics.update_all(list.topic_config_list)),
        Err(error) => Reply::error(response_code::SYSTEM_ERROR, error.to_string()),
    }
}

/// `DELETE_TOPIC_IN_BROKER`: with its queues, its offsets and the topics its messages were redelivered through by POP.
pub fn delete(state: &State, header: &DeleteTopicRequestHeader) -> Reply {
    let topic = header.topic.as_deref().unwrap_or_default();
    let groups = state.offsets.groups_of(topic);
    if let Err(error) = remove(state, topic) {
        return error;
    }
    let retry_topics = groups.iter().flat_map(|group| {
        [
            names::pop_retry_topic_v1(topic, group),
            names::pop_retry_topic_v2(topic, group),
        ]
    });
    for retry_topic in retry_topics.filter(|retry_topic| state.topics.contains(retry_topic)) {
        if let Err(error) = remove(state, &retry_topic) {
            return error;
        }
    }
    // A topic of the same name starts at 0 again: old offsets must not come back after a crash.
    match state.offsets.settle() {
        Ok(()) => Reply::ok(),
        Err(error) => kv_reply("the topic is deleted, its offsets are not", &error),
    }
}

fn remove(state: &State, topic: &str) -> Result<(), Reply> {
    state.topics.delete(topic)?;
    state.offsets.remove_topic(topic);
    state
        .writer
        .delete_topic(topic)
        .map_err(|error| Reply::error(response_code::SYSTEM_ERROR, error.to_string()))
}

/// `GET_ALL_TOPIC_CONFIG`: all topics, or a page of them.
pub fn all(state: &State, header: &GetAllTopicConfigRequestHeader) -> Reply {
    let mut all = state.topics.wrapper();
    let total = all.topic_config_table.len();
    let asked = (header.topic_seq, header.max_topic_num);
    let known = header.data_version.as_deref();
    cut(&mut all.topic_config_table, &all.data_version, asked, known);
    let header = GetAllTopicConfigResponseHeader {
        total_topic_num: Some(i32::try_from(total).unwrap_or(i32::MAX)),
    };
    Reply::ok().with_header(&header).with_body(all.encode())
}

/// `GET_TOPIC_CONFIG`.
pub fn config(state: &State, header: &GetTopicConfigRequestHeader) -> Reply {
    let Some(topic) = state.topics.get(&header.topic) else {
        let text = format!("No topic in this broker. topic: {}", header.topic);
        return Reply::error(response_code::TOPIC_NOT_EXIST, text);
    };
    Reply::ok().with_body(topic.encode())
}

/// `GET_TOPIC_STATS_INFO`: where the topic's queues begin and end.
pub fn stats(state: &State, header: &TopicRequestHeader) -> Reply {
    let Some(topic) = state.topics.get(&header.topic) else {
        return Reply::error(
            response_code::TOPIC_NOT_EXIST,
            format!("topic[{}] not exist", header.topic),
        );
    };
    let settings = state.settings.get();
    let queues = 0..topic.read_queue_nums.max(topic.write_queue_nums);
    let ranges = queues.map(|queue_id| {
        (
            MessageQueue::new(&*header.topic, &settings.broker_name, queue_id),
            range(state, &header.topic, queue_id),
        )
    });
    let table = TopicStatsTable {
        offset_table: ranges.collect(),
        topic_put_tps: topic.counters().rate(),
    };
    Reply::ok().with_body(table.encode())
}

fn range(state: &State, topic: &str, queue_id: i32) -> TopicOffset {
    let (min_offset, max_offset) = state.range(topic, queue_id);
    let last = (max_offset > min_offset).then_some(max_offset - 1);
    let stored = last.and_then(|last| state.stored_at(topic, queue_id, last));
    TopicOffset {
        last_update_timestamp: stored.unwrap_or(0),
        max_offset,
        min_offset,
    }
}

/// `GET_SYSTEM_TOPIC_LIST_FROM_BROKER`.
pub fn system_list(state: &State) -> Reply {
    let present = state
        .topics
        .all()
        .into_values()
        .filter(|topic| topic.is_system());
    let present = present.map(|topic| topic.topic_name.clone());
    let all: BTreeSet<String> = names::FIXED_SYSTEM_TOPICS
        .into_iter()
        .map(str::to_owned)
        .chain(present)
        .collect();
    Reply::ok().with_body(TopicList::of(all).encode())
}

fn answer(outcome: Result<(), ChangeError>) -> Reply {
    match outcome {
        Ok(()) => Reply::ok().with_remark(UNSET_REMARK),
        Err(error) => error.into(),
    }
}

fn config_of(header: &CreateTopicRequestHeader) -> Result<TopicConfig, ChangeError> {
    let filter_type = header.topic_filter_type.as_deref().unwrap_or_default();
    Ok(TopicConfig {
        attributes: crate::attributes::parse(header.attributes.as_deref().unwrap_or_default())?,
        order: header.order.unwrap_or_default(),
        perm: header.perm,
        read_queue_nums: header.read_queue_nums,
        topic_filter_type: TopicFilterType::from_name(filter_type)
            .ok_or_else(|| ChangeError::FilterType(filter_type.to_owned()))?,
        topic_name: header.topic.clone(),
        topic_sys_flag: header.topic_sys_flag.unwrap_or_default(),
        write_queue_nums: header.write_queue_nums,
    })
}

#[cfg(test)]
mod tests;
