//! What a send came to.

use common::wire::header::SendMessageResponseHeader;
use common::wire::{Command, response_code};

use crate::MessageQueue;
use crate::error::ClientError;
use crate::instance::{header, refused};

/// How safe a stored message is. All of these mean *stored*: sending again makes a second message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SendStatus {
    /// As safe as the broker is configured to make it.
    SendOk,
    /// Stored, but not on disk within the broker's `syncFlushTimeout`.
    FlushDiskTimeout,
    /// Stored, but not on a slave within the broker's `syncFlushTimeout`.
    FlushSlaveTimeout,
    /// Stored, but there is no slave that keeps up.
    SlaveNotAvailable,
}

impl SendStatus {
    fn of(code: i32) -> Option<Self> {
        match code {
            response_code::SUCCESS => Some(Self::SendOk),
            response_code::FLUSH_DISK_TIMEOUT => Some(Self::FlushDiskTimeout),
            response_code::FLUSH_SLAVE_TIMEOUT => Some(Self::FlushSlaveTimeout),
            response_code::SLAVE_NOT_AVAILABLE => Some(Self::SlaveNotAvailable),
            _ => None,
        }
    }
}

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendResult {
    /// How safe it is.
    pub status: SendStatus,
    /// Id this client gave it (`UNIQ_KEY`); of a batch the ids of its messages, joined by commas.
    pub msg_id: String,
    /// Id that says where it is stored: broker address and position in the log. Likewise joined for a batch.
    pub offset_msg_id: String,
    /// The queue it went to.
    pub queue: MessageQueue,
    /// Its position in the queue; of a batch that of the first message.
    pub queue_offset: i64,
    /// The broker's name for its transaction, which is the message's own id; batches have none.
    pub transaction_id: Option<String>,
    /// Handle to recall a delayed message with, if the broker allows that.
    pub recall_handle: Option<String>,
    /// Region of the broker.
    pub region_id: Option<String>,
}

impl SendResult {
    /// Reads a broker's answer to a send to `queue`.
    pub(crate) fn read(
        address: &str,
        queue: &MessageQueue,
        msg_id: &str,
        answer: Command,
    ) -> Result<Self, ClientError> {
        let Some(status) = SendStatus::of(answer.code) else {
            return Err(refused(address, answer));
        };
        let stored: SendMessageResponseHeader = header(address, &answer)?;
        Ok(Self {
            status,
            // A queue that stores batches whole knows the batch by one id.
            msg_id: stored.batch_uniq_id.unwrap_or_else(|| msg_id.to_owned()),
            offset_msg_id: stored.msg_id,
            queue: MessageQueue {
                queue_id: stored.queue_id,
                ..queue.clone()
            },
            queue_offset: stored.queue_offset,
            transaction_id: stored.transaction_id,
            recall_handle: stored.recall_handle,
            region_id: answer.fields.get("MSG_REGION").map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: i32) -> Command {
        let mut answer = Command {
            code,
            remark: Some("why".into()),
            ..Command::default()
        };
        for (name, value) in [
            ("msgId", "OFFSET"),
            ("queueId", "3"),
            ("queueOffset", "42"),
            ("MSG_REGION", "R"),
        ] {
            answer.fields.push(name, value);
        }
        answer
    }

    fn read(answer: Command) -> Result<SendResult, ClientError> {
        SendResult::read(
            "b:1",
            &MessageQueue::new("T", "broker-a", -1),
            "UNIQ",
            answer,
        )
    }

    #[test]
    fn weaker_durability_is_an_outcome() {
        for (code, status) in [
            (0, SendStatus::SendOk),
            (10, SendStatus::FlushDiskTimeout),
            (11, SendStatus::SlaveNotAvailable),
            (12, SendStatus::FlushSlaveTimeout),
        ] {
            let result = read(answer(code)).unwrap();
            assert_eq!(result.status, status);
            assert_eq!(result.queue, MessageQueue::new("T", "broker-a", 3));
            assert_eq!((result.queue_offset, result.msg_id.as_str()), (42, "UNIQ"));
            assert_eq!(result.region_id.as_deref(), Some("R"));
        }
    }

    #[test]
    fn any_other_code_is_an_error_with_the_remark() {
        let error = read(answer(13)).unwrap_err();
        assert_eq!(error.to_string(), "b:1 answered 13: why");
        assert!(error.is_response(13));
    }

    #[test]
    fn an_answer_without_its_header_is_an_error_that_names_the_field() {
        let error = read(Command::default()).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("msgId"), "{source}");
    }

    #[test]
    fn a_batch_stored_whole_has_one_id() {
        let mut stored = answer(0);
        stored.fields.push("batchUniqId", "BATCH");
        assert_eq!(read(stored).unwrap().msg_id, "BATCH");
    }
}
