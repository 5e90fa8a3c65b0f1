//! Errors become answers here, and nowhere else.

use crate::kv::KvError;
use common::wire::{Reply, response_code};
use store::StoreError;

/// The answer to a message the store did not take. Exhaustive: a new error has to choose its code.
pub fn store_reply(error: &StoreError, max_message_size: usize) -> Reply {
    let code = match error {
        StoreError::RecordTooLarge { .. } | StoreError::Record(_) => {
            return illegal_message(max_message_size);
        }
        StoreError::DiskFull { .. }
        | StoreError::DiskLevel { .. }
        | StoreError::Fenced { .. }
        | StoreError::ShuttingDown => response_code::SERVICE_NOT_AVAILABLE,
        StoreError::Locked { .. }
        | StoreError::Config { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Io { .. } => response_code::SYSTEM_ERROR,
    };
    let mut text = error.to_string();
    if let Some(cause) = std::error::Error::source(error) {
        text = format!("{text}: {cause}");
    }
    Reply::error(code, text)
}

/// The answer to a change that is not on the disk. Exhaustive: a new error has to choose its code.
pub fn kv_reply(what: &str, error: &KvError) -> Reply {
    let code = match error {
        KvError::Busy => response_code::SYSTEM_BUSY,
        KvError::Stopping => response_code::SERVICE_NOT_AVAILABLE,
        KvError::Open { .. }
        | KvError::Read { .. }
        | KvError::Row { .. }
        | KvError::Write { .. }
        | KvError::Thread(_) => response_code::SYSTEM_ERROR,
    };
    Reply::error(code, format!("{what}: {error}"))
}

/// The reference's answer to a message whose parts are too long or do not fit together.
pub fn illegal_message(max_message_size: usize) -> Reply {
    let text = format!(
        "the message is illegal, maybe msg body or properties length not matched. \
         msg body length limit {max_message_size}B, msg properties length limit 32KB."
    );
    Reply::error(response_code::MESSAGE_ILLEGAL, text)
}
