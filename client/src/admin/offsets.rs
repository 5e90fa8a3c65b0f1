//! Offsets of queues and groups, and who consumes.

use std::collections::BTreeSet;

use bytes::Bytes;
use common::wire::body::{
    ConsumeStats, ConsumerConnection, ConsumerListByGroupResponseBody, TopicStatsTable,
};
use common::wire::header::{
    GetConsumerConnectionListRequestHeader, GetConsumerListByGroupRequestHeader,
    GetEarliestMsgStoretimeRequestHeader, GetEarliestMsgStoretimeResponseHeader,
    GetMinOffsetRequestHeader, GetTopicStatsInfoRequestHeader, OffsetResponseHeader,
};
use common::wire::{Command, request_code, response_code};

use super::{Admin, readable};
use crate::MessageQueue;
use crate::consumer::broker::{self, Report};
use crate::error::ClientError;

impl Admin {
    /// First and next offset of each queue of a topic.
    ///
    /// # Errors
    /// [`ClientError::NoRoute`]; a broker's refusal, or what kept it from answering.
    pub async fn topic_stats(&self, topic: &str) -> Result<TopicStatsTable, ClientError> {
        let mut all = TopicStatsTable::default();
        for address in self.masters_of(topic).await? {
            let header = GetTopicStatsInfoRequestHeader {
                topic: topic.to_owned(),
            };
            let command = Command::request(request_code::GET_TOPIC_STATS_INFO).with(&header);
            let body = self.ask(&address, command, Bytes::new()).await?;
            let stats = readable(&address, TopicStatsTable::decode(&body))?;
            all.offset_table.extend(stats.offset_table);
            all.topic_put_tps += stats.topic_put_tps;
        }
        Ok(all)
    }

    /// The offset the next message of a queue will get.
    ///
    /// # Errors
    /// [`ClientError::NoBroker`]; what kept the broker from answering.
    pub async fn max_offset(&self, queue: &MessageQueue) -> Result<i64, ClientError> {
        self.know(&queue.topic).await?;
        broker::max_offset(self.instance(), queue).await
    }

    /// The first offset a queue still has.
    ///
    /// # Errors
    /// As [`Admin::max_offset`].
    pub async fn min_offset(&self, queue: &MessageQueue) -> Result<i64, ClientError> {
        let address = self.master_of(queue).await?;
        let header = GetMinOffsetRequestHeader {
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
        };
        let command = Command::request(request_code::GET_MIN_OFFSET).with(&header);
        let found: OffsetResponseHeader = self.instance().ask_header(&address, command).await?;
        Ok(found.offset)
    }

    /// The first offset of a queue stored at `timestamp` (ms since the epoch) or later.
    ///
    /// # Errors
    /// As [`Admin::max_offset`].
    pub async fn search_offset(
        &self,
        queue: &MessageQueue,
        timestamp: i64,
    ) -> Result<i64, ClientError> {
        self.know(&queue.topic).await?;
        broker::search_offset(self.instance(), queue, timestamp).await
    }

    /// When the first message a queue still has was stored, in ms since the epoch; `None` when it is empty.
    ///
    /// # Errors
    /// As [`Admin::max_offset`].
    pub async fn earliest_store_time(
        &self,
        queue: &MessageQueue,
    ) -> Result<Option<i64>, ClientError> {
        let address = self.master_of(queue).await?;
        let header = GetEarliestMsgStoretimeRequestHeader {
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
        };
        let command = Command::request(request_code::GET_EARLIEST_MSG_STORETIME).with(&header);
        let found: GetEarliestMsgStoretimeResponseHeader =
            self.instance().ask_header(&address, command).await?;
        Ok(Some(found.timestamp).filter(|timestamp| *timestamp >= 0))
    }

    /// The offset the broker keeps for a group on a queue; `None` when there is none.
    ///
    /// # Errors
    /// As [`Admin::max_offset`].
    pub async fn consumer_offset(
        &self,
        group: &str,
        queue: &MessageQueue,
    ) -> Result<Option<i64>, ClientError> {
        self.know(&queue.topic).await?;
        broker::query_offset(self.instance(), group, queue).await
    }

    /// Sets the offset of a group on a queue. Members that are at work overwrite it with theirs.
    ///
    /// # Errors
    /// The broker's refusal (26: no such group); otherwise as [`Admin::max_offset`].
    pub async fn update_consumer_offset(
        &self,
        group: &str,
        queue: &MessageQueue,
        offset: i64,
    ) -> Result<(), ClientError> {
        self.know(&queue.topic).await?;
        broker::update_offset(self.instance(), group, queue, offset, Report::Confirmed).await
    }

    /// The client ids of a group's members, as the brokers of `topic` know them, sorted. None is no error.
    ///
    /// # Errors
    /// [`ClientError::NoRoute`]; what kept a broker from answering.
    pub async fn consumer_ids(&self, group: &str, topic: &str) -> Result<Vec<String>, ClientError> {
        let mut all = BTreeSet::new();
        for address in self.masters_of(topic).await? {
            let header = GetConsumerListByGroupRequestHeader {
                consumer_group: group.to_owned(),
            };
            let command = Command::request(request_code::GET_CONSUMER_LIST_BY_GROUP).with(&header);
            match self.ask(&address, command, Bytes::new()).await {
                Ok(body) => {
                    let list = ConsumerListByGroupResponseBody::decode(&body);
                    all.extend(readable(&address, list)?.consumer_id_list);
                }
                // How brokers say that there are none.
                Err(error) if error.is_response(response_code::SYSTEM_ERROR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all.into_iter().collect())
    }

    /// Members and subscriptions of a group, from the broker at `address`.
    ///
    /// # Errors
    /// The broker's refusal (206: nobody online), or what kept it from answering.
    pub async fn consumer_connections(
        &self,
        address: &str,
        group: &str,
    ) -> Result<ConsumerConnection, ClientError> {
        let header = GetConsumerConnectionListRequestHeader {
            consumer_group: group.to_owned(),
        };
        let command = Command::request(request_code::GET_CONSUMER_CONNECTION_LIST).with(&header);
        let body = self.ask(address, command, Bytes::new()).await?;
        readable(address, ConsumerConnection::decode(&body))
    }

    /// How far a group is on the queues of a topic, from all its brokers.
    ///
    /// # Errors
    /// [`ClientError::NoRoute`]; a broker's refusal, or what kept it from answering.
    pub async fn consume_stats(
        &self,
        group: &str,
        topic: &str,
    ) -> Result<ConsumeStats, ClientError> {
        let mut all = ConsumeStats::default();
        for address in self.masters_of(topic).await? {
            let mut command = Command::request(request_code::GET_CONSUME_STATS);
            command.fields.push("consumerGroup", group);
            command.fields.push("topic", topic);
            let body = self.ask(&address, command, Bytes::new()).await?;
            let stats = readable(&address, ConsumeStats::decode(&body))?;
            all.offset_table.extend(stats.offset_table);
            all.consume_tps += stats.consume_tps;
        }
        Ok(all)
    }
}
