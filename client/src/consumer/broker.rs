//! What a consumer asks of brokers, one function per request.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use common::wire::body::{
    ConsumerListByGroupResponseBody, LockBatchRequestBody, LockBatchResponseBody,
};
use common::wire::header::{
    ConsumerGroupRequestHeader, ConsumerSendMsgBackRequestHeader, GetMaxOffsetRequestHeader,
    OffsetResponseHeader, QueryConsumerOffsetRequestHeader, QueueRequestHeader,
    SearchOffsetRequestHeader, UpdateConsumerOffsetRequestHeader,
};
use common::wire::{Command, WireHeader, request_code, response_code};

use crate::error::ClientError;
use crate::instance::{Instance, succeeded, unreadable_body};
use crate::{MessageExt, MessageQueue};

/// How long locking queues may take.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether a report of offsets is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// Sent and forgotten: the next one follows in seconds.
    Oneway,
    /// Answered: afterwards another member may ask for it.
    Confirmed,
}

impl Instance {
    /// The client ids of a group's members, as the broker at `address` knows them.
    pub(crate) async fn consumer_ids(
        &self,
        address: &str,
        group: &str,
    ) -> Result<Vec<String>, ClientError> {
        let header = ConsumerGroupRequestHeader {
            consumer_group: group.to_owned(),
        };
        let command = Command::request(request_code::GET_CONSUMER_LIST_BY_GROUP).with(&header);
        let answer = self.ask(address, command, Bytes::new()).await?;
        let body = ConsumerListByGroupResponseBody::decode(&answer.body)
            .map_err(unreadable_body(address))?;
        Ok(body.consumer_id_list)
    }

    /// Asks the master of a queue for an offset in it.
    async fn ask_offset(
        &self,
        queue: &MessageQueue,
        code: i32,
        header: &impl WireHeader,
    ) -> Result<i64, ClientError> {
        let address = self.master(&queue.broker_name)?;
        let command = Command::request(code).with(header);
        let found: OffsetResponseHeader = self.ask_header(&address, command).await?;
        Ok(found.offset)
    }

    /// The offset the broker keeps for a group; `None` when there is none.
    pub(crate) async fn query_offset(
        &self,
        group: &str,
        queue: &MessageQueue,
    ) -> Result<Option<i64>, ClientError> {
        let header = QueryConsumerOffsetRequestHeader {
            consumer_group: group.to_owned(),
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
            set_zero_if_not_found: None,
        };
        let answer = self.ask_offset(queue, request_code::QUERY_CONSUMER_OFFSET, &header);
        match answer.await {
            Err(error) if error.is_response(response_code::QUERY_NOT_FOUND) => Ok(None),
            found => found.map(Some),
        }
    }

    /// The offset the next message of a queue will get.
    pub(crate) async fn max_offset(&self, queue: &MessageQueue) -> Result<i64, ClientError> {
        let header = GetMaxOffsetRequestHeader {
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
            committed: None,
        };
        self.ask_offset(queue, request_code::GET_MAX_OFFSET, &header)
            .await
    }

    /// The first offset a queue still has.
    pub(crate) async fn min_offset(&self, queue: &MessageQueue) -> Result<i64, ClientError> {
        let header = QueueRequestHeader {
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
        };
        self.ask_offset(queue, request_code::GET_MIN_OFFSET, &header)
            .await
    }

    /// The first offset of a queue stored at `timestamp` (ms) or later.
    pub(crate) async fn search_offset(
        &self,
        queue: &MessageQueue,
        timestamp: i64,
    ) -> Result<i64, ClientError> {
        let header = SearchOffsetRequestHeader {
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
            timestamp,
            boundary_type: None,
        };
        self.ask_offset(queue, request_code::SEARCH_OFFSET_BY_TIMESTAMP, &header)
            .await
    }

    /// Reports how far a group is on a queue.
    pub(crate) async fn update_offset(
        &self,
        group: &str,
        queue: &MessageQueue,
        offset: i64,
        report: Report,
    ) -> Result<(), ClientError> {
        let address = self.master(&queue.broker_name)?;
        let header = UpdateConsumerOffsetRequestHeader {
            consumer_group: group.to_owned(),
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
            commit_offset: offset,
        };
        let command = Command::request(request_code::UPDATE_CONSUMER_OFFSET).with(&header);
        if report == Report::Oneway {
            return self.send_oneway(&address, command, Bytes::new()).await;
        }
        self.ask(&address, command, Bytes::new()).await?;
        Ok(())
    }

    fn lock_request(
        &self,
        group: &str,
        queues: BTreeSet<MessageQueue>,
    ) -> Result<(String, Bytes), ClientError> {
        let broker_name = queues.first().map_or("", |queue| &queue.broker_name);
        let address = self.master(broker_name)?;
        let body = LockBatchRequestBody {
            client_id: self.client_id.clone(),
            consumer_group: group.to_owned(),
            mq_set: queues,
            only_this_broker: false,
        };
        Ok((address, Bytes::from(body.encode())))
    }

    /// Locks queues of one broker for this member of a group; answers those it holds now.
    pub(crate) async fn lock(
        &self,
        group: &str,
        queues: BTreeSet<MessageQueue>,
    ) -> Result<BTreeSet<MessageQueue>, ClientError> {
        let (address, body) = self.lock_request(group, queues)?;
        let command = Command::request(request_code::LOCK_BATCH_MQ);
        let answer = self.call(&address, command, body, LOCK_TIMEOUT).await?;
        let answer = succeeded(&address, answer)?;
        let locked =
            LockBatchResponseBody::decode(&answer.body).map_err(unreadable_body(&address))?;
        Ok(locked.lock_ok_mq_set)
    }

    /// Gives locks back.
    pub(crate) async fn unlock(
        &self,
        group: &str,
        queues: BTreeSet<MessageQueue>,
    ) -> Result<(), ClientError> {
        let (address, body) = self.lock_request(group, queues)?;
        let command = Command::request(request_code::UNLOCK_BATCH_MQ);
        self.send_oneway(&address, command, body).await
    }

    /// Has the broker deliver a message to the group again, after the delay of `delay_level` (0: it decides; below
    /// zero: not again, to the dead letter queue).
    pub(crate) async fn send_back(
        &self,
        group: &str,
        message: &MessageExt,
        delay_level: i32,
        max_reconsume_times: i32,
    ) -> Result<(), ClientError> {
        let address = self.master_to_send(&message.queue.broker_name)?;
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
        self.ask(&address, command, Bytes::new()).await?;
        Ok(())
    }
}
