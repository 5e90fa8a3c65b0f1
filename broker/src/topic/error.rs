//! Why a topic is not made, changed or deleted.

use crate::attributes::AttributeError;
use crate::kv::KvError;
use common::names::NameError;
use common::wire::{Reply, response_code};
use std::sync::Arc;

/// Why a topic is not made, changed or deleted. The text goes to the client as the remark.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
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
    #[error("the topic table cannot be written, nothing was changed: {0}")]
    Kv(#[from] Arc<KvError>),
}

impl TopicError {
    /// Response code of an answer with this error.
    pub fn response_code(&self) -> i32 {
        match self {
            Self::Name(_) | Self::MixedMessageType | Self::Range { .. } => {
                response_code::INVALID_PARAMETER
            }
            Self::Attribute(_) | Self::FilterType(_) | Self::Kv(_) => response_code::SYSTEM_ERROR,
        }
    }
}

impl From<TopicError> for Reply {
    fn from(error: TopicError) -> Self {
        Self::error(error.response_code(), error.to_string())
    }
}
