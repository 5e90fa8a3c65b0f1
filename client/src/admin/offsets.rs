//! Offsets of queues and groups, and who consumes.

use std::collections::BTreeSet;

use common::wire::header::{GetEarliestMsgStoretimeResponseHeader, QueueRequestHeader};
use common::wire::{Command, request_code, response_code};

use super::Admin;
use crate::MessageQueue;
use crate::error::ClientError;

impl Admin {
    /// The offset the next message of a queue will get.
    ///
    /// # Errors
    /// [`ClientError::NoBroker`]; what kept the broker from answering.
    pub async fn max_offset(&self, queue: &MessageQueue) -> Result<i64, ClientError> {
        self.asking_of(queue).await?.max_offset(queue).await
    }

    /// The first offset a queue still has.
    ///
    /// # Errors
    /// As [`Admin::max_offset`].
    pub async fn min_offset(&self, queue: &MessageQueue) -> Result<i64, ClientError> {
        self.asking_of(queue).await?.min_offset(queue).await
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
        self.asking_of(queue)
            .await?
            .search_offset(queue, timestamp)
            .await
    }

    /// When the first message a queue still has was stored, in ms since the epoch; `None` when it is empty.
    ///
    /// # Errors
    /// As [`Admin::max_offset`].
    pub async fn earliest_store_time(
        &self,
        queue: &MessageQueue,
    ) -> Result<Option<i64>, ClientError> {
        let instance = self.asking_of(queue).await?;
        let header = QueueRequestHeader {
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
        };
        let command = Command::request(request_code::GET_EARLIEST_MSG_STORETIME).with(&header);
        let address = instance.master(&queue.broker_name)?;
        let found: GetEarliestMsgStoretimeResponseHeader =
            instance.ask_header(&address, command).await?;
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
        (self.asking_of(queue).await?)
            .query_offset(group, queue)
            .await
    }

    /// The client ids of a group's members, as the brokers of `topic` know them, sorted. None is no error.
    ///
    /// # Errors
    /// [`ClientError::NoRoute`]; what kept a broker from answering.
    pub async fn consumer_ids(&self, group: &str, topic: &str) -> Result<Vec<String>, ClientError> {
        let mut all = BTreeSet::new();
        for address in self.masters_of(topic).await? {
            match self.instance().consumer_ids(&address, group).await {
                Ok(ids) => all.extend(ids),
                // How brokers say that there are none.
                Err(error) if error.is_response(response_code::SYSTEM_ERROR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all.into_iter().collect())
    }
}
