//! The one edge where code and fields of a request become a type.

pub mod broker;
pub mod namesrv;

use super::fields::FieldError;

/// Why a request cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Nobody serves this code here.
    #[error(" request type {code} not supported")]
    UnsupportedCode {
        /// The request code.
        code: i32,
    },
    /// A header field is missing or wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl From<WireError> for super::Reply {
    fn from(error: WireError) -> Self {
        match error {
            WireError::UnsupportedCode { code } => Self::not_supported(code),
            WireError::Field(field) => field.into(),
        }
    }
}
