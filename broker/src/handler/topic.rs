//! Topics: creating, changing, deleting and showing them.

use super::page::Page;
use crate::error::kv_reply;
use crate::offset::ConsumerOffsets;
use crate::topic::{Topic, TopicError, TopicTable};
use common::names;
use common::wire::body::{
    CreateTopicListRequestBody, MessageQueue, TopicConfig, TopicFilterType, TopicList, TopicOffset,
    TopicStatsTable,
};
use common::wire::header::{
    CreateTopicRequestHeader, DeleteTopicRequestHeader, GetAllTopicConfigRequestHeader,
    GetAllTopicConfigResponseHeader, GetTopicConfigRequestHeader, GetTopicStatsInfoRequestHeader,
};
use common::wire::{Reply, response_code};
use std::collections::BTreeSet;
use store::{StoreReader, StoreWriter};

/// The reference leaves this in successful answers to some requests, and tools show it.
const UNSET_REMARK: &str = "not set any response code";

/// Serves the requests about topics.
pub struct TopicHandler {
    topics: TopicTable,
    offsets: ConsumerOffsets,
    writer: StoreWriter,
    reader: StoreReader,
}

impl TopicHandler {
    /// A handler over the table; a deleted topic's queues and offsets go with it.
    pub fn new(
        topics: TopicTable,
        offsets: ConsumerOffsets,
        writer: StoreWriter,
        reader: StoreReader,
    ) -> Self {
        Self {
            topics,
            offsets,
            writer,
            reader,
        }
    }

    /// `UPDATE_AND_CREATE_TOPIC`.
    pub fn create(&self, header: &CreateTopicRequestHeader) -> Reply {
        answer(config_of(header).and_then(|config| self.topics.update(config)))
    }

    /// `UPDATE_AND_CREATE_TOPIC_LIST`: all of them, or none.
    pub fn create_list(&self, body: &[u8]) -> Reply {
        match CreateTopicListRequestBody::decode(body) {
            Ok(list) => answer(self.topics.update_all(list.topic_config_list)),
            Err(error) => Reply::error(response_code::SYSTEM_ERROR, error.to_string()),
        }
    }

    /// `DELETE_TOPIC_IN_BROKER`: with its queues, its offsets and the topics its messages were redelivered through by POP.
    pub fn delete(&self, header: &DeleteTopicRequestHeader) -> Reply {
        let topic = header.topic.as_deref().unwrap_or_default();
        let groups = self.offsets.groups_of(topic);
        if let Err(error) = self.remove(topic) {
            return error;
        }
        let retry_topics = groups.iter().flat_map(|group| {
            [
                names::pop_retry_topic_v1(topic, group),
                names::pop_retry_topic_v2(topic, group),
            ]
        });
        for retry_topic in retry_topics.filter(|retry_topic| self.topics.contains(retry_topic)) {
            if let Err(error) = self.remove(&retry_topic) {
                return error;
            }
        }
        // A topic of the same name starts at 0 again: old offsets must not come back after a crash.
        match self.offsets.settle() {
            Ok(()) => Reply::ok(),
            Err(error) => kv_reply("the topic is deleted, its offsets are not", &error),
        }
    }

    fn remove(&self, topic: &str) -> Result<(), Reply> {
        self.topics.delete(topic)?;
        self.offsets.remove_topic(topic);
        self.writer
            .delete_topic(topic)
            .map_err(|error| Reply::error(response_code::SYSTEM_ERROR, error.to_string()))
    }

    /// `GET_ALL_TOPIC_CONFIG`: all topics, or a page of them.
    pub fn all(&self, header: &GetAllTopicConfigRequestHeader) -> Reply {
        let mut all = self.topics.wrapper();
        let total = all.topic_config_table.len();
        if let Some(page) = Page::asked_for(
            header.topic_seq,
            header.max_topic_num,
            header.data_version.as_deref(),
        ) {
            page.cut(&all.data_version, &mut all.topic_config_table);
        }
        let header = GetAllTopicConfigResponseHeader {
            total_topic_num: Some(i32::try_from(total).unwrap_or(i32::MAX)),
        };
        Reply::ok().with_header(&header).with_body(all.encode())
    }

    /// `GET_TOPIC_CONFIG`.
    pub fn config(&self, header: &GetTopicConfigRequestHeader) -> Reply {
        let Some(topic) = self.topics.get(&header.topic) else {
            let text = format!("No topic in this broker. topic: {}", header.topic);
            return Reply::error(response_code::TOPIC_NOT_EXIST, text);
        };
        Reply::ok().with_body(topic.encode())
    }

    /// `GET_TOPIC_STATS_INFO`: where the topic's queues begin and end.
    pub fn stats(&self, header: &GetTopicStatsInfoRequestHeader) -> Reply {
        let Some(topic) = self.topics.get(&header.topic) else {
            return Reply::error(
                response_code::TOPIC_NOT_EXIST,
                format!("topic[{}] not exist", header.topic),
            );
        };
        let broker_name = &self.topics.rules().broker_name;
        let queues = 0..topic.read_queue_nums.max(topic.write_queue_nums);
        let ranges = queues.map(|queue_id| {
            (
                MessageQueue::new(&*header.topic, broker_name, queue_id),
                self.range(&topic, queue_id),
            )
        });
        let table = TopicStatsTable {
            offset_table: ranges.collect(),
            topic_put_tps: topic.counters().rate(),
        };
        Reply::ok().with_body(table.encode())
    }

    fn range(&self, topic: &Topic, queue_id: i32) -> TopicOffset {
        let name = &topic.topic_name;
        let Ok(queue_id) = u32::try_from(queue_id) else {
            return TopicOffset::default();
        };
        let (min, max) = (
            self.reader.min_offset(name, queue_id),
            self.reader.max_offset(name, queue_id),
        );
        let last = if max > min {
            self.reader.store_time_of(name, queue_id, max - 1)
        } else {
            None
        };
        let wire = |offset| i64::try_from(offset).unwrap_or(i64::MAX);
        TopicOffset {
            last_update_timestamp: last.unwrap_or(0),
            max_offset: wire(max),
            min_offset: wire(min),
        }
    }

    /// `GET_SYSTEM_TOPIC_LIST_FROM_BROKER`.
    pub fn system_list(&self) -> Reply {
        let present = self
            .topics
            .all()
            .into_values()
            .filter(|topic| topic.is_system());
        let present = present.map(|topic| topic.topic_name.clone());
        let all: BTreeSet<String> = names::fixed_system_topics()
            .map(str::to_owned)
            .chain(present)
            .collect();
        Reply::ok().with_body(TopicList::of(all).encode())
    }
}

fn answer(outcome: Result<(), TopicError>) -> Reply {
    match outcome {
        Ok(()) => Reply::ok().with_remark(UNSET_REMARK),
        Err(error) => error.into(),
    }
}

fn config_of(header: &CreateTopicRequestHeader) -> Result<TopicConfig, TopicError> {
    let filter_type = header.topic_filter_type.as_deref().unwrap_or_default();
    Ok(TopicConfig {
        attributes: crate::attributes::parse(header.attributes.as_deref().unwrap_or_default())?,
        order: header.order.unwrap_or_default(),
        perm: header.perm,
        read_queue_nums: header.read_queue_nums,
        topic_filter_type: TopicFilterType::from_name(filter_type)
            .ok_or_else(|| TopicError::FilterType(filter_type.to_owned()))?,
        topic_name: header.topic.clone(),
        topic_sys_flag: header.topic_sys_flag.unwrap_or_default(),
        write_queue_nums: header.write_queue_nums,
    })
}

#[cfg(test)]
mod tests;
