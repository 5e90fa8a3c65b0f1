//! Why a group is not made, changed or deleted.

use crate::attributes::AttributeError;
use crate::kv::KvError;
use common::names::NameError;
use common::wire::{Reply, response_code};
use std::sync::Arc;

/// Why a group is not made, changed or deleted. The text goes to the client as the remark.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The attributes cannot be changed so.
    #[error(transparent)]
    Attribute(#[from] AttributeError),
    /// The table could not be written, so nothing was changed.
    #[error("the group table cannot be written, nothing was changed: {0}")]
    Kv(#[from] Arc<KvError>),
}

impl From<GroupError> for Reply {
    fn from(error: GroupError) -> Self {
        let code = match error {
            GroupError::Name(_) => response_code::INVALID_PARAMETER,
            GroupError::Attribute(_) | GroupError::Kv(_) => response_code::SYSTEM_ERROR,
        };
        Self::error(code, error.to_string())
    }
}
