//! What a pull found, and how that is told.

use crate::filter::Filter;
use bytes::Bytes;
use common::wire::body::{SubscriptionGroupConfig, TopicConfig};
use common::wire::header::{PullMessageRequestHeader, PullMessageResponseHeader};
use common::wire::{Fields, Reply, WireHeader, response_code};
use store::{GetRequest, GetStatus, StoreReader};

/// Bytes the keys and values of an answer's header take, roughly.
const HEADER_TEXT_BYTES: usize = 144;

/// The response code and the remark for what the store says; the names are those of the protocol. `from_start`: the request
/// was for the start of the queue.
fn told(status: GetStatus, from_start: bool) -> (i32, &'static str) {
    let (retry, missing, moved) = (
        response_code::PULL_RETRY_IMMEDIATELY,
        response_code::PULL_NOT_FOUND,
        response_code::PULL_OFFSET_MOVED,
    );
    let empty = if from_start { missing } else { moved };
    match status {
        GetStatus::Found => (response_code::SUCCESS, "FOUND"),
        GetStatus::NoMatchedMessage => (retry, "NO_MATCHED_MESSAGE"),
        GetStatus::MessageWasRemoving => (retry, "MESSAGE_WAS_REMOVING"),
        // The reference makes a queue when it is first asked for, so its clients never see that there is none.
        GetStatus::NoMatchedLogicQueue | GetStatus::NoMessageInQueue => {
            (empty, "NO_MESSAGE_IN_QUEUE")
        }
        GetStatus::OffsetFoundNull => (missing, "OFFSET_FOUND_NULL"),
        GetStatus::OffsetOverflowOne => (missing, "OFFSET_OVERFLOW_ONE"),
        GetStatus::OffsetOverflowBadly => (moved, "OFFSET_OVERFLOW_BADLY"),
        GetStatus::OffsetTooSmall => (moved, "OFFSET_TOO_SMALL"),
    }
}

/// What a pull found.
#[derive(Default)]
pub(super) struct Answer {
    /// The response code.
    pub(super) code: i32,
    remark: &'static str,
    /// Offset of the next pull.
    pub(super) next: i64,
    pub(super) min: u64,
    pub(super) max: u64,
    /// The records, as slices of the log.
    records: Vec<Bytes>,
    /// How many messages the records are, and how many bytes.
    pub(super) found: (usize, usize),
    /// Some of the records may have to come from the disk.
    pub(super) cold: bool,
    /// The consumer is so far behind that it had better read from a slave.
    far_behind: bool,
}

impl Answer {
    /// Sends the consumer to another offset.
    pub(super) fn reset(next: i64, min: u64, max: u64) -> Self {
        Self {
            code: response_code::PULL_OFFSET_MOVED,
            remark: "OFFSET_RESET",
            next,
            min,
            max,
            ..Self::default()
        }
    }

    /// Reads the queue.
    pub(super) fn read(
        store: &StoreReader,
        header: &PullMessageRequestHeader,
        queue_id: u32,
        filter: &Filter,
    ) -> Self {
        let result = store.get(GetRequest {
            topic: &header.topic,
            queue_id,
            offset: header.queue_offset,
            max_messages: u32::try_from(header.max_msg_nums).unwrap_or(1).max(1),
            filter: &|tags_code| filter.matches(tags_code),
        });
        let (code, remark) = told(result.status, header.queue_offset == 0);
        Self {
            code,
            remark,
            next: result.next_begin,
            min: result.min,
            max: result.max,
            records: result.records,
            found: (result.count, result.bytes),
            cold: result.cold,
            far_behind: result.far_behind,
        }
    }

    /// The reply to the client. The broker it shall pull from next is a matter only of brokers with slaves to read from.
    pub(super) fn into_reply(
        self,
        topic: &TopicConfig,
        group: &SubscriptionGroupConfig,
        slave_read: bool,
    ) -> Reply {
        let suggested = match slave_read {
            false => 0,
            true if self.far_behind => group.which_broker_when_consume_slowly,
            true => group.broker_id,
        };
        let header = PullMessageResponseHeader {
            suggest_which_broker_id: suggested,
            next_begin_offset: self.next,
            min_offset: wire_offset(self.min),
            max_offset: wire_offset(self.max),
            topic_sys_flag: Some(topic.topic_sys_flag),
            group_sys_flag: Some(group.group_sys_flag),
            forbidden_type: None,
        };
        let mut fields = Fields::with_capacity(6, HEADER_TEXT_BYTES);
        header.write(&mut fields);
        Reply {
            code: self.code,
            remark: Some(self.remark.to_owned()),
            fields,
            body: self.records,
        }
    }
}

/// Queue offsets stay far below the largest number of the wire.
pub(super) fn wire_offset(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
