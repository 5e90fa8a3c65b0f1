//! Offsets: where groups are, and where queues begin and end.

use crate::error::kv_reply;
use crate::kv::Written;
use crate::offset::{Commit, ConsumerOffsets};
use crate::subscription::SubscriptionGroupTable;
use crate::topic::TopicTable;
use common::transport::Connection;
use common::wire::body::TopicList;
use common::wire::header::{
    GetEarliestMsgStoretimeRequestHeader, GetEarliestMsgStoretimeResponseHeader,
    GetMaxOffsetRequestHeader, GetMinOffsetRequestHeader, OffsetResponseHeader,
    QueryConsumerOffsetRequestHeader, QueryTopicsByConsumerRequestHeader,
    SearchOffsetRequestHeader,
};
use common::wire::{FieldError, Fields, Reply, ReplyTo, response_code};
use std::sync::Arc;
use store::{Boundary, StoreReader};

/// Serves the requests about offsets.
pub struct OffsetHandler {
    offsets: ConsumerOffsets,
    topics: TopicTable,
    groups: SubscriptionGroupTable,
    store: StoreReader,
}

impl OffsetHandler {
    /// A handler over the tables and the store.
    pub fn new(
        offsets: ConsumerOffsets,
        topics: TopicTable,
        groups: SubscriptionGroupTable,
        store: StoreReader,
    ) -> Self {
        Self {
            offsets,
            topics,
            groups,
            store,
        }
    }

    /// `QUERY_CONSUMER_OFFSET`. What a group or topic that does not exist has committed counts as nothing.
    pub fn query(&self, header: &QueryConsumerOffsetRequestHeader) -> Reply {
        let (group, topic) = (&header.consumer_group, &header.topic);
        let exist = self.groups.contains(group) && self.topics.contains(topic);
        let stored = if exist {
            self.offsets.committed(group, topic, header.queue_id)
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
        if self.is_young(topic, header.queue_id) {
            return offset_reply(0);
        }
        let text = "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first";
        Reply::error(response_code::QUERY_NOT_FOUND, text)
    }

    /// A queue that still has its first message, and that in memory: a new group loses nothing by starting there, whatever
    /// it asked for.
    fn is_young(&self, topic: &str, queue_id: i32) -> bool {
        let Ok(queue_id) = u32::try_from(queue_id) else {
            return false;
        };
        self.store.min_offset(topic, queue_id) == 0 && self.store.is_in_memory(topic, queue_id, 0)
    }

    /// `UPDATE_CONSUMER_OFFSET`, mostly oneway. Who wants an answer gets it once the offset is on the disk, which is later.
    pub fn update(
        &self,
        connection: &Arc<Connection>,
        to: ReplyTo,
        fields: &Fields,
    ) -> Option<Reply> {
        match self.commit(connection, to, fields) {
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
        &self,
        connection: &Arc<Connection>,
        to: ReplyTo,
        fields: &Fields,
    ) -> Result<Commit, Reply> {
        let group: String = fields.required("consumerGroup")?;
        let topic: String = fields.required("topic")?;
        if !self.groups.contains(&group) {
            let text = format!("Group {group} not exist!");
            return Err(Reply::error(
                response_code::SUBSCRIPTION_GROUP_NOT_EXIST,
                text,
            ));
        }
        if !self.topics.contains(&topic) {
            return Err(Reply::error(
                response_code::TOPIC_NOT_EXIST,
                format!("Topic {topic} not exist!"),
            ));
        }
        let queue_id = fields
            .required("queueId")
            .map_err(|error| refuse("QueueId", &topic, &error))?;
        let offset = fields
            .required("commitOffset")
            .map_err(|error| refuse("Offset", &topic, &error))?;
        if to.oneway {
            return Ok(self.offsets.commit(&group, &topic, queue_id, offset));
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
        Ok(self
            .offsets
            .commit_then(group, topic, queue_id, offset, answer))
    }

    /// `QUERY_TOPICS_BY_CONSUMER`: the topics a group has committed offsets of.
    pub fn topics_of(&self, header: &QueryTopicsByConsumerRequestHeader) -> Reply {
        let list = TopicList {
            topic_list: self.offsets.topics_of(&header.group),
            ..TopicList::default()
        };
        Reply::ok().with_body(list.encode())
    }

    /// `SEARCH_OFFSET_BY_TIMESTAMP`.
    pub fn search(&self, header: &SearchOffsetRequestHeader) -> Reply {
        let upper = header
            .boundary_type
            .as_deref()
            .is_some_and(|text| text.eq_ignore_ascii_case("UPPER"));
        let boundary = if upper {
            Boundary::Upper
        } else {
            Boundary::Lower
        };
        let search = |queue_id| {
            self.store
                .offset_by_time(&header.topic, queue_id, header.timestamp, boundary)
        };
        queue_reply(header.queue_id, search)
    }

    /// `GET_MAX_OFFSET`.
    pub fn max(&self, header: &GetMaxOffsetRequestHeader) -> Reply {
        queue_reply(header.queue_id, |queue_id| {
            self.store.max_offset(&header.topic, queue_id)
        })
    }

    /// `GET_MIN_OFFSET`.
    pub fn min(&self, header: &GetMinOffsetRequestHeader) -> Reply {
        queue_reply(header.queue_id, |queue_id| {
            self.store.min_offset(&header.topic, queue_id)
        })
    }

    /// `GET_EARLIEST_MSG_STORETIME`.
    pub fn earliest_store_time(&self, header: &GetEarliestMsgStoretimeRequestHeader) -> Reply {
        let queue_id = u32::try_from(header.queue_id).ok();
        let time =
            queue_id.and_then(|queue_id| self.store.earliest_store_time(&header.topic, queue_id));
        Reply::ok().with_header(&GetEarliestMsgStoretimeResponseHeader {
            timestamp: time.unwrap_or(-1),
        })
    }
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

/// Queues that do not exist, negative ones among them, begin and end at 0.
fn queue_reply(queue_id: i32, offset: impl FnOnce(u32) -> u64) -> Reply {
    let offset = u32::try_from(queue_id).map_or(0, offset);
    offset_reply(i64::try_from(offset).unwrap_or(i64::MAX))
}
