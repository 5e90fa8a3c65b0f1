//! Errors become answers here, and nowhere else.

use crate::attributes::AttributeError;
use crate::kv::KvError;
use crate::timer::Refusal;
use common::names::NameError;
use common::wire::{Reply, response_code};
use std::sync::Arc;
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

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::Illegal { .. } => response_code::MESSAGE_ILLEGAL,
            Refusal::Off | Refusal::Congested { .. } => response_code::SYSTEM_ERROR,
        };
        Self::error(code, refusal.to_string())
    }
}

/// The reference's answer to a message whose parts are too long or do not fit together.
pub fn illegal_message(max_message_size: usize) -> Reply {
    let text = format!(
        "the message is illegal, maybe msg body or properties length not matched. \
         msg body length limit {max_message_size}B, msg properties length limit 32KB."
    );
    Reply::error(response_code::MESSAGE_ILLEGAL, text)
}

/// Why a topic or a group is not made, changed or deleted. The text goes to the client as the remark.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The name is none, or reserved.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The attributes cannot be changed so.
    #[error(transparent)]
    Attribute(#[from] AttributeError),
    /// `message.type=MIXED` where it is off.
    #[error("MIXED message type is not supported.")]
    MixedMessageType,
    /// `topicFilterType` is missing or no such type.
    #[error("topicFilterType is \"{0}\", expected SINGLE_TAG or MULTI_TAG")]
    FilterType(String),
    /// A number outside what a topic may have.
    #[error("{field} is {value}, expected {low} to {high}")]
    Range {
        /// Wire name of the number.
        field: &'static str,
        /// The value that came.
        value: i32,
        /// Lowest value.
        low: i32,
        /// Highest value.
        high: i32,
    },
    /// The table could not be written, so nothing was changed.
    #[error("the {table} table cannot be written, nothing was changed: {source}")]
    Kv {
        /// Which table.
        table: &'static str,
        /// What went wrong.
        source: Arc<KvError>,
    },
}

impl From<ChangeError> for Reply {
    fn from(error: ChangeError) -> Self {
        let code = match error {
            ChangeError::Name(_) | ChangeError::MixedMessageType | ChangeError::Range { .. } => {
                response_code::INVALID_PARAMETER
            }
            ChangeError::Attribute(_) | ChangeError::FilterType(_) | ChangeError::Kv { .. } => {
                response_code::SYSTEM_ERROR
            }
        };
        Self::error(code, error.to_string())
    }
}
